"""Half an hour of use: a chat on two server processes and Postgres, with stops and SIGKILLs.

python benchmarks/soak.py [--minutes 30] [--seed 1] [--workers 2] [--json benchmarks/soak.json]

The exit code is 1 if a measure grew, something was left at the end, or a reader got another text
than the stored one.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import statistics
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import asyncpg
import httpx

from benchmarks.figures import Figure, arguments, store, table
from benchmarks.processes import Database, PortProgram, Server, killed, python, started
from monostream_ai import create_service
from monostream_ai.fastapi import chat_stream_id

USERS = 10
PRUNE_AFTER, DELETE_AFTER = 120.0, 240.0
"""Ages at which the chunks of a version are removed, and a chat that nobody goes on with."""

KILLS = (40.0, 70.0)
"""Seconds between two kills; shorter in a run of less than ten minutes."""

PAUSE = 0.15
"""Seconds after which a reader comes back to a response that broke off."""

LIMIT = 90.0
"""Seconds after which a turn, or the end, is stuck; a dead process's turn is handed over in 60."""

MEASURES = {
    "memory 0": ("MB", 0.02, 1.0),
    "tasks 0": ("", 0.1, 3.0),
    "connections": ("", 0.1, 1.0),
    "stream_chunk": ("MB", 0.2, 0.5),
    "stream_version": ("MB", 0.2, 0.5),
}
"""The unit of each, and by how much it may grow: a share of itself and an amount."""

Sample = dict[str, Any]
"""The measures of one moment by name, and its `seconds` since the load began."""

SAMPLE = """
SELECT count(*) AS connections,
       CAST(pg_total_relation_size('stream_chunk') AS float8) / 1e6 AS stream_chunk,
       CAST(pg_total_relation_size('stream_version') AS float8) / 1e6 AS stream_version
  FROM pg_stat_activity
 WHERE backend_type = 'client backend' AND datname = current_database() AND pid <> pg_backend_pid()
"""


@dataclass
class Reading:
    """One reader's part of an answer.

    Args:
        question: Posted until it is answered; without one the reader only looks on.
        by_event: Comes back with `Last-Event-ID` for the rest; otherwise it reads all again.
        whole: The ending was read.
    """

    chat_id: str
    question: dict[str, Any] | None
    by_event: bool
    version: int | None = None
    cursor: str | None = None
    text: str = ""
    whole: bool = False


class Worker:
    """A process that writes the answers of a queue."""

    def __init__(self, url: str) -> None:
        self._command = python("programs.soaked", "work", url)

    async def start(self) -> None:
        self._process = await started(self._command)

    async def kill(self) -> None:
        """Send SIGKILL, and return when it is dead."""
        await killed(self._process)


class Soak:
    """The load on both servers, and all that is known of it.

    Args:
        workers: Processes that write the answers; without any, the servers do.
    """

    def __init__(self, url: str, seed: int, seconds: float, workers: int) -> None:
        self._url, self._seed, self._seconds = url, seed, seconds
        self.counts: Counter[str] = Counter()
        self.mismatches: list[str] = []
        self.samples: list[Sample] = []
        how = "queue" if workers else "here"
        serve = lambda port, _: python("programs.soaked", "serve", url, str(port), how)  # noqa: E731
        self._servers = [PortProgram("http", serve) for _ in range(2)]
        self._workers = [Worker(url) for _ in range(workers)]
        self._told: list[set[tuple[str, int]]] = [set(), set()]
        """The ended turns of which each tab was told."""
        self._connected = [False, False]
        self._left: deque[tuple[float, str]] = deque()
        self._ended: set[tuple[str, int]] = set()

    async def run(self) -> None:
        """Put on the load, and wait until nothing is left of it."""
        async with (
            httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None)) as self._http,
            create_service(self._url) as self._stored,
            asyncpg.create_pool(self._url, min_size=1, max_size=1) as self._database,
            AsyncExitStack() as stack,
        ):
            # A row for each call of `on_finish`.
            await self._database.execute("CREATE TABLE handed_over (chat_id text, version bigint)")
            if self._workers:
                # Runs without workers need no procrastinate.
                from benchmarks.programs.soaked import make_queue

                await make_queue(self._url)
            for server in self._servers:
                await stack.enter_async_context(server)
            for worker in self._workers:
                stack.push_async_callback(worker.kill)
                await worker.start()
            for number in range(4):
                await self._turn(random.Random(number), f"warm-up-{number}", 0)
            before = await self._sample()
            self._warm_up = set(self._ended)
            self._tabs = [asyncio.create_task(self._tab(place)) for place in range(2)]
            while not all(self._connected):
                await asyncio.sleep(PAUSE)
            self._begin = time.monotonic()
            async with asyncio.TaskGroup() as group:
                for number in range(USERS):
                    group.create_task(self._user(number, random.Random(f"{self._seed} {number}")))
                group.create_task(self._killer(random.Random(self._seed)))
                group.create_task(self._housekeeper())
            await self._wind_up(before)

    def _mismatch(self, text: str) -> None:
        """Note an event that must never happen: any of them spoils the run."""
        self.mismatches.append(text)
        print(f"MISMATCH {text}", file=sys.stderr, flush=True)

    def _passed(self) -> float:
        return time.monotonic() - self._begin

    async def _user(self, number: int, chance: random.Random) -> None:
        for conversation in itertools.count():
            chat_id = f"{number}-{conversation}"
            for turn in range(chance.randint(1, 4)):
                await asyncio.sleep(chance.uniform(0.5, 3.0))
                if self._passed() > self._seconds:
                    return
                try:
                    async with asyncio.timeout(LIMIT):
                        await self._turn(chance, chat_id, turn)
                except TimeoutError:
                    self._mismatch(f"a turn of {chat_id} took over {LIMIT:g} s")
            self._left.append((time.monotonic(), chat_id))

    async def _turn(self, chance: random.Random, chat_id: str, number: int) -> None:
        """Ask; readers come and go, perhaps one stops it, and all compare their texts."""
        load = {"words": chance.randint(20, 160), "pause": chance.choice((0.02, 0.05, 0.08))}
        parts = [{"type": "text", "text": "Go on."}]
        message = {"id": f"question-{number}", "role": "user", "parts": parts}
        question = {"id": chat_id, "messages": [message], "trigger": "submit-message", **load}
        asker = Reading(chat_id, question, chance.random() < 0.5)
        readings, length = [asker], load["words"] * load["pause"]

        async def later() -> None:
            while asker.version is None:
                await asyncio.sleep(PAUSE)
            await asyncio.sleep(chance.uniform(0.0, length))

        async def come_and_go(reading: Reading) -> None:
            place, leaves = chance.randrange(2), chance.random() < 0.4
            seconds = chance.uniform(0.0, length) if leaves else None
            while not await self._read(reading, place, seconds):
                if reading is not asker and chance.random() < 0.5:
                    # Gone for good.
                    return
                # Back at the other process, where the answer comes from the database.
                place, seconds = place + 1, None
                await asyncio.sleep(chance.uniform(0.0, 2.0))

        async def look_on() -> None:
            await later()
            readings.append(reading := Reading(chat_id, None, chance.random() < 0.5))
            await come_and_go(reading)

        async def stop() -> None:
            await later()
            for server in self._servers * 20:
                with suppress(httpx.TransportError):
                    response = await self._http.post(f"{server.url}/api/chat/{chat_id}/stop")
                    if response.status_code == 200:
                        self.counts["stops"] += 1
                        return
                await asyncio.sleep(PAUSE)
            self._mismatch(f"{chat_id} could not be stopped")

        async with asyncio.TaskGroup() as group:
            group.create_task(come_and_go(asker))
            for _ in range(chance.choice((0, 1, 1, 2, 3))):
                group.create_task(look_on())
            if chance.random() < 0.15:
                group.create_task(stop())
        await self._compare(chat_id, readings)

    async def _read(self, reading: Reading, place: int, seconds: float | None) -> bool:
        """Read for so many seconds, from both processes in turn; return whether all is read."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for number in itertools.count(place):
                    with suppress(httpx.TransportError):
                        if await self._over_at(self._servers[number % 2].url, reading):
                            return True
                    await asyncio.sleep(PAUSE)
        self.counts["left in mid-answer"] += 1
        return False

    async def _over_at(self, url: str, reading: Reading) -> bool:
        method, path, options = "GET", f"/api/chat/{reading.chat_id}/stream", {}
        if reading.question is not None and reading.version is None:
            method, path, options = "POST", "/api/chat", {"json": reading.question}
        elif reading.by_event and reading.cursor:
            options = {"headers": {"last-event-id": reading.cursor}}
        async with self._http.stream(method, url + path, **options) as response:
            status = response.status_code
            self.counts[f"{method}, status {status}"] += 1
            if status == 200:
                await _take_all(response, reading)
                if not reading.whole:
                    self._mismatch(
                        f"a response for {reading.chat_id} ended cleanly without an ending"
                    )
                return reading.whole
        if status == 409 and reading.cursor is not None:
            # Its version was superseded; the next one is replayed from its beginning.
            reading.cursor = None
        elif status not in (204, 503):
            self._mismatch(f"{method} for {reading.chat_id} was answered by {status}")
        return status == 204

    async def _compare(self, chat_id: str, readings: Sequence[Reading]) -> None:
        latest = await self._stored.status(chat_stream_id(chat_id))
        if latest.state != "closed":
            self._mismatch(f"{chat_id} is {latest.state} after its ending was read")
        for reading in readings:
            if reading.version is None:
                continue
            chunks = await self._stored.chunks(chat_stream_id(chat_id), reading.version)
            text = "".join(chunk.get("delta", "") for chunk in chunks)
            whole = reading.text == text and reading.version == latest.version
            if not (whole if reading.whole else text.startswith(reading.text)):
                name, got = f"{chat_id} version {reading.version}", reading.text
                self._mismatch(f"{name}: {got[-60:]!r} was read of {text[-60:]!r}")
            self.counts["texts compared"] += 1
        self.counts["turns"] += 1
        self._ended.add((chat_id, latest.version))

    async def _tab(self, place: int) -> None:
        """Follow the events of all chats, at each process in turn, as another tab does."""
        headers: dict[str, str] = {}
        for number in itertools.count(place):
            url = f"{self._servers[number % 2].url}/api/chat/events"
            with suppress(httpx.TransportError):
                async with self._http.stream("GET", url, headers=headers) as response:
                    async for line in response.aiter_lines():
                        field, _, value = line.partition(": ")
                        if field == "id":
                            headers = {"last-event-id": value}
                        elif field == "data":
                            self._hear(place, json.loads(value))
            self.counts["events, connections"] += 1
            await asyncio.sleep(PAUSE)

    def _hear(self, place: int, data: dict[str, Any]) -> None:
        if data.get("startsOver") and self._connected[place]:
            self._mismatch(f"tab {place} starts over")
        self._connected[place] = True
        if data.get("state") == "closed":
            self._told[place].add((data["chatId"], data["version"]))

    async def _killer(self, chance: random.Random) -> None:
        haste = min(1.0, self._seconds / 600)
        while self._passed() < self._seconds - KILLS[1] * haste:
            await asyncio.sleep(chance.uniform(*KILLS) * haste)
            # After the first sixth process 0 lives on: whether it grows shows only in a long life.
            servers = self._servers if self._passed() < self._seconds / 6 else self._servers[1:]
            victim: PortProgram | Worker = chance.choice([*servers, *self._workers])
            self.counts["kills of workers" if victim in self._workers else "kills"] += 1
            await victim.kill()
            await asyncio.sleep(chance.uniform(0.0, 3.0))
            await victim.start()

    async def _housekeeper(self) -> None:
        while self._passed() < self._seconds:
            self.samples.append({"seconds": self._passed(), **await self._sample()})
            self.counts["versions pruned"] += await self._stored.prune(older_than=PRUNE_AFTER)
            while self._left and self._left[0][0] < time.monotonic() - DELETE_AFTER:
                stream_id = chat_stream_id(self._left.popleft()[1])
                self.counts["chats deleted"] += await self._stored.delete(stream_id)
            await asyncio.sleep(5.0)

    async def _sample(self) -> Sample:
        """Return what both processes and the database hold; a dead process has no measures."""
        sample = dict(await self._database.fetchrow(SAMPLE))
        for place, server in enumerate(self._servers):
            with suppress(httpx.TransportError):
                got = (await self._http.get(f"{server.url}/measures")).json()
                sample |= {f"{name} {place}": value for name, value in got.items()}
        return sample

    async def _wind_up(self, before: Sample) -> None:
        """Wait until nothing is left and every turn is handed over."""
        over, held = time.monotonic(), ("tasks", "writing", "reading")
        while time.monotonic() < over + LIMIT:
            rows = await self._database.fetch("SELECT chat_id, version FROM handed_over")
            found = Counter(map(tuple, rows))
            missing = self._ended - found.keys()
            untold = [self._ended - self._warm_up - told for told in self._told]
            if not any(untold):
                for tab in self._tabs:
                    tab.cancel()
            after = await self._sample()
            more = [name for name in before if name.startswith(held) and after[name] > before[name]]
            if not missing and not more and not any(untold):
                break
            await asyncio.sleep(0.5)
        for chat_id, version in sorted(missing):
            self._mismatch(f"version {version} of {chat_id} was never handed over")
        for place, turns in enumerate(untold):
            if turns:
                self._mismatch(f"tab {place} was not told of the end of {sorted(turns)}")
        for name in more:
            self._mismatch(f"{name}: {after[name]} after the load, {before[name]} before it")
        self.counts["handed over"] = len(found)
        self.counts["handed over again"] = found.total() - len(found)


async def _take_all(response: httpx.Response, reading: Reading) -> None:
    version = int(response.headers["x-workflow-run-id"].rpartition("~")[2])
    if not reading.by_event or reading.cursor is None or version != reading.version:
        reading.text = ""
    reading.version, id = version, reading.cursor
    async for line in response.aiter_lines():
        field, _, value = line.partition(": ")
        if field == "id":
            id = value
        elif value == "[DONE]":
            reading.whole = True
            return
        elif field == "data":
            reading.cursor = id
            reading.text += json.loads(value).get("delta", "")


def judge(name: str, samples: Sequence[Sample], length: float) -> list[Figure]:
    """Return the median of a measure in the second sixth of a run, and the step to the last sixth.

    Args:
        samples: Those without the measure do not count. Nothing is returned if there are too few.
        length: Seconds of the run.
    """
    unit, share, amount = MEASURES[name]
    sixths: dict[int, list[float]] = {place: [] for place in range(6)}
    for sample in samples:
        if name in sample and sample["seconds"] < length:
            sixths[int(sample["seconds"] * 6 / length)].append(sample[name])
    if min(len(sixths[1]), len(sixths[5])) < 4:
        return []
    before, after = statistics.median(sixths[1]), statistics.median(sixths[5])
    allowed = f"<= {share * before + amount:.2f}"
    growth = Figure(0, f"{name}, growth", unit, [after - before], allowed)
    return [Figure(0, name, unit, [before]), growth]


async def soaked(seed: int, seconds: float, workers: int) -> Soak:
    with Server() as server:
        async with Database(server) as database:
            await (soak := Soak(database.url, seed, seconds, workers)).run()
    return soak


def main() -> int:
    parser = arguments(__doc__, __file__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1, help="of the load, not of its timing")
    parser.add_argument("--workers", type=int, default=0, help="that write the answers of a queue")
    options = parser.parse_args()
    seconds = options.minutes * 60
    soak = asyncio.run(soaked(options.seed, seconds, options.workers))
    # A short run is all warm-up, so nothing can be said of growth.
    names = MEASURES if seconds >= 600.0 else ()
    figures = [line for name in names for line in judge(name, soak.samples, seconds)]
    print(", ".join(f"{name} {count:,}" for name, count in sorted(soak.counts.items())))
    print(f"{len(soak.mismatches)} mismatches", table(figures), sep="\n")
    found = {"counts": soak.counts, "mismatches": soak.mismatches, "samples": soak.samples}
    store(
        options.json,
        figures,
        (),
        seed=options.seed,
        minutes=options.minutes,
        workers=options.workers,
        **found,
    )
    return bool(soak.mismatches) or any(figure.verdict == "NOT MET" for figure in figures)


if __name__ == "__main__":
    sys.exit(main())

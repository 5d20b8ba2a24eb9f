"""Half an hour of use: a chat on two server processes and Postgres, and whether anything grows.

python benchmarks/soak.py [--minutes 30] [--seed 1] [--json benchmarks/soak.json] [--again]

The exit code is 1 if a measure grew, something was left at the end, or a reader got another text
than the stored one.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import asyncpg
import httpx

from benchmarks.backends import Server
from benchmarks.flatness import Measure, Sample, columns, judge, rows, table
from benchmarks.processes import python
from benchmarks.programs.soak_server import HANDED_OVER
from benchmarks.turns import ChatServer, Reader, Turn
from monostream_ai import DurableStreamService, create_service
from monostream_ai.fastapi import chat_stream_id

LEASE = 3.0
USERS = 10
SAMPLED_EVERY = 5.0
JUDGED_FROM = 600.0
"""Seconds of a run that is long enough to tell whether a measure grows."""

PRUNE_AFTER, DELETE_AFTER = 120.0, 240.0
"""Ages at which the chunks of a version are removed, and a chat that nobody goes on with."""

KILLS = (40.0, 70.0)
"""Seconds between two kills; shorter in a run of less than ten minutes."""

HANDED_OVER_LIMIT, END_LIMIT = 90.0, 30.0
"""Seconds in which the turn of a dead process is handed over (a minute, and a sweep), and in which
the processes give everything back."""

ALLOWED = {"tasks": 0, "threads": 8, "files": 12, "writing": 0, "reading": 0, "streams read": 0}
"""How much more a process may hold after the load than before: its pools of threads and connections
fill, and clients keep connections alive."""

STARTED = ("age 1", 10.0, float("inf"))
"""A process needs a while after its start until it has its connections and threads."""

MEASURES = [
    Measure("memory 0", "MB", (0.02, 1.0)),
    Measure("objects 0", "", (0.02, 2000.0)),
    Measure("tasks 0", "", (0.1, 3.0)),
    Measure("threads 0", "", (0.0, 4.0)),
    Measure("files 0", "", (0.1, 3.0)),
    Measure("tasks 1", "", (0.1, 3.0), only=STARTED),
    Measure("threads 1", "", (0.0, 4.0), only=STARTED),
    Measure("files 1", "", (0.1, 3.0), only=STARTED),
    Measure("connections", "", (0.1, 1.0)),
    Measure("stream_chunk size", "MB", (0.2, 0.5)),
    Measure("stream_version size", "MB", (0.2, 0.5)),
]

CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity
 WHERE backend_type = 'client backend' AND datname = current_database() AND pid <> pg_backend_pid()
"""
TABLES = """
SELECT relname, n_live_tup, n_dead_tup, pg_total_relation_size(relid) FROM pg_stat_user_tables
 WHERE relname IN ('stream_chunk', 'stream_version')
"""
FINISHED = """
SELECT chat_id, version, count(*) FROM handed_over WHERE chat_id NOT LIKE 'warm-up%' GROUP BY 1, 2
"""


class Soak:
    """The load on both servers, and all that is known of it."""

    def __init__(self, url: str, seed: int, seconds: float) -> None:
        self._url, self._seed, self._seconds = url, seed, seconds
        self.counts: Counter[str] = Counter()
        self.mismatches: list[str] = []
        self.kills: list[tuple[float, int]] = []
        self.samples: list[Sample] = []
        self.open = 0
        self.servers = [ChatServer("http", self._command) for _ in range(2)]
        self.http = httpx.AsyncClient(timeout=60.0, limits=httpx.Limits(max_connections=None))
        self.stored: DurableStreamService[Any] = create_service(url)
        self._running: dict[str, None] = {}
        self._left: deque[tuple[float, str]] = deque()
        self._ended: set[tuple[str, int]] = set()

    async def run(self) -> dict[str, Any]:
        """Return how it ended, when nothing was going on any more."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.http)
            await stack.enter_async_context(self.stored)
            for server in self.servers:
                stack.push_async_callback(server.stop)
            await asyncio.gather(*(server.start() for server in self.servers))
            self._database = await asyncpg.connect(self._url)
            stack.push_async_callback(self._database.close)
            await self._database.execute(HANDED_OVER)
            for number in range(4):
                await Turn(self, random.Random(number), f"warm-up-{number}", 0).run()
            before = await self._sample()
            self._begin = time.monotonic()
            sampling = asyncio.create_task(self._sampler())
            async with asyncio.TaskGroup() as group:
                for number in range(USERS):
                    group.create_task(self._user(number, self._chance("user", number)))
                group.create_task(self._passers_by(self._chance("passers-by")))
                group.create_task(self._killer(self._chance("killer")))
                group.create_task(self._housekeeper())
            sampling.cancel()
            return await self._wind_up(before)

    def _command(self, port: int, directory: Path) -> Sequence[str]:
        options = {"url": self._url, "port": port, "lease": LEASE}
        return python("programs.soak_server", json.dumps(options))

    def mismatch(self, text: str) -> None:
        """Note what must never be: any of them spoils the run."""
        self.mismatches.append(text)
        print(f"MISMATCH {text}", file=sys.stderr, flush=True)

    def _chance(self, *parts: object) -> random.Random:
        return random.Random(f"{self._seed} {parts}")

    def _left_after(self, seconds: float) -> float:
        """Return the seconds of load that are left after so many more."""
        return self._begin + self._seconds - time.monotonic() - seconds

    async def _user(self, number: int, chance: random.Random) -> None:
        await asyncio.sleep(chance.uniform(0.0, 3.0))
        for conversation in itertools.count():
            chat_id = f"{number}-{conversation}"
            for turn in range(chance.randint(1, 4)):
                if self._left_after(0.0) < 0:
                    return
                self._running[chat_id] = None
                version = await Turn(self, chance, chat_id, turn).run()
                del self._running[chat_id]
                if version is not None:
                    self._ended.add((chat_id, version))
                await asyncio.sleep(chance.uniform(0.5, 3.0))
            self._left.append((time.monotonic(), chat_id))

    async def _passers_by(self, chance: random.Random) -> None:
        """Open a running answer several times at once, and leave within 0.3 s."""
        while self._left_after(0.0) > 0:
            await asyncio.sleep(chance.uniform(1.0, 4.0))
            if self._running:
                chat_id, count = chance.choice([*self._running]), chance.randint(1, 6)
                self.counts["passers-by"] += count
                readers = [Reader(self, chat_id, by_event=False) for _ in range(count)]
                stays = [(chance.randrange(2), chance.uniform(0.0, 0.3)) for _ in readers]
                reading = (one.read(*stay) for one, stay in zip(readers, stays, strict=True))
                await asyncio.gather(*reading)

    async def _killer(self, chance: random.Random) -> None:
        haste = min(1.0, self._seconds / 600)
        # The last one killed must be up again before the end.
        while self._left_after(pause := chance.uniform(*KILLS) * haste) > KILLS[0] * haste:
            await asyncio.sleep(pause)
            # After the first sixth process 0 lives on: whether it grows shows only in a long life.
            seconds = time.monotonic() - self._begin
            place = chance.randrange(2) if seconds < self._seconds / 6 else 1
            self.kills.append((round(seconds, 1), place))
            self.counts["kills"] += 1
            await self.servers[place].kill()
            await asyncio.sleep(chance.uniform(0.0, 3.0))
            await self.servers[place].start()

    async def _housekeeper(self) -> None:
        while self._left_after(15.0) > 0:
            await asyncio.sleep(15.0)
            self.counts["versions pruned"] += await self.stored.prune(older_than=PRUNE_AFTER)
            while self._left and self._left[0][0] < time.monotonic() - DELETE_AFTER:
                stream_id = chat_stream_id(self._left.popleft()[1])
                self.counts["chats deleted"] += await self.stored.delete(stream_id)

    async def _sampler(self) -> None:
        every = min(SAMPLED_EVERY, self._seconds / 36)
        for number in itertools.count(1):
            await asyncio.sleep(max(0.0, self._begin + every * number - time.monotonic()))
            seconds = round(time.monotonic() - self._begin, 2)
            self.samples.append({"seconds": seconds, **await self._sample()})

    async def _sample(self) -> Sample:
        """Return what both processes and the database hold; a dead process has no measures."""
        sample: Sample = {"open responses": self.open, "load": os.getloadavg()[0]}
        for place, server in enumerate(self.servers):
            with suppress(httpx.TransportError):
                if server.up:
                    got = (await self.http.get(f"{server.url}/measures")).json()
                    got["age"] = time.monotonic() - server.born
                    sample |= {f"{name} {place}": value for name, value in got.items()}
        sample["connections"] = await self._database.fetchval(CONNECTIONS)
        for name, live, dead, size in await self._database.fetch(TABLES):
            sample |= {f"{name} rows": live, f"{name} dead": dead, f"{name} size": size / 1e6}
        return sample

    async def _wind_up(self, before: Sample) -> dict[str, Any]:
        """Wait until nothing is left and every turn is handed over; let both processes leave."""
        over = time.monotonic()
        while left := _excess(before, after := await self._sample()):
            if time.monotonic() > over + END_LIMIT:
                break
            await asyncio.sleep(0.5)
        settled_after = time.monotonic() - over
        while True:
            found = {
                (chat, version): n for chat, version, n in await self._database.fetch(FINISHED)
            }
            missing = self._ended - set(found)
            if not missing or time.monotonic() > over + HANDED_OVER_LIMIT:
                break
            await asyncio.sleep(1.0)
        for chat_id, version in sorted(missing):
            self.mismatch(f"version {version} of {chat_id} was never handed over")
        for server in self.servers:
            await server.leave()
        again = sum(count > 1 for count in found.values())
        return {
            **{"before": before, "after": after, "left": left, "settled_after": settled_after},
            **{"handed_over": sum(found.values()), "handed_over_again": again},
        }


def _excess(before: Sample, after: Sample) -> list[str]:
    return [
        f"process {place} has {after[f'{name} {place}']} {name} after {before[f'{name} {place}']}"
        for place, (name, more) in itertools.product(range(2), ALLOWED.items())
        if after[f"{name} {place}"] > before[f"{name} {place}"] + more
    ]


async def soaked(minutes: float, seed: int) -> dict[str, Any]:
    with Server() as server:
        soak = Soak(await server.new_database(), seed, minutes * 60)
        ending = await soak.run()
    return {
        "machine": {"python": platform.python_version(), "processors": os.cpu_count()},
        **{"minutes": minutes, "seed": seed, "counts": dict(sorted(soak.counts.items()))},
        **{"mismatches": soak.mismatches, "ending": ending, "kills": soak.kills},
        "samples": columns(soak.samples),
    }


def conclude(run: dict[str, Any]) -> bool:
    """Judge a run and print the verdicts, which are added to it; return whether all is well."""
    samples, ending, seconds = rows(run["samples"]), run["ending"], run["minutes"] * 60
    # A short run is all warm-up, so nothing can be said of growth.
    measures = MEASURES if seconds >= JUDGED_FROM else []
    verdicts = [found for measure in measures if (found := judge(measure, samples, seconds))]
    run["verdicts"] = [asdict(verdict) for verdict in verdicts]
    print(", ".join(f"{name} {count:,}" for name, count in run["counts"].items()))
    print(f"handed over {ending['handed_over']:,}, again {ending['handed_over_again']:,}")
    print(f"{len(run['mismatches'])} mismatches")
    nothing = [f"nothing was left {ending['settled_after']:.1f} s after the load"]
    print(*ending["left"] or nothing, sep="\n")
    print(table(verdicts))
    flat = all(verdict.flat for verdict in verdicts)
    return flat and not run["mismatches"] and not ending["left"]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument(
        "--seed", type=int, default=1, help="of the load; its timing is not repeated"
    )
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--again", action="store_true", help="only judge the run in the JSON")
    options = parser.parse_args()
    if options.again:
        run = json.loads(options.json.read_text())
    else:
        run = asyncio.run(soaked(options.minutes, options.seed))
    well = conclude(run)
    options.json.write_text(json.dumps(run) + "\n")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())

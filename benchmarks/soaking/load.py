"""The load: users who ask, passers-by, a killer, and somebody who removes what is old."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from benchmarks.soaking.processes import ServerProcess
from benchmarks.soaking.reading import Reader
from benchmarks.soaking.tally import Tally
from benchmarks.soaking.turns import Turn
from monostream_ai import DurableStreamService
from monostream_ai.fastapi import chat_stream_id

USERS = 10
PRUNE_AFTER = 120.0
"""Seconds after which a version's chunks are removed."""

DELETE_AFTER = 240.0
"""Seconds after which a chat is deleted that nobody goes on with."""

KILLS = (40.0, 70.0)
"""Seconds between two kills; shorter in a run of less than ten minutes."""


@dataclass(frozen=True)
class Schedule:
    """When the load begins and ends, on the monotonic clock."""

    begin: float
    end: float

    @property
    def sixth(self) -> float:
        return self.begin + self.length / 6

    @property
    def length(self) -> float:
        return self.end - self.begin

    def goes_on(self) -> bool:
        return time.monotonic() < self.end


class Load:
    """Makes load until the schedule's end; `kills` are the instants at which a server was killed."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        servers: Sequence[ServerProcess],
        stored: DurableStreamService[Any],
        tally: Tally,
        schedule: Schedule,
        seed: int,
    ) -> None:
        self.kills: list[tuple[float, int]] = []
        self.ended: dict[tuple[str, int], None] = {}
        """The version in which each turn came to its end."""
        self._http = http
        self._servers = servers
        self._stored = stored
        self._tally = tally
        self._schedule = schedule
        self._seed = seed
        self._running: dict[str, None] = {}
        self._left: deque[tuple[float, str]] = deque()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(USERS):
                group.create_task(self._user(number, self._chance("user", number)))
            group.create_task(self._passers_by(self._chance("passers-by")))
            group.create_task(self._killer(self._chance("killer")))
            group.create_task(self._housekeeper())

    def _chance(self, *who: object) -> random.Random:
        return random.Random(f"{self._seed} {who}")

    async def _user(self, number: int, chance: random.Random) -> None:
        await asyncio.sleep(chance.uniform(0.0, 3.0))
        conversation = 0
        while self._schedule.goes_on():
            chat_id = f"{number}-{conversation}"
            conversation += 1
            for turn in range(chance.randint(1, 4)):
                if not self._schedule.goes_on():
                    return
                await self._turn(chat_id, turn, chance)
                await asyncio.sleep(chance.uniform(0.5, 3.0))
            self._left.append((time.monotonic(), chat_id))

    async def _turn(self, chat_id: str, number: int, chance: random.Random) -> None:
        self._running[chat_id] = None
        turn = Turn(self._http, self._servers, self._stored, self._tally, chance, chat_id, number)
        version = await turn.run()
        del self._running[chat_id]
        if version is not None:
            self.ended[chat_id, version] = None

    async def _passers_by(self, chance: random.Random) -> None:
        """Readers that open an answer and are gone in no time, several at once."""
        while self._schedule.goes_on():
            await asyncio.sleep(chance.uniform(1.0, 4.0))
            if not self._running:
                continue
            chat_id = chance.choice([*self._running])
            readers = [self._reader(chat_id) for _ in range(chance.randint(1, 6))]
            self._tally.counts["passers-by"] += len(readers)
            await asyncio.gather(
                *(
                    reader.read(chance.randrange(2), seconds=chance.uniform(0.0, 0.3))
                    for reader in readers
                )
            )

    def _reader(self, chat_id: str) -> Reader:
        return Reader(self._http, self._servers, self._tally, chat_id, by_event=False)

    async def _killer(self, chance: random.Random) -> None:
        haste = min(1.0, self._schedule.length / 600)
        # What is killed last is up again before the end.
        while await self._wait(
            chance.uniform(*KILLS) * haste, until=self._schedule.end - KILLS[0] * haste
        ):
            # The first process lives on from then on: only where it does can one see whether it
            # grows.
            place = chance.randrange(2) if time.monotonic() < self._schedule.sixth else 1
            self.kills.append((time.monotonic() - self._schedule.begin, place))
            self._tally.counts["kills"] += 1
            await self._servers[place].kill()
            await asyncio.sleep(chance.uniform(0.0, 3.0))
            await self._servers[place].start()

    async def _housekeeper(self) -> None:
        while await self._wait(15.0, until=self._schedule.end):
            self._tally.counts["versions pruned"] += await self._stored.prune(
                older_than=PRUNE_AFTER
            )
            while self._left and self._left[0][0] < time.monotonic() - DELETE_AFTER:
                _, chat_id = self._left.popleft()
                self._tally.counts["chats deleted"] += await self._stored.delete(
                    chat_stream_id(chat_id)
                )

    async def _wait(self, seconds: float, *, until: float) -> bool:
        """Wait; return False, at once, if that would be longer than until then."""
        if time.monotonic() + seconds > until:
            return False
        await asyncio.sleep(seconds)
        return True

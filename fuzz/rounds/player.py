"""Playing rounds one after another on one stage."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from fuzz.draws import Draws
from fuzz.parts.stage import Stage
from fuzz.players import Player, Result, Task, described
from fuzz.rounds.catalogue import ROUNDS
from fuzz.rounds.round import Round

LIMIT = 120.0
"""Seconds after which a round counts as hanging."""


class ChaosPlayer(Player):
    """Keeps the stage as long as rounds go well; a failed round may have left it in any state."""

    def __init__(self) -> None:
        self.well: Counter[str] = Counter()
        """How many rounds of each name went well in `play`."""
        self._runner = asyncio.Runner()
        self._stage: Stage | None = None
        self._topics = itertools.count()

    def attempt(self, task: Task, caps: Mapping[str, int], *, tracing: bool) -> Result:
        return self._runner.run(self._attempt(task, caps, tracing=tracing))

    def play(self, tasks: Iterable[Task], report: Callable[[Result], bool]) -> None:
        over = False

        def stop(number: int, frame: object) -> None:
            nonlocal over
            over = True

        # The running round finishes, so that its leftovers can be counted.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        for task in tasks:
            result = self.attempt(task, {}, tracing=False)
            self.well[task.name] += result.error is None
            if not report(result) or over:
                return

    def close(self) -> None:
        try:
            self._runner.run(self._take_down())
        finally:
            self._runner.close()

    async def _attempt(self, task: Task, caps: Mapping[str, int], *, tracing: bool) -> Result:
        if self._stage is None:
            self._stage = Stage()
        draws = Draws(task.seed, caps)
        round = Round(self._stage, draws, f"{task.name}-{next(self._topics)}", tracing=tracing)
        began = time.perf_counter()
        error = None
        try:
            async with asyncio.timeout(LIMIT):
                await ROUNDS[task.name](round)
        except Exception as raised:
            error = described(raised)
            round.log("FAILED", error)
        seconds = time.perf_counter() - began
        if error is not None:
            await self._take_down(broken=True)
        trace = tuple(
            f"{when:12.4f}  {' '.join(map(str, line))[:300]}" for when, line in round.trace
        )
        return Result(task, seconds, error, draws.used, trace)

    async def _take_down(self, *, broken: bool = False) -> None:
        stage, self._stage = self._stage, None
        if stage is not None:
            await stage.close(broken=broken)

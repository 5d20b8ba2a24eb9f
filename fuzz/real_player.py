"""Running many scenarios at once on a database."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from fuzz.players import Player, Result, Task, run_scenario
from fuzz.sites import RealSite
from fuzz.world import Mismatch


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        uvloop: Any = importlib.import_module("uvloop")
    except ImportError:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


class RealPlayer(Player):
    """Runs many scenarios at once on one site.

    Args:
        jobs: Scenarios at once.
    """

    def __init__(self, make_site: Callable[[], RealSite], *, jobs: int) -> None:
        self._runner = asyncio.Runner(loop_factory=_fastest_loop())
        self._jobs = jobs
        self._topics = itertools.count()
        self._site: RealSite | None = None
        self._make_site = make_site

    def attempt(self, task: Task, caps: Mapping[str, int], *, tracing: bool) -> Result:
        return self._runner.run(self._attempt(task, caps, tracing=tracing))

    def play(self, tasks: Iterable[Task], report: Callable[[Result], bool]) -> None:
        self._runner.run(self._play(iter(tasks), report))

    def close(self) -> None:
        if self._site is not None:
            self._runner.run(self._close(self._site))
        self._runner.close()

    async def _attempt(
        self, task: Task, caps: Mapping[str, int], *, tracing: bool = False
    ) -> Result:
        if self._site is None:
            self._site = self._make_site()
            await self._site.open()
        # The same database may have been fuzzed before.
        topic = f"{task.name}-{task.seed:x}-{next(self._topics)}-{time.time_ns():x}"
        return await run_scenario(self._site, task, caps, topic, tracing=tracing)

    async def _play(self, tasks: Iterator[Task], report: Callable[[Result], bool]) -> None:
        over = False

        def stop() -> None:
            nonlocal over
            over = True

        # Ctrl+C lets the running scenarios finish, so that leftovers can be counted.
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop)

        async def work() -> None:
            nonlocal over
            while not over and (task := next(tasks, None)) is not None:
                over = not report(await self._attempt(task, {})) or over

        first = next(tasks, None)
        if first is not None and report(await self._attempt(first, {})):
            await asyncio.gather(*(work() for _ in range(self._jobs)))

    async def _close(self, site: RealSite) -> None:
        await site.aclose()
        await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            raise Mismatch(f"{len(left)} tasks are left: {[task.get_coro() for task in left][:5]}")

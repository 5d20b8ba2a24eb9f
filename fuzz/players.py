"""Running scenarios: one after another on virtual time, or many at once on a database."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import os
import random
import re
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from fuzz.draws import Draws
from fuzz.scenarios.catalogue import SCENARIOS
from fuzz.sites import RealSite, Site
from fuzz.virtual_time import VirtualTimeLoop
from fuzz.world import Mismatch, World

BLOCK = 200
"""Scenarios that a worker process runs before it reports."""

UNSEEDED: Final = re.compile(r"[0-9a-f]{32}|datetime\.datetime\([^)]*\)")
"""Writer tokens and dates, which no seed determines."""


@dataclass(frozen=True, slots=True)
class Task:
    """A scenario to run."""

    name: str
    seed: int


@dataclass(frozen=True, slots=True)
class Result:
    """How a scenario went.

    Args:
        used: Its choices, which a shrink makes smaller.
        trace: Empty unless asked for.
        kinds: The scenarios that it held, if it held others.
    """

    task: Task
    seconds: float
    error: str | None
    used: Mapping[str, int]
    trace: tuple[str, ...]
    kinds: Sequence[str] = ()

    @property
    def counted(self) -> Sequence[str]:
        """What it counts for; a failure is one failure."""
        return self.kinds if self.kinds and self.error is None else (self.task.name,)


class Player(ABC):
    """Runs scenarios on one kind of site."""

    @abstractmethod
    def attempt(self, task: Task, caps: Mapping[str, int], *, tracing: bool) -> Result:
        """Run one scenario alone."""

    @abstractmethod
    def play(self, tasks: Iterable[Task], report: Callable[[Result], bool]) -> None:
        """Run scenarios until there are no more or `report` returns False. KeyboardInterrupt goes through."""

    @abstractmethod
    def close(self) -> None:
        """Give back what the player opened."""


async def run_scenario(site: Site, task: Task, caps: Mapping[str, int], topic: str, *, tracing: bool) -> Result:
    """Run a scenario and judge it."""
    world = World(site, Draws(task.seed, caps), topic, tracing=tracing)
    began = time.perf_counter()
    error = None
    try:
        await world.run(SCENARIOS[task.name](world))
        await _clean_up(world)
    except Exception as raised:
        error = described(raised)
    trace = tuple(f"{when:12.4f}  {UNSEEDED.sub('*', ' '.join(map(str, line)))[:300]}" for when, line in world.trace)
    used = world.draws.used if error or tracing else {}
    return Result(task, time.perf_counter() - began, error, used, trace, world.kinds)


async def _clean_up(world: World) -> None:
    if not world.site.virtual:
        if world.truth:
            await world.dispose()
        return
    await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    world.require(not left, "tasks are left:", *(task.get_coro() for task in left))


def described(error: BaseException) -> str:
    """Return what went wrong in one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, Mismatch):
        return str(error)
    if isinstance(error, TimeoutError):
        return "it hangs"
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{type(error).__name__}: {error} at {' '.join(frames[-6:])}"


class VirtualPlayer(Player):
    """Gives each scenario a loop, a clock and a memory of its own.

    Args:
        jobs: Processes.
    """

    def __init__(self, make_site: Callable[[], Site], *, jobs: int = 1) -> None:
        self._make_site = make_site
        self._jobs = jobs

    def attempt(self, task: Task, caps: Mapping[str, int], *, tracing: bool) -> Result:
        # The core cuts its delays at random.
        random.seed(task.seed)
        loop = VirtualTimeLoop()
        background: list[str] = []
        loop.set_exception_handler(lambda _, context: background.append(str(context)))

        async def run() -> Result:
            return await run_scenario(self._make_site(), task, caps, task.name, tracing=tracing)

        try:
            result = loop.run_until_complete(run())
        except Exception as stalled:
            result = Result(task, 0.0, described(stalled), {}, ())
        if result.error is not None:
            _abandon(loop)
        loop.close()
        if background and result.error is None:
            return replace(result, error=f"the loop reported {background[0]}")
        return result

    def play(self, tasks: Iterable[Task], report: Callable[[Result], bool]) -> None:
        if self._jobs > 1:
            self._play_in_processes(iter(tasks), report)
            return
        for task in tasks:
            if not report(self.attempt(task, {}, tracing=False)):
                return

    def _play_in_processes(self, tasks: Iterator[Task], report: Callable[[Result], bool]) -> None:
        with ProcessPoolExecutor(self._jobs) as pool:
            running = [pool.submit(self.block, block) for block in itertools.islice(_blocks(tasks), self._jobs * 2)]
            more = True
            while running:
                for result in running.pop(0).result():
                    more = report(result) and more
                block = next(_blocks(tasks), None) if more else None
                if block is not None:
                    running.append(pool.submit(self.block, block))

    def close(self) -> None:
        """Do nothing: each scenario has closed its own."""

    def block(self, tasks: list[Task]) -> list[Result]:
        """Run several scenarios; called in a worker process."""
        return [self.attempt(task, {}, tracing=False) for task in tasks]


def _blocks(tasks: Iterator[Task]) -> Iterator[list[Task]]:
    while block := list(itertools.islice(tasks, BLOCK)):
        yield block


def _abandon(loop: VirtualTimeLoop) -> None:
    """Cancel what a failed scenario left, so that it does not spoil the next one."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.set_exception_handler(lambda *_: None)
        with _quietly():
            loop.run_until_complete(asyncio.wait_for(asyncio.gather(*left, return_exceptions=True), 100.0))


@contextmanager
def _quietly() -> Iterator[None]:
    try:
        yield
    except Exception:
        return


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

    async def _attempt(self, task: Task, caps: Mapping[str, int], *, tracing: bool = False) -> Result:
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

        # Ctrl+C lets the scenarios that run come to their end, so that what they leave can be counted.
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

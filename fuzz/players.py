"""Running scenarios and judging them, on any kind of site."""

from __future__ import annotations

import asyncio
import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fuzz.draws import Draws
from fuzz.scenarios.catalogue import SCENARIOS
from fuzz.sites import Site
from fuzz.world import Mismatch, World

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
        kinds: The scenarios it contained, if it is a crowd.
    """

    task: Task
    seconds: float
    error: str | None
    used: Mapping[str, int]
    trace: tuple[str, ...]
    kinds: Sequence[str] = ()

    @property
    def counted(self) -> Sequence[str]:
        """The kinds of scenarios to count it as; a failure counts once."""
        return self.kinds if self.kinds and self.error is None else (self.task.name,)


class Player(ABC):
    """Runs scenarios on one kind of site."""

    @abstractmethod
    def attempt(self, task: Task, caps: Mapping[str, int], *, tracing: bool) -> Result:
        """Run one scenario alone."""

    @abstractmethod
    def play(self, tasks: Iterable[Task], report: Callable[[Result], bool]) -> None:
        """Run scenarios until there are no more or `report` returns False. KeyboardInterrupt passes
        through.
        """

    @abstractmethod
    def close(self) -> None:
        """Close everything that the player opened."""


async def run_scenario(
    site: Site, task: Task, caps: Mapping[str, int], topic: str, *, tracing: bool
) -> Result:
    """Run a scenario and judge it."""
    world = World(site, Draws(task.seed, caps), topic, tracing=tracing)
    began = time.perf_counter()
    error = None
    try:
        await world.run(SCENARIOS[task.name](world))
        await _clean_up(world)
    except Exception as raised:
        error = described(raised)
    trace = tuple(
        f"{when:12.4f}  {UNSEEDED.sub('*', ' '.join(map(str, line)))[:300]}"
        for when, line in world.trace
    )
    used = world.draws.used if error or tracing else {}
    return Result(task, time.perf_counter() - began, error, used, trace, world.kinds)


async def _clean_up(world: World) -> None:
    if not world.site.virtual:
        if world.truth:
            await world.dispose()
        return
    await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    world.require(not left, f"tasks are left: {[task.get_coro() for task in left]}")


def described(error: BaseException) -> str:
    """Return one line about an error."""
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

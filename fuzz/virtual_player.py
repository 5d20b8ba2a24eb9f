"""Running scenarios one after another on virtual time, in one process or several."""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from fuzz.players import Player, Result, Task, described, run_scenario
from fuzz.sites import Site
from fuzz.virtual_time import VirtualTimeLoop

BLOCK: Final = 50
"""Scenarios, or crowds of them, that a worker process runs before it reports."""


class VirtualPlayer(Player):
    """Gives each scenario a loop, a clock and a memory of its own.

    Args:
        jobs: Processes.
    """

    def __init__(self, make_site: Callable[[], Site], *, jobs: int = 1) -> None:
        self._make_site = make_site
        self._jobs = jobs

    def attempt(self, task: Task, caps: Mapping[str, int], *, tracing: bool) -> Result:
        with _determined(task.seed):
            return self._attempt(task, caps, tracing=tracing)

    def _attempt(self, task: Task, caps: Mapping[str, int], *, tracing: bool) -> Result:
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
        with ProcessPoolExecutor(self._jobs, initializer=_leave_interrupts) as pool:
            running = [
                pool.submit(self.block, block)
                for block in itertools.islice(_blocks(tasks), self._jobs * 2)
            ]
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


@contextmanager
def _determined(seed: int) -> Iterator[None]:
    # The core cuts its delays at random, and a publisher in a reference cycle is dropped only when
    # the collector runs.
    random.seed(seed)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _leave_interrupts() -> None:
    # Ctrl+C reaches all processes; this one finishes its scenarios.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _blocks(tasks: Iterator[Task]) -> Iterator[list[Task]]:
    while block := list(itertools.islice(tasks, BLOCK)):
        yield block


def _abandon(loop: VirtualTimeLoop) -> None:
    """Cancel the tasks a failed scenario left, so that they do not spoil the next one."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.set_exception_handler(lambda *_: None)
        with _quietly():
            loop.run_until_complete(
                asyncio.wait_for(asyncio.gather(*left, return_exceptions=True), 100.0)
            )


@contextmanager
def _quietly() -> Iterator[None]:
    try:
        yield
    except Exception:
        return

"""Worker processes as a round directs them: it tells them what to do, listens, stops and kills
them.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import multiprocessing
import os
import signal
import socket
from contextlib import suppress
from typing import Any, Final

from fuzz.parts import worker
from fuzz.parts.worker import LINE_LIMIT, Settings
from fuzz.world import Mismatch

OVER: Final = ("closed", "ended", "error", "crash", "dead")
"""Words that end a job."""


class Job:
    """One thing a worker was told to do, and the lines it has answered so far."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.lines: list[list[Any]] = []
        self._news: list[asyncio.Event] = []

    def add(self, line: list[Any]) -> None:
        self.lines.append(line)
        for event in self._news:
            event.set()

    def said(self, word: str) -> list[list[Any]]:
        """Return the lines that begin with this word, each without it."""
        return [line[1:] for line in self.lines if line[0] == word]

    @property
    def over(self) -> list[Any] | None:
        """The line that ended the job, if it has ended."""
        return next((line for line in self.lines if line[0] in OVER), None)

    async def until(self, word: str, *, within: float, count: int = 1) -> bool:
        """Wait until the worker has said a word this often; return False if the job ended before.

        Raises:
            Mismatch: Neither happened within so many seconds.
        """
        news = asyncio.Event()
        self._news.append(news)
        try:
            async with asyncio.timeout(within):
                while len(self.said(word)) < count and self.over is None:
                    news.clear()
                    await news.wait()
        except TimeoutError:
            last = [line[0] for line in self.lines[-3:]]
            raise Mismatch(f"{self.what} hangs: no {word!r} in {within} s after {last}") from None
        finally:
            self._news.remove(news)
        return len(self.said(word)) >= count

    async def end(self, *, within: float) -> list[Any]:
        """Wait until the job is over; return the line that ended it. Raises as `until`."""
        await self.until("", within=within)
        assert self.over is not None
        return self.over


class Worker:
    """One process. It dies with the process that started it, since its channel ends then."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.alive = True
        self.baseline: list[Any] = []
        """Its census after it had done everything once, while it was idle."""
        self._jobs: dict[int, Job] = {}
        self._numbers = itertools.count()
        self._writer: asyncio.StreamWriter
        self._process: Any
        self._listening: asyncio.Task[None]

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    async def start(self) -> None:
        """Start the process as a fork of one that has imported everything."""
        ours, theirs = socket.socketpair()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["fuzz.parts.worker"])
        self._process = context.Process(
            target=worker.main, args=(theirs, self.settings), daemon=True
        )
        await asyncio.to_thread(self._process.start)
        theirs.close()
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=LINE_LIMIT)
        self._listening = asyncio.create_task(self._listen(reader))

    def tell(self, verb: str, *arguments: object) -> Job:
        """Start a job."""
        number = next(self._numbers)
        job = self._jobs[number] = Job(f"{self.name} {verb} {' '.join(map(str, arguments))}")
        if self.alive:
            self._writer.write(json.dumps([number, verb, *arguments]).encode() + b"\n")
        else:
            job.add(["dead"])
        return job

    def forget(self) -> None:
        """Drop the jobs that are over."""
        self._jobs = {number: job for number, job in self._jobs.items() if job.over is None}

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def kill(self) -> None:
        """Kill it, and read the lines it had sent."""
        self.signal(signal.SIGKILL)
        await self._listening

    async def leave(self) -> list[Any]:
        """Let it close its service and end; return how many tasks it left, and which."""
        job = self.tell("leave")
        await job.until("left", within=20.0)
        await self._listening
        return next(iter(job.said("left")), [0, "it was dead"])

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                number, *words = json.loads(line)
                self._jobs[number].add(words)
        except ConnectionError:
            pass
        self.alive = False
        for job in self._jobs.values():
            if job.over is None:
                job.add(["dead"])
        self._writer.close()
        await asyncio.to_thread(self._process.join)

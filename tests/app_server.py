"""Applications on a loopback socket, served by uvicorn in the process of the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp

KEEP_ALIVE = 600
"""Seconds that an idle connection is kept, longer than any test. Node.js gives one up after 4.
A server that does so after 5 closes it, on a busy machine, just when Node.js sends a request on it;
the request fails, and a reply that waits for it waits for ever.
"""

GRACE = 0.25
"""Seconds that open responses have when their server exits, before their application is told.
Most of those that are still open then end no sooner.
"""


class AppServer(uvicorn.Server):
    """uvicorn in the running event loop, without its signal handlers and without its polls.

    uvicorn asks every 0.1 s whether it shall exit, and then every 0.1 s whether its connections
    are closed. Here hundreds of tests start a server each.
    """

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                port=0,
                http="h11",
                log_level="critical",
                ws="none",
                timeout_keep_alive=KEEP_ALIVE,
            )
        )
        self._ending: asyncio.Task[None] | None = None
        self._connections = _Connections()
        self.server_state.connections = self._connections

    async def start(self) -> None:
        """Return once connections are accepted."""
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        await self.startup()
        # It sets the default headers.
        await self.on_tick(0)

    async def shut_down(self) -> None:
        """Shut down unless that is done or under way, and wait for the end of it."""
        if self._ending is None:
            self._ending = asyncio.create_task(self.shutdown())
        await self._ending

    async def shutdown(self, sockets: Any = None) -> None:
        """Let open responses end, and cancel those that last too long."""
        for server in self.servers:
            server.close()
        for connection in [*self._connections]:
            connection.shutdown()
        tasks = self.server_state.tasks
        try:
            async with asyncio.timeout(GRACE):
                await self._connections.closed.wait()
                if tasks:
                    await asyncio.wait([*tasks])
        except TimeoutError:
            for task in tasks:
                task.cancel()
        await self.lifespan.shutdown()

    @property
    def url(self) -> str:
        host, port = self.servers[0].sockets[0].getsockname()
        return f"http://{host}:{port}"


class _Connections(set[Any]):
    """The open connections. Each adds itself, and discards itself when it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = asyncio.Event()
        """Set while there are none."""
        self.closed.set()

    def add(self, connection: Any) -> None:
        super().add(connection)
        self.closed.clear()

    def discard(self, connection: Any) -> None:
        super().discard(connection)
        if not self:
            self.closed.set()


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[AppServer]:
    """Serve an application until the block ends."""
    server = AppServer(app)
    await server.start()
    try:
        yield server
    finally:
        await server.shut_down()

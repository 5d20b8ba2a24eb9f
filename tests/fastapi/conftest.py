from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp

from monostream_ai import DurableStreamService
from monostream_ai.ui_messages import UIMessageProtocol
from tests.backends import Backend, open_backend
from tests.fastapi.chat_client import ChatClient
from tests.frameworks import FRAMEWORKS, application
from tests.plugins.services import ServiceFactory

Serve = Callable[..., Awaitable[ChatClient]]
NewService = Callable[..., DurableStreamService[Any]]
ServeApp = Callable[[ASGIApp], Awaitable[ChatClient]]

KEEP_ALIVE = 600
"""Seconds that an idle connection is kept, longer than any test. Node.js gives one up after 4.
A server that does so after 5 closes it, on a busy machine, just when Node.js sends a request on it;
the request fails, and a reply that waits for it waits for ever.
"""


@pytest.fixture
def backend(tmp_path: Path, request: pytest.FixtureRequest) -> Backend:
    """Routes do not depend on the backend, so tests use the fastest one."""
    return open_backend("memory", tmp_path, request)


@pytest.fixture
def new_service(service_factory: ServiceFactory) -> NewService:
    """Make services on the same storage, each as another process would have it."""
    return lambda **options: service_factory(protocol=UIMessageProtocol(), **options)


class Server(uvicorn.Server):
    """uvicorn in this process and event loop, without its signal handlers."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                port=0,
                http="h11",
                log_level="critical",
                ws="none",
                timeout_graceful_shutdown=2,
                timeout_keep_alive=KEEP_ALIVE,
            )
        )
        self.ready = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @property
    def url(self) -> str:
        host, port = self.servers[0].sockets[0].getsockname()
        return f"http://{host}:{port}"


@pytest.fixture
async def serve_app(
    service_factory: ServiceFactory,
) -> AsyncIterator[ServeApp]:
    """Serve an application on a loopback socket until the test ends; return a client for it."""
    async with AsyncExitStack() as stack:

        async def start(app: ASGIApp) -> ChatClient:
            server = Server(app)
            running = asyncio.create_task(server.serve())
            await server.ready.wait()

            async def shut_down() -> None:
                server.should_exit = True
                await running

            stack.push_async_callback(shut_down)
            http = await stack.enter_async_context(
                httpx.AsyncClient(base_url=server.url, timeout=10.0)
            )
            return ChatClient(http, shut_down)

        yield start


@pytest.fixture
def framework(request: pytest.FixtureRequest) -> str:
    """The framework of `serve`. A test marked `every_framework` runs under each."""
    return getattr(request, "param", "fastapi")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marked = metafunc.definition.get_closest_marker("every_framework")
    if marked and "framework" in metafunc.fixturenames:
        # A sample has FastAPI and one of the others.
        others = [pytest.param(name, marks=pytest.mark.sweep(1)) for name in FRAMEWORKS[1:]]
        metafunc.parametrize("framework", [FRAMEWORKS[0], *others], indirect=True)


@pytest.fixture
def serve(serve_app: ServeApp, framework: str) -> Serve:
    """Serve the chats of a service; options go to `create_chat_router` or `create_chat_app`."""

    async def start(service: DurableStreamService[Any], reply: Any, **options: Any) -> ChatClient:
        # Most tests look at a chat right after its turn, and expect it to be idle.
        options = {"replay_window": 0.0, **options}
        return await serve_app(application(framework, service, reply, **options))

    return start

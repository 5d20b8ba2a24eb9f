from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from monostream_ai import DurableStreamService
from monostream_ai.ui_messages import UIMessageProtocol
from tests.app_server import serving
from tests.backends import Backend, open_backend
from tests.fastapi.chat_client import ChatClient
from tests.frameworks import FRAMEWORKS, application
from tests.plugins.services import ServiceFactory

Serve = Callable[..., Awaitable[ChatClient]]
NewService = Callable[..., DurableStreamService[Any]]
ServeApp = Callable[[ASGIApp], Awaitable[ChatClient]]


@pytest.fixture
def backend(tmp_path: Path, request: pytest.FixtureRequest) -> Backend:
    """Routes do not depend on the backend, so tests use the fastest one."""
    return open_backend("memory", tmp_path, request)


@pytest.fixture
def new_service(service_factory: ServiceFactory) -> NewService:
    """Make services on the same storage, each as another process would have it."""
    return lambda **options: service_factory(protocol=UIMessageProtocol(), **options)


@pytest.fixture
async def serve_app(
    service_factory: ServiceFactory,
) -> AsyncIterator[ServeApp]:
    """Serve an application on a loopback socket until the test ends; return a client for it."""
    async with AsyncExitStack() as stack:

        async def start(app: ASGIApp) -> ChatClient:
            server = await stack.enter_async_context(serving(app))
            http = await stack.enter_async_context(
                httpx.AsyncClient(base_url=server.url, timeout=10.0)
            )
            return ChatClient(http, server.shut_down)

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

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from monostream_ai.fastapi import create_chat_router
from monostream_ai.ui_messages import Chunk, UIMessageProtocol
from tests.app_server import serving
from tests.backends import Backend, open_backend
from tests.clients.resuming import scenarios
from tests.clients.resuming.scenarios import Scenarios
from tests.clients.resuming.scripted import Scripted
from tests.plugins.services import ServiceFactory

Serve = Callable[..., Awaitable["Served"]]


class Served:
    """A chat router on a loopback socket, with a scripted reply."""

    def __init__(self, url: str, service: Any, scripted: Scripted) -> None:
        self.url = url
        self.service = service
        self.message_ids = scripted.message_ids


@pytest.fixture
def backend(tmp_path: Path, request: pytest.FixtureRequest) -> Backend:
    """Routes know no backend, so the quickest one will do."""
    return open_backend("memory", tmp_path, request)


@pytest.fixture
def recorded(recorded_chunks: Mapping[str, Sequence[Sequence[Chunk]]]) -> Scenarios:
    """Messages recorded by the tests of the captures, and random messages."""
    if not recorded_chunks:
        pytest.skip("runs after tests/langchain, which records the messages")
    return scenarios.of_langchain(recorded_chunks) | scenarios.of_openai() | scenarios.built(20)


@pytest.fixture(params=range(4))
def some_recorded(request: pytest.FixtureRequest, recorded: Scenarios) -> Scenarios:
    """A quarter of the recorded messages."""
    return {name: recorded[name] for name in [*recorded][request.param :: 4]}


@pytest.fixture
async def serve(packages: Path, service_factory: ServiceFactory) -> AsyncIterator[Serve]:
    """Serve replies that write these scenarios; options go to `create_chat_router`."""
    async with AsyncExitStack() as stack:

        async def start(known: Mapping[str, Sequence[Chunk]], **options: Any) -> Served:
            service, scripted = service_factory(protocol=UIMessageProtocol()), Scripted(known)
            app = FastAPI()
            app.include_router(create_chat_router(service, scripted, **options), prefix="/api/chat")
            server = await stack.enter_async_context(serving(scripted.returns.around(app)))
            return Served(server.url, service, scripted)

        yield start

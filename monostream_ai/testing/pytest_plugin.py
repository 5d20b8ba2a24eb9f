"""A fixture that runs your chat application, for pytest with pytest-asyncio.

    pytest_plugins = ["monostream_ai.testing.pytest_plugin"]

    @pytest.fixture
    def make_app():
        return create_app  # a function from a service to an ASGI application

    async def test_a_greeting(chat_processes):
        server = await chat_processes.start()
        answer = await server.ask("Hi!")
        assert "Hello" in (await answer.rest())["parts"][0]["text"]

It is no entry point, so it costs nothing in projects that do not name it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from monostream_ai.testing.chats import ChatProcesses, MakeApp


@pytest.fixture
def make_app() -> MakeApp:
    raise pytest.UsageError(
        "define a fixture 'make_app' that returns a function from a service to your application"
    )


@pytest_asyncio.fixture
async def chat_processes(make_app: MakeApp) -> AsyncIterator[ChatProcesses]:
    """Processes of your application on one memory; for another path or headers, use
    `ChatProcesses` itself.
    """
    async with ChatProcesses(make_app) as processes:
        yield processes

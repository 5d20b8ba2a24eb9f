"""Publishing from code that has no event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableParallel
from langchain_core.tools import tool

from monostream_ai import (
    DurableStreamService,
    InvalidURL,
    PublisherClosed,
    StreamStopped,
    VersionConflict,
    create_service,
)
from monostream_ai.langchain import StreamCallbackHandler
from monostream_ai.threads import SyncPublisher
from monostream_ai.types import VersionInfo
from monostream_ai.ui_messages import Chunk
from tests.langchain.recording import check_message, outline
from tests.langchain.scripted import USER, ScriptedModel, agent, calls, says

TEXT: Chunk = {"type": "data-note", "data": "é"}


@tool
def weather(city: str) -> str:
    """Tell the weather."""
    return f"Warm in {city}"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'chat.db'}"


def stored(url: str) -> tuple[VersionInfo, list[Chunk]]:
    async def read() -> tuple[VersionInfo, list[Chunk]]:
        async with create_service(url) as service:
            return await service.status("chat"), await service.chunks("chat")

    return asyncio.run(read())


def test_a_sync_agent_is_recorded(url: str) -> None:
    model = ScriptedModel(scripts=[calls(("call_1", "weather", '{"city":"Paris"}')), says("Warm")])
    with SyncPublisher(url, "chat", message_id="m1") as pub:
        agent(model, [weather]).invoke(USER, {"callbacks": [StreamCallbackHandler(pub)]})

    info, chunks = stored(url)
    check_message(chunks)
    lines = outline(chunks)
    assert (lines[0], lines[-1], info.message_id) == ("start m1", "finish stop", "m1")
    assert "tool-output-available call_1 Warm in Paris" in lines


def test_chains_in_many_threads_make_one_message(url: str) -> None:
    models = {name: ScriptedModel(scripts=[says(*[name] * 20)]) for name in "abcd"}
    with SyncPublisher(url, "chat") as pub:
        RunnableParallel(**models).invoke("hi", {"callbacks": [StreamCallbackHandler(pub)]})

    _, chunks = stored(url)
    check_message(chunks)
    assert [chunk["type"] for chunk in chunks].count("text-delta") == 80


def test_written_chunks_are_durable_and_in_order(url: str) -> None:
    with SyncPublisher(url, "chat") as pub:
        pub.push({"type": "start"})
        assert pub.write(TEXT) == 1
        assert (pub.stream_id, pub.version, pub.message_id) == ("chat", 0, None)
        pub.push(TEXT)
        pub.flush()
        info, chunks = stored(url)

    assert (info.state, chunks) == ("open", [{"type": "start"}, TEXT, TEXT])


@pytest.mark.parametrize(
    ("error", "last"), [(ZeroDivisionError, "error"), (KeyboardInterrupt, "abort")]
)
def test_a_block_that_is_left_by_an_exception_says_so(
    url: str, error: type[BaseException], last: str
) -> None:
    with pytest.raises(error), SyncPublisher(url, "chat") as pub:
        pub.push({"type": "start"})
        raise error

    assert stored(url)[1][-1]["type"] == last


def test_a_stop_reaches_the_next_write_and_the_end_of_the_block(url: str) -> None:
    async def stop() -> bool:
        async with create_service(url) as service:
            return await service.stop("chat")

    with pytest.raises(StreamStopped), SyncPublisher(url, "chat") as pub:
        pub.write({"type": "start"})
        assert asyncio.run(stop())
        with pytest.raises(StreamStopped):
            pub.write(TEXT)
        pub.push(TEXT)

    assert stored(url)[1][-1]["type"] == "abort"


def _taken(url: str) -> SyncPublisher:
    with SyncPublisher(url, "chat", version=3):
        pass
    return SyncPublisher(url, "chat", version=3)


@pytest.mark.parametrize(
    ("make", "error"),
    [(_taken, VersionConflict), (lambda url: SyncPublisher("nowhere", "chat"), InvalidURL)],
)
def test_a_version_that_cannot_be_opened_leaves_no_thread(
    url: str, make: Callable[[str], Any], error: type[Exception]
) -> None:
    with pytest.raises(error), make(url):
        pass

    for thread in threading.enumerate():
        if thread.name == "publisher chat":
            thread.join(5.0)
    assert "publisher chat" not in {thread.name for thread in threading.enumerate()}


def test_outside_its_block_it_is_closed(url: str) -> None:
    pub = SyncPublisher(url, "chat")
    with pytest.raises(PublisherClosed):
        pub.push(TEXT)
    with pub:
        pub.push(TEXT)
    with pytest.raises(PublisherClosed):
        pub.write(TEXT)


def test_a_service_of_your_own_is_made_on_its_thread(url: str) -> None:
    made: list[str] = []

    def service() -> DurableStreamService[Any]:
        made.append(threading.current_thread().name)
        return create_service(url, lease=5.0)

    with SyncPublisher(service, "chat") as pub:
        pub.write({"type": "start"})

    assert made == ["publisher chat"]
    assert stored(url)[1][-1]["type"] == "finish"

"""A handler that could record nothing is refused: its answer would look like an empty success."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from monostream_ai import (
    DurableStreamService,
    Fenced,
    PublisherClosed,
    StreamClosed,
    StreamStopped,
    create_service,
)
from monostream_ai.errors import InvalidArgument, InvalidStreamId, InvalidText, InvalidWord
from monostream_ai.langchain import OwningCallbackHandler, StreamCallbackHandler, attached
from monostream_ai.threads import SyncPublisher
from monostream_ai.ui_messages import Chunk
from tests.langchain.recording import Sink
from tests.langchain.scripted import USER, ScriptedModel, agent, calls, says, weather

Service = DurableStreamService[Chunk]


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with create_service("memory://") as service:
        yield service


async def ask_a_model(config: Any) -> None:
    await ScriptedModel(scripts=[says("hi")]).ainvoke("hi", config)


async def ask_a_model_in_a_thread(config: Any) -> None:
    await asyncio.to_thread(ScriptedModel(scripts=[says("hi")]).invoke, "hi", config)


async def stream_a_graph(config: Any) -> None:
    script = [calls(("call_1", "weather", '{"city": "Rome"}')), says("Warm")]
    async for _ in agent(ScriptedModel(scripts=script), [weather]).astream(USER, config):
        pass


async def use_a_tool(config: Any) -> None:
    await weather.ainvoke({"city": "Rome"}, config)


RUNS = [ask_a_model, ask_a_model_in_a_thread, stream_a_graph, use_a_tool]


@pytest.mark.parametrize("run", RUNS)
async def test_a_handler_of_an_answer_that_has_ended_is_refused(
    service: Service, run: Callable[[Any], Any]
) -> None:
    async with service.publisher("first") as pub:
        handler = StreamCallbackHandler(pub)
        await ask_a_model({"callbacks": [handler]})
    with pytest.raises(StreamClosed, match="'first' version 0"):
        async with service.publisher("second"):
            await run({"callbacks": [handler]})

    assert [chunk["type"] for chunk in await service.chunks("second")] == ["start", "error"]
    with pytest.raises(StreamClosed):
        StreamCallbackHandler(pub)
    with pytest.raises(StreamClosed), attached(handler):
        pass


@pytest.mark.parametrize("run", RUNS)
async def test_a_handler_of_a_stopped_or_superseded_answer_is_refused(
    service: Service, run: Callable[[Any], Any]
) -> None:
    stopped, superseded = [await service.publisher(name).open() for name in ("a", "b")]
    handlers = [StreamCallbackHandler(pub) for pub in (stopped, superseded)]
    await service.stop("a")
    newer = await service.publisher("b").open()
    for pub, error in zip((stopped, superseded), (StreamStopped, Fenced), strict=True):
        with pytest.raises(error):
            await pub.write({"type": "start"})

    for handler, error in zip(handlers, (StreamStopped, Fenced), strict=True):
        with pytest.raises(error):
            await run({"callbacks": [handler]})
    await newer.release()


async def test_a_handler_whose_publisher_is_not_open_is_refused_when_it_is_used(
    service: Service,
) -> None:
    pub = service.publisher("chat")
    handler = StreamCallbackHandler(pub)

    with pytest.raises(PublisherClosed, match="not open"):
        await ask_a_model({"callbacks": [handler]})
    async with pub:
        await ask_a_model({"callbacks": [handler]})
    assert any(chunk["type"] == "text-delta" for chunk in await service.chunks("chat"))


def test_a_handler_of_a_sync_block_that_has_ended_is_refused() -> None:
    model = ScriptedModel(scripts=[says("hi")])
    with SyncPublisher("memory://", "chat") as pub:
        handler = StreamCallbackHandler(pub)
        model.invoke("hi", {"callbacks": [handler]})

    with pytest.raises(PublisherClosed):
        model.invoke("hi", {"callbacks": [handler]})
    with pytest.raises(PublisherClosed):
        StreamCallbackHandler(pub)


async def test_a_background_run_that_has_inherited_its_handler_goes_on(service: Service) -> None:
    go_on = asyncio.Event()

    async def title() -> str:
        await go_on.wait()
        return (await ScriptedModel(scripts=[says("A title")]).ainvoke("hi")).text

    async with service.publisher("chat") as pub:
        with attached(StreamCallbackHandler(pub)):
            background = asyncio.create_task(title())
            await asyncio.sleep(0)
    go_on.set()

    assert await background == "A title"


@pytest.mark.parametrize("run", RUNS)
async def test_two_handlers_of_one_publisher_do_not_record_one_run_twice(
    service: Service, run: Callable[[Any], Any]
) -> None:
    """Each would begin the same parts, and every client would fail at the message."""
    with pytest.raises(InvalidArgument, match="two handlers of one publisher"):
        async with service.publisher("chat") as pub:
            await run({"callbacks": [StreamCallbackHandler(pub), StreamCallbackHandler(pub)]})

    assert (await service.chunks("chat"))[-1]["type"] == "error"


async def test_a_handler_of_the_model_beside_one_of_the_chain_is_refused(service: Service) -> None:
    with pytest.raises(InvalidArgument, match="two handlers of one publisher"):
        async with service.publisher("chat") as pub:
            model = ScriptedModel(scripts=[says("hi")], callbacks=[StreamCallbackHandler(pub)])
            await agent(model, []).ainvoke(USER, {"callbacks": [StreamCallbackHandler(pub)]})


async def test_handlers_of_one_publisher_may_record_one_after_another(service: Service) -> None:
    async with service.publisher("chat") as pub:
        for _ in range(2):
            await ask_a_model({"callbacks": [StreamCallbackHandler(pub)]})

    texts = [chunk["delta"] for chunk in await service.chunks("chat") if "delta" in chunk]
    assert texts == ["hi", "hi"]


@pytest.mark.parametrize("name", ["service", "turn", "stream id", "nothing", "class", "coroutine"])
async def test_what_is_no_publisher_is_refused_by_name(service: Service, name: str) -> None:
    opening = service.publisher("chat").open()
    given: dict[str, Any] = {
        "service": service,
        "turn": SimpleNamespace(message_id="m1", pub=Sink()),
        "stream id": "chat:1",
        "nothing": None,
        "class": Sink,
        "coroutine": opening,
    }
    with pytest.raises(TypeError, match="StreamCallbackHandler needs a publisher, not"):
        StreamCallbackHandler(given[name])
    opening.close()


async def tag(*given: Any) -> Any:
    """Stand in for an option that must not be async."""


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"nested": "shown"}, InvalidWord, "nested"),
        ({"nested": None}, InvalidWord, "nested"),
        ({"exclude_tags": "internal"}, TypeError, "exclude_tags"),
        ({"exclude_tags": [1]}, TypeError, "exclude_tags"),
        ({"exclude_tags": None}, TypeError, "exclude_tags"),
        ({"include": "model"}, TypeError, "include"),
        ({"include": tag}, TypeError, "include"),
        ({"error_text": "Sorry."}, TypeError, "error_text"),
        ({"error_text": functools.partial(tag, 1)}, TypeError, "error_text"),
        ({"tool_output": 1}, TypeError, "tool_output"),
        ({"tool_output": tag}, TypeError, "tool_output"),
        ({"continued": []}, TypeError, "continued"),
        ({"continued": "m1"}, TypeError, "continued"),
    ],
)
async def test_an_option_that_would_fail_unheard_is_refused(
    service: Service, options: dict[str, Any], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        StreamCallbackHandler(Sink(), **options)
    with pytest.raises(error, match=named):
        OwningCallbackHandler(service, "chat", **options)


@pytest.mark.parametrize(
    ("stream_id", "opening", "error"),
    [
        ("", {}, InvalidStreamId),
        ("chat", {"owner": "a\0"}, InvalidText),
        ("chat", {"attempt": -1}, InvalidArgument),
        ("chat", {"version": -1}, InvalidArgument),
        ("chat", {"unknown": 1}, TypeError),
        ("chat", {"request": object()}, InvalidArgument),
    ],
)
async def test_an_owning_handler_is_refused_the_options_that_no_version_can_have(
    service: Service, stream_id: str, opening: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        OwningCallbackHandler(service, stream_id, opening=opening)


async def test_an_owning_handler_needs_a_service(service: Service) -> None:
    async with service.publisher("chat") as pub:
        for given in (pub, "memory://", None, DurableStreamService):
            with pytest.raises(TypeError, match="needs a service"):
                OwningCallbackHandler(given, "chat")  # type: ignore[arg-type]  # the fault tested


@pytest.mark.parametrize("given", [None, "handler", StreamCallbackHandler, object()])
def test_attached_needs_a_handler(given: Any) -> None:
    with pytest.raises(TypeError, match="attached needs a callback handler"), attached(given):
        pass

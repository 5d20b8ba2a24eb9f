"""The handler records without changing any result of LangChain.

L, Q and K: rows of the integration reference.
"""

from __future__ import annotations

import inspect
import threading
from typing import Any
from uuid import uuid4

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessageChunk
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from monostream_ai.errors import ChunkTooLarge
from monostream_ai.langchain import StreamCallbackHandler
from monostream_ai.ui_messages import Chunk
from tests.langchain.recording import Recorder, Sink
from tests.langchain.scripted import USER, ScriptedModel, agent, calls, says, weather

HOOKS = [
    name
    for name, hook in vars(StreamCallbackHandler).items()
    if name.startswith("on_") and inspect.isfunction(hook)
]


def script() -> list[list[Any]]:
    return [calls(("call_1", "weather", '{"city":"Paris"}')), says("Warm", tokens=1)]


def without_ids(value: Any) -> Any:
    dumped = [message.model_dump(exclude={"id"}) for message in value["messages"]]
    return [
        {key: item for key, item in message.items() if key != "response_metadata"}
        for message in dumped
    ]


@pytest.mark.parametrize("force_streaming", [True, False])
async def test_q4_an_agent_answers_alike_with_and_without_the_handler(
    force_streaming: bool,
) -> None:
    recorder = Recorder(force_streaming=force_streaming)

    plain = await agent(ScriptedModel(scripts=script()), [weather]).ainvoke(USER)
    recorded = await agent(ScriptedModel(scripts=script()), [weather]).ainvoke(
        USER, recorder.config
    )

    assert without_ids(recorded) == without_ids(plain)


@pytest.mark.parametrize("force_streaming", [True, False])
async def test_q4_a_chain_streams_alike_with_and_without_the_handler(force_streaming: bool) -> None:
    chain = RunnableLambda(str) | ScriptedModel(scripts=[says("Hel", "lo")]) | StrOutputParser()
    recorder = Recorder(force_streaming=force_streaming)

    assert [piece async for piece in chain.astream("hi", recorder.config)] == [
        piece async for piece in chain.astream("hi")
    ]


async def test_q4_events_are_the_same_when_streaming_is_not_forced() -> None:
    chain = ScriptedModel(scripts=[says("Hel", "lo")]) | StrOutputParser()
    recorder = Recorder(force_streaming=False)

    plain = [event["event"] async for event in chain.astream_events("hi", version="v2")]
    recorded = [
        event["event"] async for event in chain.astream_events("hi", recorder.config, version="v2")
    ]

    assert recorded == plain
    assert "on_parser_stream" in recorded


async def test_q4_an_agent_that_asks_a_human_answers_alike_with_and_without_the_handler() -> None:
    async def answer(config: Any) -> list[Any]:
        middleware: Any = [HumanInTheLoopMiddleware({"weather": True})]
        model = ScriptedModel(scripts=script())
        graph = create_agent(model, [weather], middleware=middleware, checkpointer=InMemorySaver())
        config = {**config, "configurable": {"thread_id": "1"}}
        asked = await graph.ainvoke(USER, config)
        decided = await graph.ainvoke(Command(resume={"decisions": [{"type": "approve"}]}), config)
        return [asked["__interrupt__"][0].value, without_ids(decided)]

    assert await answer(Recorder().config) == await answer({})


async def test_q4_an_error_passes_through_as_it_is() -> None:
    error = ConnectionError("secret")
    with pytest.raises(ConnectionError) as raised:
        await ScriptedModel(scripts=[[error]]).ainvoke("hi", Recorder().config)

    assert raised.value is error


def test_k5_no_hook_of_langchain_is_forgotten() -> None:
    theirs = {name for name in dir(BaseCallbackHandler) if name.startswith("on_")}
    not_needed = {"on_agent_action", "on_agent_finish", "on_retry", "on_text"}

    assert set(HOOKS) == theirs - not_needed


@pytest.mark.parametrize("name", HOOKS)
def test_k5_each_hook_takes_what_langchain_passes(name: str) -> None:
    theirs = inspect.signature(getattr(BaseCallbackHandler, name)).parameters
    ours = inspect.signature(getattr(StreamCallbackHandler, name)).parameters
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in ours.values())

    positional = [
        key
        for key, parameter in theirs.items()
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    assert list(ours)[: len(positional)] == positional
    assert takes_any


def test_the_repr_of_a_handler_shows_its_publisher() -> None:
    sink = Sink()

    assert repr(StreamCallbackHandler(sink)) == f"<StreamCallbackHandler of {sink!r}>"


def test_l4_a_handler_is_hashable() -> None:
    assert len({Recorder().handler, Recorder().handler}) == 2


def test_l19_only_a_handler_that_forces_streaming_taps() -> None:
    plain, forcing = Recorder(force_streaming=False).handler, Recorder().handler

    assert not hasattr(plain, "tap_output_aiter")
    iterator = iter([1])
    assert forcing.tap_output_iter(uuid4(), iterator) is iterator


async def test_a_sink_that_fails_does_not_fail_the_run(caplog: pytest.LogCaptureFixture) -> None:
    class Full(Sink):
        def push(self, *chunks: Chunk) -> None:
            raise RuntimeError("full")

    answer = await ScriptedModel(scripts=[says("Hi")]).ainvoke(
        "hi", {"callbacks": [StreamCallbackHandler(Full())]}
    )

    assert answer.text == "Hi"
    assert "full" in caplog.text


class Narrow(Sink):
    """Takes small chunks only."""

    def push(self, *chunks: Chunk) -> None:
        if any(len(str(chunk)) > 250 for chunk in chunks):
            raise ChunkTooLarge("chunk", 251, 250)
        super().push(*chunks)


async def narrowly(*scripts: list[Any], **options: Any) -> list[str]:
    sink = Narrow()
    handler = StreamCallbackHandler(sink, **options)
    await agent(ScriptedModel(scripts=list(scripts)), [weather]).ainvoke(
        USER, {"callbacks": [handler]}
    )
    return sink.outline()


PARIS = calls(("call_1", "weather", '{"city":"Paris"}'))


async def test_a_result_over_the_limit_becomes_an_error_in_the_message() -> None:
    lines = await narrowly(PARIS, says("Warm"), tool_output=lambda message: "x" * 300)

    assert "tool-output-error call_1 The result is too large to show." in lines


async def test_a_failure_over_the_limit_gets_a_short_text() -> None:
    lines = await narrowly(calls(("call_1", "x" * 150, "{}")), says("Sorry"))

    assert "tool-output-error call_1 The result is too large to show." in lines


async def test_text_over_the_limit_comes_in_pieces() -> None:
    lines = await narrowly(says("." * 1000))

    assert sum(line.count(".") for line in lines if line.startswith("text-delta")) == 1000
    assert lines[-3:] == ["text-end A:0", "finish-step", "finish stop"]


async def test_input_over_the_limit_is_an_error_and_its_call_goes_on() -> None:
    lines = await narrowly(calls(("call_1", "weather", f'{{"city":"{"x" * 300}"}}')), says("Warm"))

    assert "tool-input-error call_1 weather None The input is too large to show." in lines
    assert "tool-output-error call_1 The result is too large to show." in lines


async def test_a_file_over_the_limit_leaves_a_text_and_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    image = AIMessageChunk(
        [
            {"type": "text", "text": "a"},
            {"type": "image", "base64": "A" * 300, "mime_type": "image/png"},
        ]
    )
    lines = await narrowly([image, AIMessageChunk("b")])

    assert [line.split(maxsplit=2)[-1] for line in lines if "delta" in line] == [
        "a",
        "A file (image/png) is too large to show.",
        "b",
    ]
    assert "a file chunk is too large" in caplog.text


def test_an_event_in_the_middle_of_another_waits_for_its_turn() -> None:
    """The garbage collector may close a generator in the middle of an event, and report its end."""
    first, second = uuid4(), uuid4()

    class Collecting(Sink):
        def push(self, *chunks: Chunk) -> None:
            super().push(*chunks)
            if chunks[-1].get("delta") == "b":
                handler.on_llm_error(GeneratorExit(), run_id=first)

    sink = Collecting()
    handler = StreamCallbackHandler(sink)
    for run_id, text in ((first, "a"), (second, "b")):
        handler.on_chat_model_start({}, [], run_id=run_id)
        chunk = ChatGenerationChunk(message=AIMessageChunk(text))
        handler.on_llm_new_token(text, chunk=chunk, run_id=run_id)

    assert sink.outline()[-5:] == [
        "text-delta B:0 b",
        "text-end A:0",
        "text-end B:0",
        "finish-step",
        "finish stop",
    ]


def test_l11_threads_may_report_at_the_same_time() -> None:
    recorder = Recorder()
    ready = threading.Barrier(4)

    def speak() -> None:
        run_id = uuid4()
        ready.wait()
        recorder.handler.on_chat_model_start({}, [], run_id=run_id)
        for _ in range(50):
            recorder.handler.on_llm_new_token(
                "x", chunk=ChatGenerationChunk(message=AIMessageChunk("x")), run_id=run_id
            )
        recorder.handler.on_llm_error(RuntimeError(), run_id=run_id)

    threads = [threading.Thread(target=speak) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    lines = recorder.outline()
    assert len([line for line in lines if line.startswith("text-delta")]) == 200
    assert len([line for line in lines if line.startswith("text-start")]) == 4


def test_callbacks_of_runs_that_began_before_the_handler_are_ignored() -> None:
    recorder = Recorder()
    recorder.handler.on_llm_error(RuntimeError(), run_id=uuid4())
    recorder.handler.on_chain_end({}, run_id=uuid4())
    recorder.handler.on_tool_end("x", run_id=uuid4())
    recorder.handler.on_llm_new_token("x", run_id=uuid4())

    assert recorder.sink.chunks == []


def test_no_start_is_sent_if_the_program_sends_it() -> None:
    recorder = Recorder(send_start=False)
    recorder.handler.on_chat_model_start({}, [], run_id=uuid4())

    assert recorder.sink.chunks == [{"type": "start-step"}]

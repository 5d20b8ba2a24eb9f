"""A successor's handler goes on with a message wherever a lost publisher broke it off."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from monostream_ai import create_service
from monostream_ai.langchain import StreamCallbackHandler, resume_value
from monostream_ai.ui_messages import Chunk, UIMessage, reduce_chunks
from tests.langchain.recording import Sink, check_message
from tests.langchain.scripted import USER, ScriptedModel, agent, calls, clock, says, weather


class Successor(Sink):
    """The sink of a publisher that took over a version with these chunks."""

    def __init__(self, written: Sequence[Chunk]) -> None:
        super().__init__()
        self.written = written
        self.chunks = [*written]


def texts(message: UIMessage) -> list[str]:
    return [part["text"] for part in message["parts"] if part["type"] == "text"]


def shown(message: UIMessage) -> list[Any]:
    """Return the parts without ids, which differ from run to run."""
    return [
        part["text"]
        if part["type"] in ("text", "reasoning")
        else (part["type"], part.get("toolName"), part.get("input"), part.get("output"))
        for part in message["parts"]
        if part["type"] != "step-start"
    ]


async def story(sink: Sink, *words: str, **options: Any) -> None:
    handler = StreamCallbackHandler(sink, **options)
    model = ScriptedModel(scripts=[says(*words)])
    await model.ainvoke("tell", config={"callbacks": [handler]})


@pytest.mark.parametrize("space", ["", " "], ids=["in a word", "after a space"])
async def test_a_model_goes_on_in_the_text_that_its_prompt_ended_with(space: str) -> None:
    first = Sink()
    await story(first, "Once upon", " a time", " there was")
    cut = [chunk for chunk in first.chunks if chunk["type"] != "text-end"][:5]
    cut[-1] = {**cut[-1], "delta": " a time" + space}
    sink = Successor(cut)

    await story(sink, " there", " was", " a king", goes_on=True)

    assert texts(sink.message()) == ["Once upon a time there was a king"]
    check_message(sink.ended())


async def test_a_model_that_begins_anew_takes_its_half_answer_back() -> None:
    first = Sink()
    await story(first, "Once upon", " a time")
    sink = Successor(first.chunks[:4])

    await story(sink, "Once upon", " a time")

    message = reduce_chunks(sink.ended(), finished=True)
    assert texts(message) == ["Once upon a time"]


async def test_usage_and_reason_are_those_of_the_whole_message() -> None:
    first = Sink()
    await ScriptedModel(scripts=[says("one", tokens=3)]).ainvoke(
        "x", config={"callbacks": [StreamCallbackHandler(first)]}
    )
    sink = Successor(first.chunks)

    await ScriptedModel(scripts=[says("two", tokens=4)]).ainvoke(
        "x", config={"callbacks": [StreamCallbackHandler(sink)]}
    )

    assert sink.message()["metadata"]["usage"]["totalTokens"] == 14


class RepeatableModel(ScriptedModel):
    """Says the same each time that it is asked the same."""

    def _astream(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        self._calls = sum(isinstance(message, AIMessage) for message in messages)
        return super()._astream(messages, *args, **kwargs)


SCRIPTS: Any = [
    [*says("I will ", "look."), *calls(("c1", "weather", '{"city":"Rome"}'))],
    [*says("And now ", "the clock."), *calls(("c2", "clock", '{"zone":"UTC"}'))],
    says("It is ", "21 degrees", " at noon."),
]


async def answer(sink: Sink, saver: InMemorySaver, scripts: Any = SCRIPTS) -> None:
    """Run the graph, or go on with it from its checkpoint."""
    handler = StreamCallbackHandler(sink)
    config: Any = {"callbacks": [handler], "configurable": {"thread_id": "t"}}
    graph = agent(RepeatableModel(scripts=scripts), [weather, clock]).builder.compile(
        checkpointer=saver
    )
    before = await graph.aget_state(config)
    handler.show_finished(before, skip=1)
    if before.next or not before.values:
        given: Any = None if before.next else USER
        await graph.ainvoke(given, config, durability="sync")


class Dies(BaseException):
    """The process is killed: nothing of LangChain catches it."""


class Mortal(Successor):
    """Dies at its `budget`-th chunk; the last `lost` ones before were on their way then."""

    def __init__(self, budget: int, lost: int) -> None:
        super().__init__([])
        self._budget, self._lost = budget, lost

    def push(self, *chunks: Chunk) -> None:
        for chunk in chunks:
            if len(self.chunks) >= self._budget:
                raise Dies
            super().push(chunk)

    @property
    def stored(self) -> list[Chunk]:
        return self.chunks[: max(1, len(self.chunks) - self._lost)]


@pytest.mark.sweep(1)
@pytest.mark.parametrize("lost", [0, 1, 3])
async def test_a_graph_goes_on_from_its_checkpoint_wherever_it_broke_off(lost: int) -> None:
    expected = Sink()
    await answer(expected, InMemorySaver())
    for cut in range(1, len(expected.chunks)):
        saver = InMemorySaver()
        first = Mortal(cut, lost)
        with pytest.raises(Dies):
            await answer(first, saver)
        sink = Successor(first.stored)

        await answer(sink, saver)

        message = reduce_chunks(sink.ended(), finished=True)
        assert shown(message) == shown(expected.message()), cut


@pytest.mark.sweep(1)
@pytest.mark.parametrize("lost", [0, 3])
async def test_a_call_id_that_a_model_uses_in_each_step_names_another_call_each_time(
    lost: int,
) -> None:
    script = [
        [*says("First."), *calls(("c1", "weather", '{"city":"Rome"}'))],
        [*says("Next."), *calls(("c1", "weather", '{"city":"Paris"}'))],
        calls(("c1", "weather", '{"city":"Oslo"}')),
        says("Warm."),
    ]
    await answer(expected := Sink(), InMemorySaver(), script)
    for cut in range(1, len(expected.chunks)):
        saver = InMemorySaver()
        first = Mortal(cut, lost)
        with pytest.raises(Dies):
            await answer(first, saver, script)
        sink = Successor(first.stored)

        await answer(sink, saver, script)

        message = reduce_chunks(sink.ended(), finished=True)
        assert shown(message) == shown(expected.message()), cut


def ask_user(script: list[list[Any]]) -> tuple[InMemorySaver, Any]:
    """Return a checkpointer and an agent that asks before it looks up the weather."""
    saver = InMemorySaver()
    middleware = [HumanInTheLoopMiddleware({"weather": True})]
    model = RepeatableModel(scripts=script)
    return saver, create_agent(model, [weather, clock], middleware=middleware, checkpointer=saver)


async def ask(sink: Sink, graph: Any) -> None:
    """Run the graph up to its question, or go on with it from its checkpoint."""
    handler = StreamCallbackHandler(sink)
    config: Any = {"callbacks": [handler], "configurable": {"thread_id": "t"}}
    before = await graph.aget_state(config)
    handler.show_finished(before, skip=1)
    await graph.ainvoke(None if before.values else USER, config, durability="sync")


def approve(message: UIMessage) -> UIMessage:
    for part in message["parts"]:
        if "approval" in part:
            part["approval"] = {**part["approval"], "approved": True}
            part["state"] = "approval-responded"
    return message


async def decide(sink: Sink, graph: Any, asked: UIMessage) -> None:
    """Go on with the answer that the user has decided on, or with the rest of it."""
    handler = StreamCallbackHandler(sink, continued=asked)
    config: Any = {"callbacks": [handler], "configurable": {"thread_id": "t"}}
    before = await graph.aget_state(config)
    handler.show_finished(before, skip=1)
    given = Command(resume=resume_value([asked])) if before.interrupts else None
    if before.next:
        await graph.ainvoke(given, config, durability="sync")


@pytest.mark.sweep(2)
@pytest.mark.parametrize("approved", [True, False], ids=["approved", "denied"])
@pytest.mark.parametrize("next_id", ["c2", "c1"], ids=["another id", "the same id"])
@pytest.mark.parametrize("lost", [0, 1, 3])
async def test_an_answer_that_the_user_decided_on_shows_nothing_twice(
    approved: bool, next_id: str, lost: int
) -> None:
    script: Any = [SCRIPTS[0], [*SCRIPTS[1][:2], *calls((next_id, "clock", "{}"))], SCRIPTS[2]]

    async def asked() -> tuple[Any, UIMessage]:
        _, graph = ask_user(script)
        sink = Sink()
        handler = StreamCallbackHandler(sink)
        config: Any = {"callbacks": [handler], "configurable": {"thread_id": "t"}}
        await graph.ainvoke(USER, config, durability="sync")
        message = sink.message()
        call = next(part for part in message["parts"] if "approval" in part)
        call["approval"] = {**call["approval"], "approved": approved}
        call["state"] = "approval-responded"
        return graph, message

    graph, message = await asked()
    await decide(expected := Sink(), graph, message)
    whole = shown(expected.message(message))
    assert whole.count("I will look.") == 1
    assert whole.count("It is 21 degrees at noon.") == 1
    for cut in range(1, len(expected.chunks)):
        graph, message = await asked()
        first = Mortal(cut, lost)
        with pytest.raises(Dies):
            await decide(first, graph, message)
        sink = Successor(first.stored)

        await decide(sink, graph, message)

        assert shown(sink.message(message)) == whole, cut


@pytest.mark.sweep(1)
@pytest.mark.parametrize("lost", [0, 3])
async def test_each_of_several_calls_is_asked_about_wherever_the_question_broke_off(
    lost: int,
) -> None:
    both = calls(("c1", "weather", '{"city":"Rome"}'), ("c2", "weather", '{"city":"Oslo"}'))
    script = [[*says("Both.", tokens=3), *both]]

    def asked(message: UIMessage) -> list[Any]:
        parts = [part for part in message["parts"] if part["type"] == "dynamic-tool"]
        return [(part["input"], part["state"]) for part in parts]

    await ask(expected := Sink(), ask_user(script)[1])
    whole = expected.message()
    assert [state for _, state in asked(whole)] == ["approval-requested"] * 2
    for cut in range(1, len(expected.chunks) + 1):
        _, graph = ask_user(script)
        first = Mortal(cut, lost)
        with suppress(Dies):
            await ask(first, graph)
        sink = Successor(first.stored)

        await ask(sink, graph)

        message = reduce_chunks(sink.ended(), finished=True)
        assert texts(message) == ["Both."], cut
        assert asked(message) == asked(whole), cut
        assert message["metadata"] == whole["metadata"], cut


@pytest.mark.sweep(1)
@pytest.mark.parametrize("lost", [0, 3])
async def test_a_question_that_a_successor_asked_is_answered_as_any_other(lost: int) -> None:
    _, graph = ask_user(SCRIPTS)
    await ask(expected := Sink(), graph)
    message = approve(expected.message())
    await decide(answered := Sink(), graph, message)
    whole = shown(answered.message(message))
    for cut in range(1, len(expected.chunks)):
        _, graph = ask_user(SCRIPTS)
        first = Mortal(cut, lost)
        with pytest.raises(Dies):
            await ask(first, graph)
        await ask(second := Successor(first.stored), graph)
        message = approve(reduce_chunks(second.ended(), finished=True))

        await decide(sink := Sink(), graph, message)

        assert shown(sink.message(message)) == whole, cut


@tool
async def search(topic: str) -> str:
    """Search."""
    year = interrupt({"question": "Which year?"})
    language = interrupt({"question": "Which language?"})
    return f"{language} papers of {year}"


def curious() -> Any:
    """Return an agent with a tool that asks two questions, one after the other."""
    script: Any = [
        [*says("Let me look."), *calls(("c1", "search", '{"topic":"whales"}'))],
        says("I found ", "some."),
    ]
    model = RepeatableModel(scripts=script)
    return create_agent(model, [search], checkpointer=InMemorySaver())


async def tell(sink: Sink, graph: Any, asked: UIMessage, answer: object) -> None:
    """Answer the question of a message, or go on with the rest of that answer."""
    handler = StreamCallbackHandler(sink, continued=asked)
    config: Any = {"callbacks": [handler], "configurable": {"thread_id": "t"}}
    before = await graph.aget_state(config)
    handler.show_finished(before, skip=1)
    interrupt_id = [part["id"] for part in asked["parts"] if part["type"] == "data-interrupt"][-1]
    value = resume_value([asked], answers={interrupt_id: answer, "unknown": 1})
    assert value == {interrupt_id: answer}
    # LangGraph 1.2.4 names nothing as `next` at the second interrupt of a node.
    if before.next or before.interrupts:
        given = Command(resume=value) if before.interrupts else None
        await graph.ainvoke(given, config, durability="sync")


async def asks_twice() -> tuple[Any, UIMessage, UIMessage]:
    """Return a graph with its first and its second question."""
    await ask(first := Sink(), graph := curious())
    asked = first.message()
    await tell(second := Sink(), graph, asked, 1999)
    return graph, asked, second.message(asked)


async def test_an_interrupt_of_your_own_gets_its_answer() -> None:
    graph, first, second = await asks_twice()
    await tell(sink := Sink(), graph, second, "English")
    questions = [
        [part["data"]["question"] for part in message["parts"] if part["type"] == "data-interrupt"]
        for message in (first, second)
    ]

    # In LangGraph 1.2.4 they have one id, so the second takes the place of the first.
    assert (questions[0], questions[1][-1]) == (["Which year?"], "Which language?")
    assert shown(sink.message(second))[-1] == "I found some."
    assert ("dynamic-tool", "search", {"topic": "whales"}, "English papers of 1999") in shown(
        sink.message(second)
    )


@pytest.mark.sweep(1)
@pytest.mark.parametrize("lost", [0, 3])
async def test_an_answer_to_an_interrupt_survives_wherever_the_rest_broke_off(lost: int) -> None:
    graph, _, asked = await asks_twice()
    await tell(expected := Sink(), graph, asked, "English")
    whole = shown(expected.message(asked))
    for cut in range(1, len(expected.chunks)):
        graph, _, asked = await asks_twice()
        first = Mortal(cut, lost)
        with pytest.raises(Dies):
            await tell(first, graph, asked, "English")

        await tell(sink := Successor(first.stored), graph, asked, "English")

        assert shown(sink.message(asked)) == whole, cut


async def test_a_question_that_got_no_answer_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    await ask(first := Sink(), graph := curious())
    message = first.message()
    assert caplog.messages == []

    handler = StreamCallbackHandler(sink := Sink(), continued=message)
    config: Any = {"callbacks": [handler], "configurable": {"thread_id": "t"}}
    await graph.ainvoke(None, config)

    [told] = caplog.messages
    assert "got no answer" in told
    assert shown(sink.message(message)) == shown(message)


async def test_tokens_of_finished_messages_are_told_though_the_graph_runs_no_more() -> None:
    usage: Any = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    said = AIMessage("Sunny.", usage_metadata=usage, response_metadata={"finish_reason": "length"})
    async with create_service("memory://") as service:
        async with service.publisher("s", version=0) as pub:
            StreamCallbackHandler(pub).show_finished([said])

        message = reduce_chunks([chunk async for chunk in service.subscribe("s")])
    assert message["metadata"]["usage"]["totalTokens"] == 7
    assert message["metadata"]["finishReason"] == "length"


async def test_a_message_without_text_that_the_page_lacks_gets_a_step_of_its_own() -> None:
    sink = Sink()
    messages: list[Any] = []
    for number in (1, 2):
        call: Any = {"id": f"c{number}", "name": "clock", "args": {}}
        result = ToolMessage("noon", tool_call_id=f"c{number}", name="clock")
        messages += [AIMessage("", tool_calls=[call]), result]

    StreamCallbackHandler(sink).show_finished(messages)

    kinds = [part["type"] for part in sink.message()["parts"]]
    assert kinds[:4] == ["step-start", "dynamic-tool"] * 2


async def test_finished_messages_are_shown_to_a_page_that_lacks_them() -> None:
    sink = Sink()
    handler = StreamCallbackHandler(sink)
    call: Any = {"id": "c1", "name": "weather", "args": {"city": "Rome"}}
    messages = [
        AIMessage("I look.", tool_calls=[call]),
        ToolMessage('{"temp": 21}', tool_call_id="c1", name="weather"),
        AIMessage("It is 21 degrees."),
    ]

    handler.show_finished(messages)

    assert shown(sink.message()) == [
        "I look.",
        ("dynamic-tool", "weather", {"city": "Rome"}, {"temp": 21}),
        "It is 21 degrees.",
    ]
    before = [*sink.chunks]
    StreamCallbackHandler(again := Successor(before)).show_finished(messages)
    assert again.chunks == before


async def test_only_the_rest_of_a_finished_text_is_shown() -> None:
    whole = Sink()
    StreamCallbackHandler(whole).show_finished([AIMessage("It is 21 degrees.")])
    half = [chunk for chunk in whole.chunks if chunk["type"] != "text-end"]
    half[-1] = {**half[-1], "delta": "It is "}
    sink = Successor(half)

    StreamCallbackHandler(sink).show_finished([AIMessage("It is 21 degrees.")])

    assert [chunk.get("delta") for chunk in sink.chunks[len(half) :]][:1] == ["21 degrees."]
    assert texts(sink.message()) == ["It is 21 degrees."]


def test_nothing_finished_is_nothing() -> None:
    sink = Sink()
    handler = StreamCallbackHandler(sink)
    handler.show_finished([])
    handler.show_finished([HumanMessage("hi"), AIMessageChunk("")])
    assert [chunk["type"] for chunk in sink.chunks] == ["start"]


async def test_a_step_that_had_only_begun_is_the_one_that_goes_on() -> None:
    first = Sink()
    await story(first, "Once upon", " a time")
    sink = Successor(first.chunks[:2])

    await story(sink, "Once upon", " a time")

    assert [chunk["type"] for chunk in sink.chunks].count("start-step") == 1
    assert texts(sink.message()) == ["Once upon a time"]

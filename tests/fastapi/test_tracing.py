"""Each turn is a trace, seen through the SDK of OpenTelemetry; nothing that was said is in it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode, Tracer, get_current_span

from monostream_ai.fastapi import ChatReplies, ChatTurn
from monostream_ai.opentelemetry import OpenTelemetryObserver
from tests.fastapi.chat_client import question, types_in
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import TEXT, Held, greet, store_answer
from tests.fastapi.test_workers import Queue, never, working

SECRET = "the secret of the question"


class Trace:
    """The spans that all services with its observer have ended."""

    def __init__(self, **options: Any) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(**options)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer: Tracer = provider.get_tracer("test")
        self.observer = OpenTelemetryObserver(tracer=self.tracer)

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    async def ended(self, name: str, times: int = 1) -> list[ReadableSpan]:
        """Wait for spans: a client has its answer before the reply's task has gone on."""
        while len(found := self.named(name)) < times:
            await asyncio.sleep(0.01)
        return found

    def paths(self) -> list[str]:
        """Return each span with the names of those above it, in the order of their beginnings."""
        by_id = {span.context.span_id: span for span in self.spans if span.context}

        def path(span: ReadableSpan) -> str:
            above = None if span.parent is None else by_id.get(span.parent.span_id)
            return span.name if above is None else f"{path(above)} > {span.name}"

        return [path(span) for span in sorted(self.spans, key=lambda span: span.start_time or 0)]


@pytest.fixture
def trace() -> Trace:
    return Trace()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def use_a_tool(turn: ChatTurn) -> None:
    call = {"toolCallId": "c", "toolName": "look", "input": {"for": SECRET}}
    await turn.pub.write(
        {"type": "start-step"},
        {"type": "tool-input-available", **call},
        {"type": "tool-output-available", "toolCallId": "c", "output": 1, "preliminary": True},
    )
    turn.pub.push(
        {"type": "tool-output-available", "toolCallId": "c", "output": SECRET},
        {"type": "finish-step"},
        {"type": "start-step"},
        {"type": "text-start", "id": "t"},
        {"type": "text-delta", "id": "t", "delta": SECRET},
        {"type": "text-end", "id": "t"},
        {
            "type": "message-metadata",
            "messageMetadata": {
                "finishReason": "stop",
                "usage": {"inputTokens": 20, "outputTokens": 7, "cachedInputTokens": 3},
            },
        },
        {"type": "finish-step"},
    )


async def test_a_turn_is_a_trace_of_its_question_runs_steps_and_tools(
    new_service: NewService, serve: Serve, trace: Trace
) -> None:
    client = await serve(new_service(observer=trace.observer), use_a_tool)
    await client.post(question(text=SECRET))

    [run] = await trace.ended("invoke_agent")
    assert trace.paths() == [
        "question",
        "question > invoke_agent",
        "question > invoke_agent > step",
        "question > invoke_agent > step > execute_tool look",
        "question > invoke_agent > step",
    ]
    told = attributes(run)
    assert told.pop("gen_ai.response.time_to_first_chunk") > 0
    assert told.pop("monostream.message.id").startswith("msg_")
    assert told == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.conversation.id": "c1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 20,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 3,
        "monostream.stream.id": "chat:c1",
        "monostream.version": 0,
        "monostream.attempt": 1,
        "monostream.ending": "finish",
    }
    assert [event.name for event in run.events] == ["first_token"]
    assert (run.status.status_code, run.links) == (StatusCode.UNSET, ())
    [tool] = trace.named("execute_tool look")
    assert attributes(tool) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "look",
        "gen_ai.tool.call.id": "c",
        "gen_ai.tool.type": "function",
    }
    [asked] = trace.named("question")
    assert (asked.kind, attributes(asked)) == (SpanKind.PRODUCER, {"gen_ai.conversation.id": "c1"})


async def test_no_span_holds_anything_that_was_said(
    new_service: NewService, serve: Serve, trace: Trace
) -> None:
    async def reply(turn: ChatTurn) -> None:
        await use_a_tool(turn)
        raise ValueError(SECRET)

    client = await serve(new_service(observer=trace.observer), reply)
    await client.post(question(text=SECRET))

    [run] = await trace.ended("invoke_agent")
    assert attributes(run)["error.type"] == "ValueError"
    assert (run.status.status_code, run.status.description) == (StatusCode.ERROR, None)
    assert SECRET not in "".join(span.to_json() for span in trace.spans)


async def test_spans_of_a_reply_come_below_its_run(
    new_service: NewService, serve: Serve, trace: Trace
) -> None:
    async def reply(turn: ChatTurn) -> None:
        with trace.tracer.start_as_current_span("chat some-model"):
            await greet(turn)

    client = await serve(new_service(observer=trace.observer), reply)
    await client.post(question())

    await trace.ended("invoke_agent")
    assert trace.paths()[-1] == "question > invoke_agent > chat some-model"


async def test_a_call_that_fails_and_one_that_waits_say_so(
    new_service: NewService, serve: Serve, trace: Trace
) -> None:
    async def reply(turn: ChatTurn) -> None:
        for name in ("broken", "asked", "garbled"):
            kind = "tool-input-error" if name == "garbled" else "tool-input-available"
            more = {"errorText": "No."} if name == "garbled" else {}
            call = {"toolCallId": name, "toolName": name, "input": {}}
            await turn.pub.write({"type": kind, **call, **more})
        await turn.pub.write(
            {"type": "tool-output-error", "toolCallId": "broken", "errorText": "No."},
            {"type": "tool-approval-request", "toolCallId": "asked", "approvalId": "p"},
        )

    client = await serve(new_service(observer=trace.observer), reply)
    await client.post(question())

    await trace.ended("invoke_agent")
    tools = {span.name: span for span in trace.spans if span.name.startswith("execute_tool")}
    failed = [name for name, span in tools.items() if span.status.status_code == StatusCode.ERROR]
    assert sorted(failed) == ["execute_tool broken", "execute_tool garbled"]
    assert [event.name for event in tools["execute_tool asked"].events] == ["approval_requested"]


async def test_tokens_of_the_message_before_a_continuation_are_not_counted_again(
    new_service: NewService, serve: Serve, trace: Trace
) -> None:
    async def reply(turn: ChatTurn) -> None:
        usage = {"inputTokens": 30, "outputTokens": 9}
        await turn.pub.write({"type": "message-metadata", "messageMetadata": {"usage": usage}})

    service = new_service(observer=trace.observer)
    asked = {
        "id": "a1",
        "role": "assistant",
        "metadata": {"usage": {"inputTokens": 20, "outputTokens": 7}},
        "parts": [
            {
                "type": "tool-ask",
                "toolCallId": "c",
                "state": "input-available",
                "input": {},
            }
        ],
    }
    await store_answer(service, asked)
    answered = {**asked["parts"][0], "state": "output-available", "output": 1}  # type: ignore[index]
    client = await serve(service, reply)
    body = question()
    body["messages"] += [{**asked, "parts": [answered]}]
    assert (await client.post(body)).status_code == 200

    [run] = await trace.ended("invoke_agent")
    told = attributes(run)
    assert told["gen_ai.usage.input_tokens"] == 10
    assert told["gen_ai.usage.output_tokens"] == 2


async def test_a_stopped_run_is_no_failure(
    new_service: NewService, serve: Serve, trace: Trace
) -> None:
    held, service = Held(), new_service(observer=trace.observer)
    client = await serve(service, held)
    async with client.ask(question()):
        await held.started.wait()
        await client.stop()
        [run] = await trace.ended("invoke_agent")
    assert (attributes(run)["monostream.ending"], run.status.status_code) == (
        "abort",
        StatusCode.UNSET,
    )


async def test_the_trace_of_the_request_goes_on_in_the_worker(
    new_service: NewService, serve: Serve, trace: Trace
) -> None:
    queue, there = Queue(), Trace()
    client = await serve(
        new_service(observer=trace.observer), ChatReplies(never), dispatch=queue.put
    )
    worker = new_service(observer=there.observer)
    with there.tracer.start_as_current_span("job") as job:
        async with working(queue, worker, ChatReplies(greet)):
            await client.post(question())
            [run] = await there.ended("invoke_agent")

    [asked], [wait] = trace.named("question"), there.named("wait")
    assert asked.context is not None and run.context is not None and wait.parent is not None
    assert run.context.trace_id == asked.context.trace_id
    assert run.parent is not None and run.parent.span_id == asked.context.span_id
    assert wait.parent.span_id == asked.context.span_id
    # The worker's queue has a trace of its own.
    assert [link.context for link in run.links] == [job.get_span_context()]
    assert queue.dispatched == ["chat:c1~0"]
    assert await seconds(wait) >= 0


async def seconds(span: ReadableSpan) -> float:
    return ((span.end_time or 0) - (span.start_time or 0)) / 1e9


@pytest.mark.parametrize("on_lost", ["retry", "continue"])
async def test_a_lost_turn_goes_on_in_its_trace(
    new_service: NewService, serve: Serve, trace: Trace, on_lost: str
) -> None:
    held = Held()
    dying = new_service(observer=trace.observer, lease=0.4)
    client = await serve(dying, held, on_lost=on_lost, drain_timeout=0.0)

    async def rest(turn: ChatTurn) -> None:
        assert turn.attempt == 2
        await turn.pub.write({"type": "data-last", "data": 2})

    there = Trace()
    other = await serve(
        new_service(observer=there.observer, lease=0.4), rest, on_lost=on_lost, sweep_interval=0.1
    )
    async with client.ask(question()):
        await held.started.wait()
        # The process gives its turns up, and another one takes them over.
        await asyncio.gather(client.shut_down(), return_exceptions=True)
    [again] = await there.ended("invoke_agent")
    assert types_in((await other.get()).text)[-1:] in ([], ["finish"])

    [first] = await trace.ended("invoke_agent")
    [asked] = trace.named("question")
    assert attributes(first)["monostream.ending"] == "released"
    assert asked.context is not None and again.parent is not None
    assert again.parent.span_id == asked.context.span_id
    assert again.parent.trace_id == asked.context.trace_id
    assert (attributes(again)["monostream.attempt"], attributes(again)["monostream.version"]) == (
        2,
        1 if on_lost == "retry" else 0,
    )
    assert there.named("question") == []


async def test_a_trace_that_is_not_sampled_sees_no_chunk(
    new_service: NewService, serve: Serve
) -> None:
    trace = Trace(sampler=ALWAYS_OFF)
    seen: list[Any] = []

    async def reply(turn: ChatTurn) -> None:
        seen.append((turn.pub._watch_chunks, get_current_span().get_span_context().is_valid))
        await turn.pub.write(*TEXT)

    service = new_service(observer=trace.observer)
    client = await serve(service, reply)
    await client.post(question())
    assert seen == [(None, True)]
    assert trace.spans == ()


async def test_nothing_is_stored_for_a_trace_without_an_observer(
    new_service: NewService, serve: Serve
) -> None:
    service = new_service()
    client = await serve(service, greet)
    await client.post(question())
    assert "traceparent" not in ((await service.status("chat:c1")).metadata or "")

"""The spans of a turn: its question, each run of its reply, and the steps and tool calls in it.

Names and attributes are those of the semantic conventions for generative AI where they have any;
the others begin with `monostream.`.

Source: open-telemetry/semantic-conventions-genai v0.1.0, docs/gen-ai/gen-ai-agent-spans.md and
docs/gen-ai/execute-tool.md.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from opentelemetry.trace import (
    Link,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
    use_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from monostream_ai.errors import Fenced, StreamDeleted, StreamStopped
from monostream_ai.observing import Attempt, TraceContext, WatchChunks
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.model_output import usage_in

PROPAGATOR: Final = TraceContextTextMapPropagator()
"""Of the trace alone: baggage may hold anything, and would be stored."""

USAGE: Final = {
    "inputTokens": "gen_ai.usage.input_tokens",
    "outputTokens": "gen_ai.usage.output_tokens",
    "cachedInputTokens": "gen_ai.usage.cache_read.input_tokens",
    "reasoningTokens": "gen_ai.usage.reasoning.output_tokens",
}
"""Attributes by the names of `LanguageModelUsage`."""

ENDINGS: Final[dict[type[BaseException], str]] = {
    StreamStopped: "abort",
    Fenced: "fenced",
    StreamDeleted: "deleted",
    asyncio.CancelledError: "released",
}
"""How a run ended that did not end its version."""


@contextmanager
def question_span(tracer: Tracer, chat_id: str) -> Iterator[TraceContext]:
    """Enclose the beginning of a turn; yield the context that its attempts go on from.

    It ends, and can be exported, long before the answer does. So the trace has its root even if the
    process is killed that writes the answer.
    """
    with tracer.start_as_current_span(
        "question",
        # Of work that goes on when this span has ended, perhaps elsewhere.
        kind=SpanKind.PRODUCER,
        attributes={"gen_ai.conversation.id": chat_id},
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        context: dict[str, str] = {}
        PROPAGATOR.inject(context)
        try:
            yield context
        except Exception as error:
            _fail(span, type(error).__name__)
            raise


@contextmanager
def attempt_span(
    tracer: Tracer, attempt: Attempt, context: TraceContext
) -> Iterator[WatchChunks | None]:
    """Enclose one run of a reply, which sees it as the current span."""
    here = get_current_span().get_span_context()
    parent = PROPAGATOR.extract(context) if context else None
    # Otherwise it is the span of the worker's queue, or of a request that met a lost turn.
    is_question = get_current_span(parent).get_span_context().span_id == here.span_id
    if attempt.waits_since is not None:
        waited_from = min(_nanoseconds(attempt.waits_since), time.time_ns())
        tracer.start_span("wait", context=parent, start_time=waited_from).end()
    span = tracer.start_span(
        "invoke_agent",
        context=None if is_question else parent,
        links=[Link(here)] if here.is_valid and not is_question else [],
        attributes={
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.conversation.id": attempt.chat_id,
            "monostream.stream.id": attempt.stream_id,
            "monostream.version": attempt.version,
            "monostream.message.id": attempt.message_id,
            "monostream.attempt": attempt.number,
        },
    )
    with use_span(span, record_exception=False, set_status_on_exception=False):
        if not span.is_recording():
            yield None
            return
        run = _Run(tracer, span, attempt.usage_before)
        try:
            yield run.watch
        except BaseException as error:
            run.end(error)
            raise
        else:
            run.end(None)


class _Run:
    """Reads the chunks of one run, and makes events, attributes and the spans below it of them."""

    def __init__(self, tracer: Tracer, span: Span, usage_before: Mapping[str, int]) -> None:
        self._tracer = tracer
        self._span = span
        self._started = time.perf_counter()
        self._silent = True
        """Whether the model has said nothing yet."""
        self._step: Span | None = None
        self._tools: dict[str, Span] = {}
        """The open tool calls, by their ids."""
        self._usage_before = usage_before
        self._usage: Mapping[str, int] = {}
        self._ending = "finish"

    def watch(self, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            see = _SEEN.get(chunk["type"])
            if see is not None:
                see(self, chunk)

    def end(self, error: BaseException | None) -> None:
        """End the run and all spans below it.

        Args:
            error: It is told by its type alone: the text of an exception may quote a question.
        """
        for span in self._tools.values():
            span.end()
        self._end_step({})
        if error is not None:
            self._ending = ENDINGS.get(type(error), "error")
        self._span.set_attribute("monostream.ending", self._ending)
        for name, attribute in USAGE.items():
            if count := self._usage.get(name, 0) - self._usage_before.get(name, 0):
                self._span.set_attribute(attribute, count)
        if self._ending == "error":
            _fail(self._span, "_OTHER" if error is None else type(error).__name__)
        self._span.end()

    def _begin_step(self, chunk: Chunk) -> None:
        self._end_step(chunk)
        self._step = self._tracer.start_span("step", set_span_in_context(self._span))

    def _end_step(self, chunk: Chunk) -> None:
        if self._step is not None:
            self._step.end()
        self._step = None

    def _speak(self, chunk: Chunk) -> None:
        if not self._silent:
            return
        self._silent = False
        waited = time.perf_counter() - self._started
        self._span.set_attribute("gen_ai.response.time_to_first_chunk", waited)
        self._span.add_event("first_token")

    def _call(self, chunk: Chunk) -> None:
        self._speak(chunk)
        around = self._span if self._step is None else self._step
        call_id, name = chunk["toolCallId"], chunk["toolName"]
        if call_id in self._tools:
            return
        self._tools[call_id] = self._tracer.start_span(
            f"execute_tool {name}",
            set_span_in_context(around),
            attributes={
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": name,
                "gen_ai.tool.call.id": call_id,
                # An extension runs on the side of the model.
                "gen_ai.tool.type": "extension" if chunk.get("providerExecuted") else "function",
            },
        )

    def _refuse_call(self, chunk: Chunk) -> None:
        self._call(chunk)
        self._fail_call(chunk)

    def _ask(self, chunk: Chunk) -> None:
        if (span := self._tools.get(chunk["toolCallId"])) is not None:
            span.add_event("approval_requested")

    def _end_call(self, chunk: Chunk) -> None:
        if chunk.get("preliminary"):
            return
        # A call that an earlier turn or attempt made has no span here.
        if (span := self._tools.pop(chunk["toolCallId"], None)) is not None:
            span.end()

    def _fail_call(self, chunk: Chunk) -> None:
        if (span := self._tools.get(chunk["toolCallId"])) is not None:
            _fail(span, "_OTHER")
        self._end_call(chunk)

    def _tell(self, chunk: Chunk) -> None:
        told = chunk.get("messageMetadata")
        told = told if isinstance(told, Mapping) else {}
        self._usage = usage_in(told) or self._usage
        reason = chunk.get("finishReason") or told.get("finishReason")
        if not isinstance(reason, str):
            return
        self._span.set_attribute("gen_ai.response.finish_reasons", [reason])
        if self._step is not None:
            self._step.add_event("model_finished", {"gen_ai.response.finish_reasons": [reason]})

    def _finish(self, chunk: Chunk) -> None:
        self._tell(chunk)
        self._ending = chunk["type"]

    def _fail_run(self, chunk: Chunk) -> None:
        self._ending = "error"


_SEEN: Final[dict[str, Callable[[_Run, Chunk], None]]] = {
    "start-step": _Run._begin_step,
    "finish-step": _Run._end_step,
    "reasoning-delta": _Run._speak,
    "text-delta": _Run._speak,
    "file": _Run._speak,
    "tool-input-start": _Run._speak,
    "tool-input-available": _Run._call,
    "tool-input-error": _Run._refuse_call,
    "tool-approval-request": _Run._ask,
    "tool-output-available": _Run._end_call,
    "tool-output-error": _Run._fail_call,
    "tool-output-denied": _Run._end_call,
    "message-metadata": _Run._tell,
    "finish": _Run._finish,
    "error": _Run._finish,
    "abort": _Run._finish,
    # The error of AG-UI.
    "RUN_ERROR": _Run._fail_run,
}


def _fail(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1e9)

"""LangChain's callbacks to UI message chunks, without any input or output of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self
from uuid import UUID

from langchain_core.messages import AIMessage
from langchain_core.outputs import (
    ChatGeneration,
    ChatGenerationChunk,
    Generation,
    GenerationChunk,
    LLMResult,
)

from monostream_ai.langchain.answers import Answers
from monostream_ai.langchain.attachments import Attachments
from monostream_ai.langchain.content import refuses
from monostream_ai.langchain.finish import Usage, finish_reason
from monostream_ai.langchain.interrupts import ask, interrupts_of
from monostream_ai.langchain.message import AgentMessage
from monostream_ai.langchain.model_output import ModelOutput
from monostream_ai.langchain.runs import Kind, Run, Runs
from monostream_ai.langchain.steps import Steps
from monostream_ai.ui_messages import Chunk, to_json_value
from monostream_ai.ui_messages.call_ids import CallIds


class LangChainMapper:
    """Maps the callbacks of any number of runs, one after another or at once, to the chunks of one
    message.

    It never returns a terminal chunk: whoever opened the version ends it, since another chain may
    follow. When a root run ends, a `message-metadata` chunk says why the last model stopped and
    what was used, and the protocol's `finish` repeats the reason.

    Args:
        runs: Decides which runs are shown.
        error_text, tool_output: As for `Answers`.
    """

    def __init__(
        self,
        message: AgentMessage,
        runs: Runs,
        *,
        error_text: Callable[[BaseException], str] | None = None,
        tool_output: Callable[[Any], Any] | None = None,
    ) -> None:
        self._message = message
        self._runs = runs
        self._calls = CallIds(message, message.earlier_calls)
        self._answers = Answers(
            message, self._calls, error_text=error_text, tool_output=tool_output
        )
        self._attachments = Attachments(message)
        self._steps = Steps(message, self._attachments)
        self._speaking: dict[UUID, ModelOutput] = {}
        self._asked: set[tuple[UUID, str]] = set()
        self._usage = Usage()
        self._reason = "stop"
        self._said: dict[str, Any] = {"finishReason": message.earlier_reason or "stop"}

    @classmethod
    def for_message(
        cls,
        message_id: str | None,
        *,
        send_start: bool,
        continued: Mapping[str, Any] | None,
        runs: Callable[[], Runs],
        **options: Any,
    ) -> Self:
        """Return a mapper for a new message."""
        return cls(
            AgentMessage(message_id=message_id, send_start=send_start, continued=continued),
            runs(),
            **options,
        )

    def run_start(
        self,
        kind: Kind,
        run_id: UUID,
        parent_id: UUID | None = None,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> list[Chunk]:
        """Follow a chain or a retriever. The first run of any kind starts the message, so that a
        client has its id.
        """
        self._runs.start(kind, run_id, parent_id, tags, metadata)
        return self._message.start()

    def run_end(self, run_id: UUID, outputs: Any = None) -> list[Chunk]:
        """Map the end of a chain. What a root returns is the whole history, in which old messages
        may carry the same ids.
        """
        ended, chunks = self._end(run_id)
        if ended and not ended[-1].hidden and ended[-1].parent is not None:
            chunks += self._answers.of_node(outputs)
        return [*chunks, *self._sum_up(ended)]

    def run_error(self, run_id: UUID, error: BaseException) -> list[Chunk]:
        """Map the failure of a chain. An interrupt passes through every graph around it, and is
        shown once for each root run.
        """
        ended, chunks = self._end(run_id)
        for interrupt in interrupts_of(error) if ended else ():
            asked = (ended[-1].root.id, interrupt.id)
            if asked not in self._asked:
                self._asked.add(asked)
                self._steps.join(None)
                chunks += ask(self._message, self._calls, interrupt)
        return [*chunks, *self._sum_up(ended)]

    def model_start(
        self,
        run_id: UUID,
        parent_id: UUID | None = None,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> list[Chunk]:
        """Begin a step, unless another model is speaking in the open one: the results of a step's
        calls belong to it.
        """
        run = self._runs.start("model", run_id, parent_id, tags, metadata)
        if run.hidden:
            return self._message.start()
        together = bool(self._speaking) and self._message.step_open
        self._speaking[run_id] = ModelOutput(
            str(run_id), self._message, self._calls, self._attachments
        )
        if not together:
            return self._steps.begin(run_id)
        self._steps.join(run_id)
        return []

    def token(
        self, run_id: UUID, token: Any, chunk: GenerationChunk | ChatGenerationChunk | None
    ) -> list[Chunk]:
        output = self._speaking.get(run_id)
        if output is None or output.source == "events":
            return []
        if isinstance(chunk, ChatGenerationChunk):
            message = chunk.message
            chunks = (
                output.token(message)
                if isinstance(message, AIMessage)
                else output.text(None, message.text)
            )
        else:
            chunks = output.text(
                None,
                token if chunk is None and isinstance(token, str) else chunk.text if chunk else "",
            )
        if chunks:
            # An empty token says nothing about where the output will come from.
            output.source = "tokens"
        return chunks

    def stream_event(self, run_id: UUID, event: Mapping[str, Any]) -> list[Chunk]:
        output = self._speaking.get(run_id)
        if output is None or output.source == "tokens":
            return []
        output.source = "events"
        return output.event(event)

    def model_end(self, run_id: UUID, response: LLMResult) -> list[Chunk]:
        ended = self._runs.end(run_id)
        output = self._speaking.pop(run_id, None)
        generation = (
            response.generations[0][0] if response.generations and response.generations[0] else None
        )
        message = generation.message if isinstance(generation, ChatGeneration) else None
        if isinstance(message, AIMessage):
            self._usage.add(message)
        chunks = [] if output is None else self._complete(output, generation, message)
        return [*chunks, *self._sum_up(ended)]

    def model_error(self, run_id: UUID, error: BaseException) -> list[Chunk]:
        """End what a failed model left open. A retry or a fallback speaks in a step of its own."""
        output = self._speaking.get(run_id)
        if output is not None and output.source is not None and isinstance(error, Exception):
            self._steps.fail(run_id)
        return self.run_end(run_id)

    def tool_start(
        self,
        run_id: UUID,
        parent_id: UUID | None,
        tags: Sequence[str] | None,
        name: str,
        call_id: str | None,
        arguments: Any,
    ) -> list[Chunk]:
        """Connect a tool to its call, or announce one that no shown model has called."""
        run = self._runs.start("tool", run_id, parent_id, tags)
        if run.hidden:
            return self._message.start()
        known = None if call_id is None else self._calls.find(call_id, name)
        if known is not None:
            run.call_id = known
            return [
                *self._message.start(),
                *self._message.let_run(known, name, to_json_value(arguments)),
            ]
        self._steps.join(run_id)
        run.call_id = self._calls.publish(call_id or str(run_id))
        return self._message.tool_call(run.call_id, name, to_json_value(arguments))

    def tool_end(self, run_id: UUID, output: Any) -> list[Chunk]:
        ended, chunks = self._end(run_id)
        if ended and (call_id := ended[-1].call_id) is not None:
            chunks += self._answers.of_tool(call_id, output)
        return [*chunks, *self._sum_up(ended)]

    def tool_error(self, run_id: UUID, error: BaseException) -> list[Chunk]:
        ended, chunks = self._end(run_id)
        if ended and (call_id := ended[-1].call_id) is not None:
            chunks += self._answers.of_failure(call_id, error)
        return [*chunks, *self._sum_up(ended)]

    def custom_event(self, name: str, data: Any) -> list[Chunk]:
        """Send `data-<name>`. If the data has a string under `id`, a later event of the same name
        and id replaces it.
        """
        value = to_json_value(data)
        data_id = value.get("id") if isinstance(value, dict) else None
        self._steps.join(None)
        return self._message.data(
            name, value, data_id=data_id if isinstance(data_id, str) else None
        )

    def _complete(
        self, output: ModelOutput, generation: Generation | None, message: Any
    ) -> list[Chunk]:
        if isinstance(message, AIMessage):
            reason = finish_reason(message.response_metadata, calls_tools=bool(message.tool_calls))
            self._reason = "content-filter" if refuses(message) else reason
            return output.complete(message)
        text = generation.text if generation is not None and output.source is None else ""
        self._reason = finish_reason(
            (generation.generation_info if generation is not None else None) or {}
        )
        return [*output.text(None, text), *output.fail()]

    def _end(self, run_id: UUID) -> tuple[list[Run], list[Chunk]]:
        """Forget a run and all below it, and end what they were saying."""
        ended = self._runs.end(run_id)
        silenced = [
            output for run in ended if (output := self._speaking.pop(run.id, None)) is not None
        ]
        return ended, [chunk for output in silenced for chunk in output.fail()]

    def _sum_up(self, ended: Sequence[Run]) -> list[Chunk]:
        if not ended or ended[-1].parent is not None:
            return []
        usage = self._usage.as_metadata()
        now: dict[str, Any] = {"finishReason": self._reason, **({"usage": usage} if usage else {})}
        news = {key: value for key, value in now.items() if self._said.get(key) != value}
        self._said = now
        return self._message.metadata(news) if news else []

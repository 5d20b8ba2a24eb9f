"""LangChain's callbacks to UI message chunks, without any input or output of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, Generation, GenerationChunk, LLMResult

from monostream_ai.errors import MASKED_ERROR_TEXT
from monostream_ai.langchain.calls import Calls
from monostream_ai.langchain.finish import Usage, finish_reason
from monostream_ai.langchain.model_output import ModelOutput
from monostream_ai.langchain.outputs import error_text_of, is_command, is_control_flow, output_value, tool_messages
from monostream_ai.langchain.runs import Kind, Run, Runs
from monostream_ai.ui_messages import Chunk, UIMessageBuilder, to_json_value


class LangChainMapper:
    """Maps the callbacks of any number of runs, one after another or at once, to the chunks of one message.

    It never returns a terminal chunk: whoever opened the version ends it, since another chain may follow. When a root run ends, a
    `message-metadata` chunk says why the last model stopped and what was used, and the protocol's `finish` repeats the reason.

    Args:
        runs: Decides which runs are shown.
        error_text: Makes the text that a browser reads about a tool that failed.
        tool_output: Makes the JSON value that a browser sees of what a tool returned (a `ToolMessage`, or the plain value).
    """

    def __init__(
        self,
        builder: UIMessageBuilder,
        runs: Runs,
        *,
        error_text: Callable[[BaseException], str] | None = None,
        tool_output: Callable[[Any], Any] | None = None,
    ) -> None:
        self._builder = builder
        self._runs = runs
        self._error_text = error_text
        self._tool_output = tool_output
        self._calls = Calls(builder)
        self._speaking: dict[UUID, ModelOutput] = {}
        self._usage = Usage()
        self._reason = "stop"
        self._said: dict[str, Any] = {"finishReason": "stop"}

    def run_start(
        self, kind: Kind, run_id: UUID, parent_id: UUID | None, tags: Sequence[str] | None, metadata: Mapping[str, Any] | None
    ) -> list[Chunk]:
        """Follow a chain or a retriever. The first run of any kind starts the message, so that a client has its id."""
        self._runs.start(kind, run_id, parent_id, tags, metadata)
        return self._builder.start()

    def run_end(self, run_id: UUID, outputs: Any = None) -> list[Chunk]:
        """Map the end of a chain, whether it succeeded or failed.

        A LangGraph node may answer tool calls by itself, as for an unknown tool or one that a human rejected. What a root returns
        is the whole history, in which old messages may carry the same ids.
        """
        ended = self._runs.end(run_id)
        chunks = [chunk for run in ended for chunk in self._silence(run)]
        if ended and not ended[-1].hidden and ended[-1].parent is not None and self._calls.unanswered:
            for message in tool_messages(outputs):
                chunks += self._answer(self._calls.find_unanswered(message.tool_call_id), message)
        return [*chunks, *self._sum_up(ended)]

    def model_start(
        self, run_id: UUID, parent_id: UUID | None, tags: Sequence[str] | None, metadata: Mapping[str, Any] | None
    ) -> list[Chunk]:
        """Begin a step, unless another model is speaking in the open one: the results of a step's calls belong to it."""
        run = self._runs.start("model", run_id, parent_id, tags, metadata)
        if run.hidden:
            return self._builder.start()
        chunks = [] if self._speaking and self._builder.step_open else self._builder.start_step()
        self._speaking[run_id] = ModelOutput(str(run_id), self._builder, self._calls)
        return chunks

    def token(self, run_id: UUID, token: Any, chunk: GenerationChunk | ChatGenerationChunk | None) -> list[Chunk]:
        output = self._speaking.get(run_id)
        if output is None or output.source == "events":
            return []
        if isinstance(chunk, ChatGenerationChunk):
            message = chunk.message
            chunks = output.message_chunk(message) if isinstance(message, AIMessage) else output.text(None, message.text)
        else:
            chunks = output.text(None, token if chunk is None and isinstance(token, str) else chunk.text if chunk else "")
        if chunks:
            # An empty token says nothing about where the output will come from.
            output.source = "tokens"
        return chunks

    def stream_event(self, run_id: UUID, event: Mapping[str, Any]) -> list[Chunk]:
        """Map an event of the `v3` streaming protocol. Source: langchain-protocol 0.0.20, `MessagesData`."""
        output = self._speaking.get(run_id)
        if output is None or output.source == "tokens":
            return []
        output.source = "events"
        kind, index = event.get("event"), event.get("index")
        if kind == "content-block-delta":
            return _delta(output, index, event["delta"])
        content = event.get("content") or {}
        if kind == "content-block-start" and content.get("type") == "tool_call_chunk":
            return output.call_chunk(index, content.get("id"), content.get("name"), "")
        if kind == "content-block-finish" and content.get("type") == "tool_call":
            return output.whole_call(content.get("id"), content["name"], content["args"])
        if kind == "content-block-finish" and content.get("type") in ("server_tool_call", "server_tool_result"):
            return output.block(content)
        return []

    def model_end(self, run_id: UUID, response: LLMResult) -> list[Chunk]:
        ended = self._runs.end(run_id)
        output = self._speaking.pop(run_id, None)
        generation = response.generations[0][0] if response.generations and response.generations[0] else None
        message = generation.message if isinstance(generation, ChatGeneration) else None
        if isinstance(message, AIMessage):
            self._usage.add(message)
        chunks = [] if output is None else self._complete(output, generation, message)
        return [*chunks, *self._sum_up(ended)]

    def model_error(self, run_id: UUID) -> list[Chunk]:
        """End what a failed model left open. What it said stays: a retry or a fallback speaks in a step of its own."""
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
            return self._builder.start()
        known = None if call_id is None else self._calls.find(call_id)
        if known is not None:
            run.call_id = known
            return []
        run.call_id = self._calls.publish(call_id or str(run_id))
        return self._builder.tool_call(run.call_id, name, to_json_value(arguments))

    def tool_end(self, run_id: UUID, output: Any) -> list[Chunk]:
        ended, chunks, call_id = self._end_tool(run_id)
        if call_id is not None:
            messages = list(tool_messages(output))
            for message in messages:
                same = len(messages) == 1
                chunks += self._answer(call_id if same else self._calls.find_unanswered(message.tool_call_id), message)
            if not messages and not is_command(output):
                chunks += self._answer(call_id, output)
        return [*chunks, *self._sum_up(ended)]

    def tool_error(self, run_id: UUID, error: BaseException) -> list[Chunk]:
        ended, chunks, call_id = self._end_tool(run_id)
        failed = isinstance(error, Exception) and not is_control_flow(error)
        if call_id is not None and failed and self._calls.state(call_id) != "done":
            chunks += self._builder.tool_error(call_id, self._error_text(error) if self._error_text else MASKED_ERROR_TEXT)
        return [*chunks, *self._sum_up(ended)]

    def custom_event(self, name: str, data: Any) -> list[Chunk]:
        """Send `data-<name>`. If the data has a string under `id`, a later event of the same name and id replaces it."""
        value = to_json_value(data)
        data_id = value.get("id") if isinstance(value, dict) else None
        return self._builder.data(name, value, data_id=data_id if isinstance(data_id, str) else None)

    def _complete(self, output: ModelOutput, generation: Generation | None, message: Any) -> list[Chunk]:
        if isinstance(message, AIMessage):
            self._reason = finish_reason(message.response_metadata, calls_tools=bool(message.tool_calls))
            return output.complete(message)
        text = generation.text if generation is not None and output.source is None else ""
        self._reason = finish_reason((generation.generation_info if generation is not None else None) or {})
        return [*output.text(None, text), *output.fail()]

    def _answer(self, call_id: str | None, output: Any) -> list[Chunk]:
        if call_id is None or self._calls.state(call_id) == "done":
            return []
        is_message = isinstance(output, ToolMessage)
        if is_message and output.status == "error":
            return self._builder.tool_error(call_id, error_text_of(output))
        if self._tool_output is not None:
            return self._builder.tool_output(call_id, to_json_value(self._tool_output(output)))
        return self._builder.tool_output(call_id, output_value(output) if is_message else to_json_value(output))

    def _end_tool(self, run_id: UUID) -> tuple[list[Run], list[Chunk], str | None]:
        ended = self._runs.end(run_id)
        chunks = [chunk for run in ended for chunk in self._silence(run)]
        return ended, chunks, ended[-1].call_id if ended else None

    def _silence(self, run: Run) -> list[Chunk]:
        output = self._speaking.pop(run.id, None)
        return [] if output is None else output.fail()

    def _sum_up(self, ended: Sequence[Run]) -> list[Chunk]:
        if not ended or ended[-1].parent is not None:
            return []
        usage = self._usage.as_metadata()
        now: dict[str, Any] = {"finishReason": self._reason, **({"usage": usage} if usage else {})}
        news = {key: value for key, value in now.items() if self._said.get(key) != value}
        self._said = now
        return self._builder.metadata(news) if news else []


def _delta(output: ModelOutput, index: object, delta: Mapping[str, Any]) -> list[Chunk]:
    if delta["type"] == "text-delta":
        return output.text(index, delta["text"])
    if delta["type"] == "reasoning-delta":
        return output.reasoning(index, delta["reasoning"])
    if delta["type"] == "tool-call-delta":
        return output.call_chunk(index, None, None, delta["args"])
    return []

"""Turns LangChain's callbacks into UI message chunks.

It does no I/O: the handler calls it for each callback, and pushes the chunks that it returns.
"""

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

from monostream_ai.langchain.agent_message import AgentMessage
from monostream_ai.langchain.approvals import Interrupt, ask, interrupts_of
from monostream_ai.langchain.model_output import ModelOutput
from monostream_ai.langchain.runs import Kind, Run, Runs
from monostream_ai.langchain.sources_and_files import SourcesAndFiles
from monostream_ai.langchain.steps import Steps
from monostream_ai.langchain.tool_results import ToolResults
from monostream_ai.langchain.usage import Usage
from monostream_ai.ui_messages import Chunk, to_json_value
from monostream_ai.ui_messages.call_ids import CallIds


class LangChainMapper:
    """Maps the callbacks of any number of runs, consecutive or concurrent, to one message.

    It never returns a terminal chunk, since another chain may follow: the publisher's block ends
    the version. When a root run ends, a `message-metadata` chunk tells the finish reason of the
    last model and the tokens used, and the protocol's `finish` repeats the reason.

    Args:
        runs: Decides which runs are shown.
        error_text, tool_output: As for `ToolResults`.
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
        self._results = ToolResults(
            message, self._calls, error_text=error_text, tool_output=tool_output
        )
        self._sources_and_files = SourcesAndFiles(message)
        self._steps = Steps(message, self._sources_and_files)
        self._usage = Usage(message)
        self._speaking: dict[UUID, ModelOutput] = {}
        # The interrupts shown, by the root run that they passed through.
        self._asked: set[tuple[UUID, str]] = set()

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
        """Follow a chain or a retriever. The first run starts the message, to give it its id."""
        self._runs.start(kind, run_id, parent_id, tags, metadata)
        return self._message.start()

    def run_end(self, run_id: UUID, outputs: Any = None) -> list[Chunk]:
        """Map the end of a chain, with tool results that a graph's node made itself.

        The outputs of a root are not searched: they hold the whole history, where old messages may
        carry the same ids.
        """
        ended, chunks = self._end(run_id)
        if ended and not ended[-1].hidden and ended[-1].parent is not None:
            chunks += self._results.of_node(outputs)
        return [*chunks, *self._sum_up(ended)]

    def run_error(self, run_id: UUID, error: BaseException) -> list[Chunk]:
        """Map the failure of a chain, or the interrupt that it reports as one."""
        ended, chunks = self._end(run_id)
        for interrupt in interrupts_of(error) if ended else ():
            chunks += self._interrupted(ended[-1].root.id, interrupt)
        return [*chunks, *self._sum_up(ended)]

    def model_start(
        self,
        run_id: UUID,
        parent_id: UUID | None = None,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> list[Chunk]:
        """Begin a step, unless another model is speaking in the open one.

        Models that speak at the same time share a step, since the results of a step's calls belong
        to it.
        """
        run = self._runs.start("model", run_id, parent_id, tags, metadata)
        if run.hidden:
            return self._message.start()
        together = bool(self._speaking) and self._message.step_open
        self._speaking[run_id] = ModelOutput(
            str(run_id), self._message, self._calls, self._sources_and_files
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
        message = chunk.message if isinstance(chunk, ChatGenerationChunk) else None
        if isinstance(message, AIMessage):
            chunks = output.token(message)
        else:
            chunks = output.speech.text(None, _plain_text(token, chunk))
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
        """End a model run with its whole result. Tokens of hidden runs count too."""
        ended = self._runs.end(run_id)
        output = self._speaking.pop(run_id, None)
        generations = response.generations[0] if response.generations else ()
        generation = generations[0] if generations else None
        message = generation.message if isinstance(generation, ChatGeneration) else None
        if isinstance(message, AIMessage):
            self._usage.count(message)
        chunks = [] if output is None else self._complete(output, generation, message)
        return [*chunks, *self._sum_up(ended)]

    def model_error(self, run_id: UUID, error: BaseException) -> list[Chunk]:
        """End the parts that a failed model left open. A retry or a fallback gets its own step."""
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
        """Connect a tool to its call, or announce a call that no shown model has made."""
        run = self._runs.start("tool", run_id, parent_id, tags)
        if run.hidden:
            return self._message.start()
        known = None if call_id is None else self._calls.find(call_id, name)
        if known is not None:
            run.call_id = known
            chunks = self._message.start()
            return [*chunks, *self._message.let_run(known, name, to_json_value(arguments))]
        self._steps.join(run_id)
        run.call_id = self._calls.publish(call_id or str(run_id))
        return self._message.tool_call(run.call_id, name, to_json_value(arguments))

    def tool_end(self, run_id: UUID, output: Any) -> list[Chunk]:
        ended, chunks = self._end(run_id)
        if ended and (call_id := ended[-1].call_id) is not None:
            chunks += self._results.of_tool(call_id, output)
        return [*chunks, *self._sum_up(ended)]

    def tool_error(self, run_id: UUID, error: BaseException) -> list[Chunk]:
        ended, chunks = self._end(run_id)
        if ended and (call_id := ended[-1].call_id) is not None:
            chunks += self._results.of_failure(call_id, error)
        return [*chunks, *self._sum_up(ended)]

    def custom_event(self, name: str, data: Any) -> list[Chunk]:
        """Send `data-<name>`. A later event with the same name and string `id` replaces it."""
        value = to_json_value(data)
        data_id = value.get("id") if isinstance(value, dict) else None
        self._steps.join(None)
        return self._message.data(
            name, value, data_id=data_id if isinstance(data_id, str) else None
        )

    def _interrupted(self, root_id: UUID, interrupt: Interrupt) -> list[Chunk]:
        # An interrupt passes through every graph around it, and each of them reports it.
        if (root_id, interrupt.id) in self._asked:
            return []
        self._asked.add((root_id, interrupt.id))
        self._steps.join(None)
        return ask(self._message, self._calls, interrupt)

    def _complete(
        self, output: ModelOutput, generation: Generation | None, message: Any
    ) -> list[Chunk]:
        if isinstance(message, AIMessage):
            self._usage.stopped(message)
            return output.complete(message)
        self._usage.completed(generation)
        text = generation.text if generation is not None and output.source is None else ""
        return [*output.speech.text(None, text), *output.fail()]

    def _end(self, run_id: UUID) -> tuple[list[Run], list[Chunk]]:
        """Forget a run and all runs below it, and end the parts that they left open."""
        ended = self._runs.end(run_id)
        outputs = [self._speaking.pop(run.id, None) for run in ended]
        chunks = [chunk for output in outputs if output is not None for chunk in output.fail()]
        return ended, chunks

    def _sum_up(self, ended: Sequence[Run]) -> list[Chunk]:
        is_root = bool(ended) and ended[-1].parent is None
        return self._usage.tell() if is_root else []


def _plain_text(token: Any, chunk: GenerationChunk | ChatGenerationChunk | None) -> str:
    """Return the text of a completion model's token, or of a chat message of another role."""
    if isinstance(chunk, ChatGenerationChunk):
        return chunk.message.text
    if chunk is not None:
        return chunk.text
    return token if isinstance(token, str) else ""

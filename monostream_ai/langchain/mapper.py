"""Turns LangChain's callbacks into UI message chunks.

It does no I/O: the handler calls it for each callback, and pushes the chunks that it returns.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self
from uuid import UUID

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import (
    ChatGeneration,
    ChatGenerationChunk,
    Generation,
    GenerationChunk,
    LLMResult,
)

from monostream_ai.langchain.agent_message import AgentMessage
from monostream_ai.langchain.answers import Answers
from monostream_ai.langchain.approvals import Interrupt, ask, interrupts_in, interrupts_of
from monostream_ai.langchain.content_blocks import blocks_of, fields_unread
from monostream_ai.langchain.endings import with_feedback
from monostream_ai.langchain.finished_messages import FinishedMessages
from monostream_ai.langchain.messages_in import Found, messages_in
from monostream_ai.langchain.model_output import ModelOutput
from monostream_ai.langchain.runs import Kind, Run, Runs
from monostream_ai.langchain.sources_and_files import SourcesAndFiles
from monostream_ai.langchain.steps import Steps
from monostream_ai.langchain.tool_results import ToolResults
from monostream_ai.langchain.usage import Usage
from monostream_ai.types import Ending
from monostream_ai.ui_messages import Chunk, to_json_value
from monostream_ai.ui_messages.call_ids import CallIds
from monostream_ai.ui_messages.model_output import OpenText
from monostream_ai.ui_messages.sinks import CountUnread
from monostream_ai.ui_messages.unread import Unread

logger = logging.getLogger(__name__)


class LangChainMapper:
    """Maps the callbacks of any number of runs, consecutive or concurrent, to one message.

    It never returns a terminal chunk, since another chain may follow: the publisher's block ends
    the version. When a root run ends, a `message-metadata` chunk tells the finish reason of the
    last model and the tokens used, and the protocol's `finish` repeats the reason.

    Args:
        runs: Decides which runs are shown.
        error_text, tool_output: As for `ToolResults`.
        goes_on: The first model goes on in the text that is open, since its prompt ends with it.
        count_unread: Called for each value that this release cannot read.
    """

    def __init__(
        self,
        message: AgentMessage,
        runs: Runs,
        *,
        error_text: Callable[[BaseException], str] | None = None,
        tool_output: Callable[[Any], Any] | None = None,
        goes_on: bool = False,
        count_unread: CountUnread | None = None,
    ) -> None:
        self._message = message
        self._runs = runs
        self._calls = CallIds(message, message.earlier_calls)
        self._results = ToolResults(
            message, self._calls, error_text=error_text, tool_output=tool_output
        )
        self.unread = Unread(message, "langchain", count_unread)
        self._sources_and_files = SourcesAndFiles(message, self.unread)
        goes_on = goes_on and bool(message.written_text)
        self._open_text = message.open_text if goes_on else None
        self._steps = Steps(message, self._sources_and_files, take_back=not goes_on)
        self._usage = Usage(message)
        self._answers = Answers()
        self._answer_numbers = itertools.count()
        self._finished = FinishedMessages(message, self._calls, self._steps)
        self._speaking: dict[UUID, ModelOutput] = {}
        # Run and text of the messages that models have spoken, by id, since a node may edit them.
        self._said: dict[str, tuple[UUID, str]] = {}
        # The interrupts shown, by the root run that they passed through.
        self._asked: set[tuple[UUID, str]] = set()
        # Root runs without inputs: a graph goes on from its checkpoint, and got no answer.
        self._without_inputs: set[UUID] = set()

    @classmethod
    def for_message(
        cls,
        message_id: str | None,
        *,
        send_start: bool,
        continued: Mapping[str, Any] | None,
        written: Sequence[Chunk],
        runs: Callable[[], Runs],
        **options: Any,
    ) -> Self:
        """Return a mapper for a new message, or for the rest of one that a lost publisher began."""
        message = AgentMessage(
            message_id=message_id, send_start=send_start, continued=continued, written=written
        )
        return cls(message, runs(), **options)

    def follow(self, others: Sequence[Chunk]) -> None:
        """Take note of the chunks that others have written to the message meanwhile."""
        if others:
            self._message._follow(others)
            self._calls.add(each["toolCallId"] for each in others if "toolCallId" in each)
            self._steps.follow(others)

    def follows(self, run_id: UUID | None) -> bool:
        """Whether this run is open, so that runs which it starts belong to its message."""
        return run_id in self._runs

    def run_start(
        self,
        kind: Kind,
        run_id: UUID,
        parent_id: UUID | None = None,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        inputs: Any = None,
        without_inputs: bool = False,
        node: bool = False,
    ) -> list[Chunk]:
        """Follow a chain or a retriever. The first run starts the message, to give it its id."""
        run = self._runs.start(kind, run_id, parent_id, tags, metadata, node=node)
        if node or run.parent is None:
            run.asked = self._answers.given(inputs)
        if without_inputs and run.parent is None:
            self._without_inputs.add(run_id)
        return self._message.start()

    def run_end(self, run_id: UUID, outputs: Any = None) -> list[Chunk]:
        """Map the end of a chain, with answers and tool results that no model or tool has made.

        The outputs of a root are searched for answers only: they hold the whole history, where old
        messages may carry the ids of new calls.
        """
        ended, chunks = self._end(run_id)
        run = ended[-1] if ended else None
        if run is not None and run.parent is None and not run.node:
            for message in self._answers.of_root(run, outputs):
                chunks += self._answer(run, message)
        elif run is not None and (run.node or run.hidden or self._calls.unanswered):
            for found in messages_in(outputs):
                chunks += self._returned(run, found)
        return [*chunks, *self._sum_up(ended)]

    def run_error(self, run_id: UUID, error: BaseException) -> list[Chunk]:
        """Map the failure of a chain, or the interrupt that it reports as one."""
        speaking = len(self._speaking)
        ended, chunks = self._end(run_id)
        if len(self._speaking) < speaking:
            self._usage.cut(failed=isinstance(error, Exception))
        for interrupt in interrupts_of(error) if ended else ():
            chunks += self._interrupted(ended[-1].root.id, interrupt)
        return [*chunks, *self._sum_up(ended, failed=True)]

    def model_start(
        self,
        run_id: UUID,
        parent_id: UUID | None = None,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        structured: bool = False,
    ) -> list[Chunk]:
        """Begin a step, unless another model is speaking in the open one.

        Models that speak at the same time share a step, since the results of a step's calls belong
        to it.

        Args:
            structured: The calls of this model are its answer, and no tool runs for them.
        """
        run = self._runs.start("model", run_id, parent_id, tags, metadata)
        if run.hidden:
            return self._message.start()
        chunks: list[Chunk] = []
        open_text, self._open_text = self._open_text, None
        if open_text is None or not self._message.is_open("text", open_text.part_id):
            open_text = None
            chunks = self._begin_step(run_id)
        else:
            self._steps.join(run_id)
        self._speaking[run_id] = self._new_output(
            str(run_id), structured=structured, open_text=open_text
        )
        return chunks

    def token(
        self, run_id: UUID, token: Any, chunk: GenerationChunk | ChatGenerationChunk | None
    ) -> list[Chunk]:
        message = chunk.message if isinstance(chunk, ChatGenerationChunk) else None
        if message is not None:
            self._answers.spoken(message.id)
        output = self._speaking.get(run_id)
        if output is None or output.source == "events":
            return []
        if isinstance(message, AIMessage):
            chunks = output.token(message)
        else:
            chunks = output.text(None, _plain_text(token, chunk))
        if chunks:
            # An empty token says nothing about where the output will come from.
            output.source = "tokens"
        return chunks

    def stream_event(self, run_id: UUID, event: Mapping[str, Any]) -> list[Chunk]:
        if event.get("event") == "message-start":
            self._answers.spoken(event.get("id"))
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
        if len(generations) > 1 and output is not None:
            self.unread.lose("a generation besides the first")
        message = generation.message if isinstance(generation, ChatGeneration) else None
        if message is not None:
            self._answers.given(message)
        if isinstance(message, AIMessage):
            self._usage.count(message)
            message = with_feedback(message, response.llm_output)
        if output is None or not ended:
            return self._sum_up(ended)
        for name in () if message is None else fields_unread(message):
            # They are only counted: a program may keep there what no page may see.
            self.unread.lose(f"field {name}")
        ended[-1].note("" if generation is None else generation.text)
        if isinstance(message, AIMessage) and message.id is not None:
            self._said[message.id] = (run_id, message.text.strip())
        return [*self._complete(output, generation, message), *self._sum_up(ended)]

    def model_error(self, run_id: UUID, error: BaseException) -> list[Chunk]:
        """End the parts that a failed model left open. A retry or a fallback gets its own step."""
        output = self._speaking.get(run_id)
        if output is not None and output.source is not None and isinstance(error, Exception):
            self._steps.fail(run_id)
        return self.run_error(run_id, error)

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
        return [*chunks, *self._sum_up(ended, failed=True)]

    def custom_event(self, name: str, data: Any) -> list[Chunk]:
        """Send `data-<name>`. A later event with the same name and string `id` replaces it."""
        value = to_json_value(data)
        data_id = value.get("id") if isinstance(value, dict) else None
        self._steps.join(None)
        return self._message.data(
            name, value, data_id=data_id if isinstance(data_id, str) else None
        )

    def finished(self, messages: Sequence[BaseMessage]) -> list[Chunk]:
        """Show the parts of these messages that the page lacks; their runs are over."""
        chunks = self._message.start()
        self._answers.given(messages)
        for message in self._finished.without_continued(messages):
            if isinstance(message, ToolMessage):
                chunks += self._results.of_message(message, self._finished.call_of(message))
            elif isinstance(message, AIMessage):
                self._usage.count_finished(message)
                self._usage.stopped(message)
                chunks += self._finished.rest_of(message, self._new_output)
        self._steps.judge_taken_up(broke_off=self._finished.leave_a_rest)
        return chunks

    def written(self, data: Any) -> list[Chunk]:
        """Map an object that a node has written with `get_stream_writer`, if it has a `type`.

        A part of the AI SDK (`{"type": "data-…", "data": …}`) is sent as it is; for any other
        object, all keys but the type are the data.
        """
        kind = data.get("type") if isinstance(data, Mapping) else None
        if not isinstance(kind, str) or not kind:
            return []
        rest = {key: value for key, value in data.items() if key != "type"}
        if not kind.startswith("data-") or "data" not in data:
            return self.custom_event(kind.removeprefix("data-"), rest)
        data_id = data.get("id")
        self._steps.join(None)
        return self._message.data(
            kind.removeprefix("data-"),
            to_json_value(data["data"]),
            data_id=data_id if isinstance(data_id, str) else None,
        )

    def interrupted(self, root_id: UUID, interrupts: Any) -> list[Chunk]:
        """Map the interrupts that a graph's stream reports."""
        return [
            chunk
            for interrupt in interrupts_in(interrupts)
            for chunk in self._interrupted(root_id, interrupt)
        ]

    def rest(self, ending: Ending) -> list[Chunk]:
        """Map the end of the message: end what models still say, and say so in the metadata.

        The publisher's block may end well although a loop over the stream was left, or the error
        of a model was caught.
        """
        speaking = [*self._speaking.values()]
        self._speaking.clear()
        chunks = [chunk for output in speaking for chunk in output.fail()]
        if speaking:
            self._usage.cut(failed=False)
        return [*chunks, *(self._usage.tell_rest() if ending == "finish" else [])]

    def _returned(self, run: Run, found: Found) -> list[Chunk]:
        message = found.message
        if run.hidden:
            # The node around a hidden run, which is not hidden itself, returns the message too.
            if self._answers.is_new(found):
                run.note(message.text)
            return []
        if isinstance(message, ToolMessage):
            return self._results.of_message(message)
        if not run.node or not isinstance(message, AIMessage):
            return []
        return self._answer(run, message) if self._answers.is_new(found) else self._edited(message)

    def _edited(self, message: AIMessage) -> list[Chunk]:
        """Show the text of a message instead of the one that its model has spoken, if it differs.

        Only the last message can be replaced: an edit of an earlier one is for the model.
        """
        run_id, said = self._said.get(message.id or "", (None, ""))
        if run_id is None or message.text.strip() == said:
            return []
        chunks = self._steps.replace(run_id)
        if not chunks:
            self.unread.lose("edit of a message")
            return []
        self._said[message.id or ""] = (run_id, message.text.strip())
        output = self._new_output(f"{run_id}:edit-{next(self._answer_numbers)}")
        return chunks + output.complete(message)

    def _answer(self, run: Run, message: AIMessage) -> list[Chunk]:
        """Show a message that no model has spoken as if a model had.

        A node often wraps the text of its model into a message of its own: it is shown already, and
        so are the calls that wait for their tools.
        """
        new_calls = [
            call
            for call in message.tool_calls
            if self._calls.find_unanswered(call["id"] or "", call["name"]) is None
        ]
        self._usage.stopped(message)
        if not (new_calls or message.invalid_tool_calls or blocks_of(message)):
            return []
        output = self._new_output(f"{run.id}:answer-{next(self._answer_numbers)}")
        chunks: list[Chunk] = []
        if run.has_said(message.text):
            output.shown(message.text)
        else:
            chunks = self._begin_step(run.id)
            run.note(message.text)
        return chunks + output.complete(message.model_copy(update={"tool_calls": new_calls}))

    def _begin_step(self, run_id: UUID) -> list[Chunk]:
        """Begin a step, or share the open one while a model is speaking in it."""
        if self._speaking and self._message.step_open:
            self._steps.join(run_id)
            return []
        return self._steps.begin(run_id)

    def _new_output(
        self, prefix: str, *, structured: bool = False, open_text: OpenText | None = None
    ) -> ModelOutput:
        return ModelOutput(
            prefix,
            self._message,
            self._calls,
            self._sources_and_files,
            self.unread,
            structured=structured,
            open_text=open_text,
        )

    def _interrupted(self, root_id: UUID, interrupt: Interrupt) -> list[Chunk]:
        # An interrupt passes through every graph around it, and each of them reports it.
        if (root_id, interrupt.id) in self._asked:
            return []
        self._asked.add((root_id, interrupt.id))
        if root_id in self._without_inputs and self._message.has_asked(*interrupt):
            logger.warning(
                "the graph only asked its question again, as interrupt %s got no answer: "
                "pass Command(resume=turn.resume_value()), and let the page decide on all calls or "
                "send {resume: {[part.id]: value}} in its body",
                interrupt.id,
            )
        self._steps.join(None)
        return ask(self._message, self._calls, interrupt)

    def _complete(
        self, output: ModelOutput, generation: Generation | None, message: Any
    ) -> list[Chunk]:
        if isinstance(message, AIMessage):
            self._usage.stopped(message, structured=output.structured)
            return output.complete(message)
        self._usage.completed(generation)
        text = generation.text if generation is not None and output.source is None else ""
        return [*output.text(None, text), *output.fail()]

    def _end(self, run_id: UUID) -> tuple[list[Run], list[Chunk]]:
        """Forget a run and all runs below it, and end the parts that they left open."""
        ended = self._runs.end(run_id)
        outputs = [self._speaking.pop(run.id, None) for run in ended]
        chunks = [chunk for output in outputs if output is not None for chunk in output.fail()]
        return ended, chunks

    def _sum_up(self, ended: Sequence[Run], *, failed: bool = False) -> list[Chunk]:
        if not ended or ended[-1].parent is not None:
            return []
        # Some packages report a provider's call and never its result.
        chunks = [] if failed else self._message.end_provider_calls()
        return [*chunks, *self._usage.tell()]


def _plain_text(token: Any, chunk: GenerationChunk | ChatGenerationChunk | None) -> str:
    """Return the text of a completion model's token, or of a chat message of another role."""
    if isinstance(chunk, ChatGenerationChunk):
        return chunk.message.text
    if chunk is not None:
        return chunk.text
    return token if isinstance(token, str) else ""

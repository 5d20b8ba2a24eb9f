"""Finds messages of a checkpoint in the chunks of a lost publisher, and shows the rest of them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable
from uuid import uuid4

from langchain_core.messages import AIMessage, BaseMessage, ToolCall

from monostream_ai.langchain.agent_message import AgentMessage
from monostream_ai.langchain.messages_in import messages_in
from monostream_ai.langchain.model_output import ModelOutput
from monostream_ai.langchain.steps import Steps
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.call_ids import CallIds
from monostream_ai.ui_messages.model_output import OpenText


@runtime_checkable
class Snapshot(Protocol):
    """The state of a graph, as `graph.aget_state` returns it.

    A task that has ended has a result and is not run again, although its step has not ended.
    Source: langgraph 1.2.24, types.py, `StateSnapshot`.
    """

    @property
    def values(self) -> Any: ...

    @property
    def tasks(self) -> Sequence[Any]: ...


def finished_in(state: Snapshot | Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return the messages of a state, with those of tasks that have ended since."""
    # A snapshot is a tuple too.
    if not isinstance(state, Snapshot):
        return [*state]
    values = state.values.get("messages", ()) if isinstance(state.values, Mapping) else ()
    results = [task.result for task in state.tasks if getattr(task, "result", None) is not None]
    return [*values, *(found.message for result in results for found in messages_in(result))]


class FinishedMessages:
    """Shows the messages of runs that are over, one after another.

    A publisher stores chunks a moment after a graph has stored its checkpoint, or before. So a
    message of the checkpoint may be shown already, up to a point, or not at all.
    """

    def __init__(self, message: AgentMessage, calls: CallIds, steps: Steps) -> None:
        self._message = message
        self._calls = calls
        self._steps = steps
        self._numbers = itertools.count()
        self._found_to = 0
        """End of the written text that belongs to these messages."""
        self._found_calls: set[str] = set()
        self._made = Counter[str]()
        """Number of calls in these messages so far, by the id that the model gave them."""

    @property
    def leave_a_rest(self) -> bool:
        """Whether the open step shows anything that belongs to none of them."""
        return (
            self._found_to < len(self._message.written_text)
            or self._message.has_open_parts
            or not self._found_calls.issuperset(self._message.calls_of_step)
        )

    def without_continued(self, messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
        """Leave out the messages of the answer that this turn continues: the page has them.

        That answer ended with calls that waited for the page, so all messages up to the last one
        that made a call of it belong to it. Call this before any message is shown.
        """
        end, made = 0, Counter[str]()
        for number, message in enumerate(messages, start=1):
            calls = message.tool_calls if isinstance(message, AIMessage) else ()
            found = {self._find(*counted) for counted in _count(calls, made)}
            if not found.isdisjoint(self._message.continued_calls):
                end, self._made = number, made.copy()
        return messages[end:]

    def rest_of(self, message: AIMessage, new_output: Callable[..., ModelOutput]) -> list[Chunk]:
        """Return the chunks that the page lacks of a message.

        Args:
            new_output: Makes the output of a run from a prefix for its part ids, and from the open
                text part that it goes on with.
        """
        text, written = message.text, self._message.written_text
        half = any(self._calls.is_arriving(call["id"] or "") for call in message.tool_calls)
        place = -1 if half else written.find(text, self._found_to)
        counted = [*_count(message.tool_calls, self._made)]
        found = [self._find(*each) for each in counted]
        calls = [call for call, shown in zip(message.tool_calls, found, strict=True) if not shown]
        chunks: list[Chunk] = []
        if place < 0 or calls:
            begun = None if half or place >= 0 else self._begun(text)
            output = new_output(f"finished-{next(self._numbers)}", open_text=begun)
            if place >= 0:
                output.shown(text)
            elif begun is not None:
                shown = written[self._found_to :]
                output.shown(shown)
                chunks = output.text(None, text[len(shown) :])
            else:
                self._steps.judge_taken_up(broke_off=self.leave_a_rest)
                chunks = self._steps.begin(uuid4())
            rest = message.model_copy(update={"tool_calls": calls})
            chunks += output.complete(rest)
        self._found_to = place + len(text) if place >= 0 else len(written)
        self._found_calls |= {self._find(*each) or "" for each in counted}
        return chunks

    def _find(self, model_id: str, number: int) -> str | None:
        """Return the published id of a call, if it has arrived whole."""
        # A call of a step that was taken back has no state.
        calls = [each for each in self._calls.published(model_id) if self._calls.state(each)]
        found = calls[number] if number < len(calls) else None
        return None if found is None or self._calls.state(found) == "streaming" else found

    def _begun(self, text: str) -> OpenText | None:
        """Return the open text part, if it holds the beginning of this text and nothing else."""
        part, shown = self._message.open_text, self._message.written_text[self._found_to :]
        if part is None or not shown or not text.startswith(shown):
            return None
        return part._replace(ends_with_space=False)


def _count(calls: Iterable[ToolCall], made: Counter[str]) -> Iterator[tuple[str, int]]:
    """Yield the id that the model gave each call, and the number of calls before it with that id.

    A model may use an id again in a later step.
    """
    for call in calls:
        model_id = call["id"] or ""
        yield model_id, made[model_id]
        made[model_id] += 1

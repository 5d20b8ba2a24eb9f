"""Finds messages of a checkpoint in the chunks of a lost publisher, and shows the rest of them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable
from uuid import uuid4

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

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
        self._numbers_of_calls = _CallNumbers()

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
        end, numbers = 0, _CallNumbers()
        for place, message in enumerate(messages, start=1):
            found = {self._find(*each) for each in numbers.of_calls(message)}
            if not found.isdisjoint(self._message.continued_calls):
                end, self._numbers_of_calls = place, numbers.copy()
        return messages[end:]

    def call_of(self, message: ToolMessage) -> str | None:
        """Return the published id of the call with this result, if these messages made it."""
        number = self._numbers_of_calls.of_result(message)
        return None if number is None else self._find(message.tool_call_id, number)

    def rest_of(self, message: AIMessage, new_output: Callable[..., ModelOutput]) -> list[Chunk]:
        """Return the chunks that the page lacks of a message.

        Args:
            new_output: Makes the output of a run from a prefix for its part ids, and from the open
                text part that it goes on with.
        """
        text, written = message.text, self._message.written_text
        numbers = self._numbers_of_calls.of_calls(message)
        half = any(self._is_arriving(*each) for each in numbers)
        place = -1 if half else written.find(text, self._found_to)
        if not text and numbers and not any(self._find(*each) for each in numbers):
            # Nothing of the message is there, not even its step.
            place = -1
        chunks: list[Chunk] = []
        begun = None if half or place >= 0 or not text else self._begun(text)
        if place < 0 and begun is None:
            self._steps.judge_taken_up(broke_off=self.leave_a_rest)
            chunks = self._steps.begin(uuid4())
        # Only now, since a step that was taken back had calls, too.
        found = [self._find(*each) for each in numbers]
        calls = [call for call, shown in zip(message.tool_calls, found, strict=True) if not shown]
        if place < 0 or calls:
            output = new_output(f"finished-{next(self._numbers)}", open_text=begun)
            if place >= 0:
                output.shown(text)
            elif begun is not None:
                shown = written[self._found_to :]
                output.shown(shown)
                chunks = output.text(None, text[len(shown) :])
            rest = message.model_copy(update={"tool_calls": calls})
            chunks += output.complete(rest)
        self._found_to = place + len(text) if place >= 0 else len(written)
        self._found_calls |= {self._find(*each) or "" for each in numbers}
        return chunks

    def _find(self, model_id: str, number: int) -> str | None:
        """Return the published id of a call, if it has arrived whole."""
        found = self._call(model_id, number)
        return None if found is None or self._calls.state(found) == "streaming" else found

    def _is_arriving(self, model_id: str, number: int) -> bool:
        found = self._call(model_id, number)
        return found is not None and self._calls.state(found) == "streaming"

    def _call(self, model_id: str, number: int) -> str | None:
        # A call of a step that was taken back has no state.
        calls = [each for each in self._calls.published(model_id) if self._calls.state(each)]
        return calls[number] if number < len(calls) else None

    def _begun(self, text: str) -> OpenText | None:
        """Return the open text part, if it holds the beginning of this text and nothing else."""
        part, shown = self._message.open_text, self._message.written_text[self._found_to :]
        if part is None or not shown or not text.startswith(shown):
            return None
        return part._replace(ends_with_space=False)


class _CallNumbers:
    """Tells calls with the same id apart: a model may use an id again in a later step."""

    def __init__(self) -> None:
        self._made = Counter[str]()
        self._waiting: dict[str, list[int]] = {}
        """Numbers of the calls without a result in the last message with this id."""

    def copy(self) -> _CallNumbers:
        other = _CallNumbers()
        other._made = self._made.copy()
        other._waiting = {model_id: [*numbers] for model_id, numbers in self._waiting.items()}
        return other

    def of_calls(self, message: BaseMessage) -> list[tuple[str, int]]:
        """Return the id that the model gave each call, and the number of earlier calls with it."""
        calls = message.tool_calls if isinstance(message, AIMessage) else ()
        ids = [call["id"] or "" for call in calls]
        self._waiting |= {model_id: [] for model_id in ids}
        counted = []
        for model_id in ids:
            number = self._made[model_id]
            counted.append((model_id, number))
            self._waiting[model_id].append(number)
            self._made[model_id] += 1
        return counted

    def of_result(self, message: ToolMessage) -> int | None:
        waiting = self._waiting.get(message.tool_call_id)
        return waiting.pop(0) if waiting else None

"""Picks the answers that no model has spoken, as those of middleware, guards and caches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage

from monostream_ai.langchain.messages_in import Found, messages_in
from monostream_ai.langchain.runs import Run


class Answers:
    """Knows the messages that runs were given and that models have spoken; all others are answers.

    LangGraph follows the same rule. Source: langgraph 1.2.24, pregel/_messages.py,
    `StreamMessagesHandler`.
    """

    def __init__(self) -> None:
        self._ids: set[str] = set()
        # By identity, since a reducer gives a message its id only after its node has ended. The
        # objects are kept, so that no other one gets the same identity.
        self._objects: dict[int, object] = {}

    def given(self, inputs: Any) -> bool:
        """Note the messages in the inputs of a run; return whether a human's is among them."""
        asked = False
        for found in messages_in(inputs):
            self._is_new(found)
            asked = asked or isinstance(found.message, HumanMessage)
        return asked

    def spoken(self, message_id: str | None) -> None:
        """Note that a model has spoken this message, which may be hidden."""
        if message_id is not None:
            self._ids.add(message_id)

    def is_new(self, found: Found) -> bool:
        """Whether this is an answer that was not given, spoken or returned before; notes it."""
        return isinstance(found.message, AIMessage) and self._is_new(found)

    def of_root(self, run: Run, outputs: Any) -> Iterator[AIMessage]:
        """Yield the answers that only the outputs of a root run show.

        A chain may return a message, and a node whose result is cached reports no run. The outputs
        of a graph hold the whole history, so only messages after the last question count.
        """
        if isinstance(outputs, AIMessage) and not run.said:
            lists = [[Found(outputs, outputs)]]
        elif isinstance(outputs, Mapping) and run.asked:
            lists = [list(messages_in(value)) for value in outputs.values()]
        else:
            return
        for found in lists:
            for one in _after_question(found):
                new = self.is_new(one) and not run.has_said(one.message.text)
                if new and isinstance(one.message, AIMessage):
                    yield one.message

    def _is_new(self, found: Found) -> bool:
        message_id, identity = found.message.id, id(found.origin)
        new = message_id not in self._ids and identity not in self._objects
        self.spoken(message_id)
        if message_id is None:
            self._objects[identity] = found.origin
        return new


def _after_question(messages: list[Found]) -> list[Found]:
    questions = [n for n, found in enumerate(messages) if isinstance(found.message, HumanMessage)]
    return messages[questions[-1] + 1 :] if questions else messages

"""LangGraph's interrupts: what a graph asks a human, and which tool calls it asks about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from monostream_ai.langchain.message import AgentMessage, PendingCall
from monostream_ai.ui_messages import Chunk, to_json_value
from monostream_ai.ui_messages.call_ids import CallIds


class Interrupt(NamedTuple):
    """One question of a graph, as JSON; its id is what an answer must name."""

    id: str
    value: Any


def interrupts_of(error: BaseException) -> Iterator[Interrupt]:
    """Yield what the error interrupts a graph with, if it does; told by its name, since LangGraph
    need not be installed.
    """
    if not any(kind.__name__ == "GraphInterrupt" for kind in type(error).__mro__):
        return
    interrupts = error.args[0] if error.args else ()
    for interrupt in interrupts if isinstance(interrupts, Sequence) else ():
        if isinstance(interrupt_id := getattr(interrupt, "id", None), str):
            yield Interrupt(interrupt_id, to_json_value(getattr(interrupt, "value", None)))


def ask(message: AgentMessage, calls: CallIds, interrupt: Interrupt) -> list[Chunk]:
    """Return the chunks that put the question to the user: an approval for each call it is about,
    then the question as data.
    """
    chunks: list[Chunk] = []
    for call in _calls_asked_about(message.pending, calls, interrupt.value):
        chunks += message.ask(call.call_id, f"{interrupt.id}:{call.call_id}")
    return [*chunks, *message.data("interrupt", interrupt.value, data_id=interrupt.id)]


def _calls_asked_about(
    pending: list[PendingCall], calls: CallIds, value: Any
) -> Iterator[PendingCall]:
    """Yield the calls behind the requests of `HumanInTheLoopMiddleware`. Source: langchain 1.4.7,
    human_in_the_loop.py.
    """
    if not isinstance(value, Mapping):
        return
    if value.get("type") == "tool_approval":
        asked = calls.find_unanswered(str(value.get("tool_call_id")))
        yield from (call for call in pending if call.call_id == asked)
        return
    requests = value.get("action_requests") or value.get("actionRequests")
    for request in requests if isinstance(requests, list) else ():
        same = [
            call
            for call in pending
            if isinstance(request, dict) and call.name == request.get("name")
        ]
        # Of two calls of one tool only one may need an approval.
        found = next(
            (call for call in same if call.input == request.get("args")), same[0] if same else None
        )
        if found is not None:
            pending.remove(found)
            yield found

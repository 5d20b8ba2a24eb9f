"""Approvals in both directions, between LangGraph and the user.

A graph's interrupt becomes a question in the message; the user's answers become a resume value.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from monostream_ai.errors import InvalidArgument
from monostream_ai.langchain.agent_message import AgentMessage, PendingCall
from monostream_ai.ui_messages import Chunk, to_json_value
from monostream_ai.ui_messages.call_ids import CallIds

logger = logging.getLogger(__name__)


class Interrupt(NamedTuple):
    """One question of a graph; an answer must carry its id. The value is JSON."""

    id: str
    value: Any


class _Answer(NamedTuple):
    """A user's answer about one call, None if there is none yet."""

    interrupt_id: str
    decision: dict[str, Any] | None


def interrupts_of(error: BaseException) -> Iterator[Interrupt]:
    """Yield the interrupts that the error carries, if it is a `GraphInterrupt`.

    The class is recognized by its name, since LangGraph need not be installed.
    """
    if not any(kind.__name__ == "GraphInterrupt" for kind in type(error).__mro__):
        return
    yield from interrupts_in(error.args[0] if error.args else ())


def interrupts_in(interrupts: Any) -> Iterator[Interrupt]:
    """Yield LangGraph's interrupts as the message shows them."""
    for interrupt in interrupts if isinstance(interrupts, Sequence) else ():
        interrupt_id = getattr(interrupt, "id", None)
        if isinstance(interrupt_id, str):
            yield Interrupt(interrupt_id, to_json_value(getattr(interrupt, "value", None)))
        else:
            logger.debug("ignoring an interrupt without an id")


def ask(message: AgentMessage, calls: CallIds, interrupt: Interrupt) -> list[Chunk]:
    """Put the question to the user: an approval for each call it is about, then the raw value.

    An approval's id is `<interrupt id>:<call id>`; `resume_value` takes it apart again.
    """
    chunks: list[Chunk] = []
    for call in _calls_asked_about(message.pending, calls, interrupt.value):
        chunks += message.ask(call.call_id, _approval_id(interrupt.id, call.call_id))
    return [*chunks, *message.data("interrupt", interrupt.value, data_id=interrupt.id)]


def resume_value(
    messages: Sequence[Mapping[str, Any]], *, answers: object = None
) -> dict[str, Any] | None:
    """Return the value for `Command(resume=…)` that carries the user's answers to the last message.

    Each interrupt of `HumanInTheLoopMiddleware` whose calls are all answered gets its decisions,
    under its id and in the order of the calls: `approve`, or `reject` with the user's reason. The
    graph runs the calls in its checkpoint, even if a client changed their input. Checking that this
    user may decide is up to you. Without a checkpointer, give the model
    `to_langchain_messages(messages)`, where a rejected call has failed.

    Any other interrupt gets the value that `answers` has under its id: check it in your graph.

    Args:
        messages: `UIMessage`s as the client sent them.
        answers: Values by the ids of `data-interrupt` parts of the last message, as a client sent
            them. Anything else in it is ignored.

    Returns:
        None if there is nothing to resume.

    Raises:
        InvalidArgument: This is no list of messages.
    """
    if isinstance(messages, str | bytes) or not isinstance(messages, Sequence):
        raise InvalidArgument("the messages are not a list of UI messages")
    parts = _parts_of_last(messages)
    decided: dict[str, list[dict[str, Any] | None]] = {}
    for answer in _answers(parts):
        decided.setdefault(answer.interrupt_id, []).append(answer.decision)
    about_one_call = {part.get("id") for part in parts if _asks_about_one_call(part)}
    decisions = {
        interrupt_id: given[0] if interrupt_id in about_one_call else {"decisions": given}
        for interrupt_id, given in decided.items()
        if None not in given
    }
    return {**_own_answers(parts, answers), **decisions} or None


def _own_answers(parts: Sequence[Mapping[str, Any]], answers: object) -> dict[str, Any]:
    """Return the answers to interrupts that ask for no decision on calls."""
    given = answers if isinstance(answers, Mapping) else {}
    asked = {
        str(part.get("id"))
        for part in parts
        if part.get("type") == "data-interrupt" and not _is_about_calls(part.get("data"))
    }
    return {interrupt_id: given[interrupt_id] for interrupt_id in asked & given.keys()}


def _calls_asked_about(
    pending: list[PendingCall], calls: CallIds, value: Any
) -> Iterator[PendingCall]:
    """Yield the calls behind a question of `HumanInTheLoopMiddleware`.

    Source: langchain 1.4.7, human_in_the_loop.py.
    """
    if not isinstance(value, Mapping):
        return
    if _is_about_one_call(value):
        asked = calls.find_unanswered(str(value.get("tool_call_id")))
        yield from (call for call in pending if call.call_id == asked)
        return
    requests = value.get("action_requests") or value.get("actionRequests")
    for request in requests if isinstance(requests, list) else ():
        found = _requested(pending, request) if isinstance(request, dict) else None
        if found is not None:
            pending.remove(found)
            yield found


def _requested(pending: list[PendingCall], request: dict[str, Any]) -> PendingCall | None:
    """Return the call that a request means: the one with its arguments, or the first of its tool.

    Arguments decide, since of two calls of one tool only one may need an approval.
    """
    of_tool = [call for call in pending if call.name == request.get("name")]
    exact = (call for call in of_tool if call.input == request.get("args"))
    return next(exact, of_tool[0] if of_tool else None)


def _parts_of_last(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    last = messages[-1] if messages else None
    if not isinstance(last, Mapping) or last.get("role") != "assistant":
        return []
    parts = last.get("parts")
    return (
        [part for part in parts if isinstance(part, Mapping)] if isinstance(parts, Sequence) else []
    )


def _answers(parts: Sequence[Mapping[str, Any]]) -> Iterator[_Answer]:
    for part in parts:
        approval, call_id = part.get("approval"), part.get("toolCallId")
        asked = part.get("state") in ("approval-requested", "approval-responded")
        if not asked or not isinstance(approval, Mapping):
            continue
        approval_id, suffix = approval.get("id"), _approval_id("", call_id)
        if isinstance(approval_id, str) and approval_id.endswith(suffix):
            yield _Answer(approval_id.removesuffix(suffix), _decision(approval))


def _decision(approval: Mapping[str, Any]) -> dict[str, Any] | None:
    # Exactly True: a client that sends "false" must not approve.
    if approval.get("approved") is True:
        return {"type": "approve"}
    if approval.get("approved") is not False:
        return None
    reason = approval.get("reason")
    return {"type": "reject", **({"message": reason} if isinstance(reason, str) and reason else {})}


def _asks_about_one_call(part: Mapping[str, Any]) -> bool:
    return (
        part.get("type") == "data-interrupt"
        and isinstance(part.get("id"), str)
        and _is_about_one_call(part.get("data"))
    )


def _is_about_one_call(value: object) -> bool:
    return isinstance(value, Mapping) and value.get("type") == "tool_approval"


def _is_about_calls(value: object) -> bool:
    return _is_about_one_call(value) or (
        isinstance(value, Mapping) and not {"action_requests", "actionRequests"}.isdisjoint(value)
    )


def _approval_id(interrupt_id: str, call_id: object) -> str:
    return f"{interrupt_id}:{call_id}"

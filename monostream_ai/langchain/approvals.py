"""A user's approvals, as the message in the client shows them, to what resumes a LangGraph graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple


class _Answer(NamedTuple):
    """A user's answer about one call, None while there is none."""

    interrupt_id: str
    decision: dict[str, Any] | None


def resume_value(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return what `Command(resume=…)` needs to go on with the answers in the last message; None if
    it holds nothing to resume.

    Each interrupt of `HumanInTheLoopMiddleware` that is wholly answered gets its decisions, under
    its id, in the order of the calls: `approve`, or `reject` with the user's reason. Other
    interrupts, whose answers mean what your graph says, are left out. The graph runs the calls that
    its checkpoint holds, whatever a client made of their input; that the user may decide is for you
    to check. Without a checkpointer, give the model `to_langchain_messages(messages)`, where a
    rejected call has failed.

    Args:
        messages: `UIMessage`s as the client sent them.
    """
    last = messages[-1] if messages else {}
    parts = (
        last.get("parts") if isinstance(last, Mapping) and last.get("role") == "assistant" else None
    )
    parts = (
        [part for part in parts if isinstance(part, Mapping)] if isinstance(parts, Sequence) else []
    )
    answers: dict[str, list[dict[str, Any] | None]] = {}
    for answer in _answers(parts):
        answers.setdefault(answer.interrupt_id, []).append(answer.decision)
    single = {
        part.get("id")
        for part in parts
        if part.get("type") == "data-interrupt" and _is_about_one_call(part.get("data"))
    }
    whole = {asked: decisions for asked, decisions in answers.items() if None not in decisions}
    return {
        asked: given[0] if asked in single else {"decisions": given}
        for asked, given in whole.items()
    } or None


def _answers(parts: Sequence[Mapping[str, Any]]) -> Iterator[_Answer]:
    for part in parts:
        approval, call_id = part.get("approval"), part.get("toolCallId")
        if not isinstance(approval, Mapping) or part.get("state") not in (
            "approval-requested",
            "approval-responded",
        ):
            continue
        approval_id = approval.get("id")
        if isinstance(approval_id, str) and approval_id.endswith(f":{call_id}"):
            yield _Answer(approval_id.removesuffix(f":{call_id}"), _decision(approval))


def _decision(approval: Mapping[str, Any]) -> dict[str, Any] | None:
    # Exactly True: a client that sends "false" must not approve.
    if approval.get("approved") is True:
        return {"type": "approve"}
    if approval.get("approved") is not False:
        return None
    reason = approval.get("reason")
    return {"type": "reject", **({"message": reason} if isinstance(reason, str) and reason else {})}


def _is_about_one_call(data: object) -> bool:
    return isinstance(data, Mapping) and data.get("type") == "tool_approval"

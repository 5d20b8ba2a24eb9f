"""A user's answers become the value that resumes a graph.

U: rows of the integration reference.
"""

from __future__ import annotations

from typing import Any, Literal

import pytest

from monostream_ai.langchain import resume_value


def asked(
    call_id: str, state: str = "approval-responded", asked_by: str = "i1", **approval: Any
) -> dict[str, Any]:
    approval = {"id": f"{asked_by}:{call_id}", **approval}
    return {
        "type": "dynamic-tool",
        "toolName": "t",
        "toolCallId": call_id,
        "state": state,
        "approval": approval,
    }


def resume(*parts: dict[str, Any], role: Literal["assistant", "user"] = "assistant") -> Any:
    return resume_value([{"id": "m", "role": role, "parts": list(parts)}])


def test_u7_answers_become_decisions_in_the_order_of_the_calls() -> None:
    assert resume(
        asked("a", approved=True),
        asked("b", approved=False, reason="no"),
        asked("c", approved=False),
    ) == {
        "i1": {
            "decisions": [
                {"type": "approve"},
                {"type": "reject", "message": "no"},
                {"type": "reject"},
            ]
        }
    }


def test_u7_an_interrupt_about_one_call_gets_its_decision_alone() -> None:
    data = {"type": "data-interrupt", "id": "i1", "data": {"type": "tool_approval"}}

    assert resume(data, asked("a", approved=True)) == {"i1": {"type": "approve"}}


def test_u7_each_interrupt_is_answered_when_all_its_calls_are() -> None:
    parts = [
        asked("a", approved=True),
        asked("b", "approval-requested"),
        asked("c", asked_by="i2", approved=True),
    ]

    assert resume(*parts) == {"i2": {"decisions": [{"type": "approve"}]}}


@pytest.mark.parametrize("approved", ["true", "false", 1, 0, None, {}], ids=repr)
def test_u10_only_true_approves_and_only_false_rejects(approved: object) -> None:
    assert resume(asked("a", approved=approved)) is None


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [{"type": "text", "text": "hi"}],
        [asked("a", "output-available", approved=True)],
        [asked("a", approved=True) | {"approval": {"id": "foreign", "approved": True}}],
        [asked("a", approved=True) | {"approval": 7}],
        [{"type": "data-interrupt", "id": [], "data": {"type": "tool_approval"}}],
    ],
    ids=["no parts", "no calls", "has run", "not ours", "malformed", "malformed id"],
)
def test_there_is_nothing_to_resume(parts: list[dict[str, Any]]) -> None:
    assert resume(*parts) is None


@pytest.mark.parametrize(
    "messages", [[], ["x"], [{"role": "assistant"}], [{"role": "user", "parts": []}]], ids=str
)
def test_messages_without_answers_resume_nothing(messages: Any) -> None:
    assert resume_value(messages) is None


def test_answers_of_a_user_message_do_not_count() -> None:
    assert resume(asked("a", approved=True), role="user") is None


OWN: dict[str, Any] = {"type": "data-interrupt", "id": "i1", "data": {"question": "Which year?"}}


def test_an_interrupt_of_your_own_gets_the_value_under_its_id() -> None:
    message = {"id": "m", "role": "assistant", "parts": [OWN, asked("a", asked_by="i2")]}
    message["parts"][1]["approval"]["approved"] = True

    assert resume_value([message], answers={"i1": 1999, "other": 1}) == {
        "i1": 1999,
        "i2": {"decisions": [{"type": "approve"}]},
    }
    assert resume_value([message], answers={"i1": None}) == {
        "i1": None,
        "i2": {"decisions": [{"type": "approve"}]},
    }


@pytest.mark.parametrize(
    "value",
    [{"type": "tool_approval"}, {"action_requests": []}, {"actionRequests": [{"name": "t"}]}],
    ids=str,
)
def test_calls_are_decided_by_approvals_only(value: Any) -> None:
    parts = [{**OWN, "data": value}]
    answers = {"i1": {"decisions": [{"type": "edit"}]}}

    assert resume_value([{"role": "assistant", "parts": parts}], answers=answers) is None


@pytest.mark.parametrize("answers", [None, "i1", 7, ["i1"], {1: 2}], ids=repr)
def test_answers_of_another_shape_are_ignored(answers: object) -> None:
    assert resume_value([{"role": "assistant", "parts": [OWN]}], answers=answers) is None

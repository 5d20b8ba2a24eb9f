from __future__ import annotations

from typing import Any, get_args

import pytest
from ag_ui import core

from monostream_ai.ag_ui import check_event, to_event
from monostream_ai.ag_ui.events import SHAPES
from monostream_ai.errors import InvalidChunk

COMMON = {"type", "timestamp", "rawEvent", "metadata", "subagentRunId"}


def models() -> dict[str, Any]:
    union = get_args(get_args(core.Event)[0])
    return {model.model_fields["type"].default.value: model for model in union}


def keys(model: Any, *, required: bool) -> set[str]:
    return {
        field.alias or name
        for name, field in model.model_fields.items()
        if field.is_required() == required
    } - COMMON


def test_the_table_has_the_events_of_the_package() -> None:
    assert SHAPES.keys() == models().keys()


@pytest.mark.parametrize("kind", SHAPES)
def test_the_table_has_the_keys_of_the_package(kind: str) -> None:
    shape, model = SHAPES[kind], models()[kind]
    # A role with one value has a default in Python; clients in TypeScript require it.
    defaulted = {"role"} if kind == "REASONING_MESSAGE_START" else set()

    assert set(shape.required) - {"subagentRunId"} == keys(model, required=True) | defaulted
    anything = {"RUN_FINISHED": {"result"}, "SUBAGENT_FINISHED": {"result"}}.get(kind, set())
    unchecked = anything | ({"role"} if kind == "TOOL_CALL_RESULT" else set())
    assert set(shape.optional) == keys(model, required=False) - defaulted - unchecked


@pytest.mark.parametrize(
    ("event", "path"),
    [
        ("RUN_STARTED", "$"),
        ({}, "$.type"),
        ({"type": ""}, "$.type"),
        ({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m"}, "$.delta"),
        ({"type": "TEXT_MESSAGE_CONTENT", "messageId": 1, "delta": "a"}, "$.messageId"),
        ({"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "tool"}, "$.role"),
        ({"type": "TEXT_MESSAGE_START", "messageId": "m", "name": None}, "$.name"),
        ({"type": "RUN_ERROR", "message": "a", "timestamp": True}, "$.timestamp"),
        ({"type": "CUSTOM", "name": "a"}, "$.value"),
        ({"type": "TEXT_MESSAGE_END", "message_id": "m"}, "$.messageId"),
    ],
)
def test_a_bad_event_is_named(event: Any, path: str) -> None:
    with pytest.raises(InvalidChunk) as refused:
        check_event(event)

    assert refused.value.path == path


@pytest.mark.parametrize("value", [None, 0, {"a": [None]}])
def test_custom_events_carry_any_value(value: Any) -> None:
    event = {"type": "CUSTOM", "name": "a", "value": value}

    assert check_event(event) is event


def test_events_of_a_newer_release_pass() -> None:
    assert check_event({"type": "NEW", "any": None})


def test_a_model_becomes_the_event_of_the_wire() -> None:
    model = core.CustomEvent(name="a", value=None)
    started = core.TextMessageStartEvent(message_id="m", role="assistant")

    assert to_event(model) == {"type": "CUSTOM", "name": "a", "value": None}
    assert to_event(started) == {
        "type": "TEXT_MESSAGE_START",
        "messageId": "m",
        "role": "assistant",
    }
    with pytest.raises(TypeError, match=r"str is not an event of ag_ui\.core"):
        to_event("a")

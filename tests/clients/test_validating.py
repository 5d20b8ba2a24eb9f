"""A message that the real `ai` 5, 6 or 7 takes for valid, or shows while it streams, passes the
door of our routes.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any, Final

import pytest

from monostream_ai.chats.turns.messages import fault_in
from monostream_ai.errors import InvalidChunk
from monostream_ai.ui_messages import MessageReducer, UIMessage, reduce_chunks
from tests.clients.reading import CLIENTS, ReadAll
from tests.ui_messages.random_messages import random_message

SHARES: Final = 4
"""Tests that share the parts."""
APPROVAL: Final = {"id": "p", "isAutomatic": False, "requestReason": "Why not?"}
CALL: Final[dict[str, Any]] = {
    "toolCallId": "c",
    "input": {"a": 1},
    "title": "Ask",
    "providerExecuted": True,
    "callProviderMetadata": {"p": {"a": 1}},
}
TOOLS: Final[list[dict[str, Any]]] = [
    CALL | {"state": "input-streaming"},
    CALL | {"state": "input-available"},
    CALL | {"state": "approval-requested", "approval": APPROVAL},
    CALL | {"state": "approval-responded", "approval": APPROVAL | {"approved": True}},
    CALL | {"state": "output-available", "output": 1, "preliminary": False},
    CALL | {"state": "output-error", "errorText": "No."},
    CALL | {"state": "output-denied", "approval": APPROVAL | {"approved": False, "reason": "No"}},
]
KNOWN_TO_LATER_RELEASES: Final = {
    "messages[0].parts[0].title: input should be a valid string",
    "messages[0].parts[0].callProviderMetadata: input should be a valid dictionary",
}
"""Faults in keys of a call that `ai` 5 or 6 does not look at, whatever they hold."""
METADATA: Final = {"providerMetadata": {"p": {"a": 1}}}
WRONG: Final[list[Any]] = [7, "x", None, [], {}, True, [{}]]
PARTS: Final[list[dict[str, Any]]] = [
    {"type": "text", "text": "hi", "state": "done", **METADATA},
    {"type": "reasoning", "id": "r", "text": "Hm.", "state": "streaming", **METADATA},
    {"type": "file", "mediaType": "text/plain", "url": "data:,a", "filename": "a", **METADATA},
    {"type": "reasoning-file", "mediaType": "text/plain", "url": "data:,a", **METADATA},
    {"type": "source-url", "sourceId": "s", "url": "https://a", "title": "A", **METADATA},
    {
        "type": "source-document",
        "sourceId": "s",
        "mediaType": "text/plain",
        "title": "A",
        "filename": "a",
    },
    {"type": "custom", "kind": "a.b", **METADATA},
    {"type": "step-start"},
    {"type": "steering-message", "id": "s", "parts": [{"type": "text", "text": "hi"}]},
    {"type": "data-x", "id": "d", "data": {"a": 1}},
    *({"type": "tool-ask", **part} for part in TOOLS),
    *({"type": "dynamic-tool", "toolName": "ask", **part} for part in TOOLS),
]


@pytest.mark.parametrize("share", range(SHARES))
def test_what_a_client_takes_for_valid_is_not_refused(read_all: ReadAll, share: int) -> None:
    messages = [
        {"id": "m", "role": "assistant", "parts": [part]}
        for each in PARTS[share::SHARES]
        for part in (each, *_changed(each))
    ]
    answers = read_all(
        [
            {"client": client, "chunks": [], "settled": message}
            for message in messages
            for client in CLIENTS.values()
        ]
    )
    valid = [
        any(answer["valid"] for answer in answers[first : first + len(CLIENTS)])
        for first in range(0, len(answers), len(CLIENTS))
    ]
    faults = [fault_in({"messages": [message]}) for message in messages]

    refused = {
        fault
        for fault, is_valid in zip(faults, valid, strict=True)
        if fault is not None and is_valid
    }
    assert refused <= KNOWN_TO_LATER_RELEASES
    assert len(faults) - faults.count(None) > 300 / SHARES


def test_a_message_that_is_cut_off_anywhere_is_not_refused() -> None:
    snapshots = [message for seed in range(60) for message in _snapshots(seed)]

    assert len(snapshots) > 1000
    assert [fault_in({"messages": [message]}) for message in snapshots] == [None] * len(snapshots)


def test_a_settled_message_is_not_refused() -> None:
    messages = [reduce_chunks(random_message(Random(seed)), finished=True) for seed in range(150)]

    assert fault_in({"messages": messages}) is None


def _changed(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for key in part:
        yield {name: value for name, value in part.items() if name != key}
        yield from (part | {key: value} for value in WRONG)


def _snapshots(seed: int) -> Iterator[UIMessage]:
    reducer = MessageReducer()
    for chunk in random_message(Random(seed)):
        try:
            reducer.feed(chunk)
        except InvalidChunk:
            return
        yield reducer.message

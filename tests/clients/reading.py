"""Compares the message that each real client makes of chunks with the message of our reducer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from monostream_ai.errors import InvalidChunk
from monostream_ai.json_text import decode_json, encode_json
from monostream_ai.ui_messages import Chunk, MessageReducer, Profile, ProfileFilter, UIMessage
from monostream_ai.ui_messages.profiles import PROFILES

ReadAll = Callable[[Sequence[dict[str, Any]]], list[dict[str, Any]]]

CLIENTS: Mapping[Profile, str] = {
    "v5": "5.0.277",
    "v6": "6.0.326",
    "v7": "7.0.173",
    "v7.0.149": "7.0.173",
}
STRICT: Mapping[Profile, Sequence[str]] = {"v5": ("5.0.100",), "v6": ("6.0.100",)}
"""The oldest tested releases, which refuse unknown keys."""
READERS: Mapping[Profile, Sequence[str]] = {
    # `ai` 5 has no approvals; see resuming/test_silent_pages.py.
    "any": (CLIENTS["v6"], CLIENTS["v7"]),
    **{profile: (client, *STRICT.get(profile, ())) for profile, client in CLIENTS.items()},
}

INTENDED = "An error occurred."
"""The text of the `error` chunks that are meant to reach a page."""


class Expected(NamedTuple):
    """The chunks sent to a client, and the message that our reducer makes of them."""

    sent: list[Chunk]
    message: UIMessage
    settled: UIMessage | None
    refused: bool
    """Whether our reducer refused a chunk; the message is then the one before it."""


def expect(
    profile: Profile, chunks: Sequence[Chunk], continued: UIMessage | None = None
) -> Expected:
    """Return the chunks sent to a client, and the message it should make of them.

    Args:
        continued: The message that the client already has, which the chunks continue.
    """
    filter, reducer = ProfileFilter(profile), MessageReducer(continued)
    sent = [decode_json(filter.apply(encode_json(chunk))) for chunk in chunks]
    for chunk in sent:
        try:
            reducer.feed(copy.deepcopy(chunk))
        except InvalidChunk:
            return Expected(sent, reducer.message, None, refused=True)
    message = reducer.message
    reducer.settle()
    return Expected(sent, message, reducer.message, refused=False)


def complaints(
    read_all: ReadAll, messages: Mapping[str, Sequence[Chunk]], *, may_fail: bool = False
) -> list[str]:
    """Return a line for each way in which a real client disagrees with us about a message.

    Args:
        may_fail: Messages may be ones that clients fail at; then we must have known.
    """
    asked = list(_asked(messages))
    answers = read_all([request for _, _, request in asked])
    assert len(answers) == len(asked)
    return [
        f"{place}: {problem}"
        for (place, expected, _), answer in zip(asked, answers, strict=True)
        for problem in _problems(expected, answer, may_fail=may_fail)
    ]


def _asked(
    messages: Mapping[str, Sequence[Chunk]],
) -> Iterator[tuple[str, Expected, dict[str, Any]]]:
    for name, chunks in messages.items():
        for profile in PROFILES:
            expected = expect(profile, chunks)
            request = {"chunks": expected.sent, "settled": expected.settled}
            for client in READERS[profile]:
                given = {key: value for key, value in request.items() if value is not None}
                yield (
                    f"{name} [{profile}, {client}]",
                    as_shown(client, expected),
                    {"client": client, **given},
                )


def _problems(expected: Expected, answer: dict[str, Any], *, may_fail: bool) -> Iterator[str]:
    if answer["refused"]:
        yield f"the schema refuses {answer['refused']}"
    if "message" not in answer:
        return
    errors = [error for error in answer["errors"] if error != INTENDED]
    if bool(errors) != expected.refused or (errors and not may_fail):
        wanted = "that" if expected.refused else "no failure"
        yield f"the reader fails {errors}; we expected {wanted}"
    if answer["message"] != expected.message:
        yield f"the page shows {answer['message']} and we have {expected.message}"
    if not answer["valid"]:
        yield f"the history may not have {expected.settled}"


def as_shown(client: str, expected: Expected) -> Expected:
    """Return the message with the known differences of older clients.

    `ai` 5, 6 and the first releases of 7 show the input of a static tool that `tool-input-error`
    refused as `rawInput`, and none but the last keeps the citations of a text.
    """
    if client == CLIENTS["v7"]:
        return expected
    failed = {chunk["toolCallId"] for chunk in expected.sent if chunk["type"] == "tool-input-error"}
    parts = [
        _raw(part) if part.get("toolCallId") in failed else part
        for part in (_without(part, "citations") for part in expected.message["parts"])
    ]
    return expected._replace(message={**expected.message, "parts": parts})


def _raw(part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] == "dynamic-tool" or part["state"] != "output-error" or "input" not in part:
        return part
    return {("rawInput" if key == "input" else key): value for key, value in part.items()}


def _without(part: dict[str, Any], left_out: str) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key != left_out}

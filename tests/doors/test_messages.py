"""Messages with any values in the right places are answered; with one wrong value they are refused,
and leave no chat behind.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.plugins.lanes import examples

# The server runs in a thread of this process and may use `random` while a strategy is drawn from.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Do not use the `random` module inside strategies:"
    "hypothesis.errors.HypothesisDeprecationWarning"
)

RELAXED = settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

texts = st.text(max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)
objects = st.dictionaries(texts, values, max_size=3)
metadata = st.none() | st.dictionaries(texts, objects, max_size=2)
approvals = st.fixed_dictionaries(
    {"id": texts}, optional={"approved": st.none() | st.booleans(), "reason": st.none() | texts}
)

CALL = {"toolCallId": texts}
OPEN = CALL | {"state": st.sampled_from(["input-streaming", "input-available"])}
DONE = CALL | {"state": st.sampled_from(["output-available", "output-denied"])}
FAILED = CALL | {"state": st.just("output-error"), "errorText": texts}
ASKED = CALL | {
    "state": st.sampled_from(["approval-requested", "approval-responded"]),
    "approval": approvals,
}
REQUIRED: list[dict[str, st.SearchStrategy[Any]]] = [
    {"type": st.just("text"), "text": texts},
    {"type": st.just("reasoning"), "text": texts},
    {"type": st.just("file"), "mediaType": texts, "url": texts},
    {"type": st.just("reasoning-file"), "mediaType": texts, "url": texts},
    {"type": st.just("source-url"), "sourceId": texts, "url": texts},
    {"type": st.just("source-document"), "sourceId": texts, "mediaType": texts, "title": texts},
    {"type": st.just("custom"), "kind": texts},
    {"type": st.just("step-start")},
    {"type": texts.map("data-{}".format)},
    *({"type": texts.map("tool-{}".format)} | call for call in (OPEN, DONE, FAILED, ASKED)),
    *(
        {"type": st.just("dynamic-tool"), "toolName": texts} | call
        for call in (OPEN, DONE, FAILED, ASKED)
    ),
]
OPTIONAL = {
    "providerMetadata": metadata,
    "callProviderMetadata": metadata,
    "input": values,
    "output": values,
    "data": values,
}
known = st.sampled_from(REQUIRED).flatmap(
    lambda required: st.fixed_dictionaries(required, optional=OPTIONAL)
)
KNOWN = {"text", "reasoning", "file", "reasoning-file", "source-url", "source-document", "custom"}
KNOWN |= {"step-start", "dynamic-tool", "steering-message"}
later = st.builds(
    lambda kind, keys: keys | {"type": kind},
    st.text(min_size=1, max_size=20).filter(
        lambda kind: kind not in KNOWN and not kind.startswith(("tool-", "data-"))
    ),
    objects,
)
parts = st.lists(known | later, max_size=4)


@st.composite
def broken_parts(draw: st.DrawFn) -> list[Any]:
    """Return parts of which one lacks a key or has a value of another type."""
    required = draw(st.sampled_from(REQUIRED))
    part = draw(st.fixed_dictionaries(required))
    key = draw(st.sampled_from(sorted(required)))
    if draw(st.booleans()):
        del part[key]
    else:
        part[key] = draw(st.integers() | st.lists(scalars, max_size=2) | st.booleans())
    return [*draw(parts), draw(st.just(part) | scalars), *draw(parts)]


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{url}/api/chat", timeout=10.0) as client:
        yield client


def ask(http: httpx.Client, chat_id: str, content: list[Any], shape: str) -> httpx.Response:
    message = {"id": "u1", "role": "user", "parts": content}
    whole = {"message": message} if shape == "message" else {"messages": [message]}
    return http.post("", content=json.dumps({"id": chat_id, **whole}))


shapes = st.sampled_from(["message", "messages"])


@given(st.lists(known | later, min_size=1, max_size=4), shapes)
@RELAXED
def test_any_values_in_the_right_places_are_answered(
    http: httpx.Client, content: list[Any], shape: str
) -> None:
    answer = ask(http, "valid", content, shape)

    assert answer.status_code == 200, answer.text
    assert answer.text.endswith("data: [DONE]\n\n")


@given(broken_parts(), shapes)
@RELAXED
def test_one_wrong_value_is_named_and_nothing_is_stored(
    http: httpx.Client, content: list[Any], shape: str
) -> None:
    answer = ask(http, "broken", content, shape)

    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text.startswith("The request has no valid messages. See messages[0].parts[")
    assert len(answer.text) < 200
    assert http.get("/broken/status").json()["version"] is None


@given(st.lists(known | later, max_size=6), shapes)
@RELAXED
def test_an_answer_that_a_client_makes_up_reaches_no_reply(
    http: httpx.Client, content: list[Any], shape: str
) -> None:
    message = {"id": "a1", "role": "assistant", "parts": content}
    whole = {"message": message} if shape == "message" else {"messages": [message]}

    answer = http.post("", content=json.dumps({"id": "made-up", **whole}))

    assert answer.status_code == 404, answer.text
    assert http.get("/made-up/status").json()["version"] is None

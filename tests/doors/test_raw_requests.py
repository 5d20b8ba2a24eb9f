"""Whatever bytes come in, the routes answer below 500 with one plain line, or stream a whole
answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

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
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
)
parts = st.lists(
    st.fixed_dictionaries(
        {}, optional={"type": st.text() | values, "text": values, "state": values}
    )
    | values,
    max_size=3,
)
messages = st.fixed_dictionaries(
    {},
    optional={
        "id": values,
        "role": st.sampled_from(["user", "assistant", "system"]) | values,
        "parts": parts | values,
    },
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "id": st.text(max_size=30) | values,
        "messages": st.lists(messages | values, max_size=3) | values,
        "message": messages | values,
        "trigger": values,
        "messageId": values,
        "activeStreamId": values,
    },
)
header_text = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40).map(
    str.strip
)


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{url}/api/chat", timeout=10.0) as client:
        yield client


def check(answer: httpx.Response) -> None:
    assert answer.status_code < 500, answer.text
    assert "Traceback" not in answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"].startswith("text/plain"), answer.text
        assert "\n" not in answer.text
        assert len(answer.text) < 200
    elif answer.headers.get("content-type") == "text/event-stream":
        assert answer.text.endswith("data: [DONE]\n\n")


@given(st.binary(max_size=300))
@RELAXED
def test_any_bytes_are_a_body(http: httpx.Client, body: bytes) -> None:
    check(http.post("", content=body))
    check(http.post("/c1/stop", content=body))


@given(bodies)
@RELAXED
def test_any_json_is_a_body(http: httpx.Client, body: dict[str, Any]) -> None:
    text = json.dumps(body)
    check(http.post("", content=text))
    check(http.post("/c1/stop", content=text))


HI = [{"type": "text", "text": "hi"}]


@given(st.text(min_size=1, max_size=60).filter(lambda chat_id: chat_id not in (".", "..")))
@RELAXED
def test_any_text_is_a_chat_id(http: httpx.Client, chat_id: str) -> None:
    path = quote(chat_id, safe="", errors="surrogatepass")
    question = {"id": chat_id, "messages": [{"id": "u1", "role": "user", "parts": HI}]}
    check(http.post("", content=json.dumps(question)))
    for answer in (
        http.get(f"/{path}/stream"),
        http.get(f"/{path}/status"),
        http.post(f"/{path}/stop"),
    ):
        check(answer)


@given(
    st.text(max_size=30) | st.integers().map(str), st.text(max_size=30), header_text, header_text
)
@RELAXED
def test_any_index_cursor_and_profile(
    http: httpx.Client, index: str, after: str, event: str, profile: str
) -> None:
    http.post("", json={"id": "c1", "messages": [{"id": "u1", "role": "user", "parts": HI}]})
    check(http.get("/c1/stream", params={"startIndex": index}))
    check(http.get("/c1/stream", params={"after": after}))
    check(http.get("/c1/stream", headers={"last-event-id": event}))
    check(http.get("/c1/stream", params={"profile": profile}))
    check(http.get("/c1/stream", headers={"x-ui-message-profile": profile}))


@pytest.mark.parametrize(
    "body",
    [
        "[" * 100_000,
        '{"id":' + "[" * 5_000 + "]" * 5_000 + "}",
        '{"id":"c1","messages":[{"role":"user","parts":[],"n":' + "9" * 60_000 + "}]}",
        '{"id":"c1","messages":[{"role":"user","parts":[],"n":1e999}]}',
        '{"id":"c1","messages":[{"role":"user","parts":[],"n":NaN}]}',
        '{"id":"\\u0000","messages":[{"role":"user","parts":[]}]}',
        '{"id":"\\ud800","messages":[{"role":"user","parts":[]}]}',
        '{"id":"' + "x" * 10_000 + '","messages":[{"role":"user","parts":[]}]}',
        '{"id":"c1","id":"c2","messages":[{"role":"user","parts":[],"__proto__":{"x":1}}]}',
        '{"id":"c1","messages":[{"role":"user","parts":' + "[" * 150 + "]" * 150 + "}]}",
        '{"id":"c1","messages":[' + ",".join(['{"role":"user","parts":[]}'] * 2000) + "]}",
        "\ufeff{}",
    ],
    ids=[
        "open",
        "deep",
        "digits",
        "infinite",
        "nan",
        "nul",
        "surrogate",
        "long-id",
        "twice",
        "nested",
        "many",
        "bom",
    ],
)
def test_hostile_json_is_answered(http: httpx.Client, body: str) -> None:
    check(http.post("", content=body.encode()))
    check(http.post("/c1/stop", content=body.encode()))


def test_a_body_over_the_limit_is_refused_before_it_is_read_whole(http: httpx.Client) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(10_000):
            sent += 64 * 1024
            yield b" " * 64 * 1024

    with suppress(httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
        check(http.post("", content=endless()))
    assert sent < 64 * 1024 * 1024

"""A page of another site cannot ask or stop in a visitor's name (CSRF)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fastapi.chat_client import question, types_in
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import Held, greet

pytestmark = pytest.mark.every_framework

FOREIGN = {"origin": "https://evil.example", "content-type": "text/plain"}

ALLOWED = {
    "a program": {},
    "a page of ours": {"origin": "https://chat.example", "sec-fetch-site": "same-origin"},
    "the address bar": {"sec-fetch-site": "none"},
    "an older browser": {"origin": "http://{host}"},
    "an older browser behind a proxy": {
        "origin": "https://chat.example",
        "x-forwarded-host": "chat.example",
    },
}
ALLOWED |= {
    f"an older browser behind {proxy}": {"origin": origin, "x-forwarded-host": host}
    for proxy, origin, host in [
        ("a proxy without ports", "http://chat.example:8080", "chat.example"),
        ("two proxies", "http://chat.example", "chat.example, inner.example"),
        ("a proxy with the default port", "https://chat.example", "chat.example:443"),
        ("a proxy in capitals", "http://chat.example", "Chat.Example"),
    ]
}
REFUSED = {
    "another site": {**FOREIGN, "sec-fetch-site": "cross-site"},
    "a sister site": {"origin": "https://other.chat.example", "sec-fetch-site": "same-site"},
    "another site in an older browser": FOREIGN,
    "a page without an origin": {"origin": "null"},
    "a page without an origin, and no host": {"origin": "null", "x-forwarded-host": ""},
    "an origin that is none": {"origin": "http://[::1"},
    "a name that begins alike": {
        "origin": "http://chat.example.evil",
        "x-forwarded-host": "chat.example",
    },
    "another site that hides its origin": {"sec-fetch-site": "cross-site"},
}


def sent(headers: dict[str, str], client: Any) -> dict[str, str]:
    host = client.http.base_url.netloc.decode()
    return {name: value.replace("{host}", host) for name, value in headers.items()}


@pytest.mark.parametrize("headers", ALLOWED.values(), ids=ALLOWED)
async def test_pages_of_the_same_origin_and_programs_ask_and_stop(
    new_service: NewService, serve: Serve, headers: dict[str, str]
) -> None:
    client = await serve(new_service(), greet)
    answer = await client.post(question(), headers=sent(headers, client))
    stopped = await client.http.post("/api/chat/c1/stop", headers=sent(headers, client))
    assert types_in(answer.text)[-1] == "finish"
    assert stopped.status_code == 200


@pytest.mark.parametrize("headers", REFUSED.values(), ids=REFUSED)
async def test_a_foreign_page_starts_and_stops_nothing(
    new_service: NewService, serve: Serve, headers: dict[str, str]
) -> None:
    held = Held()
    client = await serve(new_service(), held)
    async with client.ask(question()) as asked:
        await held.started.wait()
        body = json.dumps(question("c2"))
        refused = [
            await client.http.post("/api/chat", content=body, headers=headers),
            await client.http.post("/api/chat/c1/stop", headers=headers),
        ]
        for response in refused:
            assert (response.status_code, response.headers["content-type"]) == (
                403,
                "text/plain; charset=utf-8",
            )
            assert response.text == "This page may not ask here: its origin is not allowed."
        held.go_on.set()
        assert "data-last" in types_in(await asked.rest())
    assert len(held.turns) == 1


@pytest.mark.parametrize("allowed", [["https://evil.example"], ["*"]], ids=["named", "any"])
async def test_an_allowed_origin_asks(
    new_service: NewService, serve: Serve, allowed: list[str]
) -> None:
    client = await serve(new_service(), greet, allowed_origins=allowed)
    headers = {**FOREIGN, "sec-fetch-site": "cross-site"}
    answer = await client.post(question(), headers=headers)
    assert types_in(answer.text)[-1] == "finish"

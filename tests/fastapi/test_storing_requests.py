"""A request is stored as it came, or refused before its version is opened, whatever the backend."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monostream_ai.errors import UnknownStream
from tests.backends import BACKENDS, Backend, open_backend
from tests.fastapi.chat_client import question, types_in
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import greet

pytestmark = pytest.mark.every_framework


@pytest.fixture(params=BACKENDS)
def backend(tmp_path: Path, request: pytest.FixtureRequest) -> Backend:
    return open_backend(request.param, tmp_path, request)


async def test_any_json_text_is_stored_as_it_came(new_service: NewService, serve: Serve) -> None:
    service = new_service()
    odd = "a\0b \ud800 \u2028 \U0001f600"
    body = question(text=odd) | {odd: [odd, {"\ud83d": 1e300, "big": 10**400}]}

    answer = await (await serve(service, greet)).post(body)

    assert types_in(answer.text)[-1] == "finish"
    assert await service.request("chat:c1", 0) == body


@pytest.mark.parametrize(
    "value", ["[" * 300 + "]" * 300, "1e999", "9" * 5000], ids=["deep", "infinite", "digits"]
)
async def test_json_that_cannot_be_stored_is_refused_and_the_chat_stays_free(
    new_service: NewService, serve: Serve, value: str
) -> None:
    service = new_service()
    client = await serve(service, greet)
    text = json.dumps(question(extra="HERE")).replace('"HERE"', value)

    refused = await client.http.post("/api/chat", content=text)

    assert (refused.status_code, refused.headers["content-type"]) == (
        400,
        "text/plain; charset=utf-8",
    )
    with pytest.raises(UnknownStream):
        await service.status("chat:c1")

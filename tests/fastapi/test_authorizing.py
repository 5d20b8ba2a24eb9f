from __future__ import annotations

from typing import Annotated

import pytest
from fastapi import Header, HTTPException

from tests.fastapi.chat_client import ChatClient, question, types_in
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import Held, greet


async def owner(user: Annotated[str | None, Header()] = None) -> str:
    if user is None:
        raise HTTPException(401, "Please sign in.", headers={"www-authenticate": "Bearer"})
    return user


def acting_as(client: ChatClient, user: str) -> ChatClient:
    client.http.headers["user"] = user
    return client


@pytest.mark.parametrize(("method", "path"), [("POST", ""), ("GET", "/c1/stream"), ("POST", "/c1/stop"), ("GET", "/c1/status")])
async def test_every_route_asks_who_it_is(new_service: NewService, serve: Serve, method: str, path: str) -> None:
    client = await serve(new_service(), greet, authorize=owner)

    answer = await client.http.request(method, f"/api/chat{path}", json=question())

    assert (answer.status_code, answer.text) == (401, "Please sign in.")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_the_owner_is_stored_and_told_to_the_reply(new_service: NewService, serve: Serve) -> None:
    service, held = new_service(), Held()
    held.go_on.set()
    client = acting_as(await serve(service, held, authorize=owner), "ann")

    await client.post(question())

    assert (held.turns[0].owner, (await service.status("chat:c1")).owner) == ("ann", "ann")


async def test_a_chat_of_somebody_else_looks_like_no_chat(new_service: NewService, serve: Serve) -> None:
    service, held = new_service(), Held()
    ann = acting_as(await serve(service, held, authorize=owner), "ann")
    eve = acting_as(await serve(new_service(), held, authorize=owner), "eve")

    async with ann.ask(question()) as stream:
        await held.started.wait()
        resumed, stopped, status = await eve.get(), await eve.stop(), await eve.status()
        unknown = await eve.get("unknown"), await eve.stop("unknown"), await eve.status("unknown")
        posted = await eve.post(question())
        held.go_on.set()
        body = await stream.rest()

    assert (resumed.status_code, stopped.content, status) == (204, unknown[1].content, unknown[2])
    assert dict(resumed.headers).keys() == dict(unknown[0].headers).keys()
    assert (posted.status_code, posted.text) == (404, "There is no such chat.")
    assert types_in(body)[-1] == "finish"

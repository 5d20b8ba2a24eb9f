from __future__ import annotations

from typing import Annotated

import pytest
from fastapi import Header, HTTPException

from monostream_ai.fastapi import chat_stream_id
from tests.fastapi.chat_client import ChatClient, question, types_in
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import Held, greet

pytestmark = pytest.mark.every_framework


async def owner(user: Annotated[str | None, Header()] = None) -> str:
    if user is None:
        raise HTTPException(401, "Please sign in.", headers={"www-authenticate": "Bearer"})
    return user


def acting_as(client: ChatClient, user: str) -> ChatClient:
    client.http.headers["user"] = user
    return client


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", ""), ("GET", "/c1/stream"), ("POST", "/c1/stop"), ("GET", "/c1/status")],
)
async def test_every_route_runs_authorize(
    new_service: NewService, serve: Serve, method: str, path: str
) -> None:
    client = await serve(new_service(), greet, authorize=owner)

    answer = await client.http.request(method, f"/api/chat{path}", json=question())

    assert (answer.status_code, answer.text) == (401, "Please sign in.")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_the_owner_is_stored_and_reaches_the_reply(
    new_service: NewService, serve: Serve
) -> None:
    service, held = new_service(), Held()
    held.go_on.set()
    client = acting_as(await serve(service, held, authorize=owner), "ann")

    await client.post(question())

    stored = await service.status(chat_stream_id("c1", owner="ann"))
    assert (held.turns[0].owner, stored.owner) == ("ann", "ann")


async def test_another_owners_chat_is_unknown(new_service: NewService, serve: Serve) -> None:
    held = Held()
    ann = acting_as(await serve(new_service(), held, authorize=owner), "ann")
    eve = acting_as(await serve(new_service(), greet, authorize=owner, replay_window=60.0), "eve")

    async with ann.ask(question()) as stream:
        await held.started.wait()
        run = stream.response.headers["x-workflow-run-id"]
        resumed, by_run, stopped, status = (
            await eve.get(),
            await eve.get(run),
            await eve.stop(),
            await eve.status(),
        )
        unknown = await eve.get("unknown"), await eve.stop("unknown"), await eve.status("unknown")
        index = await eve.get(params={"startIndex": "0"})
        held.go_on.set()
        body = await stream.rest()

    assert (resumed.status_code, by_run.status_code, stopped.content, status) == (
        204,
        204,
        unknown[1].content,
        unknown[2],
    )
    assert dict(resumed.headers).keys() == dict(unknown[0].headers).keys()
    assert types_in(index.text) == ["finish"]
    assert types_in(body)[-1] == "finish"


async def test_two_owners_may_use_the_same_chat_id(new_service: NewService, serve: Serve) -> None:
    held = Held()
    ann = acting_as(await serve(new_service(), held, authorize=owner), "ann")
    eve = acting_as(await serve(new_service(), greet, authorize=owner), "eve")

    async with ann.ask(question()) as stream:
        await held.started.wait()
        posted = await eve.post(question())
        assert (await eve.status())["state"] == "closed"
        assert (await ann.status())["state"] == "open"
        held.go_on.set()
        assert types_in(await stream.rest())[-1] == "finish"

    assert (posted.status_code, types_in(posted.text)[-1]) == (200, "finish")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b/c"), ("a/b", "c")),
        (("a", "b"), (None, "a/b")),
        (("a%2Fb", "c"), ("a/b", "c")),
        (("a", "c"), ("A", "c")),
        (("", "c"), (None, "c")),
        (("ä", "c"), ("%C3%A4", "c")),
    ],
)
def test_no_two_owners_share_a_stream(
    one: tuple[str | None, str], other: tuple[str | None, str]
) -> None:
    first, second = (chat_stream_id(chat, owner=of) for of, chat in (one, other))
    # A chat without an owner may have the name of an owner's stream. The two stay apart because the
    # stored version has no owner.
    assert first != second or None in (one[0], other[0])


async def test_a_chat_without_an_owner_stays_apart_from_an_owners_stream_of_that_name(
    new_service: NewService, serve: Serve
) -> None:
    service = new_service()
    ann = acting_as(await serve(service, greet, authorize=owner, replay_window=60.0), "ann")
    anybody = await serve(service, greet, replay_window=60.0)
    await ann.post(question("c1"))

    refused = await anybody.post(question("ann/c1"))

    assert (refused.status_code, refused.text) == (404, "There is no such chat.")
    assert (await anybody.get("ann/c1")).status_code == 204
    assert (await anybody.status("ann/c1"))["state"] == "idle"


async def test_an_authorize_that_returns_no_owner_is_an_application_error(
    new_service: NewService, serve: Serve
) -> None:
    client = await serve(new_service(), greet, authorize=lambda: None)

    answers = [await client.get(), await client.post(question())]

    assert [answer.status_code for answer in answers] == [500, 500]

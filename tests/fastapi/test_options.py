"""A router refuses options that cannot work while the application starts, not at each turn."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
from fastapi import Depends, Request

from monostream_ai import create_service
from monostream_ai.chats.endpoints import store_owner
from monostream_ai.fastapi import ChatTurn, create_chat_router
from tests.fastapi.chat_client import question, types_in
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import Held, greet


async def generator(turn: ChatTurn) -> AsyncIterator[str]:
    yield "Hello"


def sync_generator(turn: ChatTurn) -> Any:
    yield "Hello"


def sync(turn: ChatTurn) -> None:
    pass


class GeneratingReply:
    async def __call__(self, turn: ChatTurn) -> AsyncIterator[str]:
        yield "Hello"


class SyncReply:
    def __call__(self, turn: ChatTurn) -> None:
        pass

    def answer(self, turn: ChatTurn) -> None:
        pass


def logged(reply: Any) -> Any:
    @functools.wraps(reply)
    def call(turn: ChatTurn) -> Awaitable[object]:
        return reply(turn)

    return call


def router(reply: Any = greet, **options: Any) -> Any:
    return create_chat_router(create_service("memory://"), reply, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"on_busy": "wait"},
        {"on_lost": "again"},
        {"replay_window": -1.0},
        {"sweep_interval": float("nan")},
        {"sweep_interval": 0},
        {"max_silence": 0.0},
        {"drain_timeout": -10},
        {"keep_alive": -0.1},
        {"max_silence": -1.0},
        {"max_body_bytes": -1},
        {"max_attempts": 0},
        {"allowed_origins": ["https://app.example/"]},
        {"allowed_origins": ["https://App.example"]},
        {"allowed_origins": ["https://*.app.example"]},
        {"allowed_origins": ["https://app.example:443"]},
        {"allowed_origins": ["app.example"]},
    ],
    ids=str,
)
def test_an_option_that_cannot_be_is_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        router(**options)


@pytest.mark.parametrize(
    "reply",
    [generator, sync_generator, GeneratingReply(), functools.partial(generator)],
    ids=["async", "sync", "object", "partial"],
)
def test_a_reply_that_yields_is_refused(reply: Any) -> None:
    with pytest.raises(TypeError, match="reply is a generator"):
        router(reply)


@pytest.mark.parametrize("name", ["reply", "on_finish"])
def test_a_function_that_is_not_async_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} is not async: define it with 'async def'"):
        router(**{name: sync})


@pytest.mark.parametrize(
    "reply",
    [GeneratingReply, Held, functools.partial(Held)],
    ids=["generator", "awaited", "partial"],
)
def test_a_class_is_refused(reply: Any) -> None:
    with pytest.raises(TypeError, match=r"reply is the class \w+: use .* an instance"):
        router(reply)


@pytest.mark.parametrize(
    "reply",
    [greet, Held(), lambda turn: greet(turn), functools.partial(greet), logged(greet)],
    ids=["function", "object", "lambda", "partial", "decorated"],
)
def test_whatever_can_be_awaited_is_accepted(reply: Any) -> None:
    assert router(reply).routes


@pytest.mark.parametrize(
    "reply",
    [None, "reply", SyncReply(), SyncReply().answer],
    ids=["None", "text", "object", "method"],
)
def test_a_reply_that_is_no_async_function_is_refused(reply: Any) -> None:
    with pytest.raises(TypeError, match="async"):
        router(reply)


def test_authorize_is_the_dependency_itself() -> None:
    with pytest.raises(TypeError, match="give it the dependency itself, as in authorize=user"):
        router(authorize=Depends(greet))


@pytest.mark.parametrize(("owner", "named"), [("", "an empty one"), (None, "NoneType"), (7, "int")])
def test_an_owner_is_a_string_that_is_not_empty(owner: Any, named: str) -> None:
    with pytest.raises(TypeError, match=f"as a string that is not empty, not {named}$"):
        store_owner(Request({"type": "http", "state": {}}), owner)


def test_origins_are_a_list() -> None:
    with pytest.raises(TypeError, match="allowed_origins is a list of origins"):
        router(allowed_origins="https://*.app.example")
    assert router(allowed_origins=["https://app.example:8443", "http://[::1]:5173", "*"]).routes


def test_an_ended_answer_may_be_replayed_for_ever() -> None:
    assert router(replay_window=float("inf")).routes


async def test_a_reply_that_returns_its_text_has_failed(
    new_service: NewService, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def reply(turn: ChatTurn) -> str:
        return "Hello"

    body = (await (await serve(new_service(), reply)).post(question())).text
    assert types_in(body) == ["start", "error", "finish"]
    assert "the reply returned its text and wrote nothing" in caplog.text


async def test_a_reply_that_wrote_nothing_is_logged(
    new_service: NewService, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def reply(turn: ChatTurn) -> None:
        pass  # a model is asked here, without turn.callback

    body = (await (await serve(new_service(), reply)).post(question("c1"))).text

    assert types_in(body) == ["start", "finish"]
    assert "the reply of stream 'chat:c1' version 0 wrote nothing" in caplog.text


async def test_a_reply_that_releases_its_turn_has_not_failed(
    new_service: NewService, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def reply(turn: ChatTurn) -> None:
        await turn.pub.release()

    body = (await (await serve(new_service(), reply)).post(question())).text

    assert types_in(body) == ["start", "error", "finish"]
    assert "failed" not in caplog.text
    assert "wrote nothing" not in caplog.text


async def test_a_reply_whose_chunks_are_on_their_way_has_written(
    new_service: NewService, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def reply(turn: ChatTurn) -> None:
        turn.pub.push({"type": "data-x", "data": 1})

    body = (await (await serve(new_service(), reply)).post(question())).text

    assert types_in(body) == ["start", "data-x", "finish"]
    assert "wrote nothing" not in caplog.text


async def test_a_reply_that_wrote_its_text_may_return_it_too(
    new_service: NewService, serve: Serve
) -> None:
    async def reply(turn: ChatTurn) -> str:
        await greet(turn)
        return "Hello"

    body = (await (await serve(new_service(), reply)).post(question())).text
    assert types_in(body)[-1] == "finish" and "error" not in types_in(body)

"""A process that ends since a file was saved: its turns go on in the next one at once."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator

import httpx
import pytest
import uvicorn

from monostream_ai import DurableStreamService
from monostream_ai.chats.exit_signals import exit_noticed, reloading
from monostream_ai.ui_messages import UIMessageProtocol
from tests.backends import Backend
from tests.fastapi.chat_client import ChatClient, question, types_in
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import Held, greet
from tests.fastapi.test_lost_turns import LEASE, leave_open
from tests.hooked_store import Gate, HookedStore, still_waits

LONG = 60.0
"""Seconds; longer than any test, so nothing here waits for a lease or for a drain."""


@pytest.fixture
def reloader(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that a reloader started, as its workers see it."""
    monkeypatch.setattr(sys, "argv", ["granian", "server:app", "--reload"])


@pytest.fixture(params=[True, False])
def reload(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Whether the uvicorn that handles signals was told to reload."""
    server = uvicorn.Server(uvicorn.Config("server:app", reload=request.param))
    before = signal.signal(signal.SIGTERM, server.handle_exit)
    yield request.param
    signal.signal(signal.SIGTERM, before)


async def test_uvicorn_says_whether_it_reloads(reload: bool) -> None:
    assert reloading() is reload
    with exit_noticed(lambda: None), exit_noticed(lambda: None):
        assert reloading() is reload


async def ask_and_be_cut_off(client: ChatClient) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await client.post(question())


@pytest.mark.parametrize("on_lost", ["retry", "continue"])
async def test_a_turn_is_handed_over_at_once_under_a_reloader(
    on_lost: str, reloader: None, new_service: NewService, serve: Serve
) -> None:
    service, held = new_service(lease=LONG), Held()
    leaving = await serve(service, held, on_lost=on_lost, drain_timeout=LONG)
    asking = asyncio.create_task(ask_and_be_cut_off(leaving))
    await held.started.wait()

    async with asyncio.timeout(LONG / 4):
        service.begin_shutdown()
        await asking
        await leaving.shut_down()

    assert held.cancelled.is_set()
    staying = await serve(new_service(lease=LONG), greet, on_lost=on_lost, replay_window=LONG)
    assert types_in((await staying.get()).text)[-1] == "finish"


async def test_a_question_that_comes_while_a_reloader_ends_the_process_is_stored(
    reload: bool, backend: Backend, serve: Serve
) -> None:
    acquiring = Gate()
    inner, notifier = backend.new_parts()
    store = HookedStore(inner)
    store.before["acquire"] = acquiring
    async with DurableStreamService(store, notifier, protocol=UIMessageProtocol()) as service:
        client = await serve(service, Held(), on_lost="retry", drain_timeout=0.1)
        asking = asyncio.create_task(ask_and_be_cut_off(client))
        await acquiring.reached.wait()
        signal.raise_signal(signal.SIGTERM)
        await still_waits(asking)
        acquiring.open()
        await asking

        assert await service.request("chat:c1", 0) == question()


@pytest.mark.parametrize("options", [{"on_lost": "error"}, {"on_lost": "retry", "max_attempts": 1}])
async def test_a_turn_that_may_not_run_again_drains_under_a_reloader(
    options: dict[str, object], reloader: None, new_service: NewService, serve: Serve
) -> None:
    service, held = new_service(lease=LONG), Held()
    leaving = await serve(service, held, drain_timeout=LONG, **options)
    asking = asyncio.create_task(ask_and_be_cut_off(leaving))
    await held.started.wait()

    service.begin_shutdown()
    await asking
    exiting = asyncio.create_task(leaving.shut_down())
    held.go_on.set()
    await exiting

    assert not held.cancelled.is_set()
    assert (await service.chunks("chat:c1"))[-1]["type"] == "finish"


async def test_a_process_that_exits_leaves_a_lost_turn_to_the_next_one(
    new_service: NewService, serve: Serve
) -> None:
    service = new_service(lease=LONG)
    leaving = await serve(service, greet, on_lost="retry")
    service.begin_shutdown()
    await leave_open(new_service(lease=LEASE))
    while not (await leaving.status())["state"] == "lost":
        await asyncio.sleep(LEASE / 10)

    with pytest.raises(httpx.RemoteProtocolError):
        await leaving.get()
    assert (await leaving.status())["state"] == "lost"

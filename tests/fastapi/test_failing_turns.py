"""One turn that cannot be handled takes nothing from the others, and does not stay for ever."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from monostream_ai import DurableStreamService
from monostream_ai.chats.turns import finishing
from monostream_ai.fastapi import ChatTurn, FinishedTurn
from monostream_ai.json_text import encode_json
from monostream_ai.types import Append, Lease, Opening, new_token
from monostream_ai.ui_messages import UIMessage
from tests.backends import BACKENDS, Backend, open_backend
from tests.fastapi.chat_client import question, types_in
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import TEXT, greet

LEASE = 2.0
SWEEP = 1.0
POISON = "m" * (1024 * 1024 + 1)
"""A message id that fits into no chunk. Earlier releases accepted it."""


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    return open_backend(request.param, tmp_path, request)


class History:
    """An `on_finish` that fails for some chats, and notes when it had the others."""

    def __init__(self) -> None:
        self.calls = 0
        self.had: dict[str, float] = {}
        self.arrived = asyncio.Event()

    async def __call__(self, message: UIMessage, turn: FinishedTurn) -> None:
        self.calls += 1
        if turn.chat_id.startswith("bad"):
            raise LookupError("the history is down")
        self.had[turn.chat_id] = time.monotonic()
        self.arrived.set()


async def ended(service: DurableStreamService[Any], chat_id: str) -> None:
    body = {**question(), "id": chat_id}
    async with service.publisher(
        f"chat:{chat_id}", message_id="m1", request=body, watched=True
    ) as pub:
        await pub.write({"type": "start", "messageId": "m1"}, *TEXT)


async def left_open(service: DurableStreamService[Any], chat_id: str) -> None:
    """Leave a turn as a process does that was killed."""
    body = {**question(), "id": chat_id}
    pub = await service.publisher(
        f"chat:{chat_id}", message_id="m1", request=body, watched=True
    ).open()
    await pub.write({"type": "start", "messageId": "m1"}, *TEXT[:2])


@pytest.mark.sweep(1)
async def test_a_thousand_turns_that_fail_do_not_hold_up_a_lost_one(
    new_service: NewService, serve: Serve
) -> None:
    history, dead = History(), new_service(lease=LEASE)
    for start in range(0, 1000, 100):
        await asyncio.gather(*(ended(dead, f"bad{start + n}") for n in range(100)))
    await serve(
        new_service(lease=LEASE), greet, on_lost="retry", on_finish=history, sweep_interval=SWEEP
    )
    async with asyncio.timeout(60):
        while history.calls < 1000:
            await asyncio.sleep(0.1)

    await left_open(dead, "good")
    lost_at = time.monotonic()
    async with asyncio.timeout(30):
        await history.arrived.wait()

    assert history.had["good"] - lost_at < LEASE + SWEEP + 1.0
    # None of the others was tried twice: each waits for a minute.
    assert history.calls == 1001


async def test_turns_that_fail_do_not_hold_up_an_ended_one(
    new_service: NewService, serve: Serve
) -> None:
    history, dead = History(), new_service()
    for n in range(120):
        await ended(dead, f"bad{n}")
    await serve(new_service(), greet, on_finish=history, sweep_interval=0.1)
    async with asyncio.timeout(30):
        while history.calls < 120:
            await asyncio.sleep(0.05)
        await ended(dead, "good")
        await history.arrived.wait()
    assert history.calls == 121


async def test_an_on_finish_that_hangs_does_not_hold_up_the_others(
    new_service: NewService, serve: Serve
) -> None:
    had, arrived = list[str](), asyncio.Event()

    async def hang(message: UIMessage, turn: FinishedTurn) -> None:
        if turn.chat_id.startswith("bad"):
            await asyncio.Event().wait()
        had.append(turn.chat_id)
        arrived.set()

    dead = new_service()
    for n in range(20):
        await ended(dead, f"bad{n}")
    client = await serve(
        new_service(), greet, on_finish=hang, sweep_interval=0.1, drain_timeout=0.1
    )
    await asyncio.sleep(0.5)
    await ended(dead, "good")
    async with asyncio.timeout(10):
        await arrived.wait()
    assert had == ["good"]
    await client.shut_down()


async def test_an_on_finish_that_outlives_its_cancellation_holds_up_no_question(
    new_service: NewService,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert DurableStreamService.settle.__kwdefaults__ is not None
    monkeypatch.setitem(DurableStreamService.settle.__kwdefaults__, "timeout", 0.5)
    monkeypatch.setattr(finishing, "CANCEL_TIMEOUT", 0.1)
    released = asyncio.Event()

    async def stubborn(message: UIMessage, turn: FinishedTurn) -> None:
        while turn.version == 0 and not released.is_set():
            with suppress(asyncio.CancelledError):
                await released.wait()

    client = await serve(new_service(), greet, on_finish=stubborn, drain_timeout=0.1)
    try:
        async with asyncio.timeout(10):
            await client.post(question())
            second = await client.post(question(id="u2"))
            await client.shut_down()
    finally:
        released.set()
    assert types_in(second.text)[-1] == "finish"
    assert "goes on although it was cancelled" in caplog.text


async def test_an_on_finish_that_raises_a_cancellation_is_reported(
    new_service: NewService, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def give_up(message: UIMessage, turn: FinishedTurn) -> None:
        raise asyncio.CancelledError

    client = await serve(new_service(), greet, on_finish=give_up)
    await client.post(question())
    await client.shut_down()
    assert "on_finish raised CancelledError, but was not cancelled" in caplog.text


async def poisoned(backend: Backend) -> None:
    """Make the version that an earlier release made of an endless message id, and lose it."""
    store = backend.new_store()
    await store.setup()
    opening = Opening(
        new_token(), 60.0, POISON, request=encode_json(question()), watched=True, attempt=1
    )
    lease = Lease("chat:c1", await store.acquire("chat:c1", None, opening), opening.token)
    assert await store.append([Append(lease, 0, ['{"type":"start"}'], False)], lease=60) == [None]
    await store.release(lease)
    await store.aclose()


@pytest.mark.parametrize("on_lost", ["retry", "error"])
async def test_a_turn_that_can_neither_run_nor_end_as_it_should_is_ended(
    backend: Backend, new_service: NewService, serve: Serve, on_lost: str
) -> None:
    history, service = History(), new_service(lease=LEASE)
    await poisoned(backend)
    client = await serve(service, greet, on_lost=on_lost, on_finish=history, sweep_interval=0.1)
    async with asyncio.timeout(10):
        await history.arrived.wait()
    status = await service.status("chat:c1")
    assert (status.version, status.state) == (0, "closed")
    assert await service.unattended() == []
    again = await client.http.post("/api/chat", json=question())
    assert types_in(again.text)[-1] == "finish"
    assert (await service.status("chat:c1")).version == 1


async def test_a_reader_of_such_a_turn_is_told_its_end(
    backend: Backend, new_service: NewService, serve: Serve
) -> None:
    await poisoned(backend)
    client = await serve(new_service(lease=LEASE), greet, sweep_interval=60.0, replay_window=60.0)
    assert types_in((await client.get()).text) == ["start", "error", "finish"]


async def test_a_reply_that_is_lost_again_and_again_keeps_its_own_limit(
    new_service: NewService, serve: Serve
) -> None:
    started = list[int]()

    async def die(turn: ChatTurn) -> None:
        started.append(turn.version)
        await turn.pub.release()

    dead = new_service(lease=0.3)
    await left_open(dead, "c1")
    history = History()
    await serve(
        new_service(lease=0.3),
        die,
        on_lost="retry",
        max_attempts=3,
        on_finish=history,
        sweep_interval=0.05,
    )
    async with asyncio.timeout(20):
        await history.arrived.wait()
    assert started == [1, 2]

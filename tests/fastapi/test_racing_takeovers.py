"""A lost turn ends, or begins to run again, just while another process is about to act on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from monostream_ai import DurableStreamService
from monostream_ai.fastapi import ChatTurn
from monostream_ai.types import Append
from monostream_ai.ui_messages import UIMessageProtocol
from tests.backends import Backend
from tests.fastapi.chat_client import question, types_in
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import TEXT, Held, greet
from tests.fastapi.test_catching_up import break_off
from tests.hooked_store import Gate, HookedStore

FINISH = '{"type":"finish"}'


class Hooked:
    """A service whose store can be held, and the store."""

    def __init__(self, backend: Backend) -> None:
        inner, notifier = backend.new_parts()
        self.store = HookedStore(inner)
        self.service: DurableStreamService[Any] = DurableStreamService(
            self.store, notifier, protocol=UIMessageProtocol()
        )

    def hold(self, call: str) -> Gate:
        self.store.before[call] = gate = Gate()
        return gate


@pytest.fixture
async def hooked(backend: Backend) -> AsyncIterator[Hooked]:
    hooked = Hooked(backend)
    async with hooked.service:
        yield hooked


async def release(hooked: Hooked, service: DurableStreamService[Any]) -> None:
    """Let the lease of the turn lapse, as that of a frozen process does."""
    [(lease, _)] = hooked.service._runtime.writer.leases._holders.items()
    await hooked.store.inner.release(lease)
    assert (await service.status("chat:c1")).lost


class Counted:
    def __init__(self) -> None:
        self.turns: list[ChatTurn] = []

    async def __call__(self, turn: ChatTurn) -> None:
        self.turns.append(turn)
        await greet(turn)


async def test_a_turn_that_is_stopped_meanwhile_does_not_run_again(
    hooked: Hooked, new_service: NewService, serve: Serve
) -> None:
    service, reply, acquiring = new_service(), Counted(), hooked.hold("acquire")
    retrying = await serve(hooked.service, reply, on_lost="retry", replay_window=60.0)
    stopping = await serve(service, reply, on_lost="retry")
    await break_off(service)

    reading = asyncio.create_task(retrying.get())
    await acquiring.reached.wait()
    await stopping.stop()
    acquiring.open()

    assert types_in((await reading).text)[-2:] == ["abort", "finish"]
    assert reply.turns == []
    assert (await service.status("chat:c1")).version == 0


async def test_a_turn_whose_frozen_process_ends_it_meanwhile_does_not_run_again(
    hooked: Hooked, new_service: NewService, serve: Serve
) -> None:
    service, reply, acquiring = new_service(), Counted(), hooked.hold("acquire")
    retrying = await serve(hooked.service, reply, on_lost="retry", replay_window=60.0)
    frozen = service.publisher("chat:c1", message_id="m1", request=question())
    await frozen.open()
    lease = frozen._opened.lease
    await hooked.store.inner.release(lease)

    reading = asyncio.create_task(retrying.get())
    await acquiring.reached.wait()
    await hooked.store.inner.append([Append(lease, 0, [FINISH], closes=True)], lease=15.0)
    acquiring.open()

    assert types_in((await reading).text)[-1] == "finish"
    assert reply.turns == []


async def test_a_turn_whose_process_is_frozen_before_its_first_chunk_is_answered_by_its_successor(
    hooked: Hooked, new_service: NewService, serve: Serve
) -> None:
    service, appending = new_service(), hooked.hold("append")
    hooked.store.before["check"] = appending
    frozen = await serve(hooked.service, greet, on_lost="continue", replay_window=60.0)

    asking = asyncio.create_task(frozen.post(question()))
    await appending.reached.wait()
    await release(hooked, service)
    async with service.successor("chat:c1", 0) as successor:
        await successor.write({"type": "start", "messageId": "m1"}, *TEXT)
    appending.open()

    answer = await asking
    assert (answer.status_code, types_in(answer.text)[-1]) == (200, "finish")


async def test_a_chat_that_is_deleted_before_its_turn_began_is_unknown(
    hooked: Hooked, new_service: NewService, serve: Serve
) -> None:
    service, appending = new_service(), hooked.hold("append")
    client = await serve(hooked.service, greet)

    asking = asyncio.create_task(client.post(question()))
    await appending.reached.wait()
    await service.delete("chat:c1")
    appending.open()

    answer = await asking
    assert (answer.status_code, answer.text) == (404, "There is no such chat.")


async def test_a_stop_that_another_process_forestalls_stops_its_retry(
    hooked: Hooked, new_service: NewService, serve: Serve
) -> None:
    service, held, claiming = new_service(), Held(), hooked.hold("claim")
    retrying = await serve(service, held, on_lost="retry")
    stopping = await serve(hooked.service, held, on_lost="retry")
    await break_off(service)

    stop = asyncio.create_task(stopping.stop())
    await claiming.reached.wait()
    async with retrying.resume() as stream:
        await held.started.wait()
        claiming.open()
        await stop
        body = await stream.rest()

    assert types_in(body)[-2:] == ["abort", "finish"]
    assert [turn.version for turn in held.turns] == [1]

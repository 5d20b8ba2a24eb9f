from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.fastapi.chat_client import ChatClient, question, types_in
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import Held, greet

pytestmark = pytest.mark.every_framework


async def ask_and_be_cut_off(client: ChatClient) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await client.post(question())


async def test_a_running_turn_may_end_while_its_process_drains(
    new_service: NewService, serve: Serve
) -> None:
    service, held = new_service(), Held()
    client = await serve(service, held, drain_timeout=10.0)
    asking = asyncio.create_task(ask_and_be_cut_off(client))
    await held.started.wait()

    service.begin_shutdown()
    await asking
    exiting = asyncio.create_task(client.shut_down())
    held.go_on.set()
    await exiting

    assert [chunk["type"] for chunk in await service.chunks("chat:c1")][-2:] == [
        "data-last",
        "finish",
    ]


async def test_a_turn_that_does_not_end_in_time_is_taken_over_at_once(
    new_service: NewService, serve: Serve
) -> None:
    service, held = new_service(lease=60.0), Held()
    leaving = await serve(service, held, drain_timeout=0.05)
    staying = await serve(new_service(lease=60.0), greet, on_lost="retry")
    asking = asyncio.create_task(ask_and_be_cut_off(leaving))
    await held.started.wait()

    service.begin_shutdown()
    await asking
    await leaving.shut_down()

    assert held.cancelled.is_set()
    assert (await staying.status())["state"] == "lost"
    body = (await staying.get()).text
    assert "id: 1.0\n" in body and types_in(body)[-1] == "finish"


async def test_no_turn_begins_in_a_process_that_shuts_down(
    new_service: NewService, serve: Serve
) -> None:
    service = new_service()
    client = await serve(service, greet)

    service.begin_shutdown()
    answer = await client.post(question())

    assert (answer.status_code, answer.text) == (503, "The server is restarting. Please try again.")
    assert (await client.status())["state"] == "idle"


async def test_a_closed_service_answers_503(new_service: NewService, serve: Serve) -> None:
    service = new_service()
    client = await serve(service, greet)

    await service.aclose()

    assert [(await client.get()).status_code, (await client.post(question())).status_code] == [
        503,
        503,
    ]

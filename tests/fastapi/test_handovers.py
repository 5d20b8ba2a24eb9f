"""A process that exits hands its turns over on purpose, and that costs them no attempt."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import httpx
import pytest

from monostream_ai.chats.turns.turn import MAX_HANDOVERS
from monostream_ai.fastapi import ChatTurn
from tests.fastapi.chat_client import ChatClient, question
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import Held, greet
from tests.fastapi.test_lost_turns import LEASE

LONG = 60.0
"""Seconds; longer than any test, so a turn can be taken over only if it was released."""


async def ask_and_be_cut_off(client: ChatClient) -> None:
    with suppress(httpx.TransportError):
        await client.post(question())


class Deployments:
    """Processes one after another, each of which exits while the reply runs.

    Args:
        options: Of the router.
    """

    def __init__(self, new_service: NewService, serve: Serve, **options: Any) -> None:
        self._new_service = new_service
        self._serve = serve
        self._options = {"drain_timeout": 0.0, **options}
        self.turns: list[ChatTurn] = []

    async def go_through(self, number: int) -> None:
        for _ in range(number):
            service, held = self._new_service(lease=LONG), Held()
            client = await self._serve(service, held, **self._options)
            if not self.turns:
                asking = asyncio.create_task(ask_and_be_cut_off(client))
            async with asyncio.timeout(LONG / 4):
                await held.started.wait()
            service.begin_shutdown()
            await client.shut_down()
            await asking
            self.turns += held.turns

    async def end(self) -> tuple[str, int]:
        """Serve a process that stays; return the ending, and the number of the last attempt."""
        service = self._new_service(lease=LONG)
        client = await self._serve(service, greet, **{**self._options, "replay_window": LONG})
        async with asyncio.timeout(LONG / 4):
            while (await client.status())["state"] != "closed":
                with suppress(httpx.TransportError):
                    await client.get()
        chunks = await service.chunks("chat:c1")
        return chunks[-1]["type"], (await service.status("chat:c1")).attempt


@pytest.mark.parametrize("on_lost", ["retry", "continue"])
async def test_a_turn_lives_through_more_deployments_than_it_has_attempts(
    on_lost: str, new_service: NewService, serve: Serve
) -> None:
    deployments = Deployments(new_service, serve, on_lost=on_lost, max_attempts=2)

    await deployments.go_through(4)

    assert await deployments.end() == ("finish", 5)
    assert [turn.attempt for turn in deployments.turns] == [1, 2, 3, 4]


async def test_handovers_do_not_end_the_budget_of_attempts(
    new_service: NewService, serve: Serve
) -> None:
    deployments = Deployments(new_service, serve, on_lost="continue", max_attempts=2)

    await deployments.go_through(MAX_HANDOVERS + 2)

    assert await deployments.end() == ("error", MAX_HANDOVERS + 2)


@pytest.mark.parametrize("options", [{"on_lost": "error"}, {"on_lost": "retry", "max_attempts": 1}])
async def test_a_turn_with_one_attempt_never_runs_again(
    options: dict[str, Any], new_service: NewService, serve: Serve
) -> None:
    deployments = Deployments(new_service, serve, **options)

    await deployments.go_through(1)

    assert await deployments.end() == ("error", 1)


async def test_a_crash_costs_an_attempt_after_handovers_too(
    new_service: NewService, serve: Serve
) -> None:
    deployments = Deployments(new_service, serve, on_lost="continue", max_attempts=2)
    await deployments.go_through(2)

    service = new_service(lease=LEASE)
    for _ in range(2):
        # Dropped at once, so it renews no lease, like one whose process was killed.
        await service.successor("chat:c1", 0).open()
        while not (await service.status("chat:c1")).lost:
            await asyncio.sleep(LEASE / 10)

    assert await deployments.end() == ("error", 4)

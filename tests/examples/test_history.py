from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from history import History
from monostream_ai import DurableStreamService, create_service
from tests.fastapi.chat_client import question, user_message


@pytest.fixture
async def service() -> AsyncIterator[DurableStreamService[Any]]:
    async with create_service("memory://") as service:
        yield service


@pytest.fixture
async def history(service: DurableStreamService[Any], tmp_path: Path) -> AsyncIterator[History]:
    async with History(f"sqlite+aiosqlite:///{tmp_path / 'chat.db'}", service) as history:
        yield history


async def answer(service: DurableStreamService[Any], message_id: str, asked: str, text: str = "hi") -> None:
    async with service.publisher("chat:c1", message_id=message_id, request=question(id=asked, text=text)) as pub:
        await pub.write({"type": "start", "messageId": message_id}, {"type": "text-start", "id": "t"})


def ids(messages: list[dict[str, Any]]) -> list[str]:
    return [message["id"] for message in messages]


async def test_an_unknown_chat_has_no_messages(history: History) -> None:
    assert await history.messages("c1") == []


async def test_messages_stay_in_the_order_of_their_turns(service: DurableStreamService[Any], history: History) -> None:
    for number in range(12):
        await answer(service, f"a{number}", asked=f"u{number}")

    expected = [f"{who}{number}" for number in range(12) for who in "ua"]
    assert ids(await history.messages("c1")) == ids(await history.messages("c1")) == expected


async def test_a_question_asked_again_drops_what_followed_it(service: DurableStreamService[Any], history: History) -> None:
    for number in range(3):
        await answer(service, f"a{number}", asked=f"u{number}")
    assert len(await history.messages("c1")) == 6

    await answer(service, "a3", asked="u1", text="edited")

    messages = await history.messages("c1")
    assert ids(messages) == ["u0", "a0", "u1", "a3"]
    assert messages[2] == user_message("edited", "u1")


async def test_the_history_outlives_its_streams(service: DurableStreamService[Any], history: History) -> None:
    await answer(service, "a0", asked="u0")
    before = await history.messages("c1")

    await answer(service, "a1", asked="u1")
    await history.messages("c1")
    assert await service.prune(older_than=0.0) == 2

    assert (await history.messages("c1"))[:2] == before
    await answer(service, "a2", asked="u2")
    assert ids(await history.messages("c1")) == ["u0", "a0", "u1", "a1", "u2", "a2"]

"""The history of the chat example holds the conversation, in whatever order turns are stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from history import History, metadata
from monostream_ai import DurableStreamService, create_service
from monostream_ai.fastapi import FinishedTurn
from tests.fastapi.chat_client import question, user_message

STREAM = "chat:ann/c1"


@pytest.fixture
async def service() -> AsyncIterator[DurableStreamService[Any]]:
    async with create_service("memory://") as service:
        yield service


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'chat.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
async def history(service: DurableStreamService[Any], database_url: str) -> AsyncIterator[History]:
    engine = create_async_engine(database_url)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield History(engine, service)
    await engine.dispose()


def message(id: str, **more: Any) -> dict[str, Any]:
    return {
        "id": id,
        "role": "assistant",
        "parts": [{"type": "text", "text": f"says {id}", "state": "done"}],
        **more,
    }


async def finish(
    history: History, version: int, asked: dict[str, Any], answer: str, stream_id: str = STREAM
) -> None:
    """Finish a turn, as the router does."""
    turn = FinishedTurn("c1", stream_id, version, answer, "ann", "finish", [asked], {})
    await history.finish(message(answer), turn)


async def record(
    service: DurableStreamService[Any],
    id: str,
    asked: str,
    text: str = "hi",
    *ending: dict[str, Any],
) -> None:
    """Leave a whole turn behind, as if its process died before it called `on_finish`."""
    async with service.publisher(
        STREAM, message_id=id, request=question(id=asked, text=text), watched=True
    ) as pub:
        await pub.write(
            {"type": "start", "messageId": id}, {"type": "text-start", "id": "t"}, *ending
        )


def ids(messages: list[dict[str, Any]]) -> list[str]:
    return [message["id"] for message in messages]


async def test_an_unknown_chat_has_no_messages(history: History) -> None:
    assert await history.messages(STREAM) == []


async def test_messages_stay_in_the_order_of_their_turns(history: History) -> None:
    for number in range(12):
        await finish(history, number, user_message(id=f"u{number}"), f"a{number}")

    assert ids(await history.messages(STREAM)) == [
        f"{who}{number}" for number in range(12) for who in "ua"
    ]


async def test_chats_of_two_owners_do_not_mix(history: History) -> None:
    for owner in ("ann", "bob"):
        await finish(history, 0, user_message(f"I am {owner}"), "a0", stream_id=f"chat:{owner}/c1")

    [asked, _] = await history.messages("chat:bob/c1")
    assert asked == user_message("I am bob")


async def test_another_answer_to_the_same_question_replaces_the_first(history: History) -> None:
    await finish(history, 0, user_message(), "a0")
    await finish(history, 1, user_message(), "a1")
    await finish(history, 2, user_message(id="u2"), "a2")

    assert ids(await history.messages(STREAM)) == ["u1", "a1", "u2", "a2"]


async def test_an_edited_question_drops_what_followed_it_whatever_the_order_of_finished_turns(
    history: History,
) -> None:
    edited = user_message("edited", "u1")
    turns = [
        (user_message(id="u0"), "a0"),
        (user_message(id="u1"), "a1"),
        (user_message(id="u2"), "a2"),
        (edited, "a3"),
    ]
    for order in permutations(range(4)):
        stream_id = f"chat:ann/{order}"
        for version in order:
            await finish(history, version, *turns[version], stream_id=stream_id)

        kept = await history.messages(stream_id)
        assert kept == [user_message(id="u0"), message("a0"), edited, message("a3")], order


async def test_a_message_continued_in_another_turn_stays_with_its_question(
    history: History,
) -> None:
    await finish(history, 0, user_message(), "a0")
    await finish(history, 1, message("a0"), "a0")

    assert ids(await history.messages(STREAM)) == ["u1", "a0"]


async def test_a_turn_that_is_finished_twice_appears_once(history: History) -> None:
    for _ in range(2):
        await finish(history, 0, user_message(), "a0")

    assert ids(await history.messages(STREAM)) == ["u1", "a0"]


@pytest.mark.parametrize(
    ("ending", "mark"),
    [
        ({"type": "abort"}, {"stopped": True}),
        ({"type": "error", "errorText": "no"}, {"failed": True}),
    ],
)
async def test_an_answer_that_was_cut_short_is_shown_and_marked_before_it_is_finished(
    service: DurableStreamService[Any],
    history: History,
    ending: dict[str, Any],
    mark: dict[str, bool],
) -> None:
    metadata = {"type": "message-metadata", "messageMetadata": {"stopped": True}}
    await record(
        service, "a0", "u1", "hi", *([metadata, ending] if ending["type"] == "abort" else [ending])
    )

    asked, answered = await history.messages(STREAM)

    assert (asked, answered["metadata"]) == (user_message(), mark)


async def test_a_late_on_finish_replaces_the_message_that_was_read_before(
    service: DurableStreamService[Any], history: History
) -> None:
    await record(service, "a0", "u1")
    await history.messages(STREAM)

    await finish(history, 0, user_message(), "a0")

    assert await history.messages(STREAM) == [user_message(), message("a0")]


async def test_while_a_turn_runs_the_history_ends_with_its_question_even_if_its_reply_has_not_begun(
    service: DurableStreamService[Any], history: History
) -> None:
    await finish(history, 0, user_message(id="u0"), "a0")
    await record(service, "a0", "u0")

    async with service.publisher(STREAM, message_id="a1", request=question(id="u1")):
        assert ids(await history.messages(STREAM)) == ["u0", "a0", "u1"]


async def test_while_a_turn_continues_a_message_the_history_leaves_it_out(
    service: DurableStreamService[Any], history: History
) -> None:
    await finish(history, 0, user_message(), "a0")
    request = {"id": "c1", "messages": [user_message(), message("a0")]}

    async with service.publisher(STREAM, message_id="a0", request=request):
        assert ids(await history.messages(STREAM)) == ["u1"]


async def test_the_history_outlives_its_streams(
    service: DurableStreamService[Any], history: History
) -> None:
    await record(service, "a0", "u0")
    before = await history.messages(STREAM)
    await record(service, "a1", "u1")
    await history.messages(STREAM)

    assert await service.delete(STREAM)

    assert ids(await history.messages(STREAM)) == ["u0", "a0", "u1", "a1"]
    assert (await history.messages(STREAM))[:2] == before

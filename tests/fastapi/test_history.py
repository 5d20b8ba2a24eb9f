"""A chat history holds the conversation, in whatever order its turns are stored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from monostream_ai import DurableStreamService
from monostream_ai.anthropic import to_anthropic_messages
from monostream_ai.errors import InvalidStreamId, InvalidText, StoreUnavailable, StreamDeleted
from monostream_ai.fastapi import (
    ChatHistory,
    ChatTurn,
    FinishedTurn,
    RecentChat,
    Reply,
    chat_publisher,
    chat_stream_id,
    without_active_message,
)
from monostream_ai.files import DatabaseFiles
from monostream_ai.google_genai import to_google_contents
from monostream_ai.interfaces import Store
from monostream_ai.langchain import to_langchain_messages
from monostream_ai.openai import to_openai_input, to_openai_messages
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.stores.sql import SQLiteStore
from monostream_ai.ui_messages import UIMessage, UIMessageProtocol
from tests.backends import BACKENDS, Backend, open_backend
from tests.fastapi.chat_client import chunks_in, question, user_message
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import TEXT, Held, greet
from tests.filing import LARGE
from tests.pages import blocks

STREAM = "chat:ann/c1"

TO_MODELS: tuple[Callable[[list[UIMessage]], list[Any]], ...] = (
    to_anthropic_messages,
    to_google_contents,
    to_langchain_messages,
    to_openai_input,
    to_openai_messages,
)


@pytest.fixture(params=BACKENDS)
def backend(tmp_path: Path, request: pytest.FixtureRequest) -> Backend:
    return open_backend(request.param, tmp_path, request)


@pytest.fixture
def service(new_service: NewService) -> DurableStreamService[Any]:
    return new_service()


@pytest.fixture
def history(service: DurableStreamService[Any]) -> ChatHistory:
    return ChatHistory(service)


def message(id: str, **more: Any) -> UIMessage:
    return {
        "id": id,
        "role": "assistant",
        "parts": [{"type": "text", "text": f"says {id}", "state": "done"}],
        **more,
    }


async def finish(
    history: ChatHistory,
    version: int,
    asked: UIMessage,
    answer: str,
    *,
    stream_id: str = STREAM,
    owner: str = "ann",
) -> None:
    """Finish a turn, as the router does."""
    turn = FinishedTurn("c1", stream_id, version, answer, owner, "finish", [asked], {})
    await history.finish(message(answer), turn)


async def begin_chat(service: DurableStreamService[Any], stream_id: str = STREAM) -> None:
    """Give a chat a stream, since messages of deleted chats are not kept."""
    async with service.publisher(stream_id, 99, owner="ann"):
        pass


async def record(
    service: DurableStreamService[Any], id: str, asked: str, *ending: dict[str, Any], owner: str
) -> None:
    """Leave a whole turn behind, as if its process died before it called `on_finish`."""
    async with service.publisher(
        STREAM, message_id=id, request=question(id=asked), watched=True, owner=owner
    ) as pub:
        await pub.write(
            {"type": "start", "messageId": id}, {"type": "text-start", "id": "t"}, *ending
        )


def ids(messages: list[UIMessage]) -> list[str]:
    return [message["id"] for message in messages]


def asking(history: ChatHistory, given: list[list[str]]) -> Reply:
    """Make a reply that notes the ids of the conversation which a model would be given."""

    async def reply(turn: ChatTurn) -> None:
        given.append(ids(await history.ask(turn)))
        await greet(turn)

    return reply


async def test_an_unknown_chat_has_no_messages(history: ChatHistory) -> None:
    assert await history.messages("c1", owner="ann") == []
    assert await history.chats("ann") == []
    assert not await history.delete("c1", owner="ann")


@pytest.mark.parametrize(
    "chat_id", ["a\0b", "half \ud800", "x" * 3000], ids=["NUL", "half", "long"]
)
async def test_a_chat_that_no_store_could_hold_has_no_messages(
    history: ChatHistory, chat_id: str
) -> None:
    assert await history.messages(chat_id, owner="ann") == []
    assert not await history.delete(chat_id, owner="ann")
    with pytest.raises(InvalidStreamId):
        await history.chats("ann", before=RecentChat(chat_id, datetime.now(UTC)))


async def test_an_owner_that_no_store_could_hold_is_refused(history: ChatHistory) -> None:
    with pytest.raises(InvalidText):
        await history.messages("c1", owner="half \ud800")
    with pytest.raises(InvalidText):
        await history.delete("c1", owner="half \ud800")


async def test_messages_stay_in_the_order_of_their_turns(
    service: DurableStreamService[Any], history: ChatHistory
) -> None:
    await begin_chat(service)
    for number in range(12):
        await finish(history, number, user_message(id=f"u{number}"), f"a{number}")

    assert ids(await history.messages("c1", owner="ann")) == [
        f"{who}{number}" for number in range(12) for who in "ua"
    ]


async def test_another_answer_to_the_same_question_replaces_the_first(
    service: DurableStreamService[Any], history: ChatHistory
) -> None:
    await begin_chat(service)
    await finish(history, 0, user_message(), "a0")
    await finish(history, 1, user_message(), "a1")
    await finish(history, 2, user_message(id="u2"), "a2")

    assert ids(await history.messages("c1", owner="ann")) == ["u1", "a1", "u2", "a2"]


async def test_an_edited_question_drops_what_followed_it_whatever_the_order_of_finished_turns(
    service: DurableStreamService[Any], history: ChatHistory
) -> None:
    edited = user_message("edited", "u1")
    turns = [
        (user_message(id="u0"), "a0"),
        (user_message(id="u1"), "a1"),
        (user_message(id="u2"), "a2"),
        (edited, "a3"),
    ]
    for place, order in enumerate(permutations(range(4))):
        stream_id = f"chat:ann/{place}"
        await begin_chat(service, stream_id)
        for version in order:
            await finish(history, version, *turns[version], stream_id=stream_id)

        kept = await history.messages(str(place), owner="ann")
        assert kept == [user_message(id="u0"), message("a0"), edited, message("a3")], order


async def test_a_message_continued_in_another_turn_stays_with_its_question(
    service: DurableStreamService[Any], history: ChatHistory
) -> None:
    await begin_chat(service)
    await finish(history, 0, user_message(), "a0")
    await finish(history, 1, message("a0"), "a0")

    assert ids(await history.messages("c1", owner="ann")) == ["u1", "a0"]


async def test_a_turn_that_is_finished_twice_appears_once(
    service: DurableStreamService[Any], history: ChatHistory
) -> None:
    await begin_chat(service)
    for _ in range(2):
        await finish(history, 0, user_message(), "a0")

    assert ids(await history.messages("c1", owner="ann")) == ["u1", "a0"]


async def test_ids_of_any_length_are_kept_apart(
    service: DurableStreamService[Any], history: ChatHistory
) -> None:
    await begin_chat(service)
    long = "ü" * 1000
    await finish(history, 0, user_message(id=f"{long}1"), f"{long}a")
    await finish(history, 1, user_message(id=f"{long}2"), f"{long}b")
    assert len(await history.messages("c1", owner="ann")) == 4


async def test_a_question_without_an_id_gets_one_that_every_attempt_has(
    service: DurableStreamService[Any], history: ChatHistory
) -> None:
    await begin_chat(service)
    asked = {"role": "user", "parts": [{"type": "text", "text": "hi"}]}
    await finish(history, 0, asked, "a0")
    await finish(history, 1, asked, "a0")
    await finish(history, 2, asked, "a1")

    assert ids(await history.messages("c1", owner="ann")) == [
        "a0-question",
        "a0",
        "a1-question",
        "a1",
    ]


@pytest.mark.parametrize(
    ("ending", "mark"),
    [
        ({"type": "abort"}, {"stopped": True}),
        ({"type": "error", "errorText": "no"}, {"failed": True}),
    ],
)
async def test_an_answer_that_was_cut_short_is_shown_and_marked_before_it_is_finished(
    service: DurableStreamService[Any],
    history: ChatHistory,
    ending: dict[str, Any],
    mark: dict[str, bool],
) -> None:
    metadata = {"type": "message-metadata", "messageMetadata": {"stopped": True}}
    marks = [metadata] if ending["type"] == "abort" else []
    await record(service, "a0", "u1", *marks, ending, owner="ann")

    asked, answered = await history.messages("c1", owner="ann")

    assert (asked, answered["metadata"]) == (user_message(), mark)


@pytest.mark.parametrize(
    ("ending", "mark"),
    [
        ({"type": "error", "errorText": "no"}, {"failed": True}),
        ({"type": "abort"}, {"stopped": True}),
        ({"type": "finish"}, None),
    ],
    ids=["failed", "stopped", "finished"],
)
async def test_an_answer_without_parts_is_kept_if_it_says_how_it_ended(
    service: DurableStreamService[Any],
    history: ChatHistory,
    ending: dict[str, Any],
    mark: dict[str, Any] | None,
) -> None:
    metadata = {"type": "message-metadata", "messageMetadata": mark}
    marks = [metadata] if ending["type"] == "abort" else []
    async with service.publisher(STREAM, message_id="a0", request=question(), owner="ann") as pub:
        await pub.write({"type": "start", "messageId": "a0"}, *marks, ending)

    for _ in range(2):
        question_, *answers = await history.messages("c1", owner="ann")
        assert question_["id"] == "u1"
        empty = {"id": "a0", "role": "assistant", "metadata": mark}
        assert answers == ([{**empty, "parts": [{"type": "step-start"}]}] if mark else [])
        assert all(not to_model(answers) for to_model in TO_MODELS)


@pytest.mark.parametrize("metadata", [None, "sent", ["failed"], 7])
async def test_metadata_that_is_no_object_hides_no_message(
    service: DurableStreamService[Any], history: ChatHistory, metadata: Any
) -> None:
    asked = {**user_message(), "metadata": metadata}
    request = {"id": "c1", "messages": [asked]}
    told = {"type": "message-metadata", "messageMetadata": metadata}
    async with service.publisher(STREAM, message_id="a0", request=request, owner="ann") as pub:
        await pub.write({"type": "start", "messageId": "a0"}, *([told] if metadata else []))
        await pub.write({"type": "finish"})

    assert await history.messages("c1", owner="ann") == [asked]


async def test_a_late_on_finish_replaces_the_message_that_was_read_before(
    service: DurableStreamService[Any], history: ChatHistory
) -> None:
    await record(service, "a0", "u1", owner="ann")
    await history.messages("c1", owner="ann")

    await finish(history, 0, user_message(), "a0")

    assert await history.messages("c1", owner="ann") == [user_message(), message("a0")]


async def test_while_a_turn_runs_the_history_ends_with_its_question_even_if_its_reply_has_not_begun(
    service: DurableStreamService[Any], history: ChatHistory
) -> None:
    # Nor has anybody finished the turn before.
    await record(service, "a0", "u0", owner="ann")

    request = question(id="u1")
    async with service.publisher(STREAM, message_id="a1", request=request, owner="ann"):
        for _ in range(2):
            assert ids(await history.messages("c1", owner="ann")) == ["u0", "a0", "u1"]


async def test_while_a_turn_continues_a_message_the_history_leaves_it_out(
    service: DurableStreamService[Any], history: ChatHistory
) -> None:
    await record(service, "a0", "u1", owner="ann")
    await history.messages("c1", owner="ann")
    request = {"id": "c1", "messages": [user_message(), message("a0")]}

    async with service.publisher(STREAM, message_id="a0", request=request, owner="ann"):
        assert ids(await history.messages("c1", owner="ann")) == ["u1"]


async def test_the_history_outlives_its_streams(
    service: DurableStreamService[Any], history: ChatHistory
) -> None:
    await record(service, "a0", "u0", owner="ann")
    before = await history.messages("c1", owner="ann")
    await record(service, "a1", "u1", owner="ann")
    await history.messages("c1", owner="ann")

    assert await service.delete(STREAM)

    assert ids(await history.messages("c1", owner="ann")) == ["u0", "a0", "u1", "a1"]
    assert (await history.messages("c1", owner="ann"))[:2] == before


async def test_nobody_reads_lists_or_deletes_the_chats_of_another_owner(
    service: DurableStreamService[Any], history: ChatHistory
) -> None:
    await record(service, "a0", "u1", owner="ann")
    await history.messages("c1", owner="ann")
    # Without owners this chat id names the same stream.
    for chat_id, owner in (("c1", "bob"), ("ann/c1", None)):
        assert await history.messages(chat_id, owner=owner) == []
        assert await history.chats(owner) == []
        assert not await history.delete(chat_id, owner=owner)
    # Nor when only the messages are left.
    await service.delete(STREAM)
    assert not await history.delete("ann/c1")
    assert ids(await history.messages("c1", owner="ann")) == ["u1", "a0"]
    assert await history.delete("c1", owner="ann")
    assert await history.messages("c1", owner="ann") == []


async def test_the_chats_of_an_owner_are_listed_by_their_last_message(
    service: DurableStreamService[Any], history: ChatHistory
) -> None:
    for number, chat_id in enumerate(["a/b", "c", "a/b", "d"]):
        stream_id = f"chat:ann%2Fx/{chat_id}"
        await begin_chat(service, f"{stream_id}") if number != 2 else None
        await finish(
            history,
            number,
            user_message(id=f"u{number}"),
            f"a{number}",
            stream_id=stream_id,
            owner="ann/x",
        )
        # SQLite tells the time in milliseconds.
        await asyncio.sleep(0.002)
    first, second = await history.chats("ann/x", limit=2)
    assert [first.chat_id, second.chat_id] == ["d", "a/b"]
    rest = await history.chats("ann/x", before=RecentChat(second.chat_id, second.stored_at))
    assert [each.chat_id for each in rest] == ["c"]


async def test_a_chat_moves_to_the_top_as_soon_as_it_is_asked_again(
    service: DurableStreamService[Any], history: ChatHistory
) -> None:
    for stream_id, asked in ((STREAM, "u0"), ("chat:ann/c2", "u1")):
        pub = service.publisher(stream_id, owner="ann", request=question(id=asked))
        await pub.open()
        # SQLite tells the time in milliseconds.
        await asyncio.sleep(0.002)
        assert [each.chat_id for each in await history.chats("ann")][0] == stream_id[-2:]
        await asyncio.sleep(0.002)
    assert await history.chats("bob") == []

    pub = service.publisher(STREAM, owner="ann", request=question(id="u2", text="And now?"))
    await pub.open()
    first, second = await history.chats("ann")

    assert [first.chat_id, second.chat_id] == ["c1", "c2"]
    assert ids(await history.messages("c1", owner="ann")) == ["u0", "u2"]


async def test_a_title_is_the_beginning_of_the_first_question_whatever_letters_it_has(
    service: DurableStreamService[Any], history: ChatHistory
) -> None:
    await begin_chat(service)
    asked = {**user_message("  What\n\nis \0 " + "x" * 200), "id": "u0"}
    asked["parts"].insert(0, {"type": "file", "mediaType": "image/png", "url": "data:,"})
    await finish(history, 0, asked, "a0")
    [chat] = await history.chats("ann")
    assert chat.title.startswith("What is") and "xxx" in chat.title
    assert len(chat.title) <= 100
    assert await history.messages("c1", owner="ann") == [asked, message("a0")]


async def test_a_conversation_can_be_sent_although_a_page_cut_an_emoji(
    service: DurableStreamService[Any], history: ChatHistory
) -> None:
    await begin_chat(service)
    asked = user_message("cut \ud83d, whole \U0001f600, written \\ud83d", "u1")
    await finish(history, 0, asked, "a1")

    found = await history.messages("c1", owner="ann")

    assert json.dumps(found, ensure_ascii=False).encode()
    [chat] = await history.chats("ann")
    assert chat.title.encode()
    assert found[0] == user_message("cut \ufffd, whole \U0001f600, written \\ud83d", "u1")


async def test_a_deleted_chat_is_gone_and_its_running_answer_does_not_bring_it_back(
    service: DurableStreamService[Any], history: ChatHistory
) -> None:
    await record(service, "a0", "u1", owner="ann")
    await history.messages("c1", owner="ann")
    with pytest.raises(StreamDeleted):
        async with service.publisher(STREAM, owner="ann") as pub:
            assert await history.delete("c1", owner="ann")
            await pub.write({"type": "data-more", "data": 1})

    # An `on_finish` that was under way.
    await finish(history, 1, user_message(id="u2"), "a1")

    assert await history.messages("c1", owner="ann") == []
    assert await history.chats("ann") == []


async def test_the_ids_of_all_answers_are_told_to_their_owner(
    service: DurableStreamService[Any], history: ChatHistory
) -> None:
    for answer_id in ("a0", "a1", "a2"):
        # The same question again, so that only the last answer is in the conversation.
        await record(service, answer_id, "u1", owner="ann")
        await history.messages("c1", owner="ann")
    assert ids(await history.messages("c1", owner="ann")) == ["u1", "a2"]
    async with service.publisher(STREAM, owner="ann", message_id="a3"):
        assert await history.answer_ids("c1", owner="ann") == ["a0", "a1", "a2", "a3"]

    assert await history.answer_ids("c1", owner="bob") == []
    assert await history.answer_ids("ann/c1") == []
    assert await history.answer_ids("c2", owner="ann") == []


async def test_a_reply_gets_the_conversation_up_to_its_question(
    service: DurableStreamService[Any], history: ChatHistory, serve: Serve
) -> None:
    given: list[list[str]] = []
    client = await serve(service, asking(history, given), on_finish=history.finish)
    for asked in ("u1", "u2", "u2", "u1", "u3"):
        trigger = "regenerate-message"
        response = await client.post(question(id=asked, trigger=trigger))
        assert response.status_code == 200
    first, *_ = await history.messages("c1")
    assert first == user_message()
    answers = [each["id"] for each in await history.messages("c1") if each["role"] == "assistant"]
    assert given == [
        ["u1"],
        ["u1", given[1][1], "u2"],
        ["u1", given[1][1], "u2"],
        ["u1"],
        ["u1", answers[0], "u3"],
    ]
    assert await history.delete("c1")
    assert await history.messages("c1") == []


async def test_a_reply_gets_the_answers_whose_on_finish_is_late(
    service: DurableStreamService[Any], history: ChatHistory, serve: Serve
) -> None:
    given: list[list[str]] = []
    # Nobody calls `history.finish`, and no page loads the chat.
    client = await serve(service, asking(history, given))
    for asked in ("u1", "u2", "u3"):
        await client.post(question(id=asked))

    conversation = ids(await history.messages("c1"))
    assert given == [conversation[:1], conversation[:3], conversation[:5]]
    assert conversation[::2] == ["u1", "u2", "u3"]


async def test_a_reply_gets_the_answer_that_it_continues_as_it_is_stored(
    service: DurableStreamService[Any], history: ChatHistory, serve: Serve
) -> None:
    given: list[list[UIMessage]] = []
    call = {"toolCallId": "c", "toolName": "ask"}

    async def reply(turn: ChatTurn) -> None:
        given.append(await history.ask(turn))
        if len(given) == 1:
            await turn.pub.write({"type": "tool-input-available", **call, "input": {}})
        else:
            await greet(turn)

    client = await serve(service, reply, on_finish=history.finish)
    await client.post(question())
    _, answered = await history.messages("c1")
    claimed = {**answered, "parts": [{**answered["parts"][0], **DONE}, FORGED]}
    response = await client.post({"id": "c1", "messages": [user_message("forged"), claimed]})
    assert response.status_code == 200

    assert given[1] == [user_message(), {**answered, "parts": [answered["parts"][0] | DONE]}]
    asked, whole = await history.messages("c1")
    assert (asked, whole["id"]) == (user_message(), answered["id"])
    assert [part["type"] for part in whole["parts"]][:2] == ["tool-ask", "text"]


DONE = {"state": "output-available", "output": 1}
FORGED = {"type": "text", "text": "I never said that"}


async def test_an_answer_that_nobody_asked_for_is_kept(
    service: DurableStreamService[Any], history: ChatHistory, serve: Serve
) -> None:
    finished = asyncio.Event()

    async def finish_all(answer: UIMessage, turn: FinishedTurn) -> None:
        await history.finish(answer, turn)
        finished.set()

    await serve(service, greet, on_finish=finish_all, sweep_interval=0.05)
    await record(service, "a0", "u0", owner="ann")
    await history.messages("c1", owner="ann")
    async with chat_publisher(service, "c1", owner="ann", message_id="a1") as pub:
        await pub.write({"type": "start", "messageId": "a1"}, {"type": "text-start", "id": "t"})
        for shown in (history.messages("c1", owner="ann"), resumable(service, history)):
            assert ids(await shown) == ["u0", "a0"]
    # Before and after `on_finish`.
    assert ids(await history.messages("c1", owner="ann")) == ["u0", "a0", "a1"]
    await finished.wait()
    assert ids(await history.messages("c1", owner="ann")) == ["u0", "a0", "a1"]


async def resumable(service: DurableStreamService[Any], history: ChatHistory) -> list[UIMessage]:
    kept = await history.messages("c1", owner="ann")
    return await without_active_message(service, STREAM, kept)


async def test_a_page_that_loads_in_mid_answer_gets_the_question_and_later_the_answer(
    service: DurableStreamService[Any], history: ChatHistory, serve: Serve
) -> None:
    held = Held()

    async def reply(turn: ChatTurn) -> None:
        await history.ask(turn)
        await held(turn)

    client = await serve(service, reply, on_finish=history.finish)
    async with client.ask(question()) as stream:
        await held.started.wait()
        assert ids(await history.messages("c1")) == ["u1"]
        held.go_on.set()
        await stream.rest()
    assert [each["role"] for each in await history.messages("c1")] == ["user", "assistant"]


async def test_a_question_waits_for_a_store_that_fails_for_a_moment(
    new_service: NewService, serve: Serve
) -> None:
    service = new_service()
    failing = FailingMessages(service.store)
    history = ChatHistory(service, messages=failing.messages)

    async def reply(turn: ChatTurn) -> None:
        await history.ask(turn)
        await greet(turn)

    client = await serve(service, reply)
    assert '"finish"' in (await client.post(question())).text
    assert failing.failures == 0
    assert [each["role"] for each in await history.messages("c1")] == ["user", "assistant"]


class FailingMessages:
    """The messages of a store, whose first three writes fail."""

    def __init__(self, store: Store) -> None:
        assert store.messages is not None
        self.messages = store.messages
        self.failures = 3
        put = self.messages.put

        async def failing(message: Any) -> None:
            if self.failures:
                self.failures -= 1
                raise StoreUnavailable("a test made this call fail")
            await put(message)

        self.messages.put = failing  # type: ignore[method-assign]


async def test_a_history_in_another_database_needs_no_table_beside_the_streams(
    tmp_path: Path,
) -> None:
    elsewhere = SQLiteStore.from_url(f"sqlite+aiosqlite:///{tmp_path / 'history.db'}")
    await elsewhere.setup()
    async with DurableStreamService(
        ForwardingStore(MemoryStore()), None, UIMessageProtocol()
    ) as service:
        with pytest.raises(TypeError, match="keeps no messages"):
            ChatHistory(service)
        history = ChatHistory(service, messages=elsewhere.messages)
        await begin_chat(service)
        await finish(history, 0, user_message(), "a0")
        assert ids(await history.messages("c1", owner="ann")) == ["u1", "a0"]
    await elsewhere.aclose()


async def test_a_reply_says_why_it_failed(
    service: DurableStreamService[Any], history: ChatHistory, serve: Serve
) -> None:
    """The block of docs/fastapi.md, with a model that is busy."""

    class TooManyRequests(Exception):
        """As an SDK raises it."""

    async def ask_the_model(turn: ChatTurn) -> None:
        await history.ask(turn)
        await turn.pub.write({"type": "start", "messageId": turn.message_id}, *TEXT)
        raise TooManyRequests

    [block] = blocks("python", "failing")
    names = block.execute(
        ChatTurn=ChatTurn, TooManyRequests=TooManyRequests, ask_the_model=ask_the_model
    )
    client = await serve(service, names["reply"], on_finish=history.finish)
    chunks = chunks_in((await client.post(question())).text)

    said = "The model is busy. Ask again in a minute."
    assert {"type": "error", "errorText": said} in chunks
    _, answer = await history.messages("c1")
    assert answer["metadata"] == {"reason": "busy", "failed": True}


async def test_a_user_who_leaves_takes_chats_and_files_along(
    service: DurableStreamService[Any], history: ChatHistory
) -> None:
    """The block of docs/operations.md."""
    files = DatabaseFiles(service)
    for owner in ("ann", "bob"):
        for number in range(60):
            stream_id = chat_stream_id(f"c{number}", owner=owner)
            async with service.publisher(
                stream_id, message_id="a", request=question(f"c{number}"), owner=owner
            ) as pub:
                await pub.write({"type": "start", "messageId": "a"}, *TEXT)
            await history.messages(f"c{number}", owner=owner)
        await files.store(chat_stream_id("c1", owner=owner), LARGE, "image/png", owner=owner)

    [block] = blocks("python", "forgetting")
    names = block.execute(history=history, files=files, chat_stream_id=chat_stream_id)
    await names["forget"]("ann")

    assert await history.chats("ann") == []
    left = [each.stream_id for each in await service.streams(limit=100)]
    assert len(left) == 61 and all("bob/" in stream_id for stream_id in left)

"""Stores the conversations of chats, so that a page can show them and a model can be given them.

A turn is stored in two steps: its reply stores the question, and `on_finish` the answer, perhaps
much later and in another process. The steps may come in any order and more than once, so each one
writes rows of its own, and only a read puts the conversation together.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from monostream_ai._backoff import patiently
from monostream_ai._periodic import start_task
from monostream_ai.chats.streaming.replays.starting import up_to_answer
from monostream_ai.chats.turns.finishing import (
    FinishedTurn,
    all_changes,
    finished_message,
    latest_version,
)
from monostream_ai.chats.turns.names import STREAM_PREFIX, chat_stream_id, queue_stream_id
from monostream_ai.chats.turns.requests import ChatRequest
from monostream_ai.chats.turns.turn import ChatTurn
from monostream_ai.errors import InvalidStreamId, UnknownStream
from monostream_ai.interfaces import Messages
from monostream_ai.json_text import decode_sendable, encode_json
from monostream_ai.service import DEFAULT_OUTAGE_TIMEOUT, DurableStreamService
from monostream_ai.types import (
    MAX_LIMIT,
    LatestMessage,
    StoredMessage,
    VersionInfo,
    check_count,
    check_stream_id,
    check_text,
)
from monostream_ai.ui_messages import UIMessage

Turn: TypeAlias = ChatTurn | FinishedTurn | VersionInfo

BEGINNING: Final = 100
"""Characters of a message's text that are stored as its beginning."""

LONG_ID: Final = 255
"""Bytes of a message id above which its hash is the key."""


class RecentChat(NamedTuple):
    """A chat of a user, when its newest message was stored, and the beginning of its first question
    as a title.
    """

    chat_id: str
    stored_at: datetime
    title: str = ""


class ChatHistory:
    """The conversations of a chat router, in the database of its service; never pruned.

        history = ChatHistory(service)

        async def reply(turn: ChatTurn) -> None:
            conversation = to_langchain_messages(await history.ask(turn))
            await model.ainvoke(conversation, config={"callbacks": [turn.callback]})

        router = create_chat_router(service, reply, on_finish=history.finish)

    Each message keeps the first and the latest turn that asked or wrote it (`since`, `version`). A
    question that is asked again, edited or not, replaces all turns between the two. An answer that
    is continued keeps its place. Nothing else is ever left out, whatever list of messages a page
    claims: another tab may have asked meanwhile. Half of an emoji in a text, which a page may send
    and no JSON response of a framework can, is U+FFFD in the conversation.

    Args:
        stream_prefix: As for `create_chat_router`.
        messages: Another place for the messages, such as `PostgresStore(engine).messages`. By
            default the store of the service keeps them, in its table `monostream_message`.

    Raises:
        TypeError: `service` is not a service, or its store has no place for messages: pass
            `messages`.
    """

    def __init__(
        self,
        service: DurableStreamService[Any],
        *,
        stream_prefix: str = STREAM_PREFIX,
        messages: Messages | None = None,
    ) -> None:
        if not isinstance(service, DurableStreamService):
            raise TypeError(f"ChatHistory needs a service, not {type(service).__name__}")
        kept = service.store.messages if messages is None else messages
        if not isinstance(kept, Messages):
            raise TypeError(
                f"{service.store!r} keeps no messages: pass messages=, "
                "such as PostgresStore(engine).messages"
            )
        self._service = service
        self._stream_prefix = stream_prefix
        self._messages = kept

    def __repr__(self) -> str:
        return f"<ChatHistory of {self._service!r}>"

    async def ask(self, turn: ChatTurn) -> list[UIMessage]:
        """Store the question of a turn, and return the conversation for the model: it ends with
        this question, or with the answer that the turn continues. The answer before it is there
        even if its `on_finish` is late.

        Call it first in a reply. The chunks of an earlier attempt are in `turn.written`.

        Raises:
            StoreUnavailable: The store has not answered for a minute.
        """
        return await patiently(lambda: self._ask(turn), patience=DEFAULT_OUTAGE_TIMEOUT)

    async def finish(self, answer: UIMessage, turn: FinishedTurn) -> None:
        """Store the question and the answer of a turn; this is the `on_finish` of the router.

        An answer that was cut short is stored with `stopped` or `failed` in its metadata.

        Raises:
            StoreUnavailable: The store did not answer.
        """
        await self._keep_turn(turn, turn.messages, answer)

    async def messages(self, chat_id: str, *, owner: str | None = None) -> list[UIMessage]:
        """Return the conversation for a page that resumes: while a turn runs, it ends with the
        question, and the stream brings the answer. Empty if the owner has no such chat.

        Raises:
            InvalidText: No store could hold the owner.
            StoreUnavailable: The store did not answer.
        """
        stream_id = self._stream_of(chat_id, owner)
        if stream_id is None:
            return []
        rows, latest = await self._rows_and_latest(stream_id, owner)
        if latest is None:
            return await _conversation(rows)
        rows = await self._with_turn_before(rows, latest)
        request = None
        if latest.state == "open" or not _has_answer(rows, latest):
            request = await ChatRequest.stored_with(self._service, latest)
        if request is not None and await self._catch_up(rows, latest, request):
            rows = await self._rows(stream_id, owner)
        conversation = await _conversation(rows)
        if request is None or latest.state != "open":
            return conversation
        asked = _question(request.messages, latest.message_id)
        return up_to_answer(conversation, latest.message_id, None if asked is None else asked["id"])

    async def chats(
        self, owner: str | None = None, *, before: RecentChat | None = None, limit: int = 50
    ) -> list[RecentChat]:
        """Return the chats of an owner that have messages, the latest first. A chat is there as
        soon as a turn has begun, also while its question waits for a worker.

        Args:
            before: The last chat of the page before; its title does not matter.

        Raises:
            InvalidNumber: The limit is invalid.
            InvalidStreamId, InvalidText: No store could hold the id of `before`, or the owner.
            StoreUnavailable: The store did not answer.
        """
        check_count("limit", limit, most=MAX_LIMIT)
        check_text("owner", owner)
        await self._service._connected()
        prefix = chat_stream_id("", owner=owner, prefix=self._stream_prefix)
        last = None
        if before is not None:
            last = LatestMessage(check_stream_id(prefix + before.chat_id), before.stored_at)
        found = await self._messages.latest(owner, prefix=prefix, before=last, limit=limit)
        if before is None and await self._keep_begun(owner, prefix, found):
            found = await self._messages.latest(owner, prefix=prefix, before=None, limit=limit)
        return [
            RecentChat(stream_id.removeprefix(prefix), at, title) for stream_id, at, title in found
        ]

    async def answer_ids(self, chat_id: str, *, owner: str | None = None) -> list[str]:
        """Return the ids of all answers of a chat, the first one first: also of one that runs, and
        of those that another question has replaced. Empty if the owner has no such chat.

        Whatever your replies keep elsewhere under `turn.message_id`, such as the threads of a
        checkpointer, is found by them. Ask before `delete`.

        Raises:
            InvalidText: No store could hold the owner.
            StoreUnavailable: The store did not answer.
        """
        stream_id = self._stream_of(chat_id, owner)
        if stream_id is None:
            return []
        rows, latest = await self._rows_and_latest(stream_id, owner)
        found = [row.message_id for row in rows if row.role == "assistant"]
        if latest is not None and latest.message_id is not None:
            found.append(latest.message_id)
        return list(dict.fromkeys(found))

    async def delete(self, chat_id: str, *, owner: str | None = None) -> bool:
        """Delete a chat: its messages, the questions that wait in it, and its stream, whose
        publisher and readers get `StreamDeleted`. Return whether the owner had such a chat.

        `DatabaseFiles.delete` deletes its files.

        Raises:
            InvalidText: No store could hold the owner.
            StoreUnavailable: Perhaps not all is deleted: call it again.
        """
        stream_id = self._stream_of(chat_id, owner)
        if stream_id is None:
            return False
        latest = await latest_version(self._service, stream_id)
        owners = {row.owner for row in await self._messages.of_stream(stream_id)}
        if latest is not None:
            owners.add(latest.owner)
        if owners != {owner}:
            return False
        # A publisher's block, perhaps around this call, is interrupted when its stream is gone.
        await asyncio.shield(start_task(self._delete(stream_id), name=f"delete {stream_id}"))
        return True

    async def _delete(self, stream_id: str) -> None:
        await self._service.delete(queue_stream_id(stream_id))
        # Before the messages: after each one, a writer checks that the stream is still there.
        await self._service.delete(stream_id)
        await self._messages.delete(stream_id)

    async def _ask(self, turn: ChatTurn) -> list[UIMessage]:
        await self._keep_turn(turn, turn.messages)
        rows = await self._rows(turn.stream_id, turn.owner)
        rows = await self._with_turn_before(rows, turn)
        conversation = await _conversation([row for row in rows if row.version <= turn.version])
        question = _question(turn.messages, turn.message_id)
        if question is not None:
            return up_to_answer(conversation, turn.message_id, question["id"])
        continued = [each for each in turn.messages[-1:] if each["role"] == "assistant"]
        return [*up_to_answer(conversation, turn.message_id, None), *continued]

    async def _rows_and_latest(
        self, stream_id: str, owner: str | None
    ) -> tuple[list[StoredMessage], VersionInfo | None]:
        """Return the rows of a chat and its latest turn; None if it is not this owner's."""
        # Before the status, or a turn that begins in between would be missing.
        rows = await self._rows(stream_id, owner)
        latest = await latest_version(self._service, stream_id)
        return rows, None if latest is None or latest.owner != owner else latest

    async def _with_turn_before(self, rows: list[StoredMessage], turn: Turn) -> list[StoredMessage]:
        """Return the rows of a chat; if the `finish` of the turn before this one is late, store
        that turn first.
        """
        number = turn.version - 1
        if number < 0 or any((row.role, row.version) == ("assistant", number) for row in rows):
            return rows
        try:
            before = await self._service.status(turn.stream_id, number)
        except UnknownStream:
            return rows
        if before.owner != turn.owner or before.state != "closed":
            return rows
        request = await ChatRequest.stored_with(self._service, before)
        if request is None or not await self._catch_up(rows, before, request):
            return rows
        return await self._rows(turn.stream_id, turn.owner)

    async def _keep_begun(
        self, owner: str | None, prefix: str, listed: Sequence[LatestMessage]
    ) -> bool:
        """Store the questions of running turns whose replies have not called `ask` yet; return
        whether there were any.
        """
        stored = {each.stream_id: each.stored_at for each in listed}
        _, turns = await all_changes(self._service, prefix, None)
        kept = False
        for turn in turns:
            at = stored.get(turn.stream_id)
            # Most have: this spares their chats a read.
            if turn.owner != owner or (at and turn.created_at and at >= turn.created_at):
                continue
            rows = await self._rows(turn.stream_id, owner)
            request = await ChatRequest.stored_with(self._service, turn)
            kept |= request is not None and await self._catch_up(rows, turn, request)
        return kept

    async def _catch_up(
        self, rows: Sequence[StoredMessage], turn: VersionInfo, request: ChatRequest
    ) -> bool:
        """Store a turn if `ask` or `finish` is late, or its process died before calling it; return
        whether anything was stored.
        """
        answer = None
        if turn.state == "closed":
            try:
                answer, _ = await finished_message(self._service, turn, request)
            except UnknownStream:
                # It was deleted meanwhile.
                return False
        elif _has_question(rows, turn, request):
            return False
        await self._keep_turn(turn, request.messages, answer)
        return True

    async def _keep_turn(
        self, turn: Turn, messages: Sequence[UIMessage], answer: UIMessage | None = None
    ) -> None:
        question = _question(messages, turn.message_id)
        if question is not None:
            await self._keep(turn, "user", question["id"], question)
        if answer is not None:
            # Even an answer without parts: it shows that the turn is stored.
            await self._keep(turn, "assistant", turn.message_id or answer["id"], answer)
        # A chat that was deleted meanwhile must not come back.
        if await latest_version(self._service, turn.stream_id) is None:
            await self._messages.delete(turn.stream_id, turn.version)

    async def _keep(
        self, turn: Turn, role: Literal["user", "assistant"], message_id: str, message: UIMessage
    ) -> None:
        text = await asyncio.to_thread(encode_json, message)
        key = _key(message_id)
        number = turn.version
        await self._messages.put(
            StoredMessage(
                turn.stream_id, role, key, number, number, turn.owner, text, _beginning(message)
            )
        )

    async def _rows(self, stream_id: str, owner: str | None) -> list[StoredMessage]:
        await self._service._connected()
        # Without owners, a chat may have an id that begins like the stream of an owner.
        rows = await self._messages.of_stream(stream_id)
        return [row for row in rows if row.owner == owner]

    def _stream_of(self, chat_id: str, owner: str | None) -> str | None:
        """Return the stream of a chat; None if no store could hold one with this id."""
        check_text("owner", owner)
        try:
            return check_stream_id(chat_stream_id(chat_id, owner=owner, prefix=self._stream_prefix))
        except InvalidStreamId:
            return None


async def _conversation(rows: Sequence[StoredMessage]) -> list[UIMessage]:
    """Return the messages that no question has replaced, in the order of their turns."""
    again = [row for row in rows if row.role == "user" and row.since < row.version]
    kept = [
        row.message
        for row in rows
        if not any(asked.since <= row.version < asked.version for asked in again)
    ]
    messages = await asyncio.to_thread(lambda: [decode_sendable(text) for text in kept])
    return [message for message in map(_with_a_part, messages) if message["parts"]]


def _with_a_part(message: UIMessage) -> UIMessage:
    """Give an answer that has failed or was stopped before its first part an empty step: `ai`
    refuses messages without a part, and the page shows how the answer ended.
    """
    if message["parts"] or message["role"] != "assistant":
        return message
    # A client or a program may send metadata that is no object.
    metadata = message.get("metadata")
    if not isinstance(metadata, dict) or not {"failed", "stopped"} & metadata.keys():
        return message
    return {**message, "parts": [{"type": "step-start"}]}


def _beginning(message: UIMessage) -> str:
    texts = [str(part.get("text", "")) for part in message["parts"] if part["type"] == "text"]
    words = " ".join(" ".join(text[:BEGINNING] for text in texts[:BEGINNING]).split())[:BEGINNING]
    # Postgres stores no NUL, and no database stores half a surrogate pair.
    return words.replace("\0", "").encode(errors="ignore").decode()


def _question(messages: Sequence[UIMessage], answer_id: str | None) -> UIMessage | None:
    """Return the user's last message with an id; None if the turn continues an answer, or nobody
    asked for it.
    """
    asked = messages[-1] if messages else None
    if asked is None or asked["role"] != "user":
        return None
    # Every attempt of a turn has the same answer.
    return asked if asked.get("id") else {**asked, "id": f"{answer_id}-question"}


def _has_answer(rows: Sequence[StoredMessage], turn: VersionInfo) -> bool:
    return _has(rows, "assistant", turn.message_id, turn)


def _has_question(rows: Sequence[StoredMessage], turn: VersionInfo, request: ChatRequest) -> bool:
    question = _question(request.messages, turn.message_id)
    return question is None or _has(rows, "user", question["id"], turn)


def _has(
    rows: Sequence[StoredMessage], role: str, message_id: str | None, turn: VersionInfo
) -> bool:
    key = "" if message_id is None else _key(message_id)
    return any((row.role, row.message_id, row.version) == (role, key, turn.version) for row in rows)


def _key(message_id: str) -> str:
    encoded = message_id.encode()
    return message_id if len(encoded) <= LONG_ID else hashlib.sha256(encoded).hexdigest()

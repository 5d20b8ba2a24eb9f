"""Stores the conversations in a table of the application.

Each turn is stored in two steps: its reply stores the question, and `on_finish` stores the answer,
perhaps much later and in another process. The steps may come in any order and more than once, so
one statement writes each row, and only a read puts the conversation together.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    MetaData,
    SmallInteger,
    String,
    Table,
    case,
    exists,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine

from monostream_ai import DurableStreamService, UnknownStream, VersionInfo
from monostream_ai.fastapi import ChatTurn, FinishedTurn, without_active_message
from monostream_ai.ui_messages import UIMessage, reduce_chunks

metadata = MetaData()
messages = Table(
    "chat_history",
    metadata,
    Column("stream_id", String, primary_key=True),
    Column("message_id", String, primary_key=True),
    # This question replaced the turns from `since` up to, but not including, `version`: it was
    # edited or asked again.
    Column("version", BigInteger, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("is_answer", SmallInteger, nullable=False),
    Column("message", JSON, nullable=False),
)


class History:
    """The messages of each chat, by its stream id, which contains the owner."""

    def __init__(self, engine: AsyncEngine, service: DurableStreamService[Any]) -> None:
        self._engine = engine
        self._service = service

    async def messages(self, stream_id: str) -> list[UIMessage]:
        """Return the conversation.

        While a turn runs, it ends with the question: the stream replays the answer so far.
        """
        await self._catch_up(stream_id)
        asked = messages.alias()
        in_between = (asked.c.since <= messages.c.version) & (messages.c.version < asked.c.version)
        replaced = exists().where(
            asked.c.stream_id == stream_id, asked.c.is_answer == 0, in_between
        )
        query = select(messages.c.message).where(messages.c.stream_id == stream_id, ~replaced)
        async with self._engine.connect() as connection:
            rows = await connection.scalars(
                query.order_by(messages.c.version, messages.c.is_answer)
            )
        return await without_active_message(self._service, stream_id, list(rows))

    async def ask(self, turn: ChatTurn) -> None:
        """Store the question of a turn that begins.

        An edited question, or one that is asked again, replaces everything after it.
        """
        await self._keep_question(turn.stream_id, turn.version, turn.messages[-1])

    async def finish(self, answer: UIMessage, turn: FinishedTurn) -> None:
        """Store the answer; this is the `on_finish` of the router.

        Partial answers are stored too, with `stopped` or `failed` in their metadata.
        """
        await self._keep_question(turn.stream_id, turn.version, turn.messages[-1])
        await self._keep_answer(turn.stream_id, turn.version, answer)

    async def _catch_up(self, stream_id: str) -> None:
        """Store the latest turn if `finish` is late, or its process died before calling it."""
        try:
            turn = await self._service.status(stream_id)
        except UnknownStream:
            return
        if await self._has(stream_id, turn):
            return
        request = await self._service.request(stream_id, turn.version)
        if request is not None:
            await self._keep_question(stream_id, turn.version, request["messages"][-1])
            if turn.state == "closed":
                await self._keep_answer(stream_id, turn.version, await self._recorded(turn))

    async def _has(self, stream_id: str, turn: VersionInfo) -> bool:
        query = select(messages.c.version).where(
            messages.c.stream_id == stream_id, messages.c.message_id == turn.message_id
        )
        async with self._engine.connect() as connection:
            return await connection.scalar(query) == turn.version

    async def _recorded(self, turn: VersionInfo) -> UIMessage:
        chunks = await self._service.chunks(turn.stream_id, turn.version)
        answer = reduce_chunks(chunks, finished=True)
        if chunks[-1]["type"] == "error":
            answer["metadata"] = {**answer.get("metadata", {}), "failed": True}
        return answer

    async def _keep_question(self, stream_id: str, version: int, question: UIMessage) -> None:
        # A turn that continues an answer asks nothing new.
        if question["role"] == "user":
            await self._keep(stream_id, question, version, is_answer=0)

    async def _keep_answer(self, stream_id: str, version: int, answer: UIMessage) -> None:
        if answer["parts"]:
            await self._keep(stream_id, answer, version, is_answer=1)

    async def _keep(
        self, stream_id: str, message: UIMessage, version: int, *, is_answer: int
    ) -> None:
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        keys = {"stream_id": stream_id, "message_id": message["id"]}
        statement = insert(messages).values(
            **keys, version=version, since=version, is_answer=is_answer, message=message
        )
        old, new = messages.c, statement.excluded
        newest = {
            name: case((old.version <= new.version, new[name]), else_=old[name])
            for name in ("version", "message")
        }
        since = case((old.since <= new.since, old.since), else_=new.since)
        statement = statement.on_conflict_do_update(
            index_elements=list(keys), set_={**newest, "since": since}
        )
        async with self._engine.begin() as connection:
            await connection.execute(statement)

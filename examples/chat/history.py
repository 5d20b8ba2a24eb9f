"""The conversations, in a table of the application's own.

The streams are the truth about each turn until they are pruned; this table keeps the messages for good. It catches up with the
streams when it is read, so it misses nothing: not the answer that a crash cut short, nor the one that another tab stopped.
"""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, Self

from sqlalchemy import JSON, BigInteger, Column, MetaData, SmallInteger, String, Table, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from monostream_ai import DurableStreamService, UnknownStream, VersionInfo
from monostream_ai.ui_messages import UIMessage, reduce_chunks

metadata = MetaData()
messages = Table(
    "chat_message",
    metadata,
    Column("chat_id", String, primary_key=True),
    Column("message_id", String, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("is_answer", SmallInteger, nullable=False),
    Column("message", JSON, nullable=False),
)


class History:
    """The messages of each chat. Close it with `async with`."""

    def __init__(self, url: str, service: DurableStreamService[Any]) -> None:
        self._engine = create_async_engine(url)
        self._service = service

    async def messages(self, chat_id: str) -> list[UIMessage]:
        """Return the conversation. While a turn runs, it ends with the question: the answer so far is the stream's to replay."""
        async with self._engine.begin() as connection:
            await self._catch_up(connection, chat_id)
            query = select(messages.c.message).where(messages.c.chat_id == chat_id)
            rows = await connection.scalars(query.order_by(messages.c.version, messages.c.is_answer))
            return list(rows)

    async def _catch_up(self, connection: AsyncConnection, chat_id: str) -> None:
        newest = select(messages.c.version + messages.c.is_answer).where(messages.c.chat_id == chat_id)
        first = await connection.scalar(newest.order_by(messages.c.version.desc(), messages.c.is_answer.desc()).limit(1))
        latest = await self._turn(chat_id)
        for version in range(first or 0, -1 if latest is None else latest.version + 1):
            turn = await self._turn(chat_id, version)
            if turn is not None and turn.request is not None:
                await self._keep_question(connection, chat_id, turn)
            if turn is not None and turn.state == "closed":
                await self._keep_answer(connection, chat_id, turn)

    async def _turn(self, chat_id: str, version: int | None = None) -> VersionInfo | None:
        try:
            return await self._service.status(f"chat:{chat_id}", version)
        except UnknownStream:
            return None

    async def _keep_question(self, connection: AsyncConnection, chat_id: str, turn: VersionInfo) -> None:
        question = json.loads(turn.request or "")["messages"][-1]
        in_chat = messages.c.chat_id == chat_id
        asked_in = await connection.scalar(select(messages.c.version).where(in_chat, messages.c.message_id == question["id"]))
        if asked_in is not None:
            # Edited, or asked once more: what followed it is no longer part of the conversation.
            await connection.execute(delete(messages).where(in_chat, messages.c.version >= asked_in))
        await self._keep(connection, chat_id, turn.version, 0, question)

    async def _keep_answer(self, connection: AsyncConnection, chat_id: str, turn: VersionInfo) -> None:
        answer = reduce_chunks(await self._service.chunks(turn.stream_id, turn.version), finished=True)
        if answer["parts"]:
            await self._keep(connection, chat_id, turn.version, 1, answer)

    async def _keep(self, connection: AsyncConnection, chat_id: str, version: int, is_answer: int, message: UIMessage) -> None:
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        values = {"version": version, "is_answer": is_answer, "message": message}
        statement = insert(messages).values(chat_id=chat_id, message_id=message["id"], **values)
        await connection.execute(
            statement.on_conflict_do_update(index_elements=[messages.c.chat_id, messages.c.message_id], set_=values)
        )

    async def __aenter__(self) -> Self:
        async with self._engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._engine.dispose()

"""The titles that users gave to their chats: a table. Other chats are listed by their questions."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from sqlalchemy import Column, MetaData, String, Table, delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

LONGEST: Final = 100
"""Characters of a title."""

titles = Table(
    "chat_title",
    MetaData(),
    Column("account_id", String, primary_key=True),
    Column("chat_id", String, primary_key=True),
    Column("title", String, nullable=False),
)


class Titles:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def of(self, account_id: str) -> dict[str, str]:
        """Return the titles of a user by chat id."""
        columns = titles.c.chat_id, titles.c.title
        async with self._engine.connect() as connection:
            rows = await connection.execute(
                select(*columns).where(titles.c.account_id == account_id)
            )
            return {row.chat_id: row.title for row in rows}

    async def put(self, account_id: str, chat_id: str, title: str) -> None:
        """Name a chat, or take its name away if the title is empty."""
        row = {"account_id": account_id, "chat_id": chat_id}
        # If two tabs name it at the same moment, one of them is the last.
        with suppress(IntegrityError):
            async with self._engine.begin() as connection:
                await connection.execute(delete(titles).filter_by(**row))
                if title:
                    await connection.execute(insert(titles).values(**row, title=title))

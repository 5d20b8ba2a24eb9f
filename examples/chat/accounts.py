"""User accounts: a table of names and password hashes. A guest has neither yet."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final, NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from sqlalchemy import Column, MetaData, String, Table, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

metadata = MetaData()
accounts = Table(
    "chat_user",
    metadata,
    Column("account_id", String, primary_key=True),
    Column("name", String, unique=True),
    Column("password_hash", String),
)

HASHER: Final = PasswordHasher()
NOBODYS: Final = HASHER.hash(secrets.token_hex())


class Account(NamedTuple):
    account_id: str
    name: str | None


class Accounts:
    """The accounts of a chat. In production, also limit the rate of password attempts."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def create_guest(self) -> str:
        """Return the id of a new account, which has no name until its guest signs up."""
        account_id = secrets.token_hex(8)
        async with self._engine.begin() as connection:
            await connection.execute(insert(accounts).values(account_id=account_id))
        return account_id

    async def create(self, name: str, password: str, guest: str | None = None) -> str | None:
        """Return the id of a new account, or None if the name is taken.

        Args:
            guest: Account id of a guest, who keeps it, and with it the chats.
        """
        hashed = await asyncio.to_thread(HASHER.hash, password)
        account_id = guest or secrets.token_hex(8)
        row = {"name": name, "password_hash": hashed}
        statement = (
            update(accounts).where(accounts.c.account_id == guest).values(row)
            if guest
            else insert(accounts).values(account_id=account_id, **row)
        )
        try:
            async with self._engine.begin() as connection:
                await connection.execute(statement)
        except IntegrityError:
            return None
        return account_id

    async def check(self, name: str, password: str) -> str | None:
        """Return the id of the account, or None if the name or the password is wrong."""
        async with self._engine.connect() as connection:
            row = (
                await connection.execute(select(accounts).where(accounts.c.name == name))
            ).one_or_none()
        # An unknown name takes as long as a wrong password, so timing does not reveal names.
        hashed = NOBODYS if row is None else row.password_hash
        try:
            await asyncio.to_thread(HASHER.verify, hashed, password)
        except VerifyMismatchError:
            return None
        return None if row is None else str(row.account_id)

    async def find(self, account_id: str) -> Account | None:
        columns = accounts.c.account_id, accounts.c.name
        async with self._engine.connect() as connection:
            row = (
                await connection.execute(select(*columns).where(columns[0] == account_id))
            ).one_or_none()
        return row and Account(row.account_id, row.name)

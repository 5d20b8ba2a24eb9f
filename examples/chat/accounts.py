"""User accounts: a table of names and password hashes."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets

from sqlalchemy import Column, LargeBinary, MetaData, String, Table, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

metadata = MetaData()
accounts = Table(
    "chat_account",
    metadata,
    Column("account_id", String, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("salt", LargeBinary, nullable=False),
    Column("password_hash", LargeBinary, nullable=False),
)


class Accounts:
    """The accounts of a chat. In production, also limit the rate of password attempts."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def create(self, name: str, password: str) -> str | None:
        """Return the id of a new account, or None if the name is taken."""
        account_id, salt = secrets.token_hex(8), secrets.token_bytes(16)
        row = {"name": name, "salt": salt, "password_hash": await _hash(password, salt)}
        try:
            async with self._engine.begin() as connection:
                await connection.execute(insert(accounts).values(account_id=account_id, **row))
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
        hashed = await _hash(password, b"" if row is None else row.salt)
        return (
            row.account_id
            if row is not None and hmac.compare_digest(hashed, row.password_hash)
            else None
        )

    async def exists(self, account_id: str) -> bool:
        async with self._engine.connect() as connection:
            found = await connection.scalar(
                select(accounts.c.account_id).where(accounts.c.account_id == account_id)
            )
        return found is not None


async def _hash(password: str, salt: bytes) -> bytes:
    # N, r and p from the OWASP Password Storage Cheat Sheet, for 16 MiB of memory.
    return await asyncio.to_thread(hashlib.scrypt, password.encode(), salt=salt, n=2**14, r=8, p=5)

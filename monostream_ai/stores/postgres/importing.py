"""Copies a SQLite file into Postgres, for the command `import`."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Table, select

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

ROWS_AT_ONCE: Final = 2_000

_TABLES: Final = (stream_version, stream_request, stream_chunk, message)
_WRITTEN: Final = """
SELECT count(*) FROM stream_version
 WHERE state = 'open' AND writer IS NOT NULL AND holder IS NOT '' AND lease_until > ?
"""


async def import_sqlite(file: Path, url: str) -> dict[str, int]:
    """Copy all rows of a file to the tables of a database, in one transaction; both have the schema
    of this release. Return how many rows each table got.

    Raises:
        MonostreamError: The file is being written, or the database has streams.
    """
    with closing(_opened(file)) as source:
        [(written,)] = source.execute(_WRITTEN, (time.time(),))
        if written:
            raise MonostreamError(
                f"{written} streams of {file} are being written, or were a moment ago: "
                "end the application, and try again"
            )
        return await _copied(source, url)


def _opened(file: Path) -> sqlite3.Connection:
    """Open a file to read one state of it, even if a process writes to it meanwhile."""
    connection = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)
    connection.execute("BEGIN")
    return connection


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
    finally:
        await engine.dispose()
    return copied


def _batches(source: sqlite3.Connection, table: Table) -> Iterator[list[tuple[Any, ...]]]:
    cursor = source.execute(str(select(table)))
    convert = [_CONVERTED.get(column.name, _same) for column in table.columns]
    while rows := cursor.fetchmany(ROWS_AT_ONCE):
        yield [tuple(to(value) for to, value in zip(convert, row, strict=True)) for row in rows]


def _same(value: Any) -> Any:
    return value


def _instant(value: float | str | None) -> datetime | None:
    """SQLite keeps seconds since 1970, or UTC as text where a column has a default."""
    if value is None:
        return None
    if isinstance(value, str):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return datetime.fromtimestamp(value, UTC)


def _holder(value: str | None) -> str | None:
    """A version that waits for a process waits on; no holder of the file is known over there."""
    return "" if value == "" else None


_CONVERTED: Final[Mapping[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(
        (
            "created_at",
            "closed_at",
            "lease_until",
            "stop_requested_at",
            "attended_until",
            "abandoned_at",
            "stored_at",
        ),
        _instant,
    ),
    "holder": _holder,
}

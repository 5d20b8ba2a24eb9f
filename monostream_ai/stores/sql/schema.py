"""The tables. Alembic users add `metadata` to their `target_metadata`; everybody else calls `store.setup()`.

`stream_chunk` is the table of the TypeScript package `monostream`, so both can read one database; it makes the chunk column
jsonb, which works too but refuses NUL and lone surrogates. `stream_version` has one row for each version.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Column, DateTime, Double, Index, Integer, MetaData, Table, Text, text
from sqlalchemy.dialects import postgresql

SCHEMA_VERSION: Final = 1

metadata = MetaData(naming_convention={"pk": "%(table_name)s_pkey"})

# SQLite has no clock type: its instants are seconds since 1970 as a float.
_Instant: Any = DateTime(timezone=True).with_variant(Double(), "sqlite")

stream_chunk = Table(
    "stream_chunk",
    metadata,
    Column("stream_id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("CURRENT_TIMESTAMP")),
    # json keeps the text as it is; jsonb would rewrite it.
    Column("chunk", Text().with_variant(postgresql.JSON(), "postgresql"), nullable=False),
    sqlite_with_rowid=False,
)

stream_version = Table(
    "stream_version",
    metadata,
    Column("stream_id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    # Who may write now; whoever acquired it. They differ once the version was fenced or taken over.
    Column("writer", Text),
    Column("opener", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("next_id", BigInteger, nullable=False),
    Column("lease_seconds", Double, nullable=False),
    Column("lease_until", _Instant, nullable=False),
    Column("stop_requested_at", _Instant),
    Column("message_id", Text),
    Column("owner", Text),
    Column("attempt", Integer, nullable=False),
    Column("request", Text),
    Column("metadata", Text),
    Column("created_at", _Instant, nullable=False),
    Column("closed_at", _Instant),
    # Who has to settle the version once it is closed; empty if nobody has to.
    Column("settler", Text),
    sqlite_with_rowid=False,
)

# On columns that an append never changes: an index on the lease would end the updates in place.
_UNSETTLED: Final = stream_version.c.settler.is_not(None)
Index(
    "stream_version_unsettled",
    stream_version.c.stream_id,
    stream_version.c.version,
    postgresql_where=_UNSETTLED,
    sqlite_where=_UNSETTLED,
)

schema_version = Table(
    "monostream_schema",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
)

REQUIRED_COLUMNS: Final = {
    stream_chunk.name: {"stream_id", "version", "id", "chunk"},
    stream_version.name: {column.name for column in stream_version.columns},
}

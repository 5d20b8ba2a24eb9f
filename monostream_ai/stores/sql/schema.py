"""The tables. With Alembic, add `metadata` or `metadata_in(schema)` to `target_metadata`; otherwise
call `store.setup()`.

`stream_chunk` has one row for each chunk. It is the table of the TypeScript package `monostream`,
so both packages can read one database. Over there the chunk column is jsonb, which works here too,
but refuses NUL and lone surrogates. `stream_version` has one row for each version, which every
append rewrites. `stream_request` holds what is large and never changes. `monostream_message` keeps
the histories of chats. `monostream_schema` and `monostream_timeline` are about the database, not
about streams.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    DateTime,
    Double,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    __version__,
    text,
)
from sqlalchemy.dialects import postgresql

metadata = MetaData(naming_convention={"pk": "%(table_name)s_pkey"})

# SQLite has no type for instants: seconds since 1970 as a float.
_Instant: Any = DateTime(timezone=True).with_variant(Double(), "sqlite")

# An append updates its version row in place, without touching an index (HOT), as long as the page
# has room and no index covers a changed column. SQLAlchemy 2.0 has no option for the room, so
# tables that it makes start with full pages.
_LEAVE_ROOM: Any = {"postgresql_with": {"fillfactor": 70}} if __version__ >= "2.1" else {}

stream_chunk = Table(
    "stream_chunk",
    metadata,
    Column("stream_id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column(
        "created_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=text("CURRENT_TIMESTAMP"),
    ),
    # json keeps the text as it is; jsonb rewrites it.
    Column("chunk", Text().with_variant(postgresql.JSON(), "postgresql"), nullable=False),
    sqlite_with_rowid=False,
)

stream_version = Table(
    "stream_version",
    metadata,
    Column("stream_id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    # The token that may write now; NULL once the version is fenced, another one once it is taken
    # over.
    Column("writer", Text),
    # The token that acquired the version, which never changes: repeating an acquire finds it. Empty
    # for the number that a deleted stream leaves behind.
    Column("opener", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("next_id", BigInteger, nullable=False),
    Column("lease_seconds", Double, nullable=False),
    Column("lease_until", _Instant, nullable=False),
    Column("stop_requested_at", _Instant),
    Column("message_id", Text),
    Column("owner", Text),
    Column("attempt", Integer, nullable=False),
    # Where releases before schema version 3 kept the request.
    Column("request", Text),
    Column("metadata", Text),
    Column("created_at", _Instant, nullable=False),
    Column("closed_at", _Instant),
    # The attendant of a version that a release before schema version 3 opened. Such a release
    # knows no table of requests, so it must not find the versions of later ones here.
    Column("settler", Text),
    # The token that looks after the version, from its opener on; NULL if it is not watched, or is
    # settled.
    Column("attendant", Text),
    # The process that writes the version, where its death can be seen; NULL elsewhere. Empty while
    # the version waits for a process that goes on with it.
    Column("holder", Text),
    # How often somebody attended to the version, until when nobody else may, and when all gave up.
    Column("attended", Integer),
    Column("attended_until", _Instant),
    Column("abandoned_at", _Instant),
    # The newest version that was deleted before this one was opened.
    Column("deleted_to", BigInteger),
    # How many attempts were given up on purpose, and not lost.
    Column("handovers", Integer),
    sqlite_with_rowid=False,
    **_LEAVE_ROOM,
)

stream_request = Table(
    "stream_request",
    metadata,
    Column("stream_id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("request", Text, nullable=False),
)

# The histories of chats, which are never pruned; see `ChatHistory`.
message = Table(
    "monostream_message",
    metadata,
    Column("stream_id", Text, primary_key=True),
    Column("role", Text, primary_key=True),
    # The SHA-256 of a long id, since Postgres puts at most 2,704 bytes into an index.
    Column("message_id", Text, primary_key=True),
    # The latest and the first turn that asked or wrote the message.
    Column("version", BigInteger, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("owner", Text),
    Column("message", Text().with_variant(postgresql.JSON(), "postgresql"), nullable=False),
    Column("beginning", Text, nullable=False),
    Column("stored_at", _Instant, nullable=False),
    Index("monostream_message_latest", "owner", "stored_at"),
    sqlite_with_rowid=False,
)


def _index(name: str, *columns: Column[Any], where: ColumnElement[bool]) -> None:
    Index(f"stream_version_{name}", *columns, postgresql_where=where, sqlite_where=where)


# Only on columns that an append leaves alone, unless it closes the version.
_index(
    "unsettled",
    stream_version.c.stream_id,
    stream_version.c.version,
    where=stream_version.c.settler.is_not(None),
)
_index(
    "attended",
    stream_version.c.stream_id,
    stream_version.c.version,
    where=stream_version.c.attendant.is_not(None),
)
_index("closed", stream_version.c.closed_at, where=stream_version.c.state == "closed")
_index("open", stream_version.c.created_at, where=stream_version.c.state == "open")

# When each timeline of a Postgres cluster was first seen; a standby that is promoted begins a new
# one. It stays empty on SQLite and where there never was a failover.
timeline = Table(
    "monostream_timeline",
    metadata,
    Column("timeline", Integer, primary_key=True, autoincrement=False),
    Column("seen_at", _Instant, nullable=False),
)

schema_version = Table(
    "monostream_schema",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
)


def metadata_in(schema: str | None) -> MetaData:
    """Return the tables as they are in a Postgres schema; None means the search path."""
    if schema is None:
        return metadata
    copies = MetaData(schema=schema, naming_convention=metadata.naming_convention)
    for table in metadata.sorted_tables:
        table.to_metadata(copies)
    return copies


PRUNED_CHUNKS: Final = 20_000
"""Chunks after which a pruning transaction takes no further version, so that it stays short."""

REQUIRED_COLUMNS: Final = {
    stream_chunk.name: {"stream_id", "version", "id", "chunk"},
    stream_version.name: {column.name for column in stream_version.columns},
    stream_request.name: {column.name for column in stream_request.columns},
    message.name: {column.name for column in message.columns},
}

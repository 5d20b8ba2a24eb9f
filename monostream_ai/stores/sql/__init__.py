"""Streams in a SQL database, through SQLAlchemy: SQLite for one machine, Postgres for many.

This is the public path of both stores; they live in `stores.sqlite` and `stores.postgres`.
"""

from typing import TYPE_CHECKING, Any

from monostream_ai._extras import needs

with needs("sqlalchemy", "sqlite", "postgres", by=__name__):
    import sqlalchemy as sqlalchemy

from monostream_ai.stores.sql.schema import metadata, metadata_in

if TYPE_CHECKING:
    from monostream_ai.stores.postgres.store import PostgresStore
    from monostream_ai.stores.sqlite.store import SQLiteStore

__all__ = ["PostgresStore", "SQLiteStore", "metadata", "metadata_in"]


def __getattr__(name: str) -> Any:
    # Loaded on demand: both stores import the schema from this package, and neither needs the
    # driver of the other.
    if name == "PostgresStore":
        from monostream_ai.stores.postgres.store import PostgresStore

        return PostgresStore
    if name == "SQLiteStore":
        from monostream_ai.stores.sqlite.store import SQLiteStore

        return SQLiteStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

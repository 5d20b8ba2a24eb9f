"""Streams in a SQL database, through SQLAlchemy: SQLite for one machine, Postgres for many."""

from monostream_ai.stores.sql.postgres import PostgresStore
from monostream_ai.stores.sql.schema import metadata
from monostream_ai.stores.sql.sqlite import SQLiteStore

__all__ = ["PostgresStore", "SQLiteStore", "metadata"]

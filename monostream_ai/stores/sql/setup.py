"""Creates and checks the tables, idempotently and from several processes at once."""

from __future__ import annotations

from sqlalchemy import Connection, Insert, inspect, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateTable

from monostream_ai.errors import SchemaMismatch
from monostream_ai.stores.sql.schema import REQUIRED_COLUMNS, SCHEMA_VERSION, metadata, schema_version


def create_tables(connection: Connection) -> None:
    """Create what is missing in the connection's transaction.

    Raises:
        SchemaMismatch: A table of our name has other columns.
    """
    for table in metadata.sorted_tables:
        connection.execute(CreateTable(table, if_not_exists=True))
    check_tables(connection)
    insert: Insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(schema_version)
    connection.execute(insert.values(version=SCHEMA_VERSION).on_conflict_do_nothing())


def is_current(connection: Connection) -> bool:
    """Whether the tables exist in this package's version."""
    if not inspect(connection).has_table(schema_version.name):
        return False
    return connection.scalar(select(schema_version.c.version)) == SCHEMA_VERSION


def check_tables(connection: Connection) -> None:
    """Compare the columns of each table with ours. Raises SchemaMismatch."""
    inspector = inspect(connection)
    for table, required in REQUIRED_COLUMNS.items():
        missing = required - {column["name"] for column in inspector.get_columns(table)}
        if missing:
            raise SchemaMismatch(table, f"column {min(missing)!r}")


def missing_table(connection: Connection) -> str | None:
    """Return the name of a table that is not there, or None."""
    inspector = inspect(connection)
    return next((name for name in REQUIRED_COLUMNS if not inspector.has_table(name)), None)

"""Creates and checks the tables of a Postgres database."""

from __future__ import annotations

from sqlalchemy import Connection, inspect, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.schema import CreateIndex, CreateTable

from monostream_ai.errors import SchemaMismatch, SchemaMissing
from monostream_ai.stores.sql.schema import REQUIRED_COLUMNS, SCHEMA_VERSION, metadata, schema_version, stream_version


def create_tables(connection: Connection) -> None:
    """Create what is missing in the connection's transaction.

    Raises:
        SchemaMismatch: A table of our name has other columns.
    """
    for table in metadata.sorted_tables:
        connection.execute(CreateTable(table, if_not_exists=True))
    # Each append updates its row in place (HOT) as long as the page has room and no index covers what changes.
    connection.execute(text(f"ALTER TABLE {stream_version.name} SET (fillfactor = 70)"))
    check_tables(connection)
    for index in stream_version.indexes:
        connection.execute(CreateIndex(index, if_not_exists=True))
    connection.execute(insert(schema_version).values(version=SCHEMA_VERSION).on_conflict_do_nothing())


def is_current(connection: Connection) -> bool:
    """Whether the tables exist in this package's version. Raises SchemaMismatch."""
    problem = schema_problem(connection)
    if isinstance(problem, SchemaMismatch):
        raise problem
    if problem is not None or not inspect(connection).has_table(schema_version.name):
        return False
    return connection.scalar(select(schema_version.c.version)) == SCHEMA_VERSION


def check_tables(connection: Connection) -> None:
    """Raise SchemaMissing or SchemaMismatch if the tables are not there or not ours."""
    problem = schema_problem(connection)
    if problem is not None:
        raise problem


def schema_problem(connection: Connection) -> SchemaMissing | SchemaMismatch | None:
    """Say what is wrong with the tables."""
    inspector = inspect(connection)
    for table, required in REQUIRED_COLUMNS.items():
        if not inspector.has_table(table):
            return SchemaMissing(table)
        missing = required - {column["name"] for column in inspector.get_columns(table)}
        if missing:
            return SchemaMismatch(table, f"column {min(missing)!r}")
    return None

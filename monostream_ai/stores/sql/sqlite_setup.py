"""Creates and checks the tables of a SQLite file, in one transaction."""

from __future__ import annotations

import sqlite3

from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from monostream_ai.errors import SchemaMismatch
from monostream_ai.stores.sql.schema import REQUIRED_COLUMNS, SCHEMA_VERSION, metadata, stream_version


def setup(connection: sqlite3.Connection) -> None:
    """Create what is missing. Raises SchemaMismatch."""
    for table in metadata.sorted_tables:
        connection.execute(str(CreateTable(table, if_not_exists=True).compile(dialect=sqlite.dialect())))
    for name, required in REQUIRED_COLUMNS.items():
        present = {row[1] for row in connection.execute(f"PRAGMA table_info({name})")}
        if missing := required - present:
            raise SchemaMismatch(name, f"column {min(missing)!r}")
    for index in stream_version.indexes:
        connection.execute(str(CreateIndex(index, if_not_exists=True).compile(dialect=sqlite.dialect())))
    connection.execute("INSERT OR IGNORE INTO monostream_schema (version) VALUES (?)", (SCHEMA_VERSION,))

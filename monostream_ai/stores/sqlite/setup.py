"""The tables of a SQLite file."""

from __future__ import annotations

import sqlite3

from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from monostream_ai.stores.sql.migrations import Schema
from monostream_ai.stores.sql.schema import metadata


class SQLiteSchema(Schema):
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def columns(self, table: str) -> set[str]:
        return {
            name
            for (name,) in self._connection.execute(
                "SELECT name FROM pragma_table_info(?)", (table,)
            )
        }

    def create_missing(self) -> None:
        for table in metadata.sorted_tables:
            self.execute(
                str(CreateTable(table, if_not_exists=True).compile(dialect=sqlite.dialect()))
            )

    def execute(self, statement: str) -> None:
        self._connection.execute(statement)

    def steps_taken(self) -> set[int]:
        return {
            version
            for (version,) in self._connection.execute("SELECT version FROM monostream_schema")
        }

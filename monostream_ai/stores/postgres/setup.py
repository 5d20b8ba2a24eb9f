"""The tables of a Postgres database."""

from __future__ import annotations

from sqlalchemy import Connection, select, text
from sqlalchemy.schema import CreateTable

from monostream_ai.stores.sql.migrations import Schema
from monostream_ai.stores.sql.schema import metadata, schema_version

_COLUMNS = text(
    "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(quote_ident(:table)) AND attnum > 0 AND NOT attisdropped"
)


class PostgresSchema(Schema):
    """The tables that the connection's search path finds."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def columns(self, table: str) -> set[str]:
        return set(self._connection.scalars(_COLUMNS, {"table": table}))

    def create_missing(self) -> None:
        for table in metadata.sorted_tables:
            self._connection.execute(CreateTable(table, if_not_exists=True))

    def execute(self, statement: str) -> None:
        self._connection.execute(text(statement))

    def steps_taken(self) -> set[int]:
        return set(self._connection.scalars(select(schema_version.c.version)))

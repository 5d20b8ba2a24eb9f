"""The privileges that a database role lacks, as the statements that grant them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, text

from monostream_ai.errors import MissingPrivilege
from monostream_ai.stores.postgres.connections import Statement
from monostream_ai.stores.postgres.sessions import Session
from monostream_ai.stores.sql.schema import metadata, stream_chunk, stream_version

NEEDED: Final = {
    "stream_chunk": ("SELECT", "INSERT", "DELETE"),
    "stream_version": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "stream_request": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "monostream_message": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "monostream_schema": ("SELECT",),
    "monostream_timeline": ("SELECT", "INSERT"),
}
"""Privileges on each table, for everything but creating and upgrading them."""

# The catalogs are readable for everybody, also without USAGE on the schema. Without a schema of
# ours, the tables are looked for as the search path finds them.
_TABLES: Final = """
SELECT c.oid, c.relname, c.relowner, n.oid AS namespace
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relname IN (SELECT unnest(CAST(:names AS text[])))
   AND CASE WHEN CAST(:schema AS text) IS NULL THEN pg_table_is_visible(c.oid)
            ELSE n.nspname = :schema END
"""

_GRANTS = text(
    f"""
WITH found AS ({_TABLES}),
home AS (
  SELECT oid, nspname FROM pg_namespace
   WHERE nspname = coalesce(CAST(:schema AS text), current_schema()))
SELECT format('GRANT USAGE ON SCHEMA %I TO %I', nspname, current_user)
  FROM home WHERE NOT has_schema_privilege(oid, 'USAGE')
UNION ALL
SELECT format('GRANT %s ON %I.%I TO %I', string_agg(p.privilege, ', ' ORDER BY p.place),
              (SELECT nspname FROM pg_namespace WHERE oid = found.namespace),
              found.relname, current_user)
  FROM found JOIN unnest(CAST(:tables AS text[]), CAST(:privileges AS text[]))
       WITH ORDINALITY AS p (name, privilege, place) ON p.name = found.relname
 WHERE NOT has_table_privilege(found.oid, p.privilege)
 GROUP BY found.namespace, found.relname
"""  # noqa: S608  (only constants of this module are put into the text)
)

_SETUP_GRANTS = text(
    """
WITH home AS (
  SELECT oid, nspname FROM pg_namespace
   WHERE nspname = coalesce(CAST(:schema AS text), current_schema()))
SELECT format('GRANT CREATE ON DATABASE %I TO %I', current_database(), current_user)
 WHERE CAST(:schema AS text) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM home)
   AND NOT has_database_privilege(current_database(), 'CREATE')
UNION ALL
SELECT format('GRANT CREATE ON SCHEMA %I TO %I', nspname, current_user)
  FROM home WHERE NOT has_schema_privilege(oid, 'CREATE')
"""
)

# Anybody who may connect may LISTEN and NOTIFY. A role that may not read all of `stream_chunk`
# would learn chunks; one that may read the tokens in `writer`, and may not write, could seal chunks
# of its own. Without tables, or with policies that hide rows, every role is such an outsider.
_OUTSIDER = Statement(
    f"""
WITH found AS ({_TABLES}),
tables AS (
  SELECT chunks.oid AS chunks, versions.oid AS versions, chunks.namespace
    FROM found AS chunks JOIN found AS versions ON versions.namespace = chunks.namespace
    JOIN pg_class AS c ON c.oid = chunks.oid
   WHERE chunks.relname = :chunks AND versions.relname = :versions
     AND NOT c.relrowsecurity)
SELECT r.rolname FROM pg_roles AS r LEFT JOIN tables ON true
 WHERE r.rolcanlogin AND has_database_privilege(r.oid, current_database(), 'CONNECT')
   AND NOT coalesce(
     has_schema_privilege(r.oid, tables.namespace, 'USAGE')
     AND has_table_privilege(r.oid, tables.chunks, 'SELECT')
     AND (has_table_privilege(r.oid, tables.chunks, 'INSERT')
          OR NOT has_column_privilege(r.oid, tables.versions, 'writer', 'SELECT')), false)
 LIMIT 1
"""  # noqa: S608  (only constants of this module are put into the text)
)


async def outsider(session: Session, schema: str | None, *, timeout: float) -> str | None:
    """Return the name of a role that may hear wake-ups, and could learn or forge chunks by them;
    None if there is none.

    Raises:
        TimeoutError: It took longer than `timeout` seconds.
    """
    names = [stream_chunk.name, stream_version.name]
    parameters = {"schema": schema, "names": names, "chunks": names[0], "versions": names[1]}
    arguments = _OUTSIDER.arguments(parameters)
    for (role,) in await session.fetch(_OUTSIDER.sql, *arguments, timeout=timeout):
        return str(role)
    return None


def missing_privilege(
    connection: Connection, schema: str | None, *, setup: bool = False
) -> MissingPrivilege:
    """Return the error that names what the connection's role lacks, as far as we know.

    Args:
        setup: Tables were to be created or upgraded, which needs more.
    """
    pairs = [(table, privilege) for table, needed in NEEDED.items() for privilege in needed]
    parameters = {"schema": schema, "names": [*metadata.tables]}
    of_tables = {
        "tables": [table for table, _ in pairs],
        "privileges": [privilege for _, privilege in pairs],
    }
    grants = [*connection.scalars(_GRANTS, parameters | of_tables)]
    if setup:
        grants += connection.scalars(_SETUP_GRANTS, parameters)
    role = str(connection.scalar(text("SELECT current_user")))
    return MissingPrivilege(role, grants, setup=setup)

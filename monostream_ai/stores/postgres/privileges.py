"""The privileges that a database role lacks, as the statements that grant them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, text

from monostream_ai.errors import MissingPrivilege
from monostream_ai.stores.sql.schema import metadata

NEEDED: Final = {
    "stream_chunk": ("SELECT", "INSERT", "DELETE"),
    "stream_version": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "stream_request": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "monostream_schema": ("SELECT",),
    "monostream_timeline": ("SELECT", "INSERT"),
}
"""Privileges on each table, for everything but creating and upgrading them."""

# The catalogs are readable for everybody, also without USAGE on the schema. Without a schema of
# ours, the tables are looked for as the search path finds them.
_TABLES: Final = """
SELECT c.oid, c.relname, c.relowner, n.oid AS namespace
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relname = ANY (CAST(:names AS text[]))
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
    f"""
WITH found AS ({_TABLES}),
home AS (
  SELECT oid, nspname FROM pg_namespace
   WHERE nspname = coalesce(CAST(:schema AS text), current_schema()))
SELECT format('GRANT CREATE ON DATABASE %I TO %I', current_database(), current_user)
 WHERE CAST(:schema AS text) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM home)
   AND NOT has_database_privilege(current_database(), 'CREATE')
UNION ALL
SELECT format('GRANT CREATE ON SCHEMA %I TO %I', nspname, current_user)
  FROM home WHERE NOT has_schema_privilege(oid, 'CREATE')
UNION ALL
SELECT DISTINCT format('GRANT %I TO %I', pg_get_userbyid(relowner), current_user)
  FROM found WHERE NOT pg_has_role(relowner, 'USAGE')
"""  # noqa: S608  (only constants of this module are put into the text)
)


def missing_privilege(
    connection: Connection, schema: str | None, *, setup: bool = False
) -> MissingPrivilege:
    """Return the error that names what the connection's role lacks.

    Args:
        setup: Tables were to be created or upgraded, which needs more.
    """
    return MissingPrivilege(
        str(connection.scalar(text("SELECT current_user"))),
        missing_grants(connection, schema, setup=setup),
    )


def missing_grants(connection: Connection, schema: str | None, *, setup: bool) -> list[str]:
    """Return the statements that grant what the connection's role lacks; empty if it lacks nothing
    that we know of.
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
    return grants

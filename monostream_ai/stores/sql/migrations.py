"""The way of the tables from one version of the schema to the next, the same on every database.

The version table has one row for each step taken. A database without one was made by hand, by
Alembic, or by the TypeScript package: it goes all the way, so each step can be taken again without
effect.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import Final, NamedTuple

from monostream_ai.errors import (
    MonostreamError,
    SchemaMismatch,
    SchemaMissing,
    SchemaOutdated,
    SchemaTooNew,
)
from monostream_ai.stores.sql.schema import REQUIRED_COLUMNS
from monostream_ai.types import Finding

logger = logging.getLogger(__name__)


class Step(NamedTuple):
    """What leads to a version: columns as (table, name, type), then statements. Both must suit
    SQLite and Postgres.

    A process of the version before must be able to go on working: add columns that may be empty,
        and indexes.
    """

    version: int
    columns: tuple[tuple[str, str, str], ...]
    statements: tuple[str, ...]


STEPS: Final = (
    Step(1, columns=(), statements=()),
    Step(
        2,
        columns=(("stream_version", "settler", "text"),),
        statements=(
            "CREATE INDEX IF NOT EXISTS stream_version_unsettled ON stream_version (stream_id, version) "
            "WHERE settler IS NOT NULL",
            "CREATE INDEX IF NOT EXISTS stream_version_closed ON stream_version (closed_at) WHERE state = 'closed'",
            "CREATE INDEX IF NOT EXISTS stream_version_open ON stream_version (created_at) WHERE state = 'open'",
        ),
    ),
)

SCHEMA_VERSION: Final = STEPS[-1].version
ADDED: Final = {(table, name) for step in STEPS for table, name, _ in step.columns}


class Schema(ABC):
    """The tables of one database, within one transaction."""

    @abstractmethod
    def columns(self, table: str) -> set[str]:
        """Return the names of a table's columns; empty if there is no such table."""

    @abstractmethod
    def create_missing(self) -> None:
        """Create the tables that are not there, in today's shape, without their indexes."""

    @abstractmethod
    def execute(self, statement: str) -> None:
        """Run a statement without parameters."""

    @abstractmethod
    def steps_taken(self) -> set[int]:
        """Return what the version table holds, which exists."""

    def version(self) -> int:
        """Return the newest step that was taken; 0 if none is known."""
        return max(self.steps_taken(), default=0) if self.columns("monostream_schema") else 0


def problem_with(schema: Schema) -> MonostreamError | None:
    """Say why the tables cannot be used as they are; None if they can, also if they are newer than
    this package.
    """
    outdated = False
    for table, required in REQUIRED_COLUMNS.items():
        present = schema.columns(table)
        if not present:
            return SchemaMissing(table)
        missing = {name for name in required - present if (table, name) not in ADDED}
        if missing:
            return SchemaMismatch(table, f"column {min(missing)!r}")
        outdated |= not required <= present
    return SchemaOutdated(schema.version(), SCHEMA_VERSION) if outdated else None


def is_current(schema: Schema) -> bool:
    """Whether nothing is to be done.

    Raises:
        SchemaMismatch, SchemaTooNew
    """
    version = schema.version()
    if version > SCHEMA_VERSION:
        raise SchemaTooNew(version, SCHEMA_VERSION)
    return _problem_to_solve(schema) is None and version == SCHEMA_VERSION


def upgrade(schema: Schema) -> None:
    """Take all steps that are missing, in the caller's transaction, in which nobody else does.

    Raises:
        SchemaMismatch, SchemaTooNew
    """
    # Looked at again: somebody else may have done it while the caller waited for its turn.
    if is_current(schema):
        return
    before = schema.version()
    schema.create_missing()
    _problem_to_solve(schema)
    for step in STEPS:
        if step.version > before:
            _take(step, schema)
    logger.info("the schema went from version %d to %d", before, SCHEMA_VERSION)


def _problem_to_solve(schema: Schema) -> MonostreamError | None:
    problem = problem_with(schema)
    if isinstance(problem, SchemaMismatch):
        raise problem
    return problem


def _take(step: Step, schema: Schema) -> None:
    for table, name, kind in step.columns:
        if name not in schema.columns(table):
            schema.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")
    for statement in step.statements:
        schema.execute(statement)
    if step.version not in schema.steps_taken():
        schema.execute(f"INSERT INTO monostream_schema (version) VALUES ({step.version})")  # noqa: S608  (a number of ours)


def finding_on(schema: Schema) -> Finding:
    """Say for `diagnose` what the tables are like."""
    problem, version = problem_with(schema), schema.version()
    if problem is not None:
        return Finding("schema", "fail", str(problem))
    if version > SCHEMA_VERSION:
        return Finding(
            "schema",
            "warn",
            f"version {version}, newer than this release, which knows {SCHEMA_VERSION}",
            "upgrade",
        )
    if version < SCHEMA_VERSION:
        advice = "run 'monostream-ai migrate' for the indexes, unless your own migrations keep the tables"
        return Finding(
            "schema", "warn", f"the columns are there, and version {version} is noted", advice
        )
    return Finding("schema", "ok", f"version {version}")

"""The steps from each version of the schema to the next, the same on every database.

The table `monostream_schema` has one row for each step taken. A database without it was made by
hand, by Alembic, or by the TypeScript package. It takes all steps, so each step must be harmless
when repeated.
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
    """The changes that lead to a version: columns as (table, name, type), then statements.

    They must suit SQLite and Postgres, and must not disturb processes of the previous version, even
    if these go on after the step: add nullable columns, indexes and tables only. The type `instant`
    stands for that of the other instants. Tables are made in today's shape before the first step.
    """

    version: int
    columns: tuple[tuple[str, str, str], ...]
    statements: tuple[str, ...]
    tables: tuple[str, ...] = ()


STEPS: Final = (
    Step(1, columns=(), statements=()),
    Step(
        2,
        columns=(("stream_version", "settler", "text"),),
        statements=(
            "CREATE INDEX IF NOT EXISTS stream_version_unsettled "
            "ON stream_version (stream_id, version) WHERE settler IS NOT NULL",
            "CREATE INDEX IF NOT EXISTS stream_version_closed "
            "ON stream_version (closed_at) WHERE state = 'closed'",
            "CREATE INDEX IF NOT EXISTS stream_version_open "
            "ON stream_version (created_at) WHERE state = 'open'",
        ),
    ),
    Step(
        3,
        columns=(
            ("stream_version", "attendant", "text"),
            ("stream_version", "holder", "text"),
            ("stream_version", "attended", "integer"),
            ("stream_version", "attended_until", "instant"),
            ("stream_version", "abandoned_at", "instant"),
            ("stream_version", "deleted_to", "bigint"),
            ("stream_version", "handovers", "integer"),
        ),
        statements=(
            "CREATE INDEX IF NOT EXISTS stream_version_attended "
            "ON stream_version (stream_id, version) WHERE attendant IS NOT NULL",
            "CREATE INDEX IF NOT EXISTS monostream_message_latest "
            "ON monostream_message (owner, stored_at)",
        ),
        tables=("stream_request", "monostream_timeline", "monostream_message"),
    ),
)

SCHEMA_VERSION: Final = STEPS[-1].version
ADDED: Final = {(table, name) for step in STEPS for table, name, _ in step.columns}
ADDED_TABLES: Final = {table for step in STEPS for table in step.tables}


class Schema(ABC):
    """Our tables in one database, within one transaction."""

    instant: str
    """The type of an instant's column."""

    @abstractmethod
    def columns(self, table: str) -> set[str]:
        """Return the names of a table's columns; empty if there is no such table."""

    @abstractmethod
    def create_missing(self) -> None:
        """Create missing tables in today's shape, without their indexes."""

    @abstractmethod
    def execute(self, statement: str) -> None:
        """Run a statement without parameters."""

    @abstractmethod
    def steps_taken(self) -> set[int]:
        """Return the rows of the version table, which exists."""

    def version(self) -> int:
        """Return the newest step taken; 0 if none is on record."""
        return max(self.steps_taken(), default=0) if self.columns("monostream_schema") else 0


def problem_with(schema: Schema) -> MonostreamError | None:
    """Return why the tables cannot be used; None if they can, even if newer than this package."""
    outdated = False
    for table, required in REQUIRED_COLUMNS.items():
        present = schema.columns(table)
        if not present and table in ADDED_TABLES:
            outdated = True
            continue
        if not present:
            return SchemaMissing(table)
        missing = {name for name in required - present if (table, name) not in ADDED}
        if missing:
            return SchemaMismatch(table, f"column {min(missing)!r}")
        outdated |= not required <= present
    return SchemaOutdated(schema.version(), SCHEMA_VERSION) if outdated else None


def is_current(schema: Schema) -> bool:
    """Return whether no step is missing. Raises SchemaMismatch, SchemaTooNew."""
    version = schema.version()
    if version > SCHEMA_VERSION:
        raise SchemaTooNew(version, SCHEMA_VERSION)
    return _problem_to_solve(schema) is None and version == SCHEMA_VERSION


def upgrade(schema: Schema) -> None:
    """Take all missing steps. Raises SchemaMismatch, SchemaTooNew.

    The caller's transaction holds a lock that lets one process upgrade at a time.
    """
    # Another process may have upgraded while the caller waited for the lock.
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
            column_type = schema.instant if kind == "instant" else kind
            schema.execute(f"ALTER TABLE {table} ADD COLUMN {name} {column_type}")
    for statement in step.statements:
        schema.execute(statement)
    if step.version not in schema.steps_taken():
        # A number of ours, hence no parameter.
        schema.execute(f"INSERT INTO monostream_schema (version) VALUES ({step.version})")  # noqa: S608


def finding_on(schema: Schema) -> Finding:
    """Return the finding of `doctor` on the tables."""
    problem, version = problem_with(schema), schema.version()
    if problem is not None:
        return Finding("schema", "fail", str(problem))
    if version > SCHEMA_VERSION:
        found = f"version {version}, newer than {SCHEMA_VERSION}, the newest this release knows"
        return Finding("schema", "warn", found, "upgrade monostream-ai")
    if version < SCHEMA_VERSION:
        found = f"all columns are there, but version {version} is on record"
        advice = (
            "run 'monostream-ai migrate' for the indexes, "
            "unless your own migrations keep the tables"
        )
        return Finding("schema", "warn", found, advice)
    return Finding("schema", "ok", f"version {version}")

"""Ways to break what the databases do. The statements are the fence there, so their own texts are
changed.
"""

from __future__ import annotations

from typing import Final

from fuzz.breaking.mutant import Mutant, mutant

SQLITE: Final = "tests/stores/test_conformance.py -k TestSQLiteStore"
POSTGRES: Final = "tests/stores/test_conformance.py -k 'TestPostgresStore"
POSTGRES_FAULTS: Final = "tests/stores/test_postgres_faults.py -k locked"

DATABASES: Final[list[Mutant]] = [
    mutant(
        "sqlite-append-without-token",
        "In SQLite whoever knows the next id may append.",
        "stores/sql/sqlite_statements.py",
        "AND version = :version AND writer = :writer AND next_id = :first",
        "AND version = :version AND next_id = :first",
        SQLITE,
    ),
    mutant(
        "sqlite-deferred-transactions",
        "In SQLite a transaction takes the write lock when it first writes.",
        "stores/sql/sqlite_thread.py",
        'connection.execute("BEGIN IMMEDIATE")',
        'connection.execute("BEGIN DEFERRED")',
        SQLITE,
    ),
    mutant(
        "sqlite-page-of-two-moments",
        "In SQLite the head of a page and its rows are read at two moments.",
        "stores/sql/sqlite.py",
        '            connection.execute("BEGIN")\n            try:\n                return [read_page',
        "            try:\n                return [read_page",
        SQLITE,
    ),
    mutant(
        "sqlite-delete-leaves-chunks",
        "In SQLite a deleted stream keeps its chunks.",
        "stores/sql/sqlite.py",
        '"DELETE FROM stream_chunk WHERE stream_id = ?"',
        '"DELETE FROM stream_chunk WHERE stream_id = ? AND 0"',
        SQLITE,
    ),
    mutant(
        "postgres-append-without-token",
        "In Postgres whoever knows the next id may append.",
        "stores/sql/postgres_statements.py",
        "AND v.writer = b.writer AND v.next_id = b.first_id",
        "AND v.next_id = b.first_id",
        f"{POSTGRES} and foreign_token'",
    ),
    mutant(
        "postgres-append-without-id",
        "In Postgres an append lands wherever the store is.",
        "stores/sql/postgres_statements.py",
        "AND v.writer = b.writer AND v.next_id = b.first_id",
        "AND v.writer = b.writer",
        f"{POSTGRES} and (never_replaced or behind_the_end)'",
    ),
    mutant(
        "postgres-closed-stays-open",
        "In Postgres the terminal chunk does not close its version.",
        "stores/sql/postgres_statements.py",
        "state = CASE WHEN mine.closes THEN 'closed' ELSE 'open' END",
        "state = 'open'",
        f"{POSTGRES} and closed_version'",
    ),
    mutant(
        "postgres-renew-waits",
        "In Postgres a renewal waits for rows that are locked.",
        "stores/sql/postgres_statements.py",
        "AND {OPEN} AND NOT EXISTS ({NEWER}) FOR NO KEY UPDATE OF v SKIP LOCKED) AS held)\nUPDATE",
        "AND {OPEN} AND NOT EXISTS ({NEWER}) FOR NO KEY UPDATE OF v) AS held)\nUPDATE",
        POSTGRES_FAULTS,
    ),
    mutant(
        "postgres-append-waits",
        "In Postgres a locked version holds up all the others of the process.",
        "stores/sql/postgres_statements.py",
        "AND {OPEN} AND NOT EXISTS ({NEWER}) FOR NO KEY UPDATE OF v SKIP LOCKED) AS held),\nhead",
        "AND {OPEN} AND NOT EXISTS ({NEWER}) FOR NO KEY UPDATE OF v) AS held),\nhead",
        POSTGRES_FAULTS,
    ),
    mutant(
        "postgres-claims-the-living",
        "In Postgres a version is claimed from a publisher that lives.",
        "stores/sql/postgres_statements.py",
        "OR {LAPSES} <= clock_timestamp() OR",
        "OR true OR",
        f"{POSTGRES} and not_claimed'",
    ),
    mutant(
        "postgres-lost-after-a-restart",
        "In Postgres every publisher is lost after an outage that is longer than the lease.",
        "stores/sql/postgres_reads.py",
        "greatest(v.lease_until, pg_postmaster_start_time() + make_interval(secs => v.lease_seconds))",
        "greatest(v.lease_until, v.created_at)",
        "tests/processes/test_postgres_outage.py",
    ),
    mutant(
        "postgres-never-listens-again",
        "A listening connection that broke is not replaced.",
        "notifiers/postgres.py",
        "            self._set_healthy(False, listener)\n            await",
        "            self._set_healthy(False, listener)\n            return\n            await",
        "tests/notifiers/test_postgres.py",
    ),
    mutant(
        "postgres-no-resync",
        "What was announced while nobody listened is not looked for.",
        "notifiers/postgres.py",
        "                    self._healthy = True\n                    listener.on_resync()\n",
        "                    self._healthy = True\n",
        "tests/notifiers/test_postgres.py",
    ),
    mutant(
        "postgres-silence-costs-each",
        "Each connection that went silent costs the timeout of a statement.",
        "stores/sql/postgres_engine.py",
        "        context.invalidate_pool_on_disconnect = True\n",
        "",
        "tests/stores/test_silent_connections.py",
    ),
    mutant(
        "postgres-says-goodbye",
        "Closing waits for a server that does not answer.",
        "stores/sql/postgres_engine.py",
        "    connection.driver_connection.terminate()\n",
        "    pass\n",
        "tests/stores/test_silent_connections.py -k closing",
    ),
]

"""SQLite finds watched versions by their indexes, however many versions there are."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from monostream_ai.stores.sqlite.statements import UNATTENDED
from tests.backends import sqlite_backend


async def test_a_sweep_reads_watched_versions_only(tmp_path: Path) -> None:
    store = sqlite_backend(tmp_path / "streams.db").new_store()
    await store.setup()
    await store.aclose()
    parameters = {"prefix": "chat:", "state": "open", "limit": 50}
    connection = sqlite3.connect(tmp_path / "streams.db")
    connection.create_function("lives", 1, lambda holder: True)
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {UNATTENDED}", parameters)]
    connection.close()
    scans = [step for step in plan if step.startswith("SCAN") and "subquery" not in step]
    assert scans == [
        "SCAN stream_version USING INDEX stream_version_attended",
        "SCAN stream_version USING INDEX stream_version_unsettled",
    ]

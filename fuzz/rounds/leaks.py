"""Leftovers of a round: tasks, threads and files of the processes, connections of the server."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any, Final

from fuzz.parts.crew import Worker
from fuzz.parts.postgres import DATABASE, SUPERUSER
from fuzz.parts.stage import OWN_CONNECTIONS, SERVED, Place, Stage, census
from fuzz.world import Mismatch

PATIENCE: Final = 15.0
"""Seconds within which everything must be given back."""

NOTIFIER_CONNECTIONS: Final = 3
"""One that listens and two that send, at most."""

POOLER_CONNECTIONS: Final = 3

CONNECTIONS: Final = """
SELECT application_name, state, count(*) FROM pg_stat_activity
 WHERE backend_type = 'client backend' AND datname = current_database() AND application_name <> $1
 GROUP BY 1, 2
"""


async def require_no_leak(stage: Stage, place: Place) -> None:
    """Insist that the processes of a place, and the server, have no more than before the round.

    Waits for leftovers that are still being given back.
    """
    deadline = time.monotonic() + PATIENCE
    while leak := await _leak(stage, place):
        if time.monotonic() > deadline:
            raise Mismatch(leak)
        await asyncio.sleep(0.02)


async def _leak(stage: Stage, place: Place) -> str | None:
    for worker in stage.living(place):
        worker.forget()
        if leak := _leak_of(worker, await census(worker)):
            return leak
    return await _leak_of_connections(stage) if place in SERVED else None


def _leak_of(worker: Worker, found: list[Any]) -> str | None:
    tasks, threads, files = found
    tasks_before, threads_before, files_before = worker.baseline
    if more := Counter(tasks) - Counter(tasks_before):
        return f"{worker.name} has tasks left: {dict(more)}"
    if threads > threads_before:
        return f"{worker.name} has {threads} threads after {threads_before}"
    # Its pools may have filled since.
    if files > files_before + worker.settings.pool_size + NOTIFIER_CONNECTIONS:
        return f"{worker.name} has {files} open files after {files_before}"
    return None


async def _leak_of_connections(stage: Stage) -> str | None:
    connection = await stage.postgres.connect(DATABASE)
    try:
        rows = await connection.fetch(CONNECTIONS, SUPERUSER)
    finally:
        await connection.close()
    limits = {"monostream_ai": OWN_CONNECTIONS, "pooled": POOLER_CONNECTIONS}
    limits |= {
        worker.name: worker.settings.pool_size + NOTIFIER_CONNECTIONS for worker in stage.living()
    }
    found: Counter[str] = Counter()
    for name, state, count in rows:
        # The pooler's connection takes the name of its first client, which may be gone by then.
        found[name or "pooled"] += count
        if (state or "").startswith("idle in transaction"):
            return f"{name!r} has {count} connections {state}"
    for name, count in found.items():
        if count > limits.get(name, 0):
            return f"{name!r} has {count} connections, but may have {limits.get(name, 0)}"
    expected = sum(
        worker.settings.pool_size + NOTIFIER_CONNECTIONS for worker in stage.living("proxied")
    )
    return (
        f"the proxy has {stage.proxy.connections} connections"
        if stage.proxy.connections > expected
        else None
    )

"""Appends to Postgres: one statement for a batch, and the reasons of those that were refused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from monostream_ai._backoff import Backoff
from monostream_ai.errors import (
    ChunkRefused,
    ChunksMissing,
    Fenced,
    MonostreamError,
    StoreUnavailable,
)
from monostream_ai.stores.fencing import closed_by, refusal
from monostream_ai.stores.postgres import reads
from monostream_ai.stores.postgres import statements as sql
from monostream_ai.stores.postgres.database import PostgresDatabase
from monostream_ai.stores.postgres.rows import append_parameters
from monostream_ai.stores.sql.translation import DATA_ERROR_CLASS, UNIQUE_VIOLATION, sqlstate
from monostream_ai.types import Append

logger = logging.getLogger(__name__)

LOCKED_TRIES: Final = 5
"""Attempts at an append or a renewal whose row is locked, within 0.1 s; then an append is
`StoreUnavailable`.
"""


async def append_all(
    database: PostgresDatabase, appends: Sequence[Append], lease: float
) -> list[MonostreamError | None]:
    """Append to several versions, as `Store.append`."""
    verdicts: dict[int, MonostreamError | None] = {}
    open_places = [*range(len(appends))]
    backoff = Backoff(first=0.002, last=0.032)
    for _ in range(LOCKED_TRIES):
        found = (
            await _try_append(database, [appends[place] for place in open_places], lease)
            if open_places
            else []
        )
        verdicts.update(zip(open_places, found, strict=True))
        # A lock by a renewal is gone in a moment. After a fence or a deletion, the next attempt
        # says why the append was refused.
        open_places = [
            place for place in open_places if isinstance(verdicts[place], StoreUnavailable)
        ]
        if not open_places:
            break
        logger.debug("%d of %d versions are locked; tries again", len(open_places), len(found))
        await asyncio.sleep(backoff.next())
    return [verdicts[place] for place in range(len(appends))]


async def _try_append(
    database: PostgresDatabase, appends: Sequence[Append], lease: float
) -> list[MonostreamError | None]:
    try:
        landed = await _land(database, appends, lease)
    except (ChunkRefused, Fenced) as error:
        if len(appends) == 1:
            return [error]
        # One of the appends is at fault: run each on its own, so that the others land.
        return [(await _try_append(database, [append], lease))[0] for append in appends]
    return [
        None if place in landed else await _verdict(database, append)
        for place, append in enumerate(appends)
    ]


async def _land(database: PostgresDatabase, appends: Sequence[Append], lease: float) -> set[int]:
    """Run APPEND, where chunks are fenced; return the indexes of the appends that landed."""
    first = appends[0].lease
    try:
        result = await database.execute(sql.APPEND, append_parameters(appends, lease))
    except MonostreamError:
        raise
    except Exception as error:
        state = sqlstate(error) or ""
        if state.startswith(DATA_ERROR_CLASS):
            raise ChunkRefused(first.stream_id, first.version) from error
        if state == UNIQUE_VIOLATION:
            # Another program has written chunks into this version.
            raise Fenced(first.stream_id, first.version, first.version) from error
        raise
    return {row[0] - 1 for row in result}


async def _verdict(database: PostgresDatabase, append: Append) -> MonostreamError | None:
    """Return why an append did not land; None if it had landed before."""
    lease, end = append.lease, append.first + len(append.payloads)
    parameters = {"streams": [lease.stream_id], "versions": [lease.version]}
    ((writer, state, next_id, stopped, latest),) = await database.execute(sql.CHECK, parameters)
    if state is not None and next_id >= end:
        closed = closed_by(append, token=writer, state=state, next_id=next_id)
        if closed or (append.payloads and await _holds(database, append)):
            return None
    verdict = refusal(lease, token=writer, state=state, stopped=bool(stopped), latest=latest)
    if verdict is None and next_id == append.first:
        return StoreUnavailable("another transaction holds the version locked")
    return verdict or ChunksMissing(lease.stream_id, lease.version, next_id)


async def _holds(database: PostgresDatabase, append: Append) -> bool:
    """Return whether exactly these payloads are stored under these ids."""
    parameters = {
        "stream": append.lease.stream_id,
        "version": append.lease.version,
        "first": append.first,
        "payloads": list(append.payloads),
    }
    ((holds,),) = await database.execute(reads.HOLDS, parameters)
    return bool(holds)

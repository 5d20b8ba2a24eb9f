"""Parameters for the Postgres statements, and values made from their rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from monostream_ai.types import Append, Head, Lease, Page, State


def append_parameters(appends: Sequence[Append], lease: float) -> dict[str, Any]:
    """Return the parameters of APPEND; each chunk refers to its append by its place, from 1."""
    places: list[int] = []
    ids: list[int] = []
    payloads: list[str] = []
    for place, append in enumerate(appends, start=1):
        count = len(append.payloads)
        places += [place] * count
        ids += range(append.first, append.first + count)
        payloads += append.payloads
    return {
        **lease_parameters([append.lease for append in appends]),
        "firsts": [append.first for append in appends],
        "counts": [len(append.payloads) for append in appends],
        "closes": [append.closes for append in appends],
        "chunk_places": places,
        "chunk_ids": ids,
        "chunks": payloads,
        "lease": lease,
    }


def page_of(
    version: int | None,
    state: State,
    next_id: int,
    lease_left: float | None,
    opener: str | None,
    deleted_to: int | None,
    writer: str | None,
    first: int,
    payloads: list[str] | None,
) -> Page:
    """Return the page of one row of READ."""
    if version is None:
        return Page(None, 0, [])
    head = Head(
        version,
        state,
        next_id,
        math.inf if lease_left is None else lease_left,
        opener,
        -1 if deleted_to is None else deleted_to,
        writer,
    )
    return Page(head, first, payloads or [])


def lease_parameters(leases: Sequence[Lease]) -> dict[str, Any]:
    """Return leases as one array for each field."""
    return {
        "streams": [lease.stream_id for lease in leases],
        "versions": [lease.version for lease in leases],
        "writers": [lease.token for lease in leases],
    }

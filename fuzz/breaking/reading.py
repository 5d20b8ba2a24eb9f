"""Breakages of the reading side: polls, cursors, joins, pages behind the window, losses, outages.

Each function runs in place of the one it is given first (see `table.py`).
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from monostream_ai._inline import SEAL_SIZE, seal
from monostream_ai.errors import PublisherLost
from monostream_ai.interfaces import Store
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.types import Cursor, Head, Lease, Page, Position, WakeUp


def nothing_is_polled(schedule: Any, polls: Any, tail: Any, now: float, delay: float) -> None:
    """A lost wake-up is a hang."""


def cursor_off_by_one(
    init: Any, subscription: Any, *args: Any, after: Cursor | None, **options: Any
) -> None:
    """A subscription that goes on after a cursor repeats the chunk of the cursor."""
    if after is not None and after.id >= 0:
        after = after._replace(id=after.id - 1)
    init(subscription, *args, after=after, **options)


def joined_without_a_read(attach: Any, tailer: Any, asked: Any, reader: Any) -> tuple[Any, int]:
    """A reader that joins others believes their tail, and may get an older version."""
    tail, _ = attach(tailer, asked, reader)
    return tail, 1


def page_of_another_place(begin: Any, pages: Any, position: Any, opener: Any = None) -> Any:
    """A reader behind the window is given the page of another one."""
    for asked, read in pages._reads.items():
        if asked.stream_id == position.stream_id:
            return read
    return begin(pages, position, opener)


def deletion_not_noticed(join: Any, subscription: Any, tail: Any, current: int) -> Any:
    """A reader of a deleted stream goes on with the one that was begun under its name."""
    tail.deleted_to = -1
    return join(subscription, tail, current)


def seal_not_looked_at(opened: Any, wake_up: WakeUp, writer: str) -> Any:
    """A program that may notify can show readers chunks that nobody has stored."""
    lease = Lease(wake_up.stream_id, wake_up.version, writer)
    text = wake_up.carried[SEAL_SIZE:]
    return opened(wake_up._replace(carried=seal(lease, text) + text), writer) if text else None


def ending_not_confirmed(to_confirm: Any, tail: Any, page: Any) -> None:
    """After a failover that lost chunks, a reader takes the end of another history for its own."""


def loss_not_told(judge: Any, subscription: Any, tail: Any, version: int) -> None:
    """Readers of a lost publisher wait for ever."""
    with suppress(PublisherLost):
        judge(subscription, tail, version)


def local_commit_renews_no_lease(landed: Any, tail: Any, append: Any, lease_until: float) -> Any:
    """Readers in the writer's process learn of its loss by the next poll only."""
    return landed(tail, append, tail.lease_until)


async def outage_clock_of_the_tailer_kept(
    outage: Any, tailer: Any, tails: Any, error: Any, since: float | None
) -> Any:
    """Outages add up: readers that lived through one are failed early in the next."""
    now = asyncio.get_running_loop().time()
    return await outage(tailer, tails, error, vars(tailer).setdefault("first_outage", now))


async def foreign_version_judged_at_first_sight(
    judged: Any, tailer: Any, stream_id: str, page: Page
) -> Any:
    """An unfinished version of another program counts as closed if the next one looks closed."""
    hasty = copy.copy(tailer)
    hasty._store = _SameHead(tailer._store, page.head)
    return await judged(hasty, stream_id, page)


class _SameHead(ForwardingStore):
    def __init__(self, inner: Store, head: Head | None) -> None:
        super().__init__(inner)
        self._head = head

    async def read(
        self, positions: Sequence[Position], *, max_rows: int, max_bytes: int
    ) -> list[Page]:
        pages = await super().read(positions, max_rows=max_rows, max_bytes=max_bytes)
        return [replace(page, head=self._head) for page in pages]


def no_reader_is_detached(detach: Any, tailer: Any, tail: Any) -> None:
    """A stream that nobody reads any more is held, and polled, for ever."""

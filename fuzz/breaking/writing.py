"""Breakages of the writing side: stored chunks, the return of a write, leases, stops and endings.

Each function runs in place of the one it is given first (see `table.py`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from monostream_ai.errors import MonostreamError, StreamStopped
from monostream_ai.interfaces import Store
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.types import Append, WakeUp


def acknowledged_before_stored(put: Any, outbox: Any, write: Any) -> bool:
    """A write returns before its chunks are stored."""
    queued: bool = put(outbox, write)
    if queued and write.done is not None and not write.done.done():
        write.done.set_result(outbox.next_id + outbox.waiting - 1)
    return queued


def delivered_before_stored(
    init: Any, writer: Any, store: Store, *, on_landed: Any, **options: Any
) -> None:
    """Readers in the writer's process get chunks before they are stored."""
    init(writer, _Early(store, on_landed), on_landed=on_landed, **options)


class _Early(ForwardingStore):
    def __init__(self, inner: Store, on_landed: Callable[[Append], None]) -> None:
        super().__init__(inner)
        self._on_landed = on_landed

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        for append in appends:
            self._on_landed(append)
        return await super().append(appends, lease=lease)


async def carried_before_stored(append: Any, writer: Any, appends: Sequence[Append]) -> Any:
    """Readers in other processes get chunks before they are stored."""
    for each in appends:
        if writer._announcer is not None and each.payloads:
            stream_id, version, _ = each.lease
            last = each.first + len(each.payloads) - 1
            writer._announcer.add(WakeUp(stream_id, version, last), each)
    await asyncio.sleep(0.1)
    return await append(writer, appends)


def closed_in_a_second_commit(init: Any, writer: Any, store: Store, **options: Any) -> None:
    """The terminal chunk and the closed state are two commits."""
    init(writer, _TwoCommits(store), **options)


class _TwoCommits(ForwardingStore):
    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        verdicts = await super().append(
            [replace(each, closes=False) for each in appends], lease=lease
        )
        ends = [
            replace(each, first=each.first + len(each.payloads), payloads=[])
            for each in appends
            if each.closes
        ]
        if ends:
            await super().append(ends, lease=lease)
        return verdicts


def retry_takes_more(take: Any, outbox: Any, rows: int, size: int) -> Any:
    """An append whose answer was lost is retried with more chunks, so the store cannot recognise
    it.
    """
    outbox._in_doubt = 0
    return take(outbox, rows, size)


def two_appends_in_flight(put: Any, writer: Any, outbox: Any, write: Any) -> None:
    """The writer starts an append before the last one has come back."""
    writer._task = None
    put(writer, outbox, write)


def outage_clock_of_the_writer_kept(landed: Any, outbox: Any, writes: Any) -> None:
    """Outages add up: a publisher that lived through one gives up early in the next."""
    since = outbox._unavailable_since
    landed(outbox, writes)
    outbox._unavailable_since = since


def write_overtakes_push(drained: Any, publisher: Any) -> Any:
    """A chunk that is written comes before those a thread had pushed before it."""
    return publisher._opened


def cancelled_block_leaves_no_ending(finish: Any, work: Any, **options: Any) -> Any:
    """A publisher whose task is cancelled leaves its version open."""
    return work


def lost_block_runs_on(throw: Any, outside: Any, error: BaseException) -> None:
    """The block of a publisher whose version was taken away runs on."""
    outside.error = outside.error or error


def values_json_lacks_are_stored(encode: Any, value: object) -> str:
    """NaN, keys that are no strings and lone surrogates are stored as something else."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


async def lease_never_renewed(renew: Any, keeper: Any) -> None:
    """A publisher that is silent for longer than its lease counts as lost."""
    await asyncio.Event().wait()


def renewals_end_with_an_error(
    init: Any, keeper: Any, store: Store, *, lease: float, on_error: Any
) -> None:
    """The first renewal that fails is the last."""

    def report(source: str, error: BaseException) -> None:
        on_error(source, error)
        if source == "renew":
            raise error

    init(keeper, store, lease=lease, on_error=report)


def dropped_publisher_renewed(add: Any, keeper: Any, lease: Any, holder: Any) -> None:
    """A publisher that was dropped without being closed is renewed for ever."""
    vars(keeper).setdefault("dropped", []).append(holder)
    add(keeper, lease, holder)


def stop_not_heard(tell: Any, keeper: Any, leases: Any, verdicts: Any) -> None:
    """A publisher that writes nothing does not hear of a stop."""
    told = [None if isinstance(verdict, StreamStopped) else verdict for verdict in verdicts]
    tell(keeper, leases, told)


async def ending_read_before_the_fence(read: Any, store: Any, protocol: Any, info: Any) -> Any:
    """An ending is made from the chunks that were there before the publisher was fenced."""
    left = info.next_id
    async for page in read(store, protocol, info):
        yield page[:left]
        left = max(0, left - len(page))


def nothing_is_announced(add: Any, announcer: Any, wake_up: Any, committed: Any = None) -> None:
    """Other processes hear of nothing, and find everything by polls and renewals."""


def harmless(put: Any, outbox: Any, write: Any) -> Any:
    """Nothing goes wrong: the original is called."""
    return put(outbox, write)


async def version_without_an_ending_left_open(
    close: Any, writer: Any, outbox: Any, encoded: Any, ending: Any
) -> bool:
    """A version whose ending cannot be made stays open, and is looked after for ever."""
    if not encoded.payloads:
        return False
    closed: bool = await close(writer, outbox, encoded, ending)
    return closed


async def successor_forgets_the_end(
    take_over: Any, writer: Any, protocol: Any, stream_id: str, version: int, attempt: Any
) -> Any:
    """A successor does not know the last chunk of its predecessor, and writes it again."""
    beginning = await take_over(writer, protocol, stream_id, version, attempt)
    return beginning._replace(written=beginning.written[:-1])

"""G8: wherever a process dies, no acknowledged chunk is lost, and the stream can be ended by
readers and taken over.

Real processes are killed in tests/processes; here one is cut off from its store before or after
each of its calls, in turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import pytest

from monostream_ai import DurableStreamService
from monostream_ai.errors import MonostreamError, PublisherLost, StoreUnavailable, UnknownStream
from monostream_ai.interfaces import Store
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.types import Append, Lease, Opening
from tests.chunks import FINISH, Chunk, text, texts
from tests.plugins.services import ServiceFactory

Service = DurableStreamService[Chunk]
T = TypeVar("T")

LEASE = 0.5
CHUNKS = 4
CALLS = CHUNKS + 2
"""Calls of a publisher to its store: to open, to write each chunk, to finish."""


class Dying(ForwardingStore):
    """Does not answer from its n-th call on; that call has had its effect, or has not."""

    def __init__(self, inner: Store, calls: int, *, effect: bool) -> None:
        super().__init__(inner)
        self._calls = calls
        self._effect = effect

    async def _unless_dead(self, work: Coroutine[Any, Any, T]) -> T:
        self._calls -= 1
        if self._calls > 0:
            return await work
        if self._calls == 0 and self._effect:
            await work
        work.close()
        raise StoreUnavailable("this process is dead")

    async def acquire(self, stream_id: str, version: int | None, opening: Opening) -> int:
        return await self._unless_dead(self.inner.acquire(stream_id, version, opening))

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        return await self._unless_dead(self.inner.append(appends, lease=lease))

    async def renew(self, leases: Sequence[Lease], *, lease: float) -> list[MonostreamError | None]:
        if self._calls <= 0:
            raise StoreUnavailable("this process is dead")
        return await self.inner.renew(leases, lease=lease)

    async def release(self, lease: Lease, *, handover: bool = False) -> None:
        if self._calls > 0:
            await self.inner.release(lease, handover=handover)


class AcknowledgingFirst(Dying):
    """Acknowledges the append that it dies of, without having stored it."""

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        if self._calls == 1 and not self._effect:
            self._calls = 0
            return [None] * len(appends)
        return await super().append(appends, lease=lease)


async def check_that_a_crash_loses_nothing(
    dying: Service, survivor: Service, stream_id: str
) -> None:
    acknowledged = await write_until_death(dying, stream_id)
    stored = await stored_chunks(survivor, stream_id)
    assert len(stored) >= acknowledged
    assert stored == [*texts(CHUNKS), FINISH][: len(stored)]
    if stored:
        status = await survivor.status(stream_id)
        assert (status.state == "closed") == (stored[-1] == FINISH)
        assert await outcome(survivor, stream_id) == (
            stored,
            None if stored[-1] == FINISH else PublisherLost,
        )
    async with survivor.publisher(stream_id) as successor:
        await successor.write(text(100))
    assert await outcome(survivor, stream_id) == ([text(100), FINISH], None)


async def write_until_death(service: Service, stream_id: str) -> int:
    """Return how many chunks were acknowledged."""
    acknowledged = 0
    try:
        pub = await service.publisher(stream_id).open()
        for chunk in [*texts(CHUNKS), FINISH]:
            acknowledged = 1 + await pub.write(chunk)
    except StoreUnavailable:
        pass
    return acknowledged


async def stored_chunks(service: Service, stream_id: str) -> list[Chunk]:
    try:
        return await service.chunks(stream_id)
    except UnknownStream:
        return []


async def outcome(service: Service, stream_id: str) -> tuple[list[Chunk], type[Exception] | None]:
    chunks: list[Chunk] = []
    try:
        async for chunk in service.subscribe(stream_id, timeout=10 * LEASE):
            chunks.append(chunk)
    except MonostreamError as error:
        return chunks, type(error)
    return chunks, None


async def run_all_deaths(make: ServiceFactory, kind: Callable[..., Store]) -> None:
    # One survivor watches every death. A service that reads holds up to eight connections to
    # Postgres and one that only writes up to five, so a survivor for each death could need 156,
    # and a server accepts 100.
    survivor = make(lease=LEASE)
    async with asyncio.TaskGroup() as group:
        for call in range(1, CALLS + 1):
            for effect in (False, True):
                dying = make(
                    wrap_store=lambda store, call=call, effect=effect: kind(
                        store, call, effect=effect
                    ),
                    lease=LEASE,
                    outage_timeout=0.1,
                )
                stream_id = f"call {call} {effect}"
                group.create_task(check_that_a_crash_loses_nothing(dying, survivor, stream_id))


async def test_a_crash_at_any_call_loses_nothing(service_factory: ServiceFactory) -> None:
    await run_all_deaths(service_factory, Dying)


async def test_the_check_for_g8_notices_an_acknowledgement_before_the_commit(
    service_factory: ServiceFactory,
) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await run_all_deaths(service_factory, AcknowledgingFirst)
    assert {type(error) for error in caught.value.exceptions} == {AssertionError}

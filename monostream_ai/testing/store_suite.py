"""The conformance suite for stores.

Its cases are in `store_cases`, named after the methods of `Store` that they call. G1 to G10 are the
guarantees in the README; these parts of them rest on the store:

    G1  a read after an append returns its chunks                 read.ReadCases
    G2  a version has no gap and no repeat                        read.ReadCases
    G3  a version has one writer, and newer versions fence it     acquire.AcquireCases
        a write of that writer lands whole, in order              append.AppendCases
        a repeated write lands once                               append.RetryCases
    G4  a reader gets the latest version only                     read.ReadCases
    G5  the last chunk and the closed state are one commit        append.AppendCases
    G6  a lapsed lease shows, and one process takes it over       lease.LeaseCases, ClaimCases
        a successor goes on at the next id                        going_on.GoingOnCases
        a version that waits gets one successor                   waiting.WaitingCases
    G7  a stop ends a version once                                lease.ClaimCases
    G8  an unfinished watched version is found again              watch.WatchCases
    G9  pages are bounded in rows and bytes                       read.ReadCases
    G10 any JSON comes back as it was                             append.PayloadCases

`read.HistoryCases`, `read.ChangesCases` and `retention.RetentionCases` cover lists, timelines,
deletion and pruning.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from monostream_ai.interfaces import Store
from monostream_ai.testing.store_cases.acquire import AcquireCases
from monostream_ai.testing.store_cases.append import AppendCases, PayloadCases, RetryCases
from monostream_ai.testing.store_cases.going_on import GoingOnCases
from monostream_ai.testing.store_cases.lease import ClaimCases, LeaseCases
from monostream_ai.testing.store_cases.read import ChangesCases, HistoryCases, ReadCases
from monostream_ai.testing.store_cases.retention import RetentionCases
from monostream_ai.testing.store_cases.waiting import WaitingCases
from monostream_ai.testing.store_cases.watch import WatchCases


class StoreConformance(
    AcquireCases,
    AppendCases,
    RetryCases,
    ReadCases,
    LeaseCases,
    ClaimCases,
    GoingOnCases,
    WaitingCases,
    WatchCases,
    HistoryCases,
    ChangesCases,
    RetentionCases,
    PayloadCases,
):
    """Checks every promise of `Store`, for a subclass with a `store` fixture.

        class TestMyStore(StoreConformance):
            @pytest_asyncio.fixture
            async def store(self):
                store = MyStore(an_empty_database())
                yield store
                await store.aclose()

    Each test needs a store on empty storage; the suite calls `setup()` itself. Override the `peer`
    fixture to return a second store on the same storage, as another process would have one;
    otherwise one store plays both parts. Override `pass_time` if the test controls the store's
    clock. Leases are short, so the whole suite takes seconds.
    """

    pytestmark = pytest.mark.asyncio

    @pytest.fixture
    def store(self) -> Store:
        raise pytest.UsageError(
            f"{type(self).__name__} needs a fixture 'store' that returns a store on empty storage"
        )

    @pytest.fixture
    def peer(self, store: Store) -> Store:
        return store

    @pytest_asyncio.fixture(autouse=True)
    async def _set_up(self, store: Store, peer: Store) -> AsyncIterator[None]:
        # At the same time: processes that start together on an empty database must both succeed.
        await asyncio.gather(store.setup(), peer.setup())
        yield

    async def test_setup_again_keeps_stored_chunks(self, store: Store, peer: Store) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, "0")
        await asyncio.gather(store.setup(), peer.setup(), store.setup())
        await self.write(store, lease, 1, "1")
        assert await self.stored(peer, "s") == ["0", "1"]

    async def test_calls_at_once_all_succeed(self, store: Store, peer: Store) -> None:
        leases = await asyncio.gather(
            *(self.acquire((store, peer)[n % 2], f"s{n}") for n in range(30))
        )
        await asyncio.gather(
            *(self.write(peer, lease, 0, "0", "1", closes=True) for lease in leases)
        )
        stored = await asyncio.gather(*(self.stored(store, lease.stream_id) for lease in leases))
        assert stored == [["0", "1"]] * 30

    async def test_a_cancelled_call_leaves_the_store_usable(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        for steps in range(1, 12):
            call = asyncio.create_task(self.append(store, lease, 0, "0", "1"))
            for _ in range(steps):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        await self.write(store, lease, 0, "0", "1")
        assert await self.stored(store, "s") == ["0", "1"]

    async def test_closing_twice_is_safe(self, store: Store) -> None:
        await self.acquire(store, "s")
        await store.aclose()
        await store.aclose()

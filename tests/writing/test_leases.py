"""Leases are renewed, checked and released whatever the store raises."""

from __future__ import annotations

import asyncio
import gc

import pytest

from monostream_ai import DurableStreamService
from monostream_ai.errors import StreamStopped
from monostream_ai.notifiers.memory import MemoryNotifier
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.types import WakeUp
from tests.chunks import PROTOCOL, Chunk, text
from tests.hooked_store import HookedStore, failing_once

Service = DurableStreamService[Chunk]

LEASE = 0.6
PATIENCE = 5.0


async def renewals(store: HookedStore, count: int) -> None:
    """Wait for so many more renewals."""
    enough = asyncio.Event()
    wanted = store.calls["renew"] + count

    async def note() -> None:
        if store.calls["renew"] >= wanted:
            enough.set()

    store.after["renew"] = note
    async with asyncio.timeout(PATIENCE):
        await enough.wait()


async def test_an_error_that_nobody_foresaw_ends_no_renewal() -> None:
    store = HookedStore(MemoryStore())
    service: Service = DurableStreamService(store, None, PROTOCOL, lease=LEASE)
    before = await service.publisher("before").open()
    store.before["renew"] = failing_once(RuntimeError("a driver's own"))
    await renewals(store, 4)
    after = await service.publisher("after").open()
    await renewals(store, 4)
    assert not any([(await service.status(pub.stream_id)).lost for pub in (before, after)])
    assert service.statistics().errors["renew"] == 1


async def test_an_error_that_nobody_foresaw_ends_no_check() -> None:
    store, notifier = MemoryStore(), MemoryNotifier()
    hooked = HookedStore(store)
    writer: Service = DurableStreamService(hooked, notifier, PROTOCOL, lease=60.0)
    stopper: Service = DurableStreamService(store, notifier, PROTOCOL, lease=60.0)
    hooked.before["check"] = failing_once(RuntimeError("a driver's own"))
    failed = asyncio.Event()
    writer.on_error(lambda source, error: failed.set())
    async with writer.publisher("s") as pub:
        # Somebody seems to have moved the stream, so the lease is looked after.
        await notifier.notify([WakeUp("s", pub.version, 5)])
        async with asyncio.timeout(PATIENCE):
            await failed.wait()
        with pytest.raises(StreamStopped):
            async with writer.publisher("other"):
                await stopper.stop("other")
                async with asyncio.timeout(PATIENCE):
                    await asyncio.Event().wait()
    assert writer.statistics().errors == {"check": 1}


async def test_a_release_that_fails_does_not_keep_a_service_from_closing() -> None:
    store = HookedStore(MemoryStore())
    service: Service = DurableStreamService(store, None, PROTOCOL)
    pubs = [await service.publisher(f"s{number}").open() for number in range(3)]
    store.before["release"] = failing_once(RuntimeError("a driver's own"))
    await service.aclose()
    lost = [
        (await DurableStreamService(store, None, PROTOCOL).status(pub.stream_id)).lost
        for pub in pubs
    ]
    assert sorted(lost) == [False, True, True]
    assert service.statistics().errors == {"release": 1}
    assert store.calls["aclose"] == 1


async def test_a_publisher_that_is_dropped_is_renewed_no_more_though_it_was_pushed_to() -> None:
    """By its last reference, not by the collector, which an idle process may not run for long."""
    service: Service = DurableStreamService(MemoryStore(), None, PROTOCOL)
    gc.disable()
    try:
        for chunks in ([text(0)], [text(0), text(1)]):
            pub = await service.publisher("s").open()
            pub.push(*chunks)
            await pub.flush()
            await pub.write(text(2))
            assert service.statistics().open_versions == 1
            del pub
            assert service.statistics().open_versions == 0
    finally:
        gc.enable()
    await service.aclose()

"""A block that prunes in the background, and a service that says whether it is ready."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from monostream_ai import DurableStreamService, ServiceClosed, StoreUnavailable, create_service
from monostream_ai.errors import SchemaMissing
from monostream_ai.stores.memory import MemoryStore
from tests.chunks import FINISH, PROTOCOL, Chunk
from tests.hooked_store import HookedStore
from tests.plugins.services import ServiceFactory


def hooked() -> tuple[HookedStore, DurableStreamService[Chunk]]:
    store = HookedStore(MemoryStore())
    return store, DurableStreamService(store, None, PROTOCOL, outage_timeout=0.5)


async def test_old_versions_go_while_the_block_runs(service_factory: ServiceFactory) -> None:
    service = service_factory()
    async with service.pruning(older_than=0.0, every=0.01):
        async with service.publisher("s") as pub:
            await pub.write(FINISH)
        async with asyncio.timeout(10):
            while (await service.status("s")).state != "pruned":
                await asyncio.sleep(0.01)


async def test_a_sweep_that_fails_is_reported_and_tried_again(no_task_is_left: None) -> None:
    store, service = hooked()
    failures = iter([OSError("disk"), StoreUnavailable("test")])
    swept = asyncio.Event()

    async def fail() -> None:
        for failure in failures:
            raise failure
        swept.set()

    store.before["prune"] = fail
    async with service, service.pruning(older_than=0.0, every=0.001), asyncio.timeout(10):
        await swept.wait()
    assert service.statistics().errors["prune"] == 2


async def test_leaving_the_block_ends_the_sweep_at_once(no_task_is_left: None) -> None:
    store, service = hooked()
    begun = asyncio.Event()

    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    store.before["prune"] = hang
    async with asyncio.timeout(10), service, service.pruning(older_than=0.0):
        await begun.wait()


@pytest.mark.parametrize(
    ("older_than", "every"), [(-1.0, 1.0), (1.0, float("inf")), (float("nan"), 1.0)]
)
async def test_durations_that_make_no_sense_are_refused(older_than: float, every: float) -> None:
    with pytest.raises(ValueError, match="finite seconds"):
        hooked()[1].pruning(older_than=older_than, every=every)


async def test_a_service_whose_store_answers_is_ready(service_factory: ServiceFactory) -> None:
    await service_factory().ready()


async def test_a_service_without_tables_is_not_ready(tmp_path: Path) -> None:
    async with create_service(f"sqlite:///{tmp_path / 's.db'}", create_tables=False) as service:
        with pytest.raises(SchemaMissing):
            await service.ready()


async def test_a_store_that_does_not_answer_in_time_is_not_ready(no_task_is_left: None) -> None:
    store, service = hooked()
    store.before["read"] = asyncio.Event().wait  # type: ignore[assignment]  # its result is not looked at
    async with service:
        with pytest.raises(StoreUnavailable, match="within 0.05 s"):
            await service.ready(timeout=0.05)


async def test_a_service_that_shuts_down_is_not_ready() -> None:
    _, service = hooked()
    async with service:
        service.begin_shutdown()
        with pytest.raises(ServiceClosed):
            await service.ready()

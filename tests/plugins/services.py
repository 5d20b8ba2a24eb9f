"""Several services on one storage, as separate processes have them; none may leave a task."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from monostream_ai import DurableStreamService
from monostream_ai.interfaces import Notifier, Store
from tests.backends import BACKENDS, Backend, open_backend
from tests.chunks import PROTOCOL, Chunk

ServiceFactory = Callable[..., "DurableStreamService[Chunk]"]

TEST_TIMEOUT = 120.0
"""Seconds after which an async test fails, so that one that hangs does not stop the others."""

CLOSING_TIMEOUT = 30.0
"""Seconds for all services of a test to close."""

SERVICE_LEASE = 5.0
"""Seconds. A test that waits for a lease to run out passes a shorter one."""


def pytest_itemcollected(item: pytest.Item) -> None:
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        item.obj = _within_time(item.obj)


def _within_time(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    # Cancels the test and nothing else. If tasks of its fixtures were cancelled too, a teardown
    # could raise CancelledError. pytest does not catch that, skips the remaining teardowns, and
    # hands the fixtures that are left, with their stale state, to every test that follows.
    @functools.wraps(test)
    async def bounded(*arguments: Any, **fixtures: Any) -> None:
        async with asyncio.timeout(TEST_TIMEOUT):
            await test(*arguments, **fixtures)

    return bounded


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """Empty storage of each kind."""
    return open_backend(request.param, tmp_path, request)


@pytest.fixture
async def no_task_is_left() -> AsyncIterator[None]:
    """Fail a test that leaves a task or a database thread behind."""
    before, threads_before = asyncio.all_tasks(), set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - threads_before:
        if "_connection_worker_thread" in thread.name:
            # It answers the loop a last time, so the loop must not be closed before it ends.
            await asyncio.to_thread(thread.join, 5.0)
            assert not thread.is_alive(), "a SQLite connection was not closed"
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=2.0)
    assert left == set()


@pytest.fixture
async def service_factory(backend: Backend, no_task_is_left: None) -> AsyncIterator[ServiceFactory]:
    """Make one more service on the same storage; all are closed after the test.

    `wrap_store` and `wrap_notifier` take the real part and return the one for the service. Other
    options go to the service.
    """
    setup = backend.new_store()
    await setup.setup()
    await setup.aclose()
    services: list[DurableStreamService[Chunk]] = []

    def make(
        *,
        wrap_store: Callable[[Store], Store] = lambda store: store,
        wrap_notifier: Callable[[Notifier], Notifier | None] = lambda notifier: notifier,
        **options: Any,
    ) -> DurableStreamService[Chunk]:
        store, notifier = backend.new_parts()
        settings: dict[str, Any] = {"protocol": PROTOCOL, "lease": SERVICE_LEASE} | options
        services.append(
            DurableStreamService(wrap_store(store), wrap_notifier(notifier), **settings)
        )
        return services[-1]

    yield make
    async with asyncio.timeout(CLOSING_TIMEOUT):
        for service in services:
            await service.aclose()


@pytest.fixture
def service(service_factory: ServiceFactory) -> DurableStreamService[Chunk]:
    return service_factory()

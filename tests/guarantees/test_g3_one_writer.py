"""G3: one writer for each version, atomic versions, and appends that land exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import ClassVar

import pytest

from monostream_ai import DurableStreamService
from monostream_ai.errors import Fenced, MonostreamError, StoreUnavailable
from monostream_ai.interfaces import Store
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.types import Append, Lease, Opening
from tests.chunks import FINISH, Chunk, text, texts
from tests.plugins.services import ServiceFactory

Service = DurableStreamService[Chunk]


async def check_that_racers_get_versions_of_their_own(one: Service, other: Service) -> None:
    racers = [(one, other)[number % 2].publisher("s") for number in range(6)]
    await asyncio.gather(*(racer.open() for racer in racers))
    assert sorted(racer.version for racer in racers) == list(range(6))


async def check_that_a_newer_version_fences(one: Service, other: Service) -> None:
    old = await one.publisher("s").open()
    await old.write(text(0))
    async with other.publisher("s") as new:
        outcome = (await asyncio.gather(old.write(text(99)), return_exceptions=True))[0]
        assert isinstance(outcome, Fenced)
        await new.write(text(1))
    assert await one.chunks("s", 0) == [text(0)]
    assert await one.chunks("s", 1) == [text(1), FINISH]


async def check_that_retries_land_once(one: Service, other: Service) -> None:
    pub = await one.publisher("s").open()
    for number in range(6):
        assert await pub.write(*texts(2, 2 * number)) == 2 * number + 1
    await asyncio.gather(pub.close(), return_exceptions=True)
    assert await other.chunks("s") == [*texts(12), FINISH]


class LostReplies(ForwardingStore):
    """Appends, and then says that it does not know whether it did: every other time."""

    calls = 0

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        verdicts = await super().append(appends, lease=lease)
        self.calls += 1
        if self.calls % 2:
            raise StoreUnavailable("the answer was lost")
        return verdicts


class LastVersionForAll(ForwardingStore):
    """Reads the latest version, then inserts: what a store without an atomic acquire does."""

    async def acquire(self, stream_id: str, version: int | None, opening: Opening) -> int:
        latest = await self.inner.info(stream_id)
        number = 0 if latest is None else latest.version + 1
        await asyncio.sleep(0.05)
        await asyncio.gather(self.inner.acquire(stream_id, number, opening), return_exceptions=True)
        return number


class FenceLess(ForwardingStore):
    """Writes for any publisher, after the last chunk of the newest one."""

    # Shared by the processes of a test; each test writes its own entry first.
    holders: ClassVar[dict[str, Lease]] = {}

    async def acquire(self, stream_id: str, version: int | None, opening: Opening) -> int:
        number = await self.inner.acquire(stream_id, version, opening)
        self.holders[stream_id] = Lease(stream_id, number, opening.token)
        return number

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        forged = []
        for append in appends:
            info = await self.inner.info(append.lease.stream_id)
            assert info is not None
            forged.append(
                replace(append, lease=self.holders[append.lease.stream_id], first=info.next_id)
            )
        return await self.inner.append(forged, lease=lease)


class AppendingAgain(LostReplies):
    """Appends at the end, whatever id was asked for: a retry lands twice."""

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        infos = [await self.inner.info(append.lease.stream_id) for append in appends]
        ends = [
            replace(append, first=info.next_id)
            for append, info in zip(appends, infos, strict=True)
            if info
        ]
        return await super().append(ends, lease=lease)


CHECKS: dict[str, Callable[[Service, Service], Awaitable[None]]] = {
    "acquire": check_that_racers_get_versions_of_their_own,
    "fence": check_that_a_newer_version_fences,
    "retry": check_that_retries_land_once,
}


@pytest.mark.parametrize("check", ["acquire", "fence", "retry"])
async def test_a_version_has_one_writer(service_factory: ServiceFactory, check: str) -> None:
    await CHECKS[check](service_factory(), service_factory())


async def test_an_append_whose_answer_was_lost_lands_once(service_factory: ServiceFactory) -> None:
    await check_that_retries_land_once(service_factory(wrap_store=LostReplies), service_factory())


@pytest.mark.parametrize(
    ("check", "broken"),
    [("acquire", LastVersionForAll), ("fence", FenceLess), ("retry", AppendingAgain)],
)
async def test_the_check_for_g3_notices_a_store_without_it(
    service_factory: ServiceFactory, check: str, broken: Callable[[Store], Store]
) -> None:
    with pytest.raises(AssertionError):
        await CHECKS[check](service_factory(wrap_store=broken), service_factory(wrap_store=broken))

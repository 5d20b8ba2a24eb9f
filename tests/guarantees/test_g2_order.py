"""G2: a subscription yields 0, 1, 2, … with no gap and no repeat, whatever notifications do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from monostream_ai import DurableStreamService
from monostream_ai.interfaces import BackgroundErrors, Listener, Notifier, Store
from monostream_ai.notifiers.forwarding import ForwardingNotifier
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.types import Page, Position, WakeUp
from tests.chunks import FINISH, Chunk, texts
from tests.plugins.services import ServiceFactory

CHUNKS = 120


class Deaf(ForwardingNotifier):
    """Believes that it works, and delivers nothing."""

    @property
    def healthy(self) -> bool:
        return True

    async def listen(
        self, listener: Listener, on_error: BackgroundErrors
    ) -> Callable[[], Awaitable[None]]:
        async def stop() -> None:
            pass

        return stop


class Doubling(ForwardingNotifier):
    async def notify(self, wake_ups: Sequence[WakeUp]) -> None:
        await super().notify([*wake_ups, *wake_ups])
        await super().notify(wake_ups)


class Reordering(ForwardingNotifier):
    """Sends each batch backwards, after the one that came after it."""

    held: Sequence[WakeUp] = ()

    async def notify(self, wake_ups: Sequence[WakeUp]) -> None:
        held, self.held = self.held, wake_ups
        await super().notify([*reversed(wake_ups), *held])


class Inventing(ForwardingNotifier):
    """Announces chunks and versions that do not exist, and old ones again."""

    async def notify(self, wake_ups: Sequence[WakeUp]) -> None:
        lies = [WakeUp(one.stream_id, one.version + 5, 99) for one in wake_ups]
        lies += [one._replace(id=one.id + 1000) for one in wake_ups] + [
            one._replace(id=0) for one in wake_ups
        ]
        await super().notify([*lies, *wake_ups, WakeUp("another stream", 0, 0)])


FAULTS: dict[str, Callable[[Notifier], Notifier | None]] = {
    "works": lambda notifier: notifier,
    "lost": Deaf,
    "doubled": Doubling,
    "reordered": Reordering,
    "invented": Inventing,
    "none": lambda notifier: None,
}


async def check_order(
    writer: DurableStreamService[Chunk], reader: DurableStreamService[Chunk]
) -> None:
    """Let readers join both services at many instants of a stream being written; each must get all
    of it.
    """
    dice = random.Random(1)
    readers: list[asyncio.Task[list[Chunk]]] = []
    async with writer.publisher("s") as pub:
        written = 0
        while written < CHUNKS:
            count = dice.randint(1, 5)
            await pub.write(*texts(count, written))
            written += count
            if dice.random() < 0.4:
                readers.append(asyncio.create_task(collect(dice.choice([writer, reader]))))
            await asyncio.sleep(0)
    readers.append(asyncio.create_task(collect(reader)))
    for outcome in await asyncio.gather(*readers):
        assert outcome == [*texts(written), FINISH]


async def collect(service: DurableStreamService[Chunk]) -> list[Chunk]:
    chunks: list[Chunk] = []
    try:
        async with asyncio.timeout(20):
            async for chunk in service.subscribe("s"):
                chunks.append(chunk)
    except Exception as error:
        # An error is not what the reader was promised, so the comparison must fail.
        chunks.append({"failed": repr(error)})
    return chunks


class Skipping(ForwardingStore):
    """Loses one row of each page of three or more."""

    async def read(
        self, positions: Sequence[Position], *, max_rows: int, max_bytes: int
    ) -> list[Page]:
        pages = await super().read(positions, max_rows=max_rows, max_bytes=max_bytes)
        return [self._skip(page) for page in pages]

    def _skip(self, page: Page) -> Page:
        return (
            page
            if len(page.payloads) < 3
            else replace(page, payloads=[*page.payloads[:1], *page.payloads[2:]])
        )


class Repeating(Skipping):
    """Gives one row of each page of three or more twice."""

    def _skip(self, page: Page) -> Page:
        return (
            page
            if len(page.payloads) < 3
            else replace(page, payloads=[*page.payloads[:2], *page.payloads[1:]])
        )


@pytest.mark.parametrize("fault", list(FAULTS))
async def test_chunks_come_in_order_without_gap_or_repeat(
    service_factory: ServiceFactory, fault: str
) -> None:
    services = [service_factory(wrap_notifier=FAULTS[fault], poll_interval=0.3) for _ in range(2)]
    await check_order(*services)


@pytest.mark.parametrize("broken", [Skipping, Repeating])
async def test_the_check_for_g2_notices_rows_that_are_lost_or_repeated(
    service_factory: ServiceFactory, broken: Callable[[Store], Store]
) -> None:
    with pytest.raises(AssertionError):
        await check_order(service_factory(), service_factory(wrap_store=broken))

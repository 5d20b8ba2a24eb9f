"""A reader that keeps all it gets, reads in one of several ways, and is held against the store."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from fuzz.chunks import Chunk
from fuzz.draws import Draws
from fuzz.sites import Service
from fuzz.world import Mismatch, World, brief
from monostream_ai import Cursor, Subscription
from monostream_ai._reading.subscription import OnSuperseded
from monostream_ai.errors import MonostreamError, PublisherLost
from monostream_ai.json_text import encode_json


class Seen(NamedTuple):
    """One chunk as it was delivered."""

    version: int
    id: int
    payload: str


class Reader:
    """Reads until the stream ends, an error comes, or it has enough.

    Args:
        enough: Chunks after which it leaves.
        stubborn: Come back with a cursor after `PublisherLost`, as a client waits for the next
            attempt.
        slow: Percentage of chunks after which it dawdles.
    """

    def __init__(
        self,
        world: World,
        service: Service,
        *,
        after: Cursor | None = None,
        on_superseded: OnSuperseded = "follow",
        enough: int | None = None,
        stubborn: bool = False,
        slow: int = 10,
    ) -> None:
        self._world = world
        self._service = service
        self._draws: Draws = world.actor("reader")
        self._after = after
        self._on_superseded: OnSuperseded = on_superseded
        self._enough = enough
        self._stubborn = stubborn
        self._slow = slow
        self._way = self._draws.choice("way", (self._by_chunk, self._by_batch, self._impatiently))
        self._patience = world.site.times.moment / (100 if world.site.virtual else 1)
        self.floor = world.newest
        self.seen: list[Seen] = []
        self.ended = False
        self.left = False
        self.over_at = 0.0
        """Loop time at which it stopped reading."""
        self.error: MonostreamError | None = None
        self.cursor: Cursor | None = after
        self.task = world.spawn(self._run())

    async def _run(self) -> None:
        subscription = self._subscribe(self._after)
        try:
            while not self.left:
                try:
                    await self._way(subscription)
                except PublisherLost:
                    if not self._stubborn:
                        raise
                    subscription = self._subscribe(self.cursor)
                    await asyncio.sleep(self._world.site.times.moment / 4)
                if self._draws.chance("dawdle", self._slow):
                    await self._world.pause(self._draws)
        except StopAsyncIteration:
            self.ended = True
        except MonostreamError as error:
            self.error = error
        finally:
            subscription.close()
            self.over_at = asyncio.get_running_loop().time()
        self._world.log(
            "reader", "ended" if self.ended else repr(self.error), "after", len(self.seen), "chunks"
        )

    def _subscribe(self, after: Cursor | None) -> Subscription[Chunk]:
        return self._service.subscribe(
            self._world.stream, after=after, on_superseded=self._on_superseded
        )

    async def _by_chunk(self, subscription: Subscription[Chunk]) -> None:
        await self._note_chunk(subscription, await anext(subscription))

    async def _by_batch(self, subscription: Subscription[Chunk]) -> None:
        batch = await subscription.next_batch(
            timeout=self._draws.choice("timeout", (None, self._world.site.times.moment))
        )
        self.cursor = subscription.cursor
        if batch.payloads:
            await self._note(batch.version, batch.first, batch.payloads)

    async def _impatiently(self, subscription: Subscription[Chunk]) -> None:
        try:
            # Not wait_for, which loses a cancellation that coincides with a result (Python before
            # 3.12).
            async with asyncio.timeout(self._patience):
                chunk = await anext(subscription)
        except TimeoutError:
            self._patience *= 2
        else:
            await self._note_chunk(subscription, chunk)

    async def _note_chunk(self, subscription: Subscription[Chunk], chunk: Chunk) -> None:
        self.cursor = subscription.cursor
        if self.cursor is None:
            raise Mismatch("a subscription yielded a chunk and has no cursor")
        await self._note(*self.cursor, [encode_json(chunk)])

    async def _note(self, version: int, first: int, payloads: list[str]) -> None:
        world = self._world
        self.seen += [Seen(version, id, payload) for id, payload in enumerate(payloads, first)]
        world.log("reader got", len(payloads), "from", version, first)
        self.left = self._enough is not None and len(self.seen) >= self._enough
        if world.site.virtual and not world.chunks_may_go:
            # A chunk must be stored by the very moment it is delivered.
            stored = await world.stored(version, first, len(payloads))
            if stored != payloads:
                got = f"{version}.{first} {brief(payloads)}"
                raise Mismatch(f"a reader got {got} while the store held {brief(stored)}")

    def check(self) -> None:
        """Check its chunks against the store: from its start, in order, without a gap, and to the
        end if it ended.
        """
        world = self._world
        at: Cursor | Seen | None = self._after
        for seen in self.seen:
            expected = 0 if at is None or seen.version != at.version else at.id + 1
            if seen.id != expected or (at is not None and seen.version < at.version):
                raise Mismatch(f"after {at} a reader got {seen.version}.{seen.id}")
            if seen.version < self.floor:
                raise Mismatch(f"a reader that came after version {self.floor} got {seen.version}")
            told = world.truth.get(seen.version)
            if told is None or told.payloads[seen.id : seen.id + 1] != [seen.payload]:
                raise Mismatch(f"a reader got {seen}, which is not what is stored")
            at = seen
        if self.ended:
            version = max(world.truth) if at is None else at.version
            told = world.truth[version]
            whole = told.state == "closed" and (0 if at is None else at.id + 1) == len(
                told.payloads
            )
            world.require(
                whole,
                f"a reader ended at {at} but version {version} has "
                f"{len(told.payloads)} in state {told.state}",
            )

    def check_ended(self) -> None:
        """As `check`, and insist that it read the newest version to its end."""
        self._world.require(self.ended, f"a reader did not end but raised {self.error!r}")
        self.check()
        last = (
            self.seen[-1].version
            if self.seen
            else None
            if self.cursor is None
            else self.cursor.version
        )
        self._world.require(last == max(self._world.truth), f"a reader ended with version {last}")


async def all_ended(readers: list[Reader]) -> None:
    """Wait for readers and insist that each got everything."""
    for reader in readers:
        await reader.task
        reader.check_ended()

"""A successor goes on with a version where its publisher was lost (G3, G6)."""

from __future__ import annotations

import asyncio

import pytest

from monostream_ai import DurableStreamService, Fenced, NotLost, UnknownStream
from monostream_ai.stores.memory import MemoryStore
from tests.chunks import FINISH, PROTOCOL, Chunk, text, texts

Service = DurableStreamService[Chunk]


def new_services(count: int = 2) -> list[Service]:
    store = MemoryStore()
    return [Service(store, None, PROTOCOL, poll_interval=0.05) for _ in range(count)]


async def break_off(service: Service, *chunks: Chunk, message_id: str = "m") -> None:
    pub = await service.publisher("s", message_id=message_id).open()
    await pub.write(*chunks)
    await pub.release()


async def test_a_reader_gets_both_parts_as_one() -> None:
    here, there = new_services()
    async with here, there:
        await break_off(here, *texts(3))
        async with there.successor("s", 0) as pub:
            assert (pub.version, pub.attempt, pub.next_id, pub.message_id) == (0, 2, 3, "m")
            assert pub.written == texts(3)
            await pub.write(text(3))
            pub.push(text(4))
        chunks = [chunk async for chunk in here.subscribe("s")]
        assert chunks == [*texts(5), FINISH]
        assert (await here.status("s")).attempt == 2


async def test_its_predecessor_is_fenced() -> None:
    here, there = new_services()
    async with here, there:
        frozen = await here.publisher("s").open()
        await frozen.write(text(0))
        # As if this process had been frozen for longer than its lease.
        await here._runtime.store.release(frozen._opened.lease)
        successor = await there.successor("s", 0).open()
        with pytest.raises(Fenced, match="another process"):
            await frozen.write(text(1))
        await successor.write(text(1), FINISH)
        assert await here.chunks("s") == [text(0), text(1), FINISH]


async def test_of_many_successors_one_gets_the_version() -> None:
    services = new_services(5)
    for number in range(10):
        pub = await services[0].publisher(f"s{number}").open()
        await pub.write(text(0))
        await pub.release()
        pubs = [service.successor(f"s{number}", 0) for service in services]
        opened = await asyncio.gather(*(pub.open() for pub in pubs), return_exceptions=True)
        won = [pub for pub in opened if not isinstance(pub, BaseException)]
        assert len(won) == 1
        assert {type(error) for error in opened if error not in won} == {NotLost}
        await won[0].close()
    for service in services:
        await service.aclose()


async def test_only_a_lost_version_has_a_successor() -> None:
    here, there = new_services()
    async with here, there:
        with pytest.raises(UnknownStream):
            await there.successor("s", 0).open()
        pub = await here.publisher("s").open()
        with pytest.raises(UnknownStream):
            await there.successor("s", 1).open()
        for service in (here, there):
            with pytest.raises(NotLost):
                await service.successor("s", 0).open()
        await pub.write(text(0))
        await pub.close()
        with pytest.raises(NotLost):
            await there.successor("s", 0).open()
        assert await here.chunks("s") == [text(0), FINISH]


async def test_a_superseded_version_has_no_successor() -> None:
    here, there = new_services()
    async with here, there:
        await break_off(here, text(0))
        newer = await here.publisher("s").open()
        with pytest.raises(NotLost):
            await there.successor("s", 0).open()
        await newer.close()


async def test_its_block_ends_the_version_as_any_block_does() -> None:
    here, there = new_services()
    async with here, there:
        await break_off(here, text(0))
        with pytest.raises(ValueError, match="mine"):
            async with there.successor("s", 0):
                raise ValueError("mine")
        assert await here.chunks("s") == [text(0), {"type": "error"}]


async def test_a_stop_reaches_it() -> None:
    here, there = new_services()
    async with here, there:
        await break_off(here, text(0))
        pub = await there.successor("s", 0).open()
        assert await here.stop("s")
        with pytest.raises(Exception, match="stopped"):
            await pub.write(text(1))
        assert await here.chunks("s") == [text(0), {"type": "abort"}]

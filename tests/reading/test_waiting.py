from __future__ import annotations

import asyncio

import pytest

from monostream_ai._reading.waiting import WOKEN_AT_ONCE, Interrupted, Wait, Waiters

MANY = 5 * WOKEN_AT_ONCE


async def test_other_work_gets_its_turn_while_many_are_woken() -> None:
    waiters, woken = Waiters(), 0

    async def follow() -> None:
        nonlocal woken
        await Wait().for_news(waiters)
        woken += 1

    tasks = [asyncio.create_task(follow()) for _ in range(MANY)]
    await asyncio.sleep(0)
    waiters.wake()
    seen = []
    while woken < MANY:
        await asyncio.sleep(0)
        seen.append(woken)

    await asyncio.gather(*tasks)
    assert seen == [*range(WOKEN_AT_ONCE, MANY + 1, WOKEN_AT_ONCE)]


async def test_news_while_some_are_still_to_be_woken_reach_those_who_wait_again() -> None:
    waiters, turns = Waiters(), [0] * MANY

    async def follow(number: int) -> None:
        for _ in range(2):
            await Wait().for_news(waiters)
            turns[number] += 1

    tasks = [asyncio.create_task(follow(number)) for number in range(MANY)]
    await asyncio.sleep(0)
    waiters.wake()
    await asyncio.sleep(0)
    waiters.wake()
    while turns.count(1) + turns.count(2) < MANY:
        await asyncio.sleep(0)
    waiters.wake()
    async with asyncio.timeout(5):
        await asyncio.gather(*tasks)


async def test_an_interrupt_ends_the_wait_or_the_next_one_once() -> None:
    waiters, wait = Waiters(), Wait()
    wait.interrupt()
    with pytest.raises(Interrupted):
        await wait.for_news(waiters)
    assert not wait.taken
    waiting = asyncio.create_task(wait.for_news(waiters))
    await asyncio.sleep(0)
    wait.interrupt()
    with pytest.raises(Interrupted):
        await waiting
    waiting = asyncio.create_task(wait.for_news(waiters))
    await asyncio.sleep(0)
    waiters.wake()
    await waiting
    assert wait.taken

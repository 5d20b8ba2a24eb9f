"""The event loop whose clock jumps."""

from __future__ import annotations

import asyncio
import time

import pytest

from fuzz.virtual_time import Stalled, VirtualTimeLoop


def test_an_hour_takes_no_time() -> None:
    began = time.monotonic()

    async def wait() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert VirtualTimeLoop().run_until_complete(wait()) == 3600
    assert time.monotonic() - began < 60


def test_timers_come_in_the_order_of_their_times() -> None:
    came: list[int] = []

    async def wait(seconds: int) -> None:
        await asyncio.sleep(seconds)
        came.append(seconds)

    async def all_of_them() -> None:
        await asyncio.gather(*(wait(seconds) for seconds in (3, 1, 2)))

    VirtualTimeLoop().run_until_complete(all_of_them())
    assert came == [1, 2, 3]


def test_a_timer_that_was_cancelled_does_not_come() -> None:
    async def late() -> float:
        loop = asyncio.get_running_loop()
        loop.call_later(5, pytest.fail, "it was cancelled").cancel()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(7):
                await asyncio.Event().wait()
        return loop.time()

    assert VirtualTimeLoop().run_until_complete(late()) == 7


def test_no_time_passes_while_a_task_waits_for_a_turn_though_others_were_cancelled() -> None:
    async def wait() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        loop.call_later(7, int)
        loop.turns(3).cancel()
        await loop.turns(5)
        return loop.time()

    assert VirtualTimeLoop().run_until_complete(wait()) == 0


def test_waiting_for_nothing_is_an_error() -> None:
    with pytest.raises(Stalled):
        VirtualTimeLoop().run_until_complete(asyncio.Event().wait())


def test_going_round_in_circles_is_an_error() -> None:
    async def circle() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(Stalled):
        VirtualTimeLoop().run_until_complete(circle())


def test_an_error_of_a_callback_is_reported() -> None:
    reported: list[object] = []
    loop = VirtualTimeLoop()
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))

    async def run() -> None:
        loop.call_soon(int, "no number")
        await asyncio.sleep(1)

    loop.run_until_complete(run())
    assert len(reported) == 1
    assert isinstance(reported[0], ValueError)

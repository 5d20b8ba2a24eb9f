"""The clock of the responses calls each when it is due, and all of them at the end."""

from __future__ import annotations

import asyncio
import itertools
import math

import pytest

from monostream_ai._reading import clock as clock_module
from monostream_ai._reading.clock import Clock


class Response:
    """A member that wants to be called again after `pause` seconds, and notes when it was."""

    def __init__(self, pause: float) -> None:
        self.pause = pause
        self.calls: list[float] = []

    def look(self) -> float:
        self.calls.append(asyncio.get_running_loop().time())
        return self.pause


class Ends:
    over = False
    alarmed = False
    alarms = 0

    def alarm(self) -> bool:
        self.alarms += 1
        return self.alarmed

    def end(self) -> None:
        self.over = True


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_module, "TICK", 0.01)


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def clock(ends: Ends) -> Clock:
    return Clock(lambda: ends.over, on_alarm=ends.end)


async def test_a_member_is_called_when_it_is_due_and_not_before(clock: Clock, ends: Ends) -> None:
    often, seldom, never = Response(0.02), Response(0.2), Response(math.inf)
    began = asyncio.get_running_loop().time()
    for response in (often, seldom, never):
        clock.join(response.look, after=response.pause, alarm=ends.alarm)
    async with asyncio.timeout(20):
        while len(seldom.calls) < 2:
            await asyncio.sleep(0.01)

    assert all(later - earlier >= 0.02 for earlier, later in itertools.pairwise(often.calls))
    assert seldom.calls[0] - began >= 0.2 and seldom.calls[1] - seldom.calls[0] >= 0.2
    assert len(often.calls) > 2 and never.calls == []
    # One alarm for three members.
    assert len(often.calls) <= ends.alarms <= (asyncio.get_running_loop().time() - began) / 0.01 + 1


async def test_members_that_leave_are_not_called(clock: Clock, ends: Ends) -> None:
    gone, there = Response(0.01), Response(0.01)
    clock.join(gone.look, after=0.01, alarm=ends.alarm)
    clock.join(there.look, after=0.01, alarm=ends.alarm)
    clock.leave(gone.look)
    clock.leave(gone.look)
    async with asyncio.timeout(20):
        while len(there.calls) < 3:
            await asyncio.sleep(0.01)
    clock.leave(there.look)
    seen, asked = len(there.calls), ends.alarms
    await asyncio.sleep(0.05)

    assert gone.calls == []
    assert (len(there.calls), ends.alarms) == (seen, asked)


@pytest.mark.parametrize("how", ["alarm", "over", "ring"])
async def test_all_are_called_at_the_end_whenever_they_are_due(
    clock: Clock, ends: Ends, how: str
) -> None:
    responses = [Response(math.inf), Response(600.0)]
    for response in responses:
        clock.join(response.look, after=response.pause, alarm=ends.alarm)
    if how == "ring":
        clock.ring()
    else:
        ends.alarmed, ends.over = how == "alarm", how == "over"
    async with asyncio.timeout(20):
        while not all(response.calls for response in responses):
            await asyncio.sleep(0.01)

    assert ends.over or how == "ring"
    for response in responses:
        clock.leave(response.look)

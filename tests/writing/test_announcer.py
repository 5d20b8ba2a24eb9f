"""Consecutive notifications leave room for other work in between, and carry chunks that fit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from fuzz.virtual_time import VirtualTimeLoop
from monostream_ai._inline import MOST_ROWS, Parcel, opened
from monostream_ai._writing.announcer import LONGEST_PAUSE, MOST_WAITING, Announcer
from monostream_ai.interfaces import BackgroundErrors, Listener, Notifier
from monostream_ai.types import MAX_VERSION, Append, Lease, WakeUp


class SlowNotifier(Notifier):
    """Takes this many seconds for each notification, and notes its time and contents."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.sent: list[tuple[float, list[int]]] = []
        self.wake_ups: list[WakeUp] = []

    @property
    def healthy(self) -> bool:
        return True

    async def notify(self, wake_ups: Sequence[WakeUp]) -> None:
        self.wake_ups += wake_ups
        self.sent.append((asyncio.get_running_loop().time(), [wake_up.id for wake_up in wake_ups]))
        await asyncio.sleep(self._seconds)

    async def listen(
        self, listener: Listener, on_error: BackgroundErrors
    ) -> Callable[[], Awaitable[None]]:
        raise AssertionError("nobody listens")

    async def aclose(self) -> None:
        pass


def announced(seconds: float, instants: list[float]) -> list[tuple[float, list[int]]]:
    """Return what a notifier is told, and when, of wake-ups with ids from 0 at these instants."""
    notifier = SlowNotifier(seconds)

    async def announce() -> None:
        loop = asyncio.get_running_loop()
        announcer = Announcer(notifier, lambda source, error: None, room=lambda: 0)
        for number, instant in enumerate(instants):
            await asyncio.sleep(instant - loop.time())
            announcer.add(WakeUp("s", 0, number))
        await announcer.aclose()

    VirtualTimeLoop().run_until_complete(announce())
    return notifier.sent


def test_at_idle_a_notification_is_sent_at_once() -> None:
    assert announced(0.002, [0.0, 0.010]) == [
        (pytest.approx(0.0), [0]),
        (pytest.approx(0.010), [1]),
    ]


def test_under_load_the_next_one_waits_as_long_as_the_last_one_took_and_says_all() -> None:
    assert announced(0.002, [0.0, 0.001, 0.003]) == [
        (pytest.approx(0.0), [0]),
        (pytest.approx(0.004), [2]),
    ]


def test_a_slow_notification_does_not_hold_up_the_next_one_for_long() -> None:
    sent = announced(1.0, [0.0, 0.5])
    assert sent == [(pytest.approx(0.0), [0]), (pytest.approx(1.0 + LONGEST_PAUSE), [1])]


LEASE = Lease("s", 0, "token")


def commit(first: int, *payloads: str, lease: Lease = LEASE, closes: bool = False) -> Append:
    return Append(lease, first, payloads, closes)


def carried(
    *commits: Append | None, room: int = 1000
) -> list[tuple[int, int, tuple[int, list[str]] | None]]:
    """Return the wake-ups of commits that are announced while a notification is under way: version,
    id, and the first id and payloads that are carried. None is a wake-up without a commit.
    """
    notifier = SlowNotifier(1.0)

    async def announce() -> None:
        announcer = Announcer(notifier, lambda source, error: None, room=lambda: room)
        announcer.add(WakeUp("other", 0, 0))
        await asyncio.sleep(0.1)
        for each in commits:
            if each is None:
                announcer.add(WakeUp("s", 0, 1000))
            else:
                last = each.first + len(each.payloads) - 1
                announcer.add(WakeUp("s", each.lease.version, last), each)
        await announcer.aclose()

    VirtualTimeLoop().run_until_complete(announce())
    return [
        (version, id, opened(WakeUp(stream_id, version, id, text), "token") if text else None)
        for stream_id, version, id, text in notifier.wake_ups
        if stream_id == "s"
    ]


def test_commits_that_follow_each_other_are_carried_together() -> None:
    assert carried(commit(3, "a", "b"), commit(5, "é", '"1.2:3"')) == [
        (0, 6, (3, ["a", "b", "é", '"1.2:3"']))
    ]


def test_a_commit_behind_a_gap_is_announced_alone() -> None:
    assert carried(commit(3, "a"), commit(5, "c")) == [(0, 5, None)]
    assert carried(commit(3, "a"), None, commit(1001, "c")) == [(0, 1001, None)]


def test_a_newer_version_is_carried_without_the_older_one() -> None:
    newer = commit(0, "new", lease=Lease("s", 1, "token"))
    assert carried(commit(3, "a"), newer) == [(1, 0, (0, ["new"]))]


def test_a_commit_of_an_older_version_is_left_out() -> None:
    newer = commit(0, "new", lease=Lease("s", 1, "token"))
    assert carried(newer, commit(3, "a")) == [(1, 0, (0, ["new"]))]


def test_the_commits_of_two_writers_are_not_sealed_by_one() -> None:
    taken_over = commit(4, "b", lease=Lease("s", 0, "successor"))
    assert carried(commit(3, "a"), taken_over) == [(0, 4, None)]


def test_an_end_is_announced_without_its_chunks() -> None:
    assert carried(commit(3, "a"), commit(4, "end", closes=True)) == [(0, 4, None)]


@pytest.mark.parametrize("size", [99, 100, 1000])
def test_chunks_that_do_not_fit_are_not_carried(size: int) -> None:
    assert carried(commit(0, "x" * 50), commit(1, "x" * size), room=160) == [(0, 1, None)]
    assert carried(commit(0, "x" * size), room=0) == [(0, 0, None)]


def test_the_chunks_that_wait_have_a_bound() -> None:
    size = MOST_WAITING // 16
    sent = carried(*(commit(id, "x" * size) for id in range(40)), room=MOST_WAITING * 10)
    assert sent == [(0, 39, None)]
    sent = carried(*(commit(id, "x" * size) for id in range(12)), room=MOST_WAITING * 10)
    assert sent == [(0, 11, (0, ["x" * size] * 12))]


@pytest.mark.parametrize("payload", ["x", "é", "\U0001f600"])
def test_a_sealed_text_is_no_larger_than_was_reckoned(payload: str) -> None:
    lease = LEASE._replace(version=MAX_VERSION)
    for count in (1, 7, MOST_ROWS):
        first = MAX_VERSION - count
        parcel = Parcel(lease, first)
        assert parcel.add(commit(first, *[payload * 40] * count, lease=lease), 10**6)
        assert len(parcel.sealed().encode()) <= parcel.size
    assert not parcel.add(commit(MAX_VERSION, "one more", lease=lease), 10**6)

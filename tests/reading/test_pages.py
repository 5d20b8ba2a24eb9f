"""Pages that several readers ask for."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from monostream_ai._reading.pages import PageReads
from monostream_ai.types import Head, Page, Position, State

POSITION = Position("s", 0, 0)


def page_reads() -> tuple[PageReads, itertools.count[int]]:
    numbers = itertools.count()

    async def read(position: Position) -> Page:
        return Page(None, next(numbers), [])

    return PageReads(read, patience=1.0, on_error=lambda source, error: None), numbers


async def test_a_page_under_way_is_read_once_for_all_who_ask() -> None:
    reads, numbers = page_reads()
    assert reads.begin(POSITION) is reads.begin(POSITION)
    await asyncio.sleep(0.01)
    assert next(numbers) == 1
    await reads.aclose()


async def test_who_asks_when_a_read_has_just_ended_gets_a_newer_page() -> None:
    reads, _ = page_reads()
    first = reads.begin(POSITION)
    # It is done now, and the event loop has not told anybody yet.
    await asyncio.sleep(0)
    assert first.done
    second = reads.begin(POSITION)
    await asyncio.sleep(0.01)
    assert (first.page().first, second.page().first) == (0, 1)
    await reads.aclose()


async def test_a_read_that_ends_late_does_not_forget_the_one_after_it() -> None:
    reads, numbers = page_reads()
    reads.begin(POSITION)
    await asyncio.sleep(0)
    second = reads.begin(POSITION)
    assert reads.begin(POSITION) is second
    await asyncio.sleep(0.01)
    assert next(numbers) == 2
    await reads.aclose()


@pytest.mark.parametrize(
    ("state", "next_id", "opener", "joined"),
    [
        ("open", 2, "o", True),
        ("closed", 1, "o", True),
        ("open", 1, "o", False),
        ("open", 2, "another", False),
        ("open", 2, None, False),
    ],
)
async def test_only_a_page_that_cannot_change_is_shared_once_it_is_read(
    state: State, next_id: int, opener: str | None, joined: bool
) -> None:
    async def read(position: Position) -> Page:
        return Page(Head(0, state, next_id, 9.0, opener="o"), 0, ["{}"])

    reads = PageReads(read, patience=1.0, on_error=lambda source, error: None)
    first = reads.begin(POSITION, "o")
    await asyncio.sleep(0.01)
    assert (reads.begin(POSITION, opener) is first) == joined
    del first
    assert reads.begin(POSITION, opener).done is False
    await reads.aclose()

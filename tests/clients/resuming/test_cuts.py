"""A chat whose response breaks off anywhere shows the complete message once it is back.

The scenarios are messages recorded by the tests of the captures, and random messages. The latest
release of each major tries every chunk boundary, or some of a very long message; of boundaries that
look alike up to the next chunk it tries one. Every release tries two boundaries and one place
inside a chunk, in a third of the scenarios.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Final

import pytest

from monostream_ai.ui_messages import Chunk
from tests.clients.resuming.conftest import Serve
from tests.clients.resuming.judging import complaints_about, complaints_about_whole, views_of
from tests.clients.resuming.releases import (
    EMPTIED,
    LATEST,
    OVER_PARTIAL,
    REFRESH,
    RELEASES,
    SAME_TAB,
    faults_of,
)
from tests.clients.resuming.scenarios import Scenarios, Shape, shape_of
from tests.clients.resuming.stories import Cut, Story, Told, tell

VIEWS: Final = (SAME_TAB, REFRESH, OVER_PARTIAL)
CUT_OFF: Final = ("network error", "the connection broke")
"""The errors of networks.mjs."""

SHARES: Final = 4
"""Number of tests that share the cuts of one release, so that none takes long."""

LONG: Final = 60
"""More chunks than this have only messages of threads, whose parts are all alike. A case of such a
message takes a hundred times as long as one of most others.
"""

OF_A_LONG_ONE: Final = 15
"""Places at which a long message is cut."""

THIRDS: Final = 3


async def check(release: str, stories: Sequence[Story], recorded: Scenarios, serve: Serve) -> None:
    served = await serve(recorded)
    unbroken = [Story(release, name) for name in recorded]

    def sent(told: Told) -> list[Chunk]:
        start, *rest = recorded[told.story.scenario]
        return [{**start, "messageId": served.message_ids[told.chat_id]}, *rest]

    told = await tell([*unbroken, *stories], served.url)
    whole, cut = told[: len(unbroken)], told[len(unbroken) :]
    views = views_of(cut, whole, sent)

    assert {(each.cut["status"], each.cut["error"]) for each in cut} <= {
        ("error", text) for text in CUT_OFF
    }
    assert list(complaints_about_whole(whole, sent)) == []
    assert not (complaints := complaints_about(views)), complaints[0]
    # A fault that a release no longer has would be listed in vain.
    looked_at = {view for story in stories for view in story.views}
    assert {fault for view in views for fault in view.faults} == {
        fault for fault in faults_of(release) if fault.view in looked_at
    }


@pytest.mark.sweep(1)
@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("release", LATEST)
async def test_a_cut_after_any_chunk_is_made_good(
    serve: Serve, recorded: Scenarios, release: str, share: int
) -> None:
    boundaries = _boundaries(recorded)
    shared = {name: recorded[name] for name in [*boundaries][share::SHARES]}
    stories = [
        Story(release, name, Cut(at), VIEWS[:2], stored=at)
        for name in shared
        for at in boundaries[name]
    ]

    await check(release, stories, shared, serve)


def _boundaries(recorded: Scenarios) -> dict[str, list[int]]:
    """Return the chunk boundaries to try in each message that has one."""
    seen, boundaries = set[Shape](), dict[str, list[int]]()
    for name, chunks in recorded.items():
        shape = shape_of(chunks)
        step = len(chunks) // OF_A_LONG_ONE if len(chunks) > LONG else 1
        for at in range(1, len(chunks), step):
            if shape[: at + 1] not in seen:
                seen.add(shape[: at + 1])
                boundaries.setdefault(name, []).append(at)
    return boundaries


@pytest.mark.sweep(1)
@pytest.mark.parametrize("release", RELEASES)
async def test_a_cut_here_and_there_is_made_good(
    serve: Serve, recorded: Scenarios, release: str
) -> None:
    third = {
        name: recorded[name] for name in [*recorded][RELEASES.index(release) % THIRDS :: THIRDS]
    }
    stories = [
        story for name, chunks in third.items() for story in _some_cuts(release, name, len(chunks))
    ]

    await check(release, stories, third, serve)


def _some_cuts(release: str, name: str, length: int) -> Iterator[Story]:
    random = Random(f"{release} {name}")
    boundaries = random.sample(range(1, length), k=min(2, length - 1))
    for at, views in zip(boundaries, (VIEWS, (EMPTIED,)), strict=False):
        yield Story(release, name, Cut(at), views, stored=at)
    if length > 2:
        # More is stored than has reached the page.
        stored = random.randrange(2, length)
        yield Story(
            release,
            name,
            Cut(random.randrange(stored), random.randrange(1, 200)),
            VIEWS,
            stored=stored,
        )

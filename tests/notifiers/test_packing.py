"""Wake-ups are packed into the payloads of Postgres notifications."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monostream_ai.notifiers.packing import MAX_PAYLOAD_BYTES, pack, unpack
from monostream_ai.types import MAX_STREAM_ID_BYTES, MAX_VERSION, WakeUp

NUMBERS = st.integers(0, MAX_VERSION)
STREAM_IDS = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=400
)
WAKE_UPS = st.lists(
    st.builds(WakeUp, STREAM_IDS, NUMBERS, st.integers(-1, MAX_VERSION), st.just("") | STREAM_IDS),
    min_size=1,
    max_size=60,
)


@given(WAKE_UPS)
def test_packed_wake_ups_fit_postgres_and_come_back_in_order(
    wake_ups: list[WakeUp],
) -> None:
    payloads = pack(wake_ups)
    assert [wake_up for payload in payloads for wake_up in unpack(payload)] == wake_ups
    assert all(0 < len(payload.encode()) <= MAX_PAYLOAD_BYTES for payload in payloads)


def test_a_hundred_streams_are_woken_by_one_payload() -> None:
    assert len(pack(WakeUp(f"chat:{number:032}", 3, 1000) for number in range(100))) == 1


@pytest.mark.parametrize("character", ["x", ".", "é", "\U0001f600"])
def test_the_longest_stream_id_fits(character: str) -> None:
    wake_up = WakeUp(
        character * (MAX_STREAM_ID_BYTES // len(character.encode())), MAX_VERSION, MAX_VERSION
    )
    assert [unpack(payload) for payload in pack([wake_up] * 3)] == [[wake_up] * 3]


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "s",
        "1.1",
        "1.1.1",
        "1.1.1.",
        "1.1.2.s",
        "1.1.0.",
        "1.1.-1.s",
        "1.1.-6.s",
        "x.1.1.s",
        "1.x.1.s",
        "1.1.1.s2",
    ],
)
def test_a_payload_that_is_not_ours_is_refused(payload: str) -> None:
    with pytest.raises(ValueError):
        unpack(payload)


def test_chunks_travel_behind_their_wake_up() -> None:
    carried = "é.1.2:x" * 40
    wake_ups = [
        WakeUp("a", 0, 1),
        WakeUp("b.c", 7, 9, carried),
        WakeUp("d", 0, -1),
        WakeUp("e", 1, 1, "x"),
    ]
    (payload,) = pack(wake_ups)
    assert unpack(payload) == wake_ups


def test_chunks_that_do_not_fit_beside_their_stream_are_left_out() -> None:
    wake_ups = [WakeUp("s" * 300, 0, number, "x" * 7_850) for number in range(3)]
    payloads = pack(wake_ups)
    assert all(len(payload) <= MAX_PAYLOAD_BYTES for payload in payloads)
    assert [wake_up for payload in payloads for wake_up in unpack(payload)] == [
        wake_up._replace(carried="") for wake_up in wake_ups
    ]


def test_a_release_that_knows_no_chunks_hears_every_wake_up() -> None:
    def heard_before(payload: str) -> Iterator[tuple[str, int, int]]:
        # All that the grammar of release 0.2 says: version, id, length and stream id, repeated.
        while payload:
            version, id, length, rest = payload.split(".", 3)
            yield rest[: int(length)], int(version), int(id)
            payload = rest[int(length) :]

    wake_ups = [WakeUp("a", 3, 4, "chunk 1.2.3.4"), WakeUp("b", 5, 6), WakeUp("c", 7, 8, "é")]
    heard = [entry for payload in pack(wake_ups) for entry in heard_before(payload)]
    # Carried chunks are to it a stream that nobody reads, at an id that is no news.
    assert [entry for entry in heard if entry[2] >= -1] == [each[:3] for each in wake_ups]
    assert [id for _, _, id in heard if id < -1] == [-2, -2]


def test_entries_of_later_releases_are_passed_over() -> None:
    assert unpack("3.4.1.a" + "2.-2.1.x" + "9.-3.1.y" + "5.6.1.b") == [
        WakeUp("a", 3, 4),
        WakeUp("b", 5, 6),
    ]
    assert unpack("1.-2.1.x") == []

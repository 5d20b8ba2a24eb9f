"""Wake-ups are packed into the payloads of Postgres notifications."""

from __future__ import annotations

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
    st.builds(WakeUp, STREAM_IDS, NUMBERS, st.integers(-1, MAX_VERSION)), min_size=1, max_size=60
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

from __future__ import annotations

from random import Random

import pytest

from monostream_ai.ag_ui import AGUIEncoder, EventCursor
from monostream_ai.errors import InvalidCursor
from monostream_ai.json_text import encode_json
from monostream_ai.types import Batch, Cursor
from tests.ui_messages.random_messages import random_message


def frames_of(batch: Batch, after: str | None = None) -> list[str]:
    cursor = None if after is None else EventCursor.parse(after)
    encoder = AGUIEncoder("c1", "r", after=cursor)
    text = encoder.frames(batch) + encoder.end(batch.payloads[-1])
    assert text == "" or text.endswith("\n\n")
    return [frame for frame in text.split("\n\n") if frame]


def id_of(frame: str) -> str:
    return frame.partition("\n")[0].removeprefix("id: ")


@pytest.mark.parametrize("seed", range(20))
def test_a_client_that_resumes_after_any_event_gets_the_others(seed: int) -> None:
    chunks = random_message(Random(seed))
    batch = Batch(3, 0, [encode_json(chunk) for chunk in chunks])
    frames = frames_of(batch)

    assert len({id_of(frame) for frame in frames}) == len(frames)
    for place, frame in enumerate(frames):
        assert frames_of(batch, id_of(frame)) == frames[place + 1 :]


def test_the_last_event_of_a_chunk_has_the_cursor_of_the_chunk() -> None:
    chunks = [
        {"type": "start"},
        {"type": "reasoning-start", "id": "0"},
        {"type": "error", "errorText": "a\u2028b"},
    ]
    batch = Batch(3, 0, [encode_json(chunk) for chunk in chunks])

    frames = frames_of(batch)

    assert [id_of(frame) for frame in frames] == ["3.0", "3.1.0", "3.1", "3.2.0", "3.2.1", "3.2"]
    assert [len(frame.splitlines()) for frame in frames] == [2] * len(frames)


def test_cursors_are_read_as_they_are_written() -> None:
    for cursor in (EventCursor(Cursor(3, 17)), EventCursor(Cursor(0, 0), 0)):
        assert EventCursor.parse(str(cursor)) == cursor


@pytest.mark.parametrize("token", ["", "3", "3.1.", "3.1.-1", "3.1.1.1", "3.1.²", "a.b.c"])
def test_other_texts_are_refused(token: str) -> None:
    with pytest.raises(InvalidCursor):
        EventCursor.parse(token)

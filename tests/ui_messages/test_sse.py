from __future__ import annotations

import json
from typing import NamedTuple

import pytest

from monostream_ai.json_text import encode_json
from monostream_ai.types import Cursor
from monostream_ai.ui_messages import DONE, HEADERS, KEEP_ALIVE, STREAM_OPEN, SSEEncoder


class Batch(NamedTuple):
    version: int
    first: int
    payloads: list[str]


def test_each_payload_is_one_event_with_its_cursor() -> None:
    frames = SSEEncoder().frames(Batch(3, 7, ['{"type":"start"}', '{"type":"finish"}']))

    assert frames == 'id: 3.7\ndata: {"type":"start"}\n\nid: 3.8\ndata: {"type":"finish"}\n\n'
    assert Cursor.parse("3.8") == Cursor(3, 8)


def test_an_empty_batch_has_no_frames() -> None:
    assert SSEEncoder().frames(Batch(0, 0, [])) == ""


def test_line_breaks_of_another_program_do_not_break_the_frame() -> None:
    payload = json.dumps({"type": "data-a", "data": "a\nb"}, indent=2).replace("\n", "\r\n")
    frame = SSEEncoder().frames(Batch(0, 0, [payload]))

    assert frame.count("\n") == 3
    assert json.loads(frame.splitlines()[1].removeprefix("data: ")) == {
        "type": "data-a",
        "data": "a\nb",
    }


@pytest.mark.parametrize("break_", ["\u2028", "\u2029", "\x85"], ids=ascii)
def test_a_frame_is_whole_for_a_client_that_splits_text_at_every_line_break(break_: str) -> None:
    """httpx's `iter_lines` splits as `str.splitlines` does."""
    chunk = {"type": "text-delta", "id": "t", "delta": f"one{break_}two é"}
    encoder = SSEEncoder()
    for frame in (
        encoder.frames(Batch(0, 0, [encode_json(chunk)])),
        encoder.frames_without_id([encode_json(chunk)]),
    ):
        data = frame.splitlines()[-2].removeprefix("data: ")
        assert json.loads(data) == chunk
        assert "é" in data


@pytest.mark.parametrize("payload", ['{"type":"error","errorText":"x"}', '{"type":"abort"}', None])
def test_an_end_that_is_no_finish_gets_one_without_an_id(payload: str | None) -> None:
    assert SSEEncoder().end(payload) == 'data: {"type":"finish"}\n\ndata: [DONE]\n\n'


def test_a_finish_is_followed_by_nothing_but_done() -> None:
    assert (
        SSEEncoder().end('{"type": "finish", "finishReason": "stop"}') == DONE == "data: [DONE]\n\n"
    )


def test_comments_are_whole_events() -> None:
    assert (STREAM_OPEN, KEEP_ALIVE) == (": stream-open\n\n", ": keep-alive\n\n")


def test_a_proxy_is_told_to_pass_frames_on() -> None:
    assert HEADERS == {
        "content-type": "text/event-stream",
        "cache-control": "no-cache, no-transform",
        "connection": "keep-alive",
        "x-vercel-ai-ui-message-stream": "v1",
        "x-accel-buffering": "no",
    }


def test_an_encoder_shows_its_profile() -> None:
    assert repr(SSEEncoder("v6")) == "<SSEEncoder 'v6'>"

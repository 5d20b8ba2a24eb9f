from __future__ import annotations

import logging

import pytest

from monostream_ai.errors import ChunkTooLarge
from monostream_ai.ui_messages import Chunk, UIMessageBuilder, reduce_chunks
from monostream_ai.ui_messages.size_limit import push_fitting
from monostream_ai.ui_messages.texts import TOO_LARGE_TEXT
from monostream_ai.ui_messages.unread import Unread


def test_an_unread_value_stays_in_the_message() -> None:
    unread = Unread(UIMessageBuilder(), "langchain")

    chunks = unread.keep("block 'hologram'", {"hologram": b"x", "text": "hi"})

    assert reduce_chunks(chunks)["parts"] == [
        {
            "type": "data-unread",
            "data": {
                "sdk": "langchain",
                "kind": "block 'hologram'",
                "value": {"hologram": "eA==", "text": "hi"},
            },
        }
    ]


def test_each_kind_is_logged_once_and_counted_always(caplog: pytest.LogCaptureFixture) -> None:
    unread = Unread(UIMessageBuilder(), "langchain")

    with caplog.at_level(logging.WARNING):
        for secret in ("one", "two"):
            unread.keep("block", secret)
        unread.lose("frame")

    assert unread.counts == {"block": 2, "frame": 1}
    assert [record.getMessage() for record in caplog.records] == [
        "cannot read 'block' in an answer of langchain: it is kept as a data-unread part",
        "cannot read 'frame' in an answer of langchain: it is left out",
    ]


def test_an_unread_value_that_is_too_large_says_so() -> None:
    pushed: list[Chunk] = []

    class SmallSink:
        message_id = None

        def push(self, *chunks: Chunk) -> None:
            if (size := len(str(chunks))) > 200:
                raise ChunkTooLarge("data-unread", size, 200)
            pushed.extend(chunks)

    push_fitting(SmallSink(), Unread(UIMessageBuilder(), "openai").keep("item", "x" * 300))

    assert [chunk["data"]["value"] for chunk in pushed[1:]] == [TOO_LARGE_TEXT]

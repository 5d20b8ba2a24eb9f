"""Files in JSON values are found in the form of every SDK, and nothing else is taken for one."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from monostream_ai.ui_messages.held_files import HeldFile, files_in, replace_files
from tests.filing import SMALL, SMALL_BASE64, SMALL_URL

NOTE = {"type": "text", "text": "a file"}

PARTS = {
    "LangChain": {"type": "image", "base64": SMALL_BASE64, "mime_type": "image/png"},
    "LangChain without type": {"type": "image", "base64": SMALL_BASE64},
    "LangChain v0": {
        "type": "image",
        "source_type": "base64",
        "data": SMALL_BASE64,
        "mime_type": "image/png",
    },
    "MCP": {"type": "image", "data": SMALL_BASE64, "mimeType": "image/png"},
    "MCP resource": {
        "type": "resource",
        "resource": {"uri": "file:///a.png", "mimeType": "image/png", "blob": SMALL_BASE64},
    },
    "chat completions": {"type": "image_url", "image_url": {"url": SMALL_URL}},
    "Responses": {"type": "input_image", "image_url": SMALL_URL},
    "Responses file": {"type": "input_file", "filename": "a.png", "file_data": SMALL_URL},
    "Images API": {"b64_json": SMALL_BASE64},
    "Anthropic": {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": SMALL_BASE64},
    },
    "Gemini": {"inlineData": {"mimeType": "image/png", "data": SMALL_BASE64}},
    "AI SDK media": {"type": "media", "mediaType": "image/png", "data": SMALL_BASE64},
    "AI SDK": {"type": "image-data", "mediaType": "image/png", "data": SMALL_BASE64},
    "UI message": {"type": "file", "mediaType": "image/png", "url": SMALL_URL},
    "data URL": SMALL_URL,
    "base64": SMALL_BASE64,
    "base64 in lines": base64.encodebytes(SMALL).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(SMALL).decode().rstrip("="),
}


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize(
    "wrap",
    [
        lambda part: part,
        lambda part: [NOTE, part],
        lambda part: {"content": [NOTE, part], "isError": False},
        lambda part: {"screenshot": part, "title": "A page"},
    ],
    ids=["alone", "list", "MCP", "object"],
)
def test_a_file_is_found_and_replaced(part: Any, wrap: Any) -> None:
    [file] = files_in(wrap(part))
    assert (file.media_type, file.content(), file.size) == ("image/png", SMALL, len(SMALL))
    replaced = replace_files(wrap(part), lambda file: NOTE)
    assert SMALL_BASE64[:100] not in str(replaced)
    assert [*files_in(replaced)] == []
    assert replace_files(wrap(part), lambda file: None) == wrap(part)


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        "hello",
        "data: none",
        "data:image/png;base64,not base64!",
        "data:text/plain,\ud800",
        "/9j/ is how a JPEG begins",
        {"type": "image", "url": "https://a.test/a.png"},
        {"type": "text", "text": "data"},
        {"data": "hello", "n": 1},
        {"data": "abcd"},
        {"mime_type": "text/plain", "data": "word"},
        {"type": "image", "data": "not base64!"},
        {"type": "file", "file_id": "file-1"},
        {"type": "resource", "resource": {"mimeType": "text/plain", "text": "Hello"}},
        [{"type": "image_url", "image_url": {"url": "https://a.test/a.png"}}],
        "iVBORw0KGgo " + "plain words " * 100,
        " " * 100_000 + "!",
    ],
    ids=repr,
)
def test_nothing_else_is_taken_for_a_file(value: Any) -> None:
    assert [*files_in(value)] == []
    assert replace_files(value, lambda file: NOTE) is value


def test_a_part_keeps_its_other_keys() -> None:
    part = {"type": "image", "data": SMALL_BASE64, "mimeType": "image/png", "alt": "A cat"}
    assert replace_files(part, lambda file: NOTE) == {**NOTE, "alt": "A cat"}


def test_a_data_url_need_not_be_base64() -> None:
    [file] = files_in({"type": "file", "url": "data:image/svg+xml;charset=utf-8,%3Csvg%2F%3E"})
    assert (file.media_type, file.content()) == ("image/svg+xml", b"<svg/>")


def test_audio_names_its_format() -> None:
    part = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}
    assert [*files_in(part)] == [HeldFile("AAAA", "audio/mp3")]


def test_values_of_any_depth_are_searched_safely() -> None:
    value: Any = SMALL_URL
    for _ in range(50_000):
        value = [value]
    assert replace_files(value, lambda file: NOTE) is value


def test_several_files_keep_their_order() -> None:
    parts = [{"type": "image", "base64": text} for text in ("AAAA", "AAAB", "AAAC")]
    assert [file.base64 for file in files_in({"content": parts})] == ["AAAA", "AAAB", "AAAC"]

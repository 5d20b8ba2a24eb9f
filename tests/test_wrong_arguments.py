"""An argument that would fail late, or change an answer silently, is refused where it is given."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from monostream_ai import DurableStreamService, JSONProtocol
from monostream_ai.errors import InvalidArgument, InvalidChunk, InvalidNumber
from monostream_ai.langchain import resume_value, to_langchain_messages
from monostream_ai.openai import to_openai_input, to_openai_messages
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.testing import UnheardNotifier, UnreliableStore
from monostream_ai.ui_messages import (
    MessageReducer,
    ProfileFilter,
    SSEEncoder,
    UIMessageBuilder,
    chunks_of_message,
)

ASKED: list[dict[str, Any]] = [
    {
        "id": "u1",
        "role": "user",
        "parts": [
            {"type": "text", "text": "hi"},
            {"type": "data-place", "data": "Rome"},
            {"type": "file", "url": "https://example.com/a.png", "mediaType": "image/png"},
        ],
    }
]
CONVERTERS = [to_langchain_messages, to_openai_messages, to_openai_input]


async def awaited(*given: Any) -> Any:
    """Stand in for a function that must not be async."""


async def yielding(*given: Any) -> Any:
    """Stand in for a function that must not be a generator."""
    yield


@pytest.mark.parametrize("convert", CONVERTERS)
@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"url_schemes": "https"}, TypeError, "url_schemes"),
        ({"url_schemes": None}, TypeError, "url_schemes"),
        ({"url_schemes": [1]}, TypeError, "url_schemes"),
        ({"url_schemes": ["https://"]}, InvalidArgument, "'https://'"),
        ({"url_schemes": ["HTTPS"]}, InvalidArgument, "'HTTPS'"),
        ({"max_bytes": "1"}, InvalidNumber, "max_bytes"),
        ({"max_bytes": -1}, InvalidNumber, "max_bytes"),
        ({"max_bytes": math.nan}, InvalidNumber, "max_bytes"),
        ({"convert_data_part": "x"}, TypeError, "convert_data_part"),
        ({"convert_data_part": awaited}, TypeError, "convert_data_part is async"),
        ({"convert_data_part": yielding}, TypeError, "convert_data_part is async"),
        ({"convert_data_part": lambda part: 1}, TypeError, "convert_data_part returned 1"),
        ({"convert_data_parts": None}, TypeError, "convert_data_parts"),
    ],
)
def test_an_option_of_a_conversion_is_checked(
    convert: Callable[..., Any], options: dict[str, Any], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        convert(ASKED, **options)


@pytest.mark.parametrize("convert", [*CONVERTERS, resume_value])
@pytest.mark.parametrize("messages", [None, "hi", ASKED[0], 1, iter(ASKED)])
def test_messages_are_a_list(convert: Callable[..., Any], messages: Any) -> None:
    with pytest.raises(InvalidArgument, match="not a list of UI messages"):
        convert(messages)


@pytest.mark.parametrize("message", [None, "hi", ASKED, 1])
def test_one_message_is_no_list(message: Any) -> None:
    with pytest.raises(InvalidArgument, match="is not a UI message"):
        chunks_of_message(message)
    if message is not None:
        with pytest.raises(InvalidArgument, match="is not a UI message"):
            MessageReducer(message)


@pytest.mark.parametrize(
    "message",
    [
        ASKED[0],
        {"role": "assistant", "parts": None},
        {"role": "assistant", "parts": "hi"},
        {"role": "assistant", "parts": [1]},
        {"role": "assistant", "parts": [{"text": "hi"}]},
        {"role": "assistant", "parts": [{"type": 1}]},
    ],
)
def test_a_reducer_continues_an_assistant_message_only(message: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        MessageReducer(message)


@pytest.mark.parametrize("profile", [None, 7, "v8", "", ["v5"], b"v5"])
@pytest.mark.parametrize("made", [ProfileFilter, SSEEncoder])
def test_an_unknown_profile_is_named(made: Callable[[Any], Any], profile: Any) -> None:
    with pytest.raises(InvalidArgument, match="unknown profile"):
        made(profile)


@pytest.mark.parametrize("payloads", ["abc", [{"type": "start"}], [b"{}"], [None]])
@pytest.mark.parametrize("profile", ["v5", "v7.0.149"])
def test_frames_are_made_of_json_texts(payloads: Any, profile: Any) -> None:
    with pytest.raises(TypeError, match="payloads is"):
        SSEEncoder(profile).frames_without_id(payloads)


@pytest.mark.parametrize("name", [None, "", 1])
def test_a_data_part_has_a_name(name: Any) -> None:
    with pytest.raises(InvalidChunk, match="name of a data part"):
        UIMessageBuilder().data(name, 1)


@pytest.mark.parametrize("kind", ["text", "reasoning"])
def test_each_delta_is_a_text(kind: str) -> None:
    builder = UIMessageBuilder()
    add: Callable[[str, Any], Any] = getattr(builder, kind)
    add("t", "a")
    for delta in (None, 1, b"b", ["b"]):
        with pytest.raises(InvalidChunk, match="delta"):
            add("t", delta)


@pytest.mark.parametrize("function", ["done", 1, awaited, yielding])
@pytest.mark.parametrize("name", ["is_terminal", "ending"])
def test_a_protocol_is_made_of_functions(name: str, function: Any) -> None:
    with pytest.raises(TypeError, match=name):
        JSONProtocol(**{name: function})


@pytest.mark.parametrize("returned", [None, "finish", {"type": "finish"}, 1, awaited])
async def test_an_ending_that_is_no_list_is_named(returned: Any) -> None:
    protocol = JSONProtocol[Any](ending=lambda ending: returned)
    service = DurableStreamService(MemoryStore(), None, protocol)
    pub = await service.publisher("s").open()
    with pytest.raises(TypeError, match="ending returned"):
        await pub.close()


@pytest.mark.parametrize("given", [None, "memory://", MemoryStore])
@pytest.mark.parametrize("made", [UnreliableStore, UnheardNotifier])
def test_a_double_of_a_test_needs_what_it_stands_before(
    made: Callable[[Any], Any], given: Any
) -> None:
    with pytest.raises(TypeError, match="needs a"):
        made(given)

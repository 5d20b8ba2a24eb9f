"""Messages made by random calls of the builder, many of which it refuses."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any, TypeAlias

from monostream_ai.errors import InvalidChunk
from monostream_ai.ui_messages import Chunk, UIMessageBuilder

Act: TypeAlias = Callable[[UIMessageBuilder, Random], list[Chunk]]

VALUES: list[Any] = [
    None,
    True,
    0,
    -1.5,
    "",
    "ü\u2028\x00\ud800",
    [1, [2]],
    {"a": {"b": None}},
    {"a": {"c": 1}},
    {"": {}},
]


def _id(random: Random) -> str:
    return random.choice(["a", "b", "constructor", "__proto__", "ü \n"])


def _call(random: Random) -> dict[str, Any]:
    # The id decides whether a call is dynamic, so that it never changes, as in a real capture.
    call_id = random.choice(["c1", "c2", "c3", "c4"])
    return {
        "call_id": call_id,
        "name": f"tool_{call_id}",
        "dynamic": call_id != "c4",
        "provider_executed": call_id == "c3",
    }


def _tool_call(builder: UIMessageBuilder, random: Random) -> list[Chunk]:
    return builder.tool_call(**_call(random), input=random.choice(VALUES))


def _tool_input(builder: UIMessageBuilder, random: Random) -> list[Chunk]:
    return builder.tool_input(
        **_call(random), delta=random.choice(["", "{", '{"a":1', '"x', ',"b":[', "}", "no JSON"])
    )


def _tool_input_error(builder: UIMessageBuilder, random: Random) -> list[Chunk]:
    return builder.tool_input_error(**_call(random), input=random.choice(VALUES), error_text="bad")


def _output(builder: UIMessageBuilder, random: Random) -> list[Chunk]:
    return builder.tool_output(
        _call(random)["call_id"], random.choice(VALUES), preliminary=random.random() < 0.3
    )


def _response(builder: UIMessageBuilder, random: Random) -> list[Chunk]:
    return builder.approval_response(
        _id(random), random.random() < 0.5, reason=random.choice([None, "so"])
    )


def _data(builder: UIMessageBuilder, random: Random) -> list[Chunk]:
    data_id = random.choice([None, "x", "y"])
    return builder.data(
        random.choice("de"), random.choice(VALUES), data_id=data_id, transient=random.random() < 0.2
    )


ACTS: list[Act] = [
    lambda builder, random: builder.start(),
    lambda builder, random: builder.start_step(),
    lambda builder, random: builder.finish_step(),
    lambda builder, random: builder.reset_step() if random.random() < 0.3 else [],
    lambda builder, random: builder.text(_id(random), random.choice(["", "a", "\n"])),
    lambda builder, random: builder.end_text(_id(random)),
    lambda builder, random: builder.reasoning(_id(random), random.choice(["", "a", "\n"])),
    lambda builder, random: builder.end_reasoning(_id(random)),
    _tool_input,
    _tool_input,
    _tool_call,
    _tool_call,
    _tool_input_error,
    _output,
    _output,
    lambda builder, random: builder.tool_error(_call(random)["call_id"], "broke"),
    lambda builder, random: builder.approval_request(_call(random)["call_id"], _id(random)),
    _response,
    lambda builder, random: builder.tool_denied(_call(random)["call_id"]),
    _data,
    lambda builder, random: builder.source_url(
        "s", "https://a.example", title=random.choice([None, "A"])
    ),
    lambda builder, random: builder.source_document("d", media_type="text/plain", title="D"),
    lambda builder, random: builder.file("data:,x", media_type="text/plain"),
    lambda builder, random: builder.reasoning_file("data:,x", media_type="text/plain"),
    lambda builder, random: builder.custom("acme.thing"),
    lambda builder, random: builder.metadata(
        random.choice([{"a": {"b": [1]}}, {"a": {"c": None}}, {"": 1}, {"a": 2}, {}, 7])
    ),
    lambda builder, random: builder.file(7, media_type="x"),  # type: ignore[arg-type]  # refused, and leaves no trace
]

ENDS: list[Act] = [
    lambda builder, random: builder.finish(random.choice([None, "length", "interrupted"])),
    lambda builder, random: builder.error("An error occurred."),
    lambda builder, random: builder.abort(random.choice([None, "stopped"])),
]


def random_message(random: Random, acts: int = 40) -> list[Chunk]:
    """Return the chunks of one complete message."""
    builder = UIMessageBuilder(message_id="m1", metadata=random.choice([None, {"a": 1}]))
    chunks: list[Chunk] = []
    for _ in range(random.randrange(acts)):
        with suppress(InvalidChunk):
            chunks += random.choice(ACTS)(builder, random)
    return chunks + random.choice(ENDS)(builder, random)

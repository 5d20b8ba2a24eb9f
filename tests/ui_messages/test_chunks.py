from __future__ import annotations

from typing import Any

import pytest

from monostream_ai.errors import InvalidChunk
from monostream_ai.ui_messages import check_chunk
from monostream_ai.ui_messages.chunks import DATA_SHAPE, SHAPES, Chunk, Kind

SAMPLES: dict[Kind, Any] = {
    "string": "s",
    "boolean": True,
    "object": {"a": 1},
    "array": [],
    "anything": 1,
    "value": None,
    "providerMetadata": {"openai": {"id": 1}},
    "finishReason": "stop",
    "inputEncoding": "text",
}

WHOLE: dict[str, Chunk] = {
    kind: {
        "type": kind,
        **{key: SAMPLES[value] for key, value in {**shape.required, **shape.optional}.items()},
    }
    for kind, shape in {**SHAPES, "data-x": DATA_SHAPE}.items()
}


@pytest.mark.parametrize("chunk", WHOLE.values(), ids=WHOLE)
def test_a_chunk_with_every_key_is_accepted(chunk: Chunk) -> None:
    assert check_chunk(chunk) is chunk


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        (kind, key)
        for kind, shape in {**SHAPES, "data-x": DATA_SHAPE}.items()
        for key in shape.required
    ],
)
def test_a_missing_required_key_is_named(kind: str, key: str) -> None:
    chunk = {name: value for name, value in WHOLE[kind].items() if name != key}

    with pytest.raises(InvalidChunk) as caught:
        check_chunk(chunk)

    assert caught.value.path == f"$.{key}"


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        (kind, key)
        for kind, shape in SHAPES.items()
        for key, wanted in shape.optional.items()
        if wanted != "value"
    ],
)
def test_a_null_under_an_optional_key_is_named(kind: str, key: str) -> None:
    with pytest.raises(InvalidChunk) as caught:
        check_chunk({**WHOLE[kind], key: None})

    assert caught.value.path == f"$.{key}"


@pytest.mark.parametrize(
    ("chunk", "path"),
    [
        ({"type": "finish", "finishReason": "tool_calls"}, "$.finishReason"),
        ({"type": "text-start", "id": 1}, "$.id"),
        ({"type": "text-delta", "id": "t", "delta": None}, "$.delta"),
        (
            {"type": "text-start", "id": "t", "providerMetadata": {"langchain": "x"}},
            "$.providerMetadata",
        ),
        ({"type": "data-a", "id": 1, "data": 1}, "$.id"),
        ({"type": "data-a", "data": [{"b": {"__proto__": {}}}]}, "$.data[0].b.__proto__"),
        (
            {"type": "data-a", "data": {"constructor": {"prototype": 1}}},
            "$.data.constructor.prototype",
        ),
        ({"type": 1}, "$.type"),
        ({}, "$.type"),
        ([], "$"),
    ],
    ids=str,
)
def test_a_chunk_that_a_client_refuses_is_refused_with_its_path(chunk: object, path: str) -> None:
    with pytest.raises(InvalidChunk) as caught:
        check_chunk(chunk)

    assert caught.value.path == path


@pytest.mark.parametrize(
    "chunk",
    [
        {"type": "invented", "a": None},
        {"type": "finish-step", "new": [1]},
        {"type": "data-a", "data": {"constructor": 1}},
    ],
)
def test_unknown_types_and_keys_pass(chunk: Chunk) -> None:
    assert check_chunk(chunk) is chunk

from __future__ import annotations

import json

import pytest

from monostream_ai.chats.streaming.replays.merging import MERGED_CHARACTERS, merge_deltas
from monostream_ai.json_text import encode_json


def delta(text: str, part_id: str = "t", kind: str = "text") -> str:
    return encode_json({"type": f"{kind}-delta", "id": part_id, "delta": text})


def merged(payloads: list[str], first: int = 0) -> list[tuple[int, str]]:
    return [*merge_deltas(range(first, first + len(payloads)), payloads)]


def test_deltas_of_one_part_become_one_with_the_last_id() -> None:
    payloads = ['{"type":"start"}', delta("a"), delta("b"), delta("c"), '{"type":"finish"}']

    assert merged(payloads, 7) == [(7, payloads[0]), (10, delta("abc")), (11, payloads[4])]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (delta("a"), delta("b", "u")),
        (delta("a"), delta("b", kind="reasoning")),
        (delta("a"), '{"type":"text-end","id":"t"}'),
        (
            delta("a"),
            '{"type":"text-delta","id":"t","delta":"b","providerMetadata":{"a":{"b":"c"}}}',
        ),
        (delta("a"), '{"type":"text-delta","id":"t","delta":"b","more":"c"}'),
        (delta("a"), '{"type":"text-delta","id":"t","delta":"b\\\\","more":"c\\""}'),
        (delta("a"), '{"type":"text-delta","id":"t","delta":"b" }'),
        (delta("a"), '{"type": "text-delta", "id": "t", "delta": "b"}'),
    ],
)
def test_deltas_of_different_parts_stay_apart(one: str, other: str) -> None:
    assert merged([one, other, one]) == [(0, one), (1, other), (2, one)]


@pytest.mark.parametrize(
    "texts", [['"', "\\", '\\"'], ["\ud83d", "\ude00"], ["", "\0\n"], ['","delta":"', '"}']]
)
def test_a_merged_delta_joins_the_texts_in_order(texts: list[str]) -> None:
    [(_, whole)] = merged([delta(text, 'a"\\') for text in texts])

    joined = "".join(texts).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    assert json.loads(whole) == {"type": "text-delta", "id": 'a"\\', "delta": joined}


def test_tool_inputs_are_merged_too() -> None:
    pieces = [
        encode_json({"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": text})
        for text in ('{"a"', ":1}")
    ]

    assert [json.loads(whole)["inputTextDelta"] for _, whole in merged(pieces)] == ['{"a":1}']


def test_a_merged_delta_has_a_bounded_size() -> None:
    deltas = merged([delta("x" * 1000)] * 1000)

    assert max(len(payload) for _, payload in deltas) < MERGED_CHARACTERS + 2000
    assert sum(len(json.loads(payload)["delta"]) for _, payload in deltas) == 1_000_000
    assert deltas[-1][0] == 999

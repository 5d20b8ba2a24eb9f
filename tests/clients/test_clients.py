"""The real `ai` 5, 6 and 7 read what we send them, each under its profile, and make the message
that our reducer makes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from monostream_ai.errors import InvalidChunk
from monostream_ai.types import Ending
from monostream_ai.ui_messages import (
    Chunk,
    UIMessageBuilder,
    UIMessageProtocol,
    check_chunk,
    chunks_of_message,
    reduce_chunks,
)
from monostream_ai.ui_messages.chunks import DATA_SHAPE, SHAPES, Kind
from tests.clients.reading import CLIENTS, ReadAll, complaints, expect
from tests.openai import recordings
from tests.plugins.lanes import examples
from tests.ui_messages.random_messages import random_message
from tests.ui_messages.test_reducer import GOLDENS

FORGETFUL = "text after finish-step"
"""A golden that only `ai` 7 can read: older clients forget at the end of a step which texts are
open. No builder writes it.
"""


def test_goldens_are_read_as_we_read_them(read_all: ReadAll) -> None:
    goldens = {name: golden["chunks"] for name, golden in GOLDENS.items()}
    found = complaints(read_all, goldens, may_fail=True)

    assert [line for line in found if not line.startswith(FORGETFUL)] == []
    assert {line.partition("]")[0] for line in found} == {
        f"{FORGETFUL} [any, 6.0.326",
        f"{FORGETFUL} [v5, 5.0.277",
        f"{FORGETFUL} [v6, 6.0.326",
    }


def test_built_messages_are_read_as_we_read_them(read_all: ReadAll) -> None:
    assert (
        complaints(
            read_all,
            {f"seed {seed}": random_message(Random(seed)) for seed in range(examples(150))},
        )
        == []
    )


@pytest.mark.parametrize("ending", ["finish", "error", "abort", "lost"])
def test_messages_that_were_cut_off_and_ended_are_read_as_we_read_them(
    read_all: ReadAll, ending: Ending
) -> None:
    assert (
        complaints(
            read_all, {f"seed {seed}": _cut_off(seed, ending) for seed in range(examples(40))}
        )
        == []
    )


def _cut_off(seed: int, ending: Ending) -> list[Chunk]:
    chunks = random_message(Random(seed))
    transcript = UIMessageProtocol().transcript("m1")
    kept = chunks[: Random(-seed).randrange(len(chunks))]
    for chunk in kept:
        transcript.feed(chunk)
    ended = [*kept, *transcript.ending(ending)]
    # As the encoder has it; see test_sse.
    return ended if ended[-1]["type"] == "finish" else [*ended, {"type": "finish"}]


@pytest.mark.parametrize("ending", ["finish", "abort"])
def test_a_page_that_sends_tool_results_back_by_itself_does_not_send_again_what_has_ended(
    read_all: ReadAll, ending: Ending
) -> None:
    builder, transcript = UIMessageBuilder(message_id="m1"), UIMessageProtocol().transcript("m1")
    chunks = [*builder.tool_call("c", "n", {}), *builder.tool_output("c", 1)]
    for chunk in chunks:
        transcript.feed(chunk)
    sent = {
        profile: expect(profile, [*chunks, *transcript.ending(ending), {"type": "finish"}]).sent
        for profile in CLIENTS
    }
    answers = read_all(
        [{"client": client, "chunks": sent[profile]} for profile, client in CLIENTS.items()]
    )

    assert [answer["resent"] for answer in answers] == [False] * len(CLIENTS)


def test_the_chunks_of_whole_messages_are_read_as_those_messages(read_all: ReadAll) -> None:
    messages = [
        reduce_chunks(random_message(Random(seed)), finished=True) for seed in range(examples(60))
    ]

    assert (
        complaints(
            read_all,
            {f"seed {seed}": chunks_of_message(message) for seed, message in enumerate(messages)},
        )
        == []
    )


def test_what_langchain_tests_record_is_read_as_we_read_it(
    read_all: ReadAll, recorded_chunks: Mapping[str, Sequence[Sequence[Chunk]]]
) -> None:
    recorded = {
        f"{test} #{n}": chunks
        for test, kept in recorded_chunks.items()
        for n, chunks in enumerate(kept)
    }
    if not recorded:
        pytest.skip("runs after tests/langchain, which records the messages")

    assert complaints(read_all, recorded) == []


def test_what_openai_tests_record_is_read_as_we_read_it(read_all: ReadAll) -> None:
    assert recordings.NAMES
    assert (
        complaints(read_all, {name: recordings.chunks_of(name) for name in recordings.NAMES}) == []
    )


VALUES: Mapping[Kind, Any] = {
    "string": "x",
    "boolean": True,
    "object": {"a": 1},
    "array": [],
    "anything": 1,
    "value": None,
    "providerMetadata": {"p": {"a": 1}},
    "finishReason": "interrupted",
    "inputEncoding": "text",
}


def test_the_vocabulary_is_that_of_ai_7(read_all: ReadAll) -> None:
    accepted, refused = list[Chunk](), list[Chunk]()
    for name, shape in {**SHAPES, "data-x": DATA_SHAPE}.items():
        required = {"type": name, **{key: VALUES[kind] for key, kind in shape.required.items()}}
        optional = {key: VALUES[kind] for key, kind in shape.optional.items()}
        accepted += [required, required | optional]
        refused += [
            {key: value for key, value in required.items() if key != left_out}
            for left_out in shape.required
        ]
        for key, kind in (*shape.required.items(), *shape.optional.items()):
            if kind not in ("anything", "value"):
                refused += [required | optional | {key: None}, required | optional | {key: 7}]
    (answer,) = read_all([{"client": CLIENTS["v7"], "chunks": [*accepted, *refused]}])

    assert answer["refused"] == refused
    assert [chunk for chunk in refused if not _is_refused(chunk)] == []
    assert [chunk for chunk in accepted if _is_refused(chunk)] == []


def _is_refused(chunk: Chunk) -> bool:
    try:
        check_chunk(json.loads(json.dumps(chunk)))
    except InvalidChunk:
        return True
    return False


def test_a_type_that_ai_7_has_is_one_that_we_have(packages: Path) -> None:
    source = (
        packages / f"ai-{CLIENTS['v7']}/src/ui-message-stream/ui-message-chunks.ts"
    ).read_text()

    assert sorted(re.findall(r"(?m)^ {8}type: z\.literal\('([^']+)'\)", source)) == sorted(SHAPES)

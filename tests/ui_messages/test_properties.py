"""Properties of every message that the builder makes."""

from __future__ import annotations

import copy
import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monostream_ai.errors import InvalidChunk
from monostream_ai.json_text import encode_json
from monostream_ai.ui_messages import (
    Chunk,
    Profile,
    ProfileFilter,
    UIMessageBuilder,
    UIMessageProtocol,
    check_chunk,
    chunks_of_message,
    reduce_chunks,
)
from monostream_ai.ui_messages.profiles import PROFILES
from tests.plugins.lanes import examples
from tests.ui_messages.random_messages import ACTS, random_message
from tests.ui_messages.test_reducer import GOLDENS

TERMINAL = ("finish", "error", "abort")
RANDOMS = st.randoms(use_true_random=False)
MESSAGES = RANDOMS.map(random_message)

# The same examples in every run, so that CI is deterministic.
everywhere = settings(derandomize=True, deadline=None, max_examples=examples(200))


def check_order(chunks: list[Chunk]) -> None:
    """Fail where the strictest client would, which drops its open parts when a step ends."""
    kinds = [chunk["type"] for chunk in chunks]
    assert kinds[0] == "start" and kinds.count("start") == 1
    assert kinds[-1] in TERMINAL and sum(kinds.count(kind) for kind in TERMINAL) == 1
    step_open, parts = False, set[tuple[str, str]]()
    for kind, chunk in zip(kinds, chunks, strict=True):
        name, _, what = kind.partition("-")
        if kind in ("start-step", "finish-step"):
            assert step_open == (kind == "finish-step") and not parts
            step_open = not step_open
        elif name in ("text", "reasoning") and what in ("start", "delta", "end"):
            part = (name, chunk["id"])
            assert step_open and (part in parts) == (what != "start")
            parts = parts - {part} if what == "end" else parts | {part}
    # The empty step at the end of a stopped message stays open on purpose.
    assert step_open == (kinds[-1] == "abort")


@given(MESSAGES)
@everywhere
def test_a_built_message_is_well_formed(chunks: list[Chunk]) -> None:
    for chunk in chunks:
        check_chunk(chunk)
    check_order(chunks)

    states = [part.get("state") for part in reduce_chunks(chunks)["parts"]]
    assert not {"streaming", "input-streaming"} & set(states)


@given(RANDOMS)
@everywhere
def test_a_refused_call_leaves_the_builder_as_it_was(random: Random) -> None:
    builder = UIMessageBuilder()
    for _ in range(30):
        before, act = copy.deepcopy(builder), random.choice(ACTS)
        try:
            act(builder, random)
        except InvalidChunk:
            assert builder.finish() == before.finish()
            return


@given(MESSAGES, st.data())
@everywhere
def test_a_message_that_is_cut_anywhere_can_be_ended(
    chunks: list[Chunk], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(chunks) - 1))
    ending = data.draw(st.sampled_from(("finish", "error", "abort", "lost")))
    transcript = UIMessageProtocol().transcript("m1")
    # The builder opens a step before `abort`, and the cut may leave it open.
    kept = chunks[:cut]
    for chunk in kept:
        transcript.feed(chunk)

    check_order(kept + transcript.ending(ending))


@given(MESSAGES)
@everywhere
def test_the_chunks_of_a_settled_message_make_it_again(chunks: list[Chunk]) -> None:
    message = reduce_chunks(chunks, finished=True)

    assert reduce_chunks(chunks_of_message(message)) == message


@pytest.mark.parametrize("name", GOLDENS)
def test_the_chunks_of_a_settled_golden_make_it_again(name: str) -> None:
    message = GOLDENS[name]["message"]
    if message is None or any(error != "An error occurred." for error in GOLDENS[name]["errors"]):
        return
    message = reduce_chunks(GOLDENS[name]["chunks"], finished=True)

    assert reduce_chunks(chunks_of_message(message)) == message


@pytest.mark.parametrize("profile", PROFILES)
@given(chunks=MESSAGES)
@everywhere
def test_a_filtered_message_is_still_one_that_clients_can_follow(
    profile: Profile, chunks: list[Chunk]
) -> None:
    filter = ProfileFilter(profile)
    sent = [json.loads(filter.apply(encode_json(chunk))) for chunk in chunks]

    check_order(sent)
    reduce_chunks(sent)

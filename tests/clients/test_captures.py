"""The real `ai` 5, 6 and 7 read the messages of any stream of each SDK as we read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from monostream_ai.ui_messages import Chunk
from tests.anthropic import test_nothing_lost as anthropic
from tests.clients.reading import ReadAll, complaints
from tests.google_genai import test_nothing_lost as google_genai
from tests.openai_agents import test_nothing_lost as openai_agents
from tests.pydantic_ai import test_nothing_lost as pydantic_ai

STREAMS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], list[Chunk]]]] = {
    "anthropic": (anthropic.streams(), lambda events: anthropic.recorded(events, typed=True)),
    "google_genai": (google_genai.answers(), google_genai.recorded),
    "openai_agents": (openai_agents.runs(), lambda run: openai_agents.recorded(run[0])),
    "pydantic_ai": (
        pydantic_ai.runs(),
        lambda events: pydantic_ai.recorded([*events, pydantic_ai.RESULT]),
    ),
}


def examples(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """Return the same examples each time, so that Node.js has to be started once for all."""
    found: list[Any] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(strategy)
    def collect(example: Any) -> None:
        found.append(example)

    collect()
    return found


@pytest.mark.parametrize("sdk", STREAMS)
def test_a_recorded_stream_is_read_as_we_read_it(read_all: ReadAll, sdk: str) -> None:
    strategy, record = STREAMS[sdk]
    drawn = examples(strategy, 40)
    messages = {f"{sdk} {number}": record(each) for number, each in enumerate(drawn)}

    assert len(messages) >= 30
    assert complaints(read_all, messages) == []

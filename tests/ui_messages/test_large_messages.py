"""Clients choose the size of their messages, so reading one takes linear time on the event loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import pytest

from monostream_ai.langchain.agent_message import AgentMessage
from monostream_ai.ui_messages import UIMessage, chunks_of_message, reduce_chunks

SMALL: Final = 300
TIMES_LARGER: Final = 10


def asked(number: int) -> dict[str, Any]:
    keys = {"type": "dynamic-tool", "toolName": "n", "toolCallId": f"c{number}", "input": {}}
    return {
        **keys,
        "state": "approval-responded",
        "approval": {"id": f"i:c{number}", "approved": True},
    }


def answered(number: int) -> dict[str, Any]:
    return {
        "type": "tool-n",
        "toolCallId": f"c{number}",
        "input": {},
        "state": "output-available",
        "output": 1,
    }


def data(number: int) -> dict[str, Any]:
    return {"type": "data-x", "id": str(number), "data": 1}


def seconds(
    read: Callable[[UIMessage], object], part: Callable[[int], dict[str, Any]], count: int
) -> float:
    message: UIMessage = {
        "id": "m",
        "role": "assistant",
        "parts": [part(number) for number in range(count)],
    }
    before = time.process_time()
    read(message)
    return time.process_time() - before


@pytest.mark.parametrize("part", [asked, answered, data])
@pytest.mark.parametrize(
    "read",
    [
        lambda message: reduce_chunks(chunks_of_message(message), finished=True),
        lambda message: AgentMessage(continued=message),
    ],
    ids=["reduce", "continue"],
)
def test_many_parts_take_time_in_proportion(
    read: Callable[[UIMessage], object], part: Callable[[int], dict[str, Any]]
) -> None:
    ratio = min(
        seconds(read, part, SMALL * TIMES_LARGER) / seconds(read, part, SMALL) for _ in range(3)
    )

    assert ratio < TIMES_LARGER * 3

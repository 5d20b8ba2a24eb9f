"""The agent example asks for approval, waits, and continues as it was told."""

from __future__ import annotations

import ast
import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from monostream_ai.ui_messages import Chunk

ROOT = Path(__file__).parents[2]


async def run(choice: str) -> tuple[str, list[Chunk]]:
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / "langgraph_agent.py"), choice]
    pipe: Any = asyncio.subprocess.PIPE
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    script = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=pipe, stderr=pipe
    )
    output, errors = await script.communicate()
    assert (script.returncode, errors.decode()) == (0, "")
    question, *chunks = output.decode().splitlines()
    return question, [ast.literal_eval(chunk) for chunk in chunks]


@pytest.mark.parametrize(
    ("choice", "outcome"),
    [
        (
            "yes",
            {
                "type": "tool-output-available",
                "toolCallId": "call_1",
                "dynamic": True,
                "output": "old.txt is deleted",
            },
        ),
        ("no", {"type": "tool-output-denied", "toolCallId": "call_1"}),
    ],
)
async def test_the_agent_continues_as_the_user_decided(choice: str, outcome: Chunk) -> None:
    question, chunks = await run(choice)

    assert question == f"May I run delete_file({{'path': 'old.txt'}})? {choice}"
    assert chunks[0] == {"type": "start", "messageId": "answer-1"}
    assert outcome in chunks
    assert [chunk["delta"] for chunk in chunks if chunk["type"] == "text-delta"] == ["That is all."]
    assert chunks[-1] == {"type": "finish", "finishReason": "stop"}

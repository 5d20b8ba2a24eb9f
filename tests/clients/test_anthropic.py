"""The messages that `@ai-sdk/anthropic` makes of recorded bodies are those that we record."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from monostream_ai import create_service
from monostream_ai.anthropic import ResponseFailed, consume
from monostream_ai.ui_messages import UIMessageProtocol, reduce_chunks
from tests.anthropic.recordings import NAMES, body_of, events_of

HERE: Final = Path(__file__).parent

DIFFERENT: Final = {
    "after_the_pause": "a result whose call is in the message before ends their stream",
    "citations_of_documents": "they show no source for a document that the prompt does not hold",
    "container_upload": "they refuse this block",
    "max_tokens": "they show a program's error text, and the cut input as a text",
    "new_kinds": "they refuse unknown blocks",
    "overloaded": "an error",
    "pause_turn": "they call it a stop",
    "refusal": "they do not show the explanation",
    "truncated": "an error",
}


def plain(message: dict[str, Any]) -> dict[str, Any]:
    """Leave out ids of their making, and the difference of static and dynamic tools."""
    parts = []
    for part in message["parts"]:
        part = {key: value for key, value in part.items() if key not in ("citations", "id")}
        part.pop("resultProviderMetadata", None)
        if part["type"].startswith("tool-"):
            part |= {"type": "dynamic-tool", "toolName": part["type"].removeprefix("tool-")}
        if part["type"].startswith("source-"):
            part = {key: part.get(key) for key in ("type", "url", "title", "mediaType")}
        if part["type"] != "custom":
            parts.append(part)
    told = message.get("metadata", {})
    tokens = {key: told.get("usage", {}).get(key) for key in ("inputTokens", "outputTokens")}
    return {"parts": parts, "reason": told.get("finishReason"), "tokens": tokens}


async def recorded(name: str) -> dict[str, Any]:
    async with create_service("memory://", protocol=UIMessageProtocol()) as service:
        try:
            async with service.publisher("chat") as pub:
                await consume(events_of(name), pub)
        except ResponseFailed:
            pass
        return plain(reduce_chunks(await service.chunks("chat")))


@pytest.fixture(scope="module")
def theirs() -> dict[str, dict[str, Any]]:
    if not (HERE / "node_modules" / "@ai-sdk" / "anthropic").exists():
        pytest.skip("needs Node.js and `npm ci` in tests/clients")
    lines = "".join(json.dumps({"body": body_of(name).decode()}) + "\n" for name in NAMES)
    done = subprocess.run(
        ["node", "anthropic.mjs"],
        cwd=HERE,
        input=lines,
        capture_output=True,
        text=True,
        timeout=120.0,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return dict(zip(NAMES, answers, strict=True))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in DIFFERENT])
async def test_we_record_what_the_ai_sdk_makes(theirs: dict[str, Any], name: str) -> None:
    assert theirs[name]["errors"] == []
    assert await recorded(name) == plain(theirs[name]["message"])


@pytest.mark.parametrize("name", DIFFERENT)
async def test_the_known_differences_remain(theirs: dict[str, Any], name: str) -> None:
    assert theirs[name]["errors"] or await recorded(name) != plain(theirs[name]["message"])

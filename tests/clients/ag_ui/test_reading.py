"""The real `HttpAgent` of @ag-ui/client 1.0.0, with its `verifyEvents`, reads what we make."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from fastapi import FastAPI

from monostream_ai.ag_ui import AGUIEncoder, AGUIProtocol, Event
from monostream_ai.fastapi import AGUIRun, ChatTurn, create_agui_router
from monostream_ai.json_text import encode_json
from monostream_ai.types import Batch, Ending
from monostream_ai.ui_messages import Chunk
from tests.backends import Backend, open_backend
from tests.fastapi.chat_client import ChatClient, chunks_in, question
from tests.fastapi.conftest import NewService, Serve, framework, new_service, serve, serve_app
from tests.plugins.services import ServiceFactory
from tests.ui_messages.random_messages import random_message

__all__ = ["framework", "new_service", "serve", "serve_app"]

Read = Callable[[Sequence[dict[str, Any]]], list[dict[str, Any]]]

TOOL: list[Chunk] = [
    {"type": "start-step"},
    {"type": "reasoning-start", "id": "0"},
    {"type": "reasoning-delta", "id": "0", "delta": "Hm"},
    {"type": "reasoning-end", "id": "0"},
    {"type": "text-start", "id": "1"},
    {"type": "text-delta", "id": "1", "delta": "Let me "},
    {"type": "text-delta", "id": "1", "delta": "look."},
    {"type": "text-end", "id": "1"},
    {"type": "tool-input-available", "toolCallId": "c", "toolName": "look", "input": {"a": 1}},
    {"type": "tool-output-available", "toolCallId": "c", "output": [2]},
    {"type": "finish-step"},
    {"type": "start-step"},
    {"type": "text-start", "id": "1"},
    {"type": "text-delta", "id": "1", "delta": "Two."},
    {"type": "text-end", "id": "1"},
    {"type": "data-last", "data": 1},
    {"type": "finish-step"},
]
SHOWN = [
    ("reasoning", "Hm", None),
    ("assistant", "Let me look.", ['{"a":1}']),
    ("tool", "[2]", None),
    ("assistant", "Two.", None),
]

EVENTS: list[Event] = [
    {"type": "RUN_STARTED", "threadId": "c1", "runId": "r"},
    {"type": "STEP_STARTED", "stepName": "plan"},
    {"type": "SUBAGENT_STARTED", "subagentRunId": "s", "name": "searcher"},
    {"type": "STEP_STARTED", "stepName": "plan", "subagentRunId": "s"},
    {"type": "REASONING_START", "messageId": "a", "subagentRunId": "s"},
    {
        "type": "REASONING_MESSAGE_START",
        "messageId": "a",
        "role": "reasoning",
        "subagentRunId": "s",
    },
    {"type": "REASONING_MESSAGE_CONTENT", "messageId": "a", "delta": "Hm"},
    {"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant"},
    {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "Hi"},
    {"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "look"},
    {"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": "{"},
    {"type": "TOOL_CALL_END", "toolCallId": "c"},
    {"type": "STATE_SNAPSHOT", "snapshot": {"a": 1}},
    {"type": "TEXT_MESSAGE_END", "messageId": "m"},
    {"type": "REASONING_MESSAGE_END", "messageId": "a"},
    {"type": "REASONING_END", "messageId": "a"},
    {"type": "STEP_FINISHED", "stepName": "plan", "subagentRunId": "s"},
    {"type": "SUBAGENT_FINISHED", "subagentRunId": "s"},
    {"type": "STEP_FINISHED", "stepName": "plan"},
]


@pytest.fixture
def backend(tmp_path: Path, request: pytest.FixtureRequest) -> Backend:
    """Clients know no backend, so the quickest one will do."""
    return open_backend("memory", tmp_path, request)


@pytest.fixture
def read(packages: Path) -> Read:
    """Let the client read runs; read.mjs describes the requests and the answers."""

    def run(requests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        done = subprocess.run(
            ["node", Path(__file__).with_name("read.mjs")],
            cwd=packages.parent,
            input="".join(json.dumps(request) + "\n" for request in requests),
            capture_output=True,
            text=True,
            timeout=120.0,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.split("\n") if line]

    return run


def body_of(events: Sequence[Event]) -> dict[str, Any]:
    return {"body": "".join(f"data: {encode_json(event)}\n\n" for event in events)}


def frames_of(chunks: Sequence[Chunk]) -> dict[str, Any]:
    encoder = AGUIEncoder("c1", "r")
    payloads = [encode_json(chunk) for chunk in chunks]
    return {"body": encoder.frames(Batch(0, 0, payloads)) + encoder.end(payloads[-1])}


def shown(answer: dict[str, Any]) -> list[tuple[str, Any, list[str] | None]]:
    return [
        (
            message["role"],
            message.get("content"),
            [call["function"]["arguments"] for call in message.get("toolCalls", [])] or None,
        )
        for message in answer["messages"]
    ]


def test_the_client_refuses_a_run_that_ends_while_a_message_is_open(read: Read) -> None:
    left_open = [*EVENTS[:9], {"type": "RUN_FINISHED", "threadId": "c1", "runId": "r"}]

    [answer] = read([body_of(left_open)])

    assert "Cannot send 'RUN_FINISHED'" in answer["failure"]


def test_an_answer_is_shown_with_its_parts(read: Read) -> None:
    [answer] = read([frames_of([{"type": "start"}, *TOOL, {"type": "finish"}])])

    assert answer["failure"] is None and answer["outcome"] == "success"
    assert shown(answer) == SHOWN
    assert answer["custom"] == ["data-last"]
    assert answer["warnings"] == []


def test_random_messages_are_read_without_a_complaint(read: Read) -> None:
    answers = read([frames_of(random_message(Random(seed))) for seed in range(150)])

    assert {each["failure"] for each in answers if not each["error"]} == {None}
    assert [warning for each in answers for warning in each["warnings"]] == []
    assert {each["error"] for each in answers} == {None, "An error occurred."}
    assert {each["outcome"] for each in answers} >= {"success", "cancelled", "interrupt"}


@pytest.mark.parametrize("ending", ["finish", "error", "abort", "lost"])
def test_runs_cut_at_any_event_are_ended_as_the_client_wants_it(read: Read, ending: Ending) -> None:
    runs = []
    for count in range(len(EVENTS) + 1):
        transcript = AGUIProtocol().transcript()
        for event in EVENTS[:count]:
            transcript.feed(event)
        runs.append([*EVENTS[:count], *transcript.ending(ending, "It broke.")])

    answers = read([body_of(run) for run in runs])

    fails = ending in ("error", "lost")
    # A run that has not started has no thread to finish; a failure needs none.
    expected = {"finish": "success", "abort": "cancelled"}.get(ending)
    first, *rest = answers
    assert first["outcome"] is None
    assert {each["outcome"] for each in rest} == {expected}
    assert {each["error"] for each in rest} == {"It broke." if fails else None}
    assert [warning for each in answers for warning in each["warnings"]] == []
    if not fails:
        assert {each["failure"] for each in answers} == {None}


async def test_a_program_answers_with_events_of_its_own(
    service_factory: ServiceFactory,
    serve_app: Callable[[FastAPI], Awaitable[ChatClient]],
    read: Read,
) -> None:
    async def reply(run: AGUIRun) -> None:
        ids = {key: run.input[key] for key in ("threadId", "runId")}
        await run.pub.write({"type": "RUN_STARTED", **ids}, *EVENTS[1:])

    app = FastAPI()
    service = service_factory(protocol=AGUIProtocol())
    app.include_router(create_agui_router(service, reply), prefix="/api/agent")
    client = await serve_app(app)

    [answer] = await asyncio.to_thread(read, [{"post": f"{client.http.base_url}/api/agent"}])

    assert (answer["failure"], answer["outcome"]) == (None, "success")
    assert shown(answer) == [
        ("reasoning", "Hm", None),
        ("assistant", "Hi", None),
        # A call that names no message gets one of its own.
        ("assistant", None, ["{"]),
    ]


async def test_a_client_cut_off_after_each_event_shows_the_same_answer(
    new_service: NewService, serve: Serve, read: Read
) -> None:
    async def reply(turn: ChatTurn) -> None:
        await turn.pub.write(*TOOL)

    client = await serve(new_service(), reply, replay_window=60.0)
    await client.post(question())
    url = f"{client.http.base_url}/api/chat/c1/stream?protocol=ag-ui"

    whole, cut = await asyncio.to_thread(
        read, [{"url": url, "cut": False}, {"url": url, "cut": True}]
    )

    assert shown(whole) == SHOWN and whole["failure"] is None
    assert cut["messages"] == whole["messages"]
    assert cut["failure"] is None and cut["outcome"] == "success"
    assert cut["cuts"] == len(chunks_in((await client.http.get(url)).text)) > len(TOOL)

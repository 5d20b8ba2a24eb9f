"""Runs of programs that answer with events of AG-UI, stored and served."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import Header

from monostream_ai.ag_ui import AGUIProtocol, Event
from monostream_ai.fastapi import AGUIRun, create_agui_router
from monostream_ai.ui_messages import UIMessageProtocol
from tests.fastapi.chat_client import ChatClient, OpenStream, chunks_in
from tests.fastapi.conftest import ServeApp
from tests.frameworks import AGUI, application
from tests.plugins.services import ServiceFactory

pytestmark = pytest.mark.every_framework

ServeRuns = Callable[..., Awaitable["Client"]]

STARTED: Event = {"type": "RUN_STARTED", "threadId": "t", "runId": "r1"}
FINISHED: Event = {"type": "RUN_FINISHED", "threadId": "t", "runId": "r1"}
STEP: Event = {"type": "STEP_STARTED", "stepName": "plan"}
STEP_END: Event = {"type": "STEP_FINISHED", "stepName": "plan"}


def asking(run_id: str = "r1", thread_id: str = "t", **more: Any) -> dict[str, Any]:
    return {"threadId": thread_id, "runId": run_id, "messages": [], **more}


class Agent:
    """Starts a step, then waits for the test."""

    def __init__(self, *, waits: bool = False) -> None:
        self.runs: list[AGUIRun] = []
        self.started = asyncio.Event()
        self.go_on = asyncio.Event()
        if not waits:
            self.go_on.set()

    async def __call__(self, run: AGUIRun) -> None:
        self.runs.append(run)
        ids = {key: run.input[key] for key in ("threadId", "runId")}
        await run.pub.write({"type": "RUN_STARTED", **ids}, STEP)
        self.started.set()
        await self.go_on.wait()


class Client:
    def __init__(self, client: ChatClient) -> None:
        self.http = client.http
        self.shut_down = client.shut_down

    async def run(self, body: Any, **options: Any) -> httpx.Response:
        return await self.http.post("/api/agent", content=json.dumps(body), **options)

    async def resume(self, event: str | None = None, **options: Any) -> httpx.Response:
        headers = {} if event is None else {"last-event-id": event}
        return await self.http.get("/api/agent/t/stream", headers=headers, **options)

    @asynccontextmanager
    async def open(self, body: Any) -> Any:
        async with self.http.stream("POST", "/api/agent", content=json.dumps(body)) as response:
            yield OpenStream(response)


@pytest.fixture
def serve_runs(service_factory: ServiceFactory, serve_app: ServeApp, framework: str) -> ServeRuns:
    async def start(reply: Any, **options: Any) -> Client:
        service = service_factory(protocol=AGUIProtocol())
        where = {"routes": AGUI, "prefix": "/api/agent"}
        return Client(await serve_app(application(framework, service, reply, **where, **options)))

    return start


async def test_a_run_is_streamed_and_stored(serve_runs: ServeRuns) -> None:
    agent = Agent()
    client = await serve_runs(agent)

    answer = await client.run(asking(tools=[1]))

    assert chunks_in(answer.text) == [STARTED, STEP, STEP_END, FINISHED]
    assert agent.runs[0].input == asking(tools=[1])
    assert chunks_in((await client.resume("0.0")).text) == [STEP, STEP_END, FINISHED]
    assert (await client.resume("0.3")).status_code == 204
    assert (await client.resume()).status_code == 204


async def test_a_page_that_loads_in_mid_run_reads_it_from_the_start(serve_runs: ServeRuns) -> None:
    agent = Agent(waits=True)
    client = await serve_runs(agent)
    async with client.open(asking()):
        await agent.started.wait()

    # The first page is gone, and the run goes on.
    resuming = asyncio.create_task(client.resume())
    again = asyncio.create_task(client.run(asking()))
    busy = await client.run(asking("r2"))
    agent.go_on.set()

    assert chunks_in((await resuming).text) == [STARTED, STEP, STEP_END, FINISHED]
    assert chunks_in((await again).text) == [STARTED, STEP, STEP_END, FINISHED]
    assert busy.status_code == 409
    assert len(agent.runs) == 1


async def test_the_next_run_follows_and_a_repeated_request_replays_it(
    serve_runs: ServeRuns,
) -> None:
    agent = Agent()
    client = await serve_runs(agent)
    await client.run(asking())

    second = await client.run(asking("r2"))
    repeated = await client.run(asking("r2"))

    assert second.text == repeated.text
    assert [run.input["runId"] for run in agent.runs] == ["r1", "r2"]
    assert (await client.resume("0.0")).status_code == 409


async def test_a_run_is_stopped_from_outside(serve_runs: ServeRuns) -> None:
    agent = Agent(waits=True)
    client = await serve_runs(agent)
    running = asyncio.create_task(client.run(asking()))
    await agent.started.wait()

    await client.http.post("/api/agent/t/stop")

    cancelled = {**FINISHED, "outcome": {"type": "cancelled"}}
    assert chunks_in((await running).text) == [STARTED, STEP, STEP_END, cancelled]


@pytest.mark.parametrize(
    "event", [None, {"type": "TEXT_MESSAGE_END"}], ids=["raises", "writes a bad event"]
)
async def test_a_run_that_fails_ends_with_a_masked_error(
    serve_runs: ServeRuns, event: Event | None
) -> None:
    async def reply(run: AGUIRun) -> None:
        await run.pub.write(STARTED, STEP)
        if event is not None:
            await run.pub.write(event)
        raise RuntimeError("secret")

    client = await serve_runs(reply)

    assert chunks_in((await client.run(asking())).text) == [
        STARTED,
        STEP,
        STEP_END,
        {"type": "RUN_ERROR", "message": "An error occurred."},
    ]


async def test_a_run_that_an_exit_cut_off_ends_with_an_error_in_the_next_process(
    serve_runs: ServeRuns,
) -> None:
    agent = Agent(waits=True)
    client = await serve_runs(agent, drain_timeout=0.0)
    async with client.open(asking()):
        await agent.started.wait()
    await client.shut_down()

    successor = await serve_runs(Agent())
    resumed = await successor.resume()
    following = await successor.run(asking("r2"))

    assert chunks_in(resumed.text)[-1]["type"] == "RUN_ERROR"
    assert chunks_in(following.text)[0] == {**STARTED, "runId": "r2"}


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ([], {}, 400),
        (asking(""), {}, 400),
        (asking(thread_id=".."), {}, 400),
        ({"threadId": "t", "runId": "r1"}, {}, 400),
        (asking("r\x00"), {}, 400),
        (asking(), {"origin": "https://elsewhere.example"}, 403),
        (asking(more="x" * 2000), {}, 413),
    ],
    ids=["list", "run id", "thread id", "messages", "NUL", "origin", "size"],
)
async def test_a_bad_request_is_refused(
    serve_runs: ServeRuns, body: Any, headers: dict[str, str], status: int
) -> None:
    agent = Agent()
    client = await serve_runs(agent, max_body_bytes=1000)

    answer = await client.run(body, headers=headers)

    assert answer.status_code == status
    assert agent.runs == []


def test_a_service_of_other_chunks_is_refused(service_factory: ServiceFactory) -> None:
    with pytest.raises(TypeError, match="create_service"):
        create_agui_router(service_factory(protocol=UIMessageProtocol()), Agent())


async def test_each_owner_has_threads_of_their_own(serve_runs: ServeRuns) -> None:
    async def authorize(user: str = Header()) -> str:
        return user

    agent = Agent()
    client = await serve_runs(agent, authorize=authorize)

    for user in ("a", "b"):
        await client.run(asking(), headers={"user": user})

    assert [run.owner for run in agent.runs] == ["a", "b"]
    other = await client.http.get(
        "/api/agent/t/stream", headers={"user": "c", "last-event-id": "0.0"}
    )
    assert other.status_code == 204

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from monostream_ai.ui_messages import reduce_chunks
from tests.examples.conftest import StartDemo
from tests.fastapi.chat_client import ChatClient, chunks_in, question, types_in
from tests.plugins.postgres import import_pgserver


async def messages(client: ChatClient) -> list[dict[str, Any]]:
    history: dict[str, list[dict[str, Any]]] = (await client.http.get("/api/history/c1")).json()
    return history["messages"]


async def resume_until_done(client: ChatClient) -> str:
    """Come back after each broken connection, as the page does; return the body of the last one."""
    while True:
        try:
            return (await client.get()).text
        except httpx.TransportError:
            pass


async def crash(client: ChatClient) -> None:
    assert (await client.http.post("/api/demo/crash")).status_code == 202


async def test_an_answer_thinks_calls_a_tool_and_is_kept_in_the_history(start_demo: StartDemo) -> None:
    client = await start_demo(tokens_per_second=1000)

    body = (await client.post(question(text="What is the weather in Rome?"))).text
    asked, answered = await messages(client)

    assert asked == question(text="What is the weather in Rome?")["messages"][0]
    assert answered == reduce_chunks(chunks_in(body), finished=True)
    assert [part["type"] for part in answered["parts"]] == [
        "step-start", "reasoning", "text", "dynamic-tool", "step-start", "text"
    ]  # fmt: skip


async def test_an_answer_survives_a_crash_of_its_server(start_demo: StartDemo) -> None:
    client = await start_demo(tokens_per_second=150)

    async with client.ask(question(text="a story, please")) as stream:
        started = await stream.chunk()
        await crash(client)
        with pytest.raises(httpx.RemoteProtocolError):
            await stream.rest()
    body = await resume_until_done(client)

    assert chunks_in(body)[0] == started
    assert (types_in(body)[-1], (await client.status())["attempt"]) == ("finish", 2)
    assert [message["role"] for message in await messages(client)] == ["user", "assistant"]
    assert (await messages(client))[1] == reduce_chunks(chunks_in(body), finished=True)


async def test_while_an_answer_runs_the_history_ends_with_the_question(start_demo: StartDemo) -> None:
    client = await start_demo(tokens_per_second=100)

    async with client.ask(question(text="a story, please")) as stream:
        await stream.chunk()
        running = await messages(client)
        await client.stop()
        await stream.rest()

    assert [message["role"] for message in running] == ["user"]
    assert [message.get("metadata") for message in await messages(client)] == [None, {"stopped": True}]


async def test_two_processes_on_postgres_share_an_answer(start_demo: StartDemo) -> None:
    import_pgserver()
    client = await start_demo("--postgres", tokens_per_second=150)
    processes = {await pid_of_a_new_connection(client) for _ in range(4)}

    async with client.ask(question(text="a story, please")) as asked, client.resume() as resumed:
        bodies = await asyncio.gather(asked.rest(), resumed.rest())

    assert len(processes) == 2
    assert bodies[0] == bodies[1]
    assert types_in(bodies[0])[-1] == "finish"


async def pid_of_a_new_connection(client: ChatClient) -> int:
    info = await client.http.get("/api/info", headers={"connection": "close"})
    pid: int = info.json()["pid"]
    return pid


async def test_the_demo_breaks_open_streams_and_ends_when_it_is_asked_to(start_demo: StartDemo) -> None:
    client = await start_demo(tokens_per_second=150)

    async with client.ask(question(text="a story, please")) as stream:
        await stream.chunk()
        leaving = asyncio.create_task(client.shut_down())
        with pytest.raises(httpx.RemoteProtocolError):
            await stream.rest()
    async with asyncio.timeout(10.0):
        await leaving

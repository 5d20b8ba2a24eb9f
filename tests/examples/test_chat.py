from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
from base64 import b64decode
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from login import COOKIE
from monostream_ai import create_service
from monostream_ai.fastapi import chat_stream_id
from monostream_ai.ui_messages import reduce_chunks
from tests.examples.conftest import StartDemo
from tests.fastapi.chat_client import ChatClient, chunks_in, question, types_in, user_message
from tests.plugins.postgres import import_pgserver


async def messages(client: ChatClient) -> list[dict[str, Any]]:
    history: dict[str, list[dict[str, Any]]] = (await client.http.get("/api/history/c1")).json()
    return history["messages"]


async def resume_until_done(client: ChatClient) -> str:
    """Resume after each broken connection, as the page does; return the last body."""
    while True:
        try:
            return (await client.get()).text
        except httpx.TransportError:
            pass


async def crash(client: ChatClient) -> int:
    """Kill a server; return its process id."""
    response = await client.http.post("/api/demo/crash?chat=c1")
    assert response.status_code == 202
    pid: int = response.json()["pid"]
    return pid


async def test_an_answer_with_reasoning_and_a_tool_call_is_kept_in_the_history(
    start_demo: StartDemo,
) -> None:
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


async def test_while_an_answer_runs_the_history_ends_with_the_question(
    start_demo: StartDemo,
) -> None:
    client = await start_demo(tokens_per_second=100)

    async with client.ask(question(text="a story, please")) as stream:
        await stream.chunk()
        running = await messages(client)
        await client.stop()
        await stream.rest()

    assert [message["role"] for message in running] == ["user"]
    _, answer = await messages(client)
    assert answer["metadata"]["stopped"] is True


async def test_the_list_of_chats_has_their_first_questions(
    start_demo: StartDemo, tmp_path: Path
) -> None:
    client = await start_demo(tokens_per_second=100)
    await client.post(question(id="u1", text="Hello!") | {"id": "c0"})
    # Otherwise its answer might be stored after the next question.
    async with asyncio.timeout(30.0):
        while not handed_over(tmp_path / "chat.db", version=0):
            await asyncio.sleep(0.05)

    async with client.ask(question(id="u2", text="a story, please")) as stream:
        # The reply has begun, and stored the question.
        while (await stream.chunk())["type"] == "start":
            pass
        listed = (await client.http.get("/api/chats")).json()
        await client.stop()
        await stream.rest()

    assert listed == {
        "user": None,
        "chats": [
            {"id": "c1", "title": "a story, please"},
            {"id": "c0", "title": "Hello!"},
        ],
    }
    await client.http.post("/api/guest")
    assert (await client.http.get("/api/chats")).json() == {"user": None, "chats": []}


async def test_a_chat_is_deleted_by_its_owner_only(start_demo: StartDemo) -> None:
    client = await start_demo(tokens_per_second=1000)
    await client.post(question(text="Hello!"))
    owner = client.http.cookies[COOKIE]

    await client.http.post("/api/guest")
    by_another = await client.http.delete("/api/history/c1")
    client.http.cookies.clear()
    client.http.cookies[COOKIE] = owner
    kept = await messages(client)
    by_the_owner = await client.http.delete("/api/history/c1")

    assert (by_another.status_code, len(kept), by_the_owner.status_code) == (404, 2, 204)
    assert (await messages(client), (await client.status())["state"]) == ([], "idle")


async def test_a_chat_keeps_the_title_that_its_owner_gave_it(start_demo: StartDemo) -> None:
    client = await start_demo(tokens_per_second=1000)
    await client.post(question(text="Hello!"))
    owner = client.http.cookies[COOKIE]

    named = [await rename(client, "  Boats\nand harbours "), await titles(client)]
    again = [await rename(client, "Boats"), await titles(client)]
    await client.http.post("/api/guest")
    by_another = await rename(client, "Mine")
    client.http.cookies.clear()
    client.http.cookies[COOKIE] = owner
    refused = [await rename(client, title) for title in ("x" * 101, "a\0b")]
    kept = await titles(client)
    unnamed = [await rename(client, " "), await titles(client)]

    assert (named, again) == ([204, ["Boats and harbours"]], [204, ["Boats"]])
    assert (by_another, refused, kept) == (404, [422, 422], ["Boats"])
    assert unnamed == [204, ["Hello!"]]


async def test_a_chat_that_is_begun_anew_after_its_deletion_has_no_title(
    start_demo: StartDemo,
) -> None:
    client = await start_demo(tokens_per_second=1000)
    await client.post(question(text="Hello!"))
    await rename(client, "Boats")

    await client.http.delete("/api/history/c1")
    await client.post(question(text="Hello again!"))

    assert await titles(client) == ["Hello again!"]


async def test_tabs_that_rename_a_chat_at_once_leave_one_title(start_demo: StartDemo) -> None:
    client = await start_demo(tokens_per_second=1000)
    await client.post(question(text="Hello!"))

    statuses = await asyncio.gather(*(rename(client, f"Boats {tab}") for tab in range(8)))

    assert {*statuses} == {204}
    assert (await titles(client))[0].startswith("Boats ")


async def rename(client: ChatClient, title: str) -> int:
    body = json.dumps({"title": title})
    headers = {"content-type": "application/json"}
    return (await client.http.patch("/api/history/c1", content=body, headers=headers)).status_code


async def titles(client: ChatClient) -> list[str]:
    return [each["title"] for each in (await client.http.get("/api/chats")).json()["chats"]]


@pytest.mark.parametrize(
    ("approved", "state", "text"),
    [
        pytest.param(True, "output-available", "Done: `old.txt` is gone.", id="approved"),
        pytest.param(False, "approval-responded", "All right, I have not touched", id="declined"),
    ],
)
async def test_a_call_runs_only_once_the_user_has_approved_it(
    start_demo: StartDemo, tmp_path: Path, approved: bool, state: str, text: str
) -> None:
    client = await start_demo(tokens_per_second=1000)
    asked = question(text="Delete the file old.txt.")
    await client.post(asked)
    answer = (await messages(client))[-1]
    [call] = calls_in(answer)
    assert (call["state"], call["input"]) == ("approval-requested", {"path": "old.txt"})

    call["state"] = "approval-responded"
    call["approval"]["approved"] = approved
    going_on = asked | {"messages": [*asked["messages"], answer]}
    body = (await client.post(going_on)).text
    async with asyncio.timeout(30.0):
        while not handed_over(tmp_path / "chat.db", version=1):
            await asyncio.sleep(0.05)
    _, whole = await messages(client)

    assert types_in(body)[-1] == "finish"
    [call] = calls_in(whole)
    assert (call["state"], whole["id"]) == (state, answer["id"])
    assert whole["parts"][: len(answer["parts"]) - 1] == answer["parts"][:-1]
    assert whole["parts"][-1]["text"].startswith(text)


def calls_in(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for part in message["parts"] if part["type"] == "dynamic-tool"]


async def test_answers_show_pictures_forms_and_errors(start_demo: StartDemo) -> None:
    client = await start_demo(tokens_per_second=1000)

    picture = (await client.post(question(text="Draw a picture.", id="u1"))).text
    form = (await client.post(question(text="Reserve a table.", id="u2"))).text
    failed = (await client.post(question(text="Fail, please.", id="u3"))).text

    [file] = [chunk for chunk in chunks_in(picture) if chunk["type"] == "file"]
    assert file["url"].startswith("data:image/svg+xml;base64,")
    [data] = [chunk for chunk in chunks_in(form) if chunk["type"] == "data-form"]
    assert data["data"]["submit"] == "Book it"
    assert "error" in types_in(failed)


async def test_every_route_asks_for_a_login(start_demo: StartDemo) -> None:
    client = await start_demo(tokens_per_second=1000)
    await client.post(question())
    cookie = client.http.cookies.pop(COOKIE)
    routes = (await client.http.get("/openapi.json")).json()["paths"]

    statuses = {
        f"{method} {path}": (
            await client.http.request(method, path.replace("{chat_id}", "c1"), json=question())
        ).status_code
        for path, methods in routes.items()
        for method in methods
        if "/sign-" not in path and path != "/api/guest"
    }

    assert {
        "post /api/chat",
        "get /api/history/{chat_id}",
        "post /api/chat/{chat_id}/stop",
    } < statuses.keys()
    assert set(statuses.values()) == {401}
    assert (
        await client.http.get("/api/info", headers={"cookie": f"{COOKIE}={cookie}"})
    ).status_code == 200
    assert (
        await client.http.get("/api/info", headers={"cookie": f"{COOKIE}=x{cookie}"})
    ).status_code == 401


async def test_another_users_chat_is_unknown(start_demo: StartDemo) -> None:
    client = await start_demo(tokens_per_second=100)

    async with client.ask(question(text="a story, please")) as stream:
        await stream.chunk()
        own = client.http.cookies.pop(COOKIE)
        await client.http.post("/api/guest")
        assert await messages(client) == []
        assert (await client.get()).status_code == 204
        assert (await client.status())["state"] == "idle"
        assert (await client.stop()).json() == {"success": True}
        client.http.cookies.clear()
        client.http.cookies.set(COOKIE, own)
        assert (await client.status())["state"] == "open"
        await client.stop()
        await stream.rest()


async def test_a_message_whose_process_crashed_before_on_finish_is_kept(
    start_demo: StartDemo, tmp_path: Path
) -> None:
    client = await start_demo(tokens_per_second=1000)
    owner = json.loads(b64decode(client.http.cookies[COOKIE].partition(".")[0]))["account"]
    stream_id = chat_stream_id("c1", owner=owner)

    async with create_service(f"sqlite+aiosqlite:///{tmp_path / 'chat.db'}") as service:
        pub = service.publisher(
            stream_id, message_id="a0", owner=owner, request=question(), watched=True
        )
        async with pub:
            await pub.write({"type": "start", "messageId": "a0"}, {"type": "text-start", "id": "t"})
            await pub.write(
                {"type": "text-delta", "id": "t", "delta": "Hello"}, {"type": "text-end", "id": "t"}
            )
        # A sweep of the demo finds it. Without the stream, only what `on_finish` stored remains.
        async with asyncio.timeout(30.0):
            while not handed_over(tmp_path / "chat.db", version=0):
                await asyncio.sleep(0.05)
        await service.delete(stream_id)

    assert [message["id"] for message in await messages(client)] == ["u1", "a0"]


def handed_over(database: Path, version: int) -> bool:
    """Return whether `on_finish` has got the answer of this version."""
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(
            "SELECT attendant FROM stream_version WHERE version = ?", (version,)
        ).fetchone() == (None,)


async def test_an_answer_asked_for_again_replaces_the_first_in_every_tab(
    start_demo: StartDemo,
) -> None:
    client = await start_demo(tokens_per_second=1000)
    await client.post(question(id="u0"))
    await client.post(question(id="u1"))

    again = question(id="u0", trigger="regenerate-message")
    answer = reduce_chunks(chunks_in((await client.post(again)).text), finished=True)
    tabs = await asyncio.gather(messages(client), messages(client))

    assert tabs[0] == tabs[1] == [user_message(id="u0"), answer]


async def test_visitors_stay_signed_in_when_their_servers_die(start_demo: StartDemo) -> None:
    client = await start_demo(tokens_per_second=1000)
    before = await two_pids(client)

    for pid in before:
        os.kill(pid, signal.SIGKILL)
    after = await two_pids(client)

    assert before.isdisjoint(after)
    assert (await client.http.get("/api/history/c1")).json() == {"messages": []}


async def test_connections_go_to_the_other_server_at_once_when_one_dies(
    start_demo: StartDemo,
) -> None:
    client = await start_demo(tokens_per_second=1000)
    before = await two_pids(client)

    [other] = before - {killed := await crash(client)}
    while Path(f"/proc/{killed}").exists():
        await asyncio.sleep(0.01)

    # A connection that comes before the supervisor has heard of the death is broken.
    for _ in range(2):
        with suppress(httpx.TransportError):
            await pid_of_a_new_connection(client)

    # A new process takes far longer to start.
    assert {await pid_of_a_new_connection(client) for _ in range(4)} == {other}


@pytest.mark.parametrize("options", [(), ("--postgres",)], ids=["sqlite", "postgresql"])
async def test_two_servers_share_an_answer(start_demo: StartDemo, options: tuple[str, ...]) -> None:
    if options:
        import_pgserver()
    client = await start_demo(*options, tokens_per_second=150)
    await two_pids(client)

    async with client.ask(question(text="a story, please")) as asked, client.resume() as resumed:
        bodies = await asyncio.gather(asked.rest(), resumed.rest())

    # A replay merges deltas.
    assert reduce_chunks(chunks_in(bodies[0])) == reduce_chunks(chunks_in(bodies[1]))
    assert types_in(bodies[0])[-1] == "finish"
    whole = reduce_chunks(chunks_in(bodies[0]), finished=True)
    for _ in range(2):
        assert (await client.http.get("/api/history/c1", headers={"connection": "close"})).json()[
            "messages"
        ][1:] == [whole]


async def two_pids(client: ChatClient) -> set[int]:
    """Wait until both servers answer new connections; return their process ids."""
    async with asyncio.timeout(60.0):
        while True:
            with suppress(httpx.TransportError):
                found = {await pid_of_a_new_connection(client) for _ in range(4)}
                if len(found) == 2:
                    return found


async def pid_of_a_new_connection(client: ChatClient) -> int:
    info = await client.http.get("/api/info", headers={"connection": "close"})
    pid: int = info.json()["pid"]
    return pid


async def test_the_demo_breaks_open_streams_and_ends_when_told_to(
    start_demo: StartDemo,
) -> None:
    client = await start_demo(tokens_per_second=150)

    async with client.ask(question(text="a story, please")) as stream:
        await stream.chunk()
        leaving = asyncio.create_task(client.shut_down())
        with pytest.raises(httpx.RemoteProtocolError):
            await stream.rest()
    async with asyncio.timeout(10.0):
        await leaving

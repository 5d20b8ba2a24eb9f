"""Clients that resume at an index or after an event, not at the start."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.fastapi.chat_client import ChatClient, chunks_in, question, types_in, user_message
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import TEXT, Held, greet, store_answer

pytestmark = pytest.mark.every_framework

ONLY_FINISH = [{"type": "finish"}]


async def from_index(client: ChatClient, index: int | str, name: str = "c1") -> Any:
    return await client.get(name, params={"startIndex": index})


async def test_an_answer_names_its_run(new_service: NewService, serve: Serve) -> None:
    client = await serve(new_service(), greet)

    headers = (await client.post(question("ü/1"))).headers

    assert headers["x-workflow-run-id"] == "%C3%BC%2F1~0"


@pytest.mark.sweep(4)
@pytest.mark.parametrize("index", range(-7, 6))
async def test_a_run_is_replayed_from_any_index_after_it_has_ended(
    new_service: NewService, serve: Serve, index: int
) -> None:
    client = await serve(new_service(), greet)
    answer = await client.post(question("ü/1"))

    resumed = await from_index(client, index, answer.headers["x-workflow-run-id"])

    assert chunks_in(resumed.text) == (chunks_in(answer.text)[index:] or ONLY_FINISH)
    assert resumed.headers["x-workflow-stream-tail-index"] == "4"


@pytest.mark.parametrize("name", ["c1", "c1~0"])
async def test_a_running_turn_is_joined_at_an_index(
    new_service: NewService, serve: Serve, name: str
) -> None:
    held = Held()
    client = await serve(new_service(), held)

    async with client.ask(question()) as asked:
        await held.started.wait()
        held.go_on.set()
        resumed = await from_index(client, 3, name)
        whole = chunks_in(await asked.rest())

    assert chunks_in(resumed.text) == whole[3:]


@pytest.mark.parametrize("index", range(8))
async def test_an_index_of_a_chat_counts_the_whole_message(
    new_service: NewService, serve: Serve, index: int
) -> None:
    service, held = new_service(), Held()
    client = await serve(service, held)
    assistant = {
        "id": "a1",
        "role": "assistant",
        "parts": [{"type": "text", "text": "Earlier.", "state": "done"}],
    }
    await store_answer(service, assistant)

    async with (
        client.ask(question() | {"messages": [user_message(), assistant]}) as asked,
        client.resume() as resumed,
    ):
        await held.started.wait()
        cut = await client.http.send(
            client.http.build_request("GET", "/api/chat/c1/stream", params={"startIndex": index}),
            stream=True,
        )
        held.go_on.set()
        await asked.rest()
        whole = chunks_in(await resumed.rest())
        rest = chunks_in((await cut.aread()).decode())

    assert (len(whole), rest) == (9, whole[index:])


async def test_a_chat_without_a_running_turn_answers_one_finish(
    new_service: NewService, serve: Serve
) -> None:
    client = await serve(new_service(), greet)
    await client.post(question())

    assert [chunks_in((await from_index(client, 0, name)).text) for name in ("c1", "unknown")] == [
        ONLY_FINISH
    ] * 2


async def test_an_ended_error_is_followed_by_one_finish(
    new_service: NewService, serve: Serve
) -> None:
    async def fail(turn: Any) -> None:
        raise RuntimeError

    client = await serve(new_service(), fail)
    await client.post(question())

    assert types_in((await from_index(client, 1, "c1~0")).text) == ["error", "finish"]
    assert types_in((await from_index(client, 2, "c1~0")).text) == ["finish"]


@pytest.mark.parametrize("name", ["c1", "c1~0"])
@pytest.mark.parametrize("index", [5, 6, 99])
async def test_an_index_past_the_tail_of_a_running_turn_is_waited_for(
    new_service: NewService, serve: Serve, index: int, name: str
) -> None:
    held = Held()
    client = await serve(new_service(), held)

    async with client.ask(question()) as asked:
        await held.started.wait()
        ahead = asyncio.create_task(from_index(client, index, name))
        await asyncio.wait([ahead], timeout=0.2)
        held.go_on.set()
        whole = chunks_in(await asked.rest())
        resumed = await ahead

    assert resumed.status_code == 200
    assert chunks_in(resumed.text) == (whole[index:] or ONLY_FINISH)


async def test_an_index_past_the_end_of_a_run_gets_only_its_finish(
    new_service: NewService, serve: Serve
) -> None:
    client = await serve(new_service(), greet)
    await client.post(question())

    assert chunks_in((await from_index(client, 99, "c1~0")).text) == ONLY_FINISH


@pytest.mark.parametrize("index", ["NaN", "", "1.5"])
async def test_an_impossible_index_is_refused(
    new_service: NewService, serve: Serve, index: str
) -> None:
    client = await serve(new_service(), greet)
    await client.post(question())

    answer = await from_index(client, index, "c1~0")

    assert (answer.status_code, answer.headers["content-type"]) == (
        400,
        "text/plain; charset=utf-8",
    )


async def test_a_client_resumes_after_an_event_id(new_service: NewService, serve: Serve) -> None:
    held = Held()
    client = await serve(new_service(), held)

    async with client.ask(question()) as asked:
        await held.started.wait()
        held.go_on.set()
        resumed = await client.get(headers={"last-event-id": "0.1"})
        await asked.rest()

    assert chunks_in(resumed.text)[:2] == TEXT[1:]
    assert "id: 0.2\n" in resumed.text


@pytest.mark.parametrize(
    ("event_id", "status"),
    [("1.1", 200), ("1.4", 204), ("0.1", 409), ("1.5", 400), ("nonsense", 400)],
)
async def test_an_event_id_never_stands_for_another_event(
    new_service: NewService, serve: Serve, event_id: str, status: int
) -> None:
    client = await serve(new_service(), greet)
    await client.post(question())
    await client.post(question(id="u2"))

    assert (await client.get(headers={"last-event-id": event_id})).status_code == status


async def test_an_event_of_a_deleted_answer_never_stands_for_one_of_a_later_answer(
    new_service: NewService, serve: Serve
) -> None:
    service = new_service()
    client = await serve(service, greet)
    await client.post(question())
    await service.delete("chat:c1")
    for event_id in ("0.1", "0.4", "1.1"):
        assert (await client.get(headers={"last-event-id": event_id})).status_code == 204
    await client.post(question(id="u2"))

    for event_id in ("0.1", "0.4"):
        assert (await client.get(headers={"last-event-id": event_id})).status_code == 409
    assert (await client.get(headers={"last-event-id": "1.1"})).status_code == 200
    # Nor does its run.
    for path in ("/api/chat/c1~0/stream", "/api/chat/c1~0/stream?startIndex=1"):
        assert (await client.http.get(path)).status_code == 409


async def test_a_stop_of_another_run_stops_nothing(new_service: NewService, serve: Serve) -> None:
    held = Held()
    client = await serve(new_service(), held)

    async with client.ask(question()) as asked:
        await held.started.wait()
        stale = await client.stop(body={"activeStreamId": "c1~7"})
        running = await client.status()
        named = await client.stop(body={"activeStreamId": "c1~0", "assistantMessage": {}})
        await asked.rest()

    assert (stale.json(), running["state"], named.json()) == (
        {"success": True},
        "open",
        {"success": True},
    )
    assert (await client.status())["state"] == "closed"


async def test_a_client_that_counts_the_chunks_of_a_superseded_run_is_refused(
    new_service: NewService, serve: Serve
) -> None:
    client = await serve(new_service(), greet)
    first = await client.post(question())
    await client.post(question(id="u2"))

    refused = await client.get(first.headers["x-workflow-run-id"], params={"startIndex": "2"})

    assert (refused.status_code, refused.text) == (
        409,
        "A newer answer has begun. Load the conversation again.",
    )


async def test_a_client_that_counts_the_chunks_of_a_lost_run_gets_none_of_the_run_that_replaces_it(
    new_service: NewService, serve: Serve
) -> None:
    service = new_service()
    pub = await service.publisher(
        "chat:c1", message_id="m1", request=question(), watched=True
    ).open()
    await pub.write({"type": "start", "messageId": "m1"}, TEXT[0])
    await pub.release()
    client = await serve(service, greet, on_lost="retry", replay_window=60.0)

    by_run = await client.get("c1~0", params={"startIndex": "2"})
    by_chat = await client.get(params={"startIndex": "0"})

    assert by_run.status_code == 409
    assert chunks_in(by_chat.text)[0] == {"type": "start", "messageId": "m1"}
    assert by_chat.headers["x-workflow-run-id"] == "c1~1"

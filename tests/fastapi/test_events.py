"""Events about the turns of all chats, for other tabs and devices."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Header

from monostream_ai import DurableStreamService
from monostream_ai.chats.events import MOST_WAITING, QUIET, EventBody, TurnWatcher
from monostream_ai.errors import StoreUnavailable
from monostream_ai.fastapi import ChatHistory, ChatReplies, ChatTurn, run_turn
from monostream_ai.interfaces import Notifier, Store
from tests.backends import BACKENDS, Backend, open_backend
from tests.fastapi.chat_client import ChatClient, OpenStream, question
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import Held, greet
from tests.fastapi.test_lost_turns import leave_open
from tests.hooked_store import HookedStore

POLL = 0.5
"""Seconds. Short where a test waits for a poll."""


@pytest.fixture(params=BACKENDS)
def backend(tmp_path: Path, request: pytest.FixtureRequest) -> Backend:
    return open_backend(request.param, tmp_path, request)


def _none(notifier: Notifier) -> None:
    return None


def _hooked_into(stores: list[HookedStore]) -> Callable[[Store], Store]:
    def hook(store: Store) -> Store:
        stores.append(HookedStore(store))
        return stores[-1]

    return hook


class Events:
    """The events of one client, and the id of the last one."""

    def __init__(self, stream: OpenStream) -> None:
        self.stream = stream
        self.last_id: str | None = None

    async def next(self) -> tuple[str, Any]:
        """Return the name and the data of the next event; comments are left out."""
        while True:
            lines = (await self.stream.event()).splitlines()
            fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
            self.last_id = fields.get("id", self.last_id)
            if "data" in fields:
                return fields["event"], json.loads(fields["data"])

    async def running(self) -> list[str]:
        """Return the chats of a `running` event, which must be the next one."""
        name, data = await self.next()
        assert name == "running"
        return [turn["chatId"] for turn in data["turns"]]

    async def turn(self) -> tuple[str, int, str, str | None]:
        """Return chat, version, state and ending of a `turn` event, which must be the next one."""
        name, turn = await self.next()
        assert name == "turn"
        return turn["chatId"], turn["version"], turn["state"], turn["ending"]

    async def until(self, *wanted: object) -> None:
        """Read until this turn was told."""
        while await self.turn() != wanted:
            pass


@asynccontextmanager
async def events_of(
    client: ChatClient, after: str | None = None, *, headers: Any = None, query: str = ""
) -> AsyncIterator[Events]:
    cursor = {} if after is None else {"last-event-id": after}
    async with client.http.stream(
        "GET", f"/api/chat/events?{query}", headers={**cursor, **(headers or {})}
    ) as response:
        assert response.status_code == 200
        yield Events(OpenStream(response))


async def test_a_turn_of_another_process_is_told(new_service: NewService, serve: Serve) -> None:
    held = Held()
    client, other = await serve(new_service(), greet), await serve(new_service(), held)
    async with events_of(client) as events:
        assert await events.running() == []
        async with other.ask(question()):
            assert await events.turn() == ("c1", 0, "open", None)
            held.go_on.set()
            assert await events.turn() == ("c1", 0, "closed", "finish")


async def test_a_client_that_comes_sees_the_turns_that_run(
    new_service: NewService, serve: Serve
) -> None:
    held = Held()
    client = await serve(new_service(), held)
    async with client.ask(question("c1")), client.ask(question("c2")):
        async with events_of(client) as events, events_of(client, query="chat=c2") as one:
            assert await events.running() == ["c1", "c2"]
            assert await one.running() == ["c2"]
            held.go_on.set()
            ended = {await events.turn(), await events.turn()}
            assert ended == {(chat, 0, "closed", "finish") for chat in ("c1", "c2")}
            assert await one.turn() == ("c2", 0, "closed", "finish")


async def test_a_stopped_and_a_failed_turn_are_told_apart(
    new_service: NewService, serve: Serve
) -> None:
    async def fail(turn: Any) -> None:
        await asyncio.sleep(0.5)
        raise RuntimeError

    client, failing = await serve(new_service(), Held()), await serve(new_service(), fail)
    async with events_of(failing) as events:
        await events.running()
        async with client.ask(question("c1")):
            await events.until("c1", 0, "open", None)
            await client.stop("c1")
            await events.until("c1", 0, "closed", "abort")
        await failing.post(question("c2"))
        await events.until("c2", 0, "closed", "error")


async def test_nothing_is_lost_over_a_reconnect_at_every_event(
    new_service: NewService, serve: Serve
) -> None:
    client, other = await serve(new_service(), greet), await serve(new_service(), greet)
    cursor: str | None = None
    ended = set()
    async with events_of(client) as events:
        await events.next()
        cursor = events.last_id
    for number in range(4):
        # Begins and ends while nobody listens.
        await other.post(question(f"c{number}"))
        for _ in range(2):
            async with events_of(client, cursor) as events:
                name, data = await events.next()
                cursor = events.last_id
                while name == "turn":
                    ended.add((data["chatId"], data["ending"]))
                    name, data = await events.next()
                assert data == {"turns": [], "startsOver": False}
    assert ended == {(f"c{number}", "finish") for number in range(4)}


async def test_a_cursor_may_stand_in_the_url(new_service: NewService, serve: Serve) -> None:
    """A new `EventSource` can name it only there; a header is newer, since the browser sends it."""
    client = await serve(new_service(), greet)
    async with events_of(client) as events:
        await events.next()
        place = events.last_id
    await client.post(question())
    for cursor in (None, place):
        query = f"after={'1000000000.000000-0' if cursor else place}"
        async with events_of(client, cursor, query=query) as events:
            assert await events.turn() == ("c1", 0, "closed", "finish")


async def test_a_cursor_that_is_too_old_or_in_the_future_or_none_starts_over(
    new_service: NewService, serve: Serve
) -> None:
    client = await serve(new_service(), greet)
    await client.post(question())
    soon = time.time() + 60
    for cursor in ("1000000000.000000-0", f"{soon:.6f}-0", "9999999999.000000-1", "3.7", "x"):
        async with events_of(client, cursor) as events:
            assert await events.next() == ("running", {"turns": [], "startsOver": True})


async def test_lost_wake_ups_cost_a_poll(new_service: NewService, serve: Serve) -> None:
    held = Held()
    client = await serve(new_service(wrap_notifier=_none, poll_interval=POLL), greet)
    other = await serve(new_service(wrap_notifier=_none), held)
    async with events_of(client) as events:
        await events.running()
        async with other.ask(question()):
            assert await events.turn() == ("c1", 0, "open", None)
            held.go_on.set()
            assert await events.turn() == ("c1", 0, "closed", "finish")


async def test_a_lost_turn_is_told_and_that_it_runs_again(
    new_service: NewService, serve: Serve
) -> None:
    held = Held()
    service = new_service(lease=0.4, poll_interval=POLL)
    client = await serve(service, held, on_lost="retry")
    async with events_of(client) as events:
        await events.running()
        await leave_open(new_service(lease=0.4))
        assert await events.turn() == ("c1", 0, "open", None)
        assert await events.turn() == ("c1", 0, "lost", None)
        # A reader finds the lost turn, and so starts it again.
        async with client.resume():
            name, turn = await events.next()
            state = turn["version"], turn["attempt"], turn["state"]
            assert (name, *state) == ("turn", 1, 2, "open")
            held.go_on.set()
            await events.until("c1", 1, "closed", "finish")


async def test_a_turn_that_waits_for_a_worker_is_told(
    new_service: NewService, serve: Serve
) -> None:
    async def dispatch(turn: str) -> None:
        pass

    client = await serve(new_service(poll_interval=POLL), greet, dispatch=dispatch)
    async with events_of(client) as events:
        await events.running()
        async with client.ask(question()):
            await events.until("c1", 0, "waiting", None)


async def test_a_worker_that_takes_a_turn_is_told_although_chunks_keep_coming(
    new_service: NewService, serve: Serve
) -> None:
    told = asyncio.Event()

    async def write_on(turn: ChatTurn) -> None:
        while not told.is_set():
            await turn.pub.write({"type": "data-tick", "data": 1})
            with suppress(TimeoutError):
                await asyncio.wait_for(told.wait(), timeout=QUIET / 5)

    refs: asyncio.Queue[str] = asyncio.Queue()
    client = await serve(new_service(poll_interval=60.0), greet, dispatch=refs.put)
    async with events_of(client) as events:
        await events.running()
        async with client.ask(question()), asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            await events.until("c1", 0, "waiting", None)
            tasks.create_task(run_turn(new_service(), await refs.get(), ChatReplies(write_on)))
            assert await events.turn() == ("c1", 0, "open", None)
            told.set()


async def test_a_new_chat_is_listed_as_soon_as_its_turn_is_told(
    new_service: NewService, serve: Serve
) -> None:
    async def dispatch(turn: str) -> None:
        pass

    client = await serve(new_service(), greet, dispatch=dispatch)
    history = ChatHistory(new_service())
    async with events_of(client) as events:
        await events.running()
        async with client.ask(question(text="Where to?")):
            assert (await events.turn())[:2] == ("c1", 0)
            [chat] = await history.chats()
    assert (chat.chat_id, chat.title) == ("c1", "Where to?")


async def test_a_deleted_chat_runs_no_longer(new_service: NewService, serve: Serve) -> None:
    service = new_service()
    client = await serve(service, Held())
    async with events_of(client) as events:
        await events.running()
        async with client.ask(question()):
            await events.until("c1", 0, "open", None)
            await service.delete("chat:c1")
            await events.until("c1", 0, "idle", None)


async def test_owners_never_hear_of_each_others_chats(
    new_service: NewService, serve: Serve
) -> None:
    def owner(user: Annotated[str, Header()]) -> str:
        return user

    held, service = Held(), new_service()
    client = await serve(service, held, authorize=owner)
    alice, bob = {"user": "alice"}, {"user": "bob"}
    async with (
        events_of(client, headers=alice) as hers,
        events_of(client, headers=bob) as his,
    ):
        await hers.running()
        await his.running()
        post = asyncio.create_task(client.post(question("c1"), headers=alice))
        assert await hers.turn() == ("c1", 0, "open", None)
        # Named as a chat of his, but it is hers.
        async with service.publisher("chat:bob/c2", owner="alice") as pub:
            await pub.write({"type": "start"})
        held.go_on.set()
        assert await hers.turn() == ("c1", 0, "closed", "finish")
        await post
        await client.post(question("c3"), headers=bob)
        assert (await his.turn())[0] == "c3"
        async with events_of(client, hers.last_id, headers=bob) as again:
            assert {(await again.turn())[0]} == {"c3"}


async def test_a_store_that_fails_is_reported_and_read_again(
    new_service: NewService, serve: Serve
) -> None:
    hooked: list[HookedStore] = []
    service = new_service(wrap_store=_hooked_into(hooked), poll_interval=POLL)
    [store] = hooked
    client = await serve(service, greet)
    reported: asyncio.Queue[str] = asyncio.Queue()
    service.on_error(lambda source, error: reported.put_nowait(source))

    async def fail() -> None:
        raise StoreUnavailable

    async with events_of(client) as events:
        await events.running()
        store.before["changes"] = fail
        await client.post(question())
        assert await reported.get() == "events"
        del store.before["changes"]
        await events.until("c1", 0, "closed", "finish")


async def test_nothing_is_read_while_nobody_listens(new_service: NewService, serve: Serve) -> None:
    hooked: list[HookedStore] = []
    service = new_service(wrap_store=_hooked_into(hooked), poll_interval=0.05)
    [store] = hooked
    client = await serve(service, greet)
    await client.post(question())
    assert store.calls["changes"] == 0
    async with events_of(client) as events:
        await events.running()
    while service._runtime.listeners:
        await asyncio.sleep(0.01)
    read = store.calls["changes"]
    await client.post(question("c2"))
    assert store.calls["changes"] == read


async def test_a_shutdown_ends_the_events(new_service: NewService, serve: Serve) -> None:
    service: DurableStreamService[Any] = new_service()
    client = await serve(service, greet)
    async with events_of(client) as events:
        await events.running()
        service.begin_shutdown()
        assert "event:" not in await events.stream.rest()


async def test_silent_events_are_kept_alive(new_service: NewService, serve: Serve) -> None:
    client = await serve(new_service(), greet, keep_alive=0.1)
    async with events_of(client) as events:
        await events.running()
        assert await events.stream.event() == ": keep-alive"


async def test_a_client_that_does_not_read_starts_over(new_service: NewService) -> None:
    service = new_service()
    watcher = TurnWatcher(service, "chat:")
    body = EventBody(watcher, None, None, None, keep_alive=600.0)
    body.open()
    assert b"stream-open" in await anext(body)
    assert b"event: running" in await anext(body)
    for number in range(MOST_WAITING + 1):
        pub = service.publisher(f"chat:{number:03}")
        await pub.open()
    async with asyncio.timeout(30):
        while not repr(body).endswith(", 0 waiting, behind>"):
            await asyncio.sleep(0.05)
    event = (await anext(body)).decode()
    body.close()
    assert event.startswith("event: running")
    assert len(json.loads(event.partition("data: ")[2])["turns"]) == MOST_WAITING + 1


async def test_turns_that_end_at_one_instant_are_all_told_one_by_one(
    new_service: NewService, serve: Serve
) -> None:
    service = new_service()
    client = await serve(service, greet)
    async with events_of(client) as events:
        await events.next()
        cursor = events.last_id
    # Ended together by one commit of the store.
    pubs = [service.publisher(f"chat:c{number}") for number in range(5)]
    for pub in pubs:
        await pub.open()
    await asyncio.gather(*(pub.close() for pub in pubs))
    told = []
    for _ in pubs:
        async with events_of(client, cursor) as events:
            told.append((await events.turn())[0])
            cursor = events.last_id
    assert sorted(told) == [f"c{number}" for number in range(5)]


@pytest.mark.parametrize("chat", ["", "%00", "x" * 3000], ids=["empty", "NUL", "long"])
async def test_a_chat_that_no_store_could_hold_is_refused(
    new_service: NewService, serve: Serve, chat: str
) -> None:
    client = await serve(new_service(), Held())

    refused = await client.http.get(f"/api/chat/events?chat={chat}")

    assert refused.status_code == 400
    assert refused.headers["content-type"].startswith("text/plain")

"""`respond` goes on with a background response in another process, and behind a broken connection.

The server is a fake; the client is the real one.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import openai
import pytest

from monostream_ai import DurableStreamService, Fenced, InvalidArgument, StreamStopped
from monostream_ai.openai import Answer, ResponseFailed, TruncatedStream, background, respond
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.ui_messages import UIMessageProtocol, reduce_chunks
from tests.openai.background_server import BackgroundServer, long_answer
from tests.openai.recordings import events_of
from tests.openai.storing import Service, check_message
from tests.openai.streaming import Event, event

NAMES = [
    "long",
    "text",
    "function_call",
    "two_function_calls",
    "reasoning_summary",
    "reasoning_that_is_encrypted",
    "code_interpreter",
    "nothing_streamed",
    "image_generation",
    "mcp_approval_request",
    "refusal",
    "file_search",
    "large",
]


MESSAGE: Any = {"message_id": "m1"}


def events_for(name: str) -> list[Event]:
    if name == "large":
        return large_answer()
    return long_answer() if name == "long" else events_of(f"responses/{name}")


def large_answer() -> list[Event]:
    """Return a response with an image, an unknown item and code that are too large to store."""
    large = "A" * 1_200_000
    image = {"id": "ig", "type": "image_generation_call", "status": "completed", "result": large}
    code = {"id": "ci", "type": "code_interpreter_call", "status": "completed"}
    code |= {"code": "x", "outputs": [{"type": "logs", "logs": large}]}
    odd = {"id": "od", "type": "hologram", "body": large}
    *begun, last = events_of("responses/text")
    items = [
        event("output_item.done", output_index=number, item=item)
        for number, item in enumerate((image, code, odd, {**image, "id": "i2", "result": "AAAA"}))
    ]
    return [*begun[:2], *items, *begun[2:], last]


@pytest.fixture
async def server() -> AsyncIterator[BackgroundServer]:
    async with BackgroundServer(lambda body: events_for(body["model"])).running() as server:
        yield server


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_DELAY", "LAST_DELAY", "POLL_INTERVAL"):
        monkeypatch.setattr(background, name, 0.001)


class MortalStore(ForwardingStore):
    """The store of a process, which takes nothing more from it when it is dead."""

    dead = False

    async def append(self, appends: Any, **options: Any) -> Any:
        if self.dead:
            return [Fenced(each.lease.stream_id, each.lease.version, 0) for each in appends]
        return await super().append(appends, **options)

    async def renew(self, leases: Any, **options: Any) -> Any:
        if self.dead:
            return [Fenced(lease.stream_id, lease.version, 0) for lease in leases]
        return await super().renew(leases, **options)


class Processes:
    """Processes that share a store, and are killed one after another."""

    def __init__(self, server: BackgroundServer) -> None:
        self._store = MemoryStore()
        self.server = server
        self.client = openai.AsyncOpenAI(api_key="none", base_url=server.url, max_retries=0)

    def service(self) -> Service:
        store = MortalStore(self._store)
        return DurableStreamService(store, None, UIMessageProtocol(), poll_interval=0.05)

    async def kill(self, service: Any, pub: Any) -> None:
        """Let the version be lost, and nothing more be written by its publisher."""
        service._runtime.store.dead = True
        await self._store.release(pub._opened.lease)

    async def id_is_stored(self, response_id: str) -> None:
        """Return once the id of a response is stored."""
        told = {"responseId": response_id}
        async with self.service() as service:
            async for chunk in service.subscribe("chat"):
                if told.items() <= chunk.get("messageMetadata", {}).items():
                    return

    async def message(self) -> Any:
        async with self.service() as service:
            chunks = await service.chunks("chat")
        check_message(chunks)
        return reduce_chunks(chunks)


@pytest.fixture
async def processes(server: BackgroundServer) -> AsyncIterator[Processes]:
    made = Processes(server)
    async with made.client:
        yield made


Program = Callable[[Any, Any], Any]


def ask(name: str) -> Program:
    async def program(client: Any, pub: Any) -> Answer:
        return await respond(client, pub, model=name, input="Hi")

    return program


async def unbroken(server: BackgroundServer, program: Program) -> Any:
    """Return the message of a program that nobody disturbs."""
    processes = Processes(server)
    async with processes.client, processes.service() as service:
        async with service.publisher("chat", **MESSAGE) as pub:
            await program(processes.client, pub)
        message = await processes.message()
    server.forget()
    return message


async def killed_at(processes: Processes, program: Program, places: list[int]) -> Any:
    """Return the message of a program whose process is killed each time after so many events."""
    async with AsyncExitStack() as stack:
        for number, place in enumerate(places):
            service = await stack.enter_async_context(processes.service())
            pub = service.successor("chat", 0) if number else service.publisher("chat", **MESSAGE)
            await kill(processes, program, service, pub, place)
        service = await stack.enter_async_context(processes.service())
        async with service.successor("chat", 0) as pub:
            await program(processes.client, pub)
    return await processes.message()


async def kill(
    processes: Processes, program: Program, service: Service, pub: Any, place: int
) -> None:
    """Run a program, and kill its process after so many events."""

    async def run() -> None:
        async with pub:
            await program(processes.client, pub)

    pause = asyncio.create_task(processes.server.pause_behind(place))
    task = asyncio.create_task(run())
    await processes.id_is_stored(await pause)
    # The events are anywhere between the server and the store.
    await asyncio.sleep(place % 4 * 0.001)
    await processes.kill(service, pub)
    processes.server.resume()
    with pytest.raises(Fenced):
        await task
    assert (await service.status("chat")).lost


@pytest.mark.parametrize("name", NAMES)
async def test_a_response_is_recorded(processes: Processes, name: str) -> None:
    async with processes.service() as service, service.publisher("chat", message_id="m1") as pub:
        answer = await respond(processes.client, pub, model=name, input="Hi")

    assert answer.response.id == "resp_1"
    message = await processes.message()
    assert message["metadata"]["responseId"] == "resp_1"
    assert processes.server.creates == 1


@pytest.mark.sweep(3)
@pytest.mark.parametrize("name", NAMES)
async def test_an_answer_whose_process_is_killed_goes_on_in_another(
    server: BackgroundServer, name: str
) -> None:
    expected = await unbroken(server, ask(name))

    for place in range(1, len(events_for(name))):
        processes = Processes(server)
        async with processes.client:
            assert await killed_at(processes, ask(name), [place]) == expected, place
        assert server.creates == 1
        server.forget()


@pytest.mark.sweep(3)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "large"])
async def test_a_step_that_the_program_takes_back_is_recorded_once_more(
    server: BackgroundServer, name: str
) -> None:
    async def program(client: Any, pub: Any) -> None:
        kinds = [chunk["type"] for chunk in pub.written]
        if "start-step" in kinds and "finish-step" not in kinds:
            await pub.write({"type": "reset-step"})
        await respond(client, pub, model=name, input="Hi")

    expected = await unbroken(server, program)

    for place in range(1, len(events_for(name))):
        processes = Processes(server)
        async with processes.client:
            message = await killed_at(processes, program, [place])
        if message["parts"][-1] == {"type": "step-start"}:
            # Clients that keep what was taken back would send the message again without it.
            message["parts"].pop()
        assert message == expected, place
        server.forget()


@pytest.mark.sweep(3)
@pytest.mark.parametrize("seed", range(50))
async def test_no_kill_costs_or_doubles_a_character(server: BackgroundServer, seed: int) -> None:
    chance = random.Random(seed)
    expected = await unbroken(server, ask("long"))
    places = [chance.randrange(1, len(long_answer())) for _ in range(4)]
    processes = Processes(server)

    async with processes.client:
        assert await killed_at(processes, ask("long"), places) == expected

    assert server.creates == 1
    assert server.cancelled == []


@pytest.mark.sweep(3)
@pytest.mark.parametrize("resets", [True, False])
@pytest.mark.parametrize("ignores", [True, False])
@pytest.mark.parametrize("name", NAMES)
async def test_a_connection_that_breaks_again_and_again_is_opened_behind_the_last_event(
    server: BackgroundServer, processes: Processes, name: str, ignores: bool, resets: bool
) -> None:
    expected = await unbroken(server, ask(name))
    server.ignores_starting_after, server.breaks_off = ignores, resets
    # A server that always begins anew has to get a little further each time.
    server.cuts = itertools.count(2) if ignores else itertools.repeat(2)

    async with processes.service() as service, service.publisher("chat", **MESSAGE) as pub:
        await ask(name)(processes.client, pub)

    assert await processes.message() == expected
    assert server.creates == 1
    assert len(server.retrieved) >= (len(events_for(name)) - 2) // 2 - 1
    assert all("starting_after" in query for query in server.retrieved)


@pytest.mark.parametrize("status", [400, 501])
@pytest.mark.parametrize("name", ["long", "text", "reasoning_summary"])
async def test_a_response_that_cannot_be_streamed_again_is_polled(
    server: BackgroundServer, processes: Processes, name: str, status: int
) -> None:
    expected = await unbroken(server, ask(name))
    server.cuts, server.status, server.polls = iter([9]), {"stream": status}, 3

    async with processes.service() as service, service.publisher("chat", **MESSAGE) as pub:
        await ask(name)(processes.client, pub)

    assert await processes.message() == expected
    assert len(server.retrieved) == 5


async def test_streams_that_bring_nothing_are_given_up_for_polls(
    server: BackgroundServer, processes: Processes
) -> None:
    expected = await unbroken(server, ask("long"))
    server.cuts, server.breaks_off = itertools.chain([9], itertools.repeat(0)), False

    async with processes.service() as service, service.publisher("chat", **MESSAGE) as pub:
        await ask("long")(processes.client, pub)

    assert await processes.message() == expected


async def test_events_without_numbers_are_not_read_twice(
    server: BackgroundServer, processes: Processes
) -> None:
    expected = await unbroken(server, ask("long"))
    server.numbers, server.cuts = False, iter([12])

    async with processes.service() as service, service.publisher("chat", **MESSAGE) as pub:
        await ask("long")(processes.client, pub)

    assert await processes.message() == expected
    assert "stream" not in server.retrieved[0]


@pytest.mark.parametrize("call", ["stream", "poll"])
async def test_a_response_that_is_gone_is_named(
    server: BackgroundServer, processes: Processes, call: str
) -> None:
    server.cuts, server.status = iter([5]), {"stream": 404 if call == "stream" else 400, call: 404}

    with pytest.raises(ResponseFailed, match="no response 'resp_1' any more") as caught:
        async with processes.service() as service, service.publisher("chat", **MESSAGE) as pub:
            await ask("long")(processes.client, pub)

    assert caught.value.code == "not_found"
    async with processes.service() as service:
        assert (await service.chunks("chat"))[-1]["type"] == "error"


async def test_a_provider_that_stays_away_is_given_up(
    server: BackgroundServer, processes: Processes
) -> None:
    server.cuts, server.status = iter([5]), {"stream": 503}

    with pytest.raises(openai.InternalServerError):
        async with processes.service() as service, service.publisher("chat", **MESSAGE) as pub:
            await ask("long")(processes.client, pub)

    assert len(server.retrieved) == background.TRIES


async def test_a_refusal_that_will_stay_is_raised_at_once(
    server: BackgroundServer, processes: Processes
) -> None:
    server.cuts, server.status = iter([5]), {"stream": 401}

    with pytest.raises(openai.AuthenticationError):
        async with processes.service() as service, service.publisher("chat", **MESSAGE) as pub:
            await ask("long")(processes.client, pub)

    assert len(server.retrieved) == 1


async def test_a_stream_that_breaks_before_the_response_has_an_id_is_no_answer(
    server: BackgroundServer, processes: Processes
) -> None:
    server.cuts, server.breaks_off = iter([0]), False

    with pytest.raises(TruncatedStream):
        async with processes.service() as service, service.publisher("chat", **MESSAGE) as pub:
            await ask("long")(processes.client, pub)

    assert (server.creates, server.retrieved) == (1, [])


@pytest.mark.parametrize("name", ["failed", "error_event"])
async def test_a_failure_of_the_model_is_raised_and_not_retried(
    server: BackgroundServer, processes: Processes, name: str
) -> None:
    with pytest.raises(ResponseFailed):
        async with processes.service() as service, service.publisher("chat", **MESSAGE) as pub:
            await ask(name)(processes.client, pub)

    assert (server.creates, server.retrieved) == (1, [])


async def test_a_successor_of_a_failed_response_tells_the_failure(
    server: BackgroundServer, processes: Processes
) -> None:
    async with processes.service() as service, processes.service() as other:
        pub = service.publisher("chat", **MESSAGE)
        await kill(processes, ask("failed"), service, pub, 1)
        with pytest.raises(ResponseFailed):
            async with other.successor("chat", 0) as successor:
                await ask("failed")(processes.client, successor)

    assert server.creates == 1


async def loop(client: Any, pub: Any) -> None:
    """Ask, run the tools, and ask again with their results."""
    answer = await respond(client, pub, model="long", input="Hi")
    results = []
    for call in answer.response.output:
        if call.type == "function_call":
            answer.tool_result(call.call_id, output={"sun": True})
            results.append({"type": "function_call_output", "call_id": call.call_id, "output": ""})
    await respond(client, pub, model="text", input=results, previous_response_id=answer.response.id)


@pytest.mark.sweep(4)
@pytest.mark.parametrize("seed", range(20))
async def test_a_tool_loop_goes_on_at_its_response(server: BackgroundServer, seed: int) -> None:
    chance = random.Random(seed)
    expected = await unbroken(server, loop)
    both = len(long_answer()) + len(events_for("text"))
    places = [chance.randrange(1, both) for _ in range(3)]
    processes = Processes(server)

    async with processes.client:
        assert await killed_at(processes, loop, places) == expected

    assert [part["type"] for part in expected["parts"]].count("step-start") == 2
    assert server.creates == 2


async def test_a_stopped_turn_cancels_the_response(
    server: BackgroundServer, processes: Processes
) -> None:
    async def run() -> None:
        async with service.publisher("chat", on_cancel="release") as pub:
            await ask("long")(processes.client, pub)

    async with processes.service() as service:
        pause = asyncio.create_task(server.pause_behind(12))
        task = asyncio.create_task(run())
        await processes.id_is_stored(await pause)
        await service.stop("chat")
        with pytest.raises(StreamStopped):
            await task

    assert server.cancelled == ["resp_1"]
    server.resume()


@pytest.mark.parametrize(
    ("on_cancel", "cancelled"), [("abort", ["resp_1"]), ("release", [])], ids=str
)
async def test_a_cancelled_turn_cancels_the_response_unless_another_may_go_on(
    server: BackgroundServer, processes: Processes, on_cancel: Any, cancelled: list[str]
) -> None:
    async def run() -> None:
        async with service.publisher("chat", on_cancel=on_cancel) as pub:
            await ask("long")(processes.client, pub)

    async with processes.service() as service:
        pause = asyncio.create_task(server.pause_behind(12))
        task = asyncio.create_task(run())
        await processes.id_is_stored(await pause)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert server.cancelled == cancelled
    server.resume()


@pytest.mark.parametrize("name", ["long", "text", "function_call"])
async def test_a_turn_that_is_handed_over_before_it_has_an_id_goes_on_with_its_response(
    server: BackgroundServer, processes: Processes, name: str
) -> None:
    expected = await unbroken(server, ask(name))
    server.admits.clear()

    async with processes.service() as service:
        pub = service.publisher("chat", on_cancel="release", **MESSAGE)

        async def run() -> None:
            async with pub:
                await ask(name)(processes.client, pub)

        task = asyncio.create_task(run())
        await server.created()
        task.cancel()
        await asyncio.sleep(0)
        server.admits.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with service.successor("chat", 0) as successor:
            await ask(name)(processes.client, successor)

    assert await processes.message() == expected
    assert (server.creates, server.cancelled) == (1, [])


async def test_a_turn_that_is_stopped_before_it_has_an_id_cancels_its_response(
    server: BackgroundServer, processes: Processes
) -> None:
    server.admits.clear()

    async def run() -> None:
        async with service.publisher("chat") as pub:
            await ask("long")(processes.client, pub)

    async with processes.service() as service:
        task = asyncio.create_task(run())
        await server.created()
        await service.stop("chat")
        server.admits.set()
        with pytest.raises(StreamStopped):
            await task

    assert server.cancelled == ["resp_1"]


async def test_a_provider_that_does_not_answer_does_not_hold_up_the_stop(
    server: BackgroundServer, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "CREATE_TIMEOUT", 0.05)
    server.admits.clear()
    async with processes.service() as service:
        async with service.publisher("chat") as pub:
            task = asyncio.create_task(ask("long")(processes.client, pub))
            await server.created()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    server.admits.set()

    assert server.cancelled == []


async def test_a_turn_that_a_newer_one_replaces_cancels_its_response(
    server: BackgroundServer, processes: Processes
) -> None:
    async def run() -> None:
        async with service.publisher("chat") as pub:
            await ask("long")(processes.client, pub)

    async with processes.service() as service, processes.service() as other:
        pause = asyncio.create_task(server.pause_behind(12))
        task = asyncio.create_task(run())
        await processes.id_is_stored(await pause)
        async with other.publisher("chat"):
            server.resume()
            with pytest.raises(Fenced):
                await task

    assert server.cancelled == ["resp_1"]


async def test_a_provider_that_cannot_cancel_does_not_hold_up_the_stop(
    server: BackgroundServer, processes: Processes, caplog: pytest.LogCaptureFixture
) -> None:
    server.status = {"cancel": 500}
    async with processes.service() as service:
        async with service.publisher("chat") as pub:
            task = asyncio.create_task(ask("long")(processes.client, pub))
            await processes.id_is_stored(await server.pause_behind(12))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    server.resume()
    assert "could not cancel the response 'resp_1': InternalServerError" in caplog.text


@pytest.mark.parametrize("option", ["stream", "background"])
async def test_a_request_that_is_no_background_stream_is_refused(
    processes: Processes, option: str
) -> None:
    async with processes.service() as service, service.publisher("chat") as pub:
        with pytest.raises(InvalidArgument, match=f"leave out '{option}'"):
            await respond(processes.client, pub, model="text", **{option: False})


async def test_anything_but_an_async_client_is_refused(processes: Processes) -> None:
    sync = openai.OpenAI(api_key="none", base_url=processes.server.url)
    async with processes.service() as service, service.publisher("chat") as pub:
        for client in (sync, object()):
            with pytest.raises(TypeError, match="needs an AsyncOpenAI"):
                await respond(client, pub, model="text", input="Hi")
    sync.close()

"""An agent answers the turns of chat routes: it asks, and goes on after a decision or a crash."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from fastapi import FastAPI
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelRequest, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.tools import DeferredToolRequests

from monostream_ai import create_service
from monostream_ai.chats.turns.requests import ChatRequest
from monostream_ai.chats.turns.turn import Assignment, ChatTurn
from monostream_ai.fastapi import ChatHistory, ChatReplies, create_chat_router
from monostream_ai.pydantic_ai import respond
from monostream_ai.testing import ChatProcesses, Gate
from monostream_ai.ui_messages import Chunk, MessageReducer, UIMessage, reduce_chunks
from monostream_ai.ui_messages.protocol import note_continued
from tests.fastapi.chat_client import question

SAID: Final = ("It is ", "all ", "done.")

Parts = list[tuple[Any, ...]]


class Library:
    """An agent with a tool that runs at once, and one that asks first."""

    def __init__(self, gate: Gate | None = None) -> None:
        self.ran: list[str] = []
        self.asked: list[list[ModelMessage]] = []
        self._gate = gate
        self.agent: Agent[Any, Any] = Agent(
            FunctionModel(stream_function=self._say), output_type=[str, DeferredToolRequests]
        )
        self.agent.tool_plain(self.search)
        self.agent.tool_plain(self.publish, requires_approval=True)

    async def search(self, query: str) -> str:
        """Search the library."""
        self.ran.append("search")
        return f"papers on {query}"

    async def publish(self, title: str) -> str:
        """Publish a report."""
        self.ran.append("publish")
        return f"{title} is published"

    async def _say(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        self.asked.append([*messages])
        answered: set[str] = set()
        for message in messages:
            for part in message.parts if isinstance(message, ModelRequest) else ():
                if isinstance(part, UserPromptPart):
                    answered.clear()
                if isinstance(part, ToolReturnPart) and part.outcome != "failed":
                    answered.add(part.tool_name)
        if "search" not in answered:
            yield "Let me look."
            yield {1: DeltaToolCall("search", '{"query": ', tool_call_id=f"s{len(messages)}")}
            yield {1: DeltaToolCall(json_args='"whales"}')}
        elif "publish" not in answered:
            call = f"p{len(messages)}"
            yield {0: DeltaToolCall("publish", '{"title": "Whales"}', tool_call_id=call)}
        else:
            for word in SAID:
                yield word
                if self._gate is not None:
                    await self._gate.passed()


def shown(message: UIMessage) -> Parts:
    """Return what a page shows, without ids, which differ from run to run."""
    return [
        (part["type"], part.get("state"), part.get("text"), part.get("output"))
        for part in message["parts"]
        if part["type"] != "step-start"
    ]


ASKED: Final = [
    ("text", "done", "Let me look.", None),
    ("tool-search", "output-available", None, "papers on whales"),
    ("tool-publish", "approval-requested", None, None),
]
END: Final = ("text", "done", "".join(SAID), None)
DECIDED: Final = {
    True: [*ASKED[:2], ("tool-publish", "output-available", None, "Whales is published"), END],
    False: [*ASKED[:2], ("tool-publish", "output-denied", None, None), END],
}


def reduced(chunks: list[Chunk], message: UIMessage) -> UIMessage:
    """Return a message with the chunks that continue it."""
    reducer = MessageReducer(message)
    for chunk in chunks:
        reducer.feed(chunk)
    return reducer.message


def decide(message: UIMessage, approved: bool) -> UIMessage:
    parts = [dict(part) for part in message["parts"]]
    for part in parts:
        if part.get("state") == "approval-requested":
            part["state"] = "approval-responded"
            part["approval"] = {**part["approval"], "approved": approved}
    return {**message, "parts": parts}


async def run(
    library: Library, message: UIMessage, written: list[Chunk] | None = None
) -> list[Chunk]:
    """Return the chunks of a turn that answers or continues a message, in the state in which the
    store has them; after those `written`, if its first process died there.
    """
    body = {**question(), "messages": [message]}
    request = ChatRequest.from_body(body)
    message_id = "m1" if message["role"] == "user" else message["id"]
    async with create_service("memory://") as service:
        options: Any = {"message_id": message_id, "request": body, "watched": True}
        dead = await service.publisher("chat:c1", **options).open()
        await dead.write({"type": "start", "messageId": message_id}, *(written or [])[1:])
        await dead.release()
        assignment = Assignment(
            "chat:c1",
            0,
            request,
            None,
            attempt=2,
            goes_on=True,
            exists=True,
            message_id=message_id,
        )
        pub = service.successor("chat:c1", 0)
        async with pub:
            if request.continued_message is not None:
                # As the routes do.
                note_continued(pub, request.continued_message)
            await respond(library.agent, ChatTurn(assignment, pub, service), [message])
        return await service.chunks("chat:c1")


USER: Final[UIMessage] = question()["messages"][0]


def at_each_chunk(chunks: list[Chunk]) -> list[list[Chunk]]:
    """Return what the store has of an answer, wherever its process dies; without the ending."""
    assert chunks[-1]["type"] == "finish"
    return [chunks[:count] for count in range(1, len(chunks))]


async def test_a_question_is_answered_up_to_an_approval() -> None:
    chunks = await run(library := Library(), USER)

    assert shown(reduce_chunks(chunks)) == ASKED
    assert library.ran == ["search"]


async def test_a_question_is_answered_wherever_its_process_died() -> None:
    for written in at_each_chunk(await run(Library(), USER)):
        chunks = await run(library := Library(), USER, written)

        message = reduce_chunks(chunks)
        assert shown(message) == ASKED, written[-1]
        had_result = any(chunk["type"] == "tool-output-available" for chunk in written)
        assert library.ran == ([] if had_result else ["search"]), written[-1]


@pytest.mark.parametrize("approved", [True, False], ids=["yes", "no"])
async def test_a_decision_goes_on_wherever_its_process_died(approved: bool) -> None:
    asked = decide(reduce_chunks(await run(Library(), USER)), approved)
    whole = await run(library := Library(), asked)
    assert shown(reduced(whole, asked)) == DECIDED[approved]
    assert library.ran == (["publish"] if approved else [])
    for written in at_each_chunk(whole):
        chunks = await run(library := Library(), asked, written)

        message = reduced(chunks, asked)
        assert shown(message) == DECIDED[approved], written[-1]
        has_result = any(chunk["type"] == "tool-output-available" for chunk in written)
        assert library.ran == (["publish"] if approved and not has_result else []), written[-1]


BOTH: Final[list[Chunk]] = [
    {"type": "start", "messageId": "m1"},
    {"type": "start-step"},
    {
        "type": "tool-input-available",
        "toolCallId": "s1",
        "toolName": "search",
        "input": {"query": "whales"},
    },
    {
        "type": "tool-input-available",
        "toolCallId": "p1",
        "toolName": "publish",
        "input": {"title": "Whales"},
    },
]


async def test_a_call_beside_one_that_has_its_result_never_runs_without_its_question() -> None:
    result = {"type": "tool-output-available", "toolCallId": "s1", "output": "papers on whales"}
    chunks = await run(library := Library(), USER, [*BOTH, result])

    assert shown(reduce_chunks(chunks)) == [
        ASKED[1],
        ("tool-publish", "output-error", None, None),
        ASKED[2],
    ]
    assert library.ran == []


async def test_nothing_runs_while_a_decision_is_missing() -> None:
    asked = [
        {"type": "tool-approval-request", "toolCallId": call_id, "approvalId": call_id}
        for call_id in ("s1", "p1")
    ]
    message = decide(reduce_chunks([*BOTH, *asked]), True)
    message["parts"][-1] = reduce_chunks([*BOTH, *asked])["parts"][-1]

    chunks = await run(library := Library(), message)

    assert reduced(chunks, message) == message
    assert library.ran == []
    assert library.asked == []


async def test_a_part_that_the_adapter_does_not_know_is_left_out() -> None:
    message = {**USER, "parts": [{"type": "custom", "kind": "x.y"}, *USER["parts"]]}

    assert shown(reduce_chunks(await run(Library(), message))) == ASKED


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def library(gate: Gate) -> Library:
    return Library(gate)


@pytest.fixture(params=["continue", "retry"])
async def processes(request: Any, library: Library) -> AsyncIterator[ChatProcesses]:
    def create_app(service: Any) -> FastAPI:
        history = ChatHistory(service)

        async def reply(turn: ChatTurn) -> None:
            await respond(library.agent, turn, await history.ask(turn))

        replies = ChatReplies(reply, on_finish=history.finish, on_lost=request.param)
        app = FastAPI()
        router = create_chat_router(service, replies, drain_timeout=0)
        app.include_router(router, prefix="/api/chat")

        @app.get("/history")
        async def messages() -> list[UIMessage]:
            return await history.messages("chat-1")

        return app

    async with ChatProcesses(create_app) as processes:
        yield processes


async def history_of(server: Any) -> list[Parts]:
    stored = await (await server.request("GET", "/history", path="")).json()
    return [shown(message) for message in stored if message["role"] == "assistant"]


@pytest.mark.parametrize("approved", [True, False], ids=["yes", "no"])
@pytest.mark.parametrize("end", ["crash", "shut_down"])
async def test_a_page_reloads_and_a_process_ends_in_the_turn_after_a_decision(
    processes: ChatProcesses, library: Library, gate: Gate, approved: bool, end: str
) -> None:
    server = await processes.start()
    asked = await (await server.ask("Research whales.")).rest()
    assert shown(asked) == ASKED
    page = await server.ask(decide(asked, approved))
    await page.until("It is")
    reloaded = await server.resume()
    await reloaded.until("It is")
    assert shown(reloaded.message)[:3] == DECIDED[approved][:3]
    await getattr(server, end)()

    server = await processes.start()
    resumed = await server.resume(headers={"x-ui-message-profile": "v7.0.149"})
    gate.open()
    assert shown(await resumed.rest()) == DECIDED[approved]
    assert shown(await (await server.resume()).rest()) == DECIDED[approved]
    assert await history_of(server) == [DECIDED[approved]]
    assert library.ran == ["search", *(["publish"] if approved else [])]


async def test_another_question_instead_of_a_decision_is_answered(
    processes: ChatProcesses, library: Library, gate: Gate
) -> None:
    gate.open()
    server = await processes.start()
    await (await server.ask("Research whales.")).rest()
    await (await server.ask("Research sharks.")).rest()

    assert await history_of(server) == [ASKED, ASKED]
    assert library.ran == ["search", "search"]

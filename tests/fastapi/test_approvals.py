"""A LangGraph agent that asks for approval, as a `useChat` page sees it."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from monostream_ai.fastapi import ChatTurn
from monostream_ai.ui_messages import Chunk, MessageReducer, UIMessage, reduce_chunks
from tests.fastapi.chat_client import chunks_in, question
from tests.fastapi.conftest import NewService, Serve
from tests.langchain.scripted import ScriptedModel, calls, says


class Cleaner:
    """A reply whose agent asks whether it may delete, and in deleting waits for the test."""

    def __init__(self) -> None:
        self.deleting = asyncio.Event()
        self.go_on = asyncio.Event()
        self.deleted: list[str] = []

        @tool
        async def delete_file(path: str) -> str:
            """Delete a file."""
            self.deleting.set()
            await self.go_on.wait()
            self.deleted.append(path)
            return f"{path} is deleted"

        script = [
            [*says("Let me see."), *calls(("call_1", "delete_file", '{"path": "old.txt"}'))],
            says("That is all."),
        ]
        ask = HumanInTheLoopMiddleware({"delete_file": True})
        self._agent: Any = create_agent(
            ScriptedModel(scripts=script),
            [delete_file],
            middleware=[ask],
            checkpointer=InMemorySaver(),
        )

    async def __call__(self, turn: ChatTurn) -> None:
        answers = turn.resume_value()
        given: Any = Command(resume=answers) if answers else {"messages": turn.langchain_messages()}
        await self._agent.ainvoke(
            given, {"callbacks": [turn.callback], "configurable": {"thread_id": turn.chat_id}}
        )


def call_in(message: UIMessage) -> dict[str, Any]:
    [call] = [part for part in message["parts"] if part["type"] == "dynamic-tool"]
    return call


def answered(message: UIMessage, approved: bool) -> dict[str, Any]:
    """Return the request that the page sends after the answer of the user."""
    message = copy.deepcopy(message)
    call = call_in(message)
    call.update(state="approval-responded", approval={**call["approval"], "approved": approved})
    body = question()
    return body | {"messages": [*body["messages"], message], "messageId": message["id"]}


def shown(message: UIMessage, chunks: list[Chunk]) -> UIMessage:
    """Return the message on a page that already held it when these chunks came."""
    reducer = MessageReducer(message)
    for chunk in chunks:
        reducer.feed(chunk)
    reducer.settle()
    return reducer.message


async def test_a_turn_that_asks_ends_and_the_answer_goes_on_with_its_message(
    new_service: NewService, serve: Serve
) -> None:
    cleaner = Cleaner()
    client = await serve(new_service(), cleaner, profile="v7")

    first = chunks_in((await client.post(question())).text)
    asked = reduce_chunks(first, finished=True)
    assert first[-1] == {"type": "finish", "finishReason": "tool-calls"}
    assert (call_in(asked)["state"], cleaner.deleted) == ("approval-requested", [])

    request = answered(asked, approved=True)
    async with client.ask(request) as continuing, client.resume() as resumed:
        async with asyncio.timeout(5.0):
            await cleaner.deleting.wait()
            # Everything so far, before the tool has returned.
            replayed = [await resumed.chunk()]
            while replayed[-1]["type"] != "tool-approval-response":
                replayed.append(await resumed.chunk())
        cleaner.go_on.set()
        new, whole = (
            chunks_in(await continuing.rest()),
            [*replayed, *chunks_in(await resumed.rest())],
        )

    assert cleaner.deleted == ["old.txt"]
    assert [chunk["messageId"] for chunk in (first[0], new[0], whole[0])] == [asked["id"]] * 3
    page = shown(request["messages"][-1], new)
    assert page["metadata"] == {"finishReason": "stop"}
    assert reduce_chunks(whole, finished=True) == page
    assert (call_in(page)["state"], call_in(page)["output"]) == (
        "output-available",
        "old.txt is deleted",
    )
    assert [part["text"] for part in page["parts"] if part["type"] == "text"] == [
        "Let me see.",
        "That is all.",
    ]


@pytest.mark.parametrize("approved", [True, False])
async def test_a_call_is_not_announced_again_by_the_turn_that_answers_it(
    new_service: NewService, serve: Serve, approved: bool
) -> None:
    cleaner = Cleaner()
    cleaner.go_on.set()
    client = await serve(new_service(), cleaner)
    asked = reduce_chunks(chunks_in((await client.post(question())).text), finished=True)

    new = chunks_in((await client.post(answered(asked, approved))).text)

    outcome = "tool-output-available" if approved else "tool-output-denied"
    assert [chunk["type"] for chunk in new if "toolCallId" in chunk] == [outcome]
    assert cleaner.deleted == (["old.txt"] if approved else [])

"""A chat application runs in a test: asked, reloaded, stopped, and killed in mid-answer."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Header, HTTPException
from langchain_core.tools import tool

from monostream_ai import DurableStreamService
from monostream_ai.fastapi import ChatHistory, ChatTurn, create_chat_router
from monostream_ai.langchain import to_langchain_messages
from monostream_ai.testing import ChatProcesses, Gate, ScriptedReply, Thought, ToolCall
from monostream_ai.testing.langchain import ScriptedChatModel
from monostream_ai.ui_messages import UIMessageBuilder

MakeApp = Callable[[DurableStreamService[Any]], FastAPI]


def application(reply: Any, **options: Any) -> MakeApp:
    """An application with a history, which says in its state whether it runs."""

    def make(service: DurableStreamService[Any]) -> FastAPI:
        history = ChatHistory(service)

        async def remembering(turn: ChatTurn) -> None:
            await history.ask(turn)
            await reply(turn)

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            app.state.runs = True
            yield
            app.state.runs = False

        app = FastAPI(lifespan=lifespan)
        chat = create_chat_router(service, remembering, on_finish=history.finish, **options)
        app.include_router(chat, prefix="/api/chat")

        @app.get("/api/history")
        async def messages(chat: str) -> list[dict[str, Any]]:
            return await history.messages(chat)

        return app

    return make


async def texts(process: Any) -> list[str]:
    response = await process.request("GET", "/api/history?chat=chat-1", path="")
    return [
        "".join(part.get("text", "") for part in each["parts"]) for each in await response.json()
    ]


async def test_an_answer_is_read_to_its_end_and_kept() -> None:
    steps = [Thought("Let me see"), ToolCall("clock", {"zone": "UTC"}, "noon"), "It is noon"]
    async with ChatProcesses(application(ScriptedReply(steps))) as processes:
        server = await processes.start()
        assert server.app.state.runs
        answer = await server.ask("What time is it?")
        message = await answer.rest()
        assert answer.ending == "finish"
        thought, call, text = [part for part in message["parts"] if part["type"] != "step-start"]
        assert (thought["type"], call["type"], text["type"]) == (
            "reasoning",
            "dynamic-tool",
            "text",
        )
        assert (call["input"], call["output"]) == ({"zone": "UTC"}, "noon")
        assert await texts(server) == ["What time is it?", "Let me seeIt is noon"]
        assert server.app.state.runs
    assert not server.app.state.runs


async def test_a_page_reloads_in_mid_answer_and_the_answer_is_stopped() -> None:
    gate = Gate()
    async with ChatProcesses(application(ScriptedReply(["Hello, ", gate, "world"]))) as processes:
        server = await processes.start()
        answer = await server.ask("Hi!")
        await answer.until("Hello,")
        await answer.leave()
        await gate.reached()
        again = await server.resume()
        assert again is not None
        await again.until("Hello,")
        await server.stop()
        assert (await again.rest())["metadata"] == {"stopped": True}
        assert (again.text, again.ending) == ("Hello, ", "abort")
        assert await server.resume("another") is None


@pytest.mark.parametrize(
    ("on_lost", "text", "ending"),
    [("error", "Hello,", "error"), ("retry", "Hi again", "finish")],
)
async def test_a_process_crashes_in_mid_answer(on_lost: str, text: str, ending: str) -> None:
    reply = ScriptedReply(["Hello, ", Gate(), "world"], "Hi again")
    async with ChatProcesses(application(reply, on_lost=on_lost)) as processes:
        first = await processes.start()
        answer = await first.ask("Hi!")
        await answer.until("Hello,")
        await first.crash()
        for _ in range(2):
            with pytest.raises(ConnectionResetError):
                await answer.rest()
        with pytest.raises(ConnectionRefusedError):
            await first.resume()

        second = await processes.start()
        again = await second.resume()
        assert again is not None
        await again.rest()
        assert (again.text, again.ending) == (text, ending)
        assert await texts(second) == ["Hi!", text]
    assert len(reply.turns) == 1 + (on_lost == "retry")


async def test_an_answer_goes_on_where_a_crash_cut_it() -> None:
    reply = ScriptedReply(["Hello, ", Gate(), "never"], "world")
    async with ChatProcesses(application(reply, on_lost="continue")) as processes:
        first, second = await processes.start(), await processes.start()
        answer = await first.ask("Hi!")
        await answer.until("Hello,")
        elsewhere = await second.resume()
        assert elsewhere is not None
        await first.crash()
        message = await elsewhere.rest()
        assert [part["text"] for part in message["parts"] if "text" in part] == ["Hello, world"]


async def test_a_crashed_process_runs_no_more_of_the_reply() -> None:
    gate, went_on = Gate(), []

    async def reply(turn: ChatTurn) -> None:
        await turn.pub.write({"type": "text-start", "id": "t"})
        await gate.passed()
        went_on.append(turn.attempt)

    async with ChatProcesses(application(reply, on_lost="retry")) as processes:
        first = await processes.start()
        await first.ask("Hi!")
        await gate.reached()
        await first.crash()
        second = await processes.start()
        again = await second.resume()
        gate.open()
        assert again is not None
        await again.rest()
    assert went_on == [2]


async def test_a_process_that_is_told_to_exit_lets_its_answer_end() -> None:
    gate = Gate()
    async with ChatProcesses(application(ScriptedReply(["Hello, ", gate, "world"]))) as processes:
        first = await processes.start()
        answer = await first.ask("Hi!")
        await gate.reached()
        leaving = asyncio.create_task(first.shut_down())
        with pytest.raises(ConnectionResetError):
            await answer.rest()
        gate.open()
        await leaving
        second = await processes.start()
        assert await texts(second) == ["Hi!", "Hello, world"]


async def test_a_model_is_scripted_with_its_tools() -> None:
    gate = Gate()
    model = ScriptedChatModel(
        [Thought("Time?"), ToolCall("clock", {"zone": "UTC"})], ["It is ", gate, "noon"]
    )

    @tool
    async def clock(zone: str) -> str:
        """Tell the time."""
        return f"noon in {zone}"

    async def reply(turn: ChatTurn) -> None:
        conversation = to_langchain_messages(turn.messages)
        config: Any = {"callbacks": [turn.callback]}
        asked = await model.bind_tools([clock]).ainvoke(conversation, config)

        [call] = asked.tool_calls
        result = await clock.ainvoke(call, config)
        await model.ainvoke([*conversation, asked, result], config)

    async with ChatProcesses(application(reply)) as processes:
        server = await processes.start()
        answer = await server.ask("What time is it?")
        await answer.until("It is")
        assert "noon" not in answer.text
        gate.open()
        message = await answer.rest()
    assert answer.text == "It is noon"
    [result] = [part for part in message["parts"] if part["type"] == "dynamic-tool"]
    assert result["output"] == "noon in UTC"
    assert [len(asked) for asked in model.asked] == [1, 3]


async def test_each_call_of_a_script_has_an_id_of_its_own() -> None:
    model = ScriptedChatModel(
        [ToolCall("a"), ToolCall("b", call_id="mine"), ToolCall("c")], ToolCall("d"), "Done."
    )

    asked = [await model.ainvoke("Hi!") for _ in range(3)]

    assert [[call["id"] for call in each.tool_calls] for each in asked] == [
        ["call_1", "mine", "call_2"],
        ["call_3"],
        [],
    ]


async def test_an_answer_of_a_script_may_be_one_step() -> None:
    model = ScriptedChatModel(RuntimeError("no more credit"), ToolCall("a"), Thought("Hm."))

    with pytest.raises(RuntimeError, match="no more credit"):
        await model.ainvoke("Hi!")
    assert [call["name"] for call in (await model.ainvoke("Hi!")).tool_calls] == ["a"]
    wrong: Any = 7
    for answer in (wrong, ["a", wrong]):
        with pytest.raises(TypeError):
            ScriptedChatModel(answer)


async def test_a_failing_model_and_a_script_that_is_too_short_fail_the_turn() -> None:
    reply = ScriptedReply(["Well, ", RuntimeError("no more credit")])
    async with ChatProcesses(application(reply)) as processes:
        server = await processes.start()
        for text in ("Well, ", ""):
            answer = await server.ask("Hi!")
            message = await answer.rest()
            assert (answer.text, answer.ending) == (text, "error")
            assert "credit" not in str(message)


async def test_a_refused_question_says_why() -> None:
    gate = Gate()
    async with ChatProcesses(application(ScriptedReply(["Hello", gate]))) as processes:
        server = await processes.start()
        await server.ask("Hi!")
        with pytest.raises(AssertionError, match="409: This chat is still answering"):
            await server.ask("And now?")


async def test_an_exception_of_the_application_reaches_the_test() -> None:
    def make(service: DurableStreamService[Any]) -> FastAPI:
        async def user() -> str:
            raise ZeroDivisionError("a fault in the sign-in")

        app = FastAPI()
        router = create_chat_router(service, ScriptedReply("Hello"), authorize=user)
        app.include_router(router, prefix="/api/chat")
        return app

    async with ChatProcesses(make) as processes:
        server = await processes.start()
        for asking in (server.ask("Hi!"), server.resume(), server.request("GET", "/chat-1/status")):
            with pytest.raises(ZeroDivisionError, match="a fault in the sign-in"):
                await asking


async def test_an_answered_status_of_500_is_a_response() -> None:
    def make(service: DurableStreamService[Any]) -> FastAPI:
        app = FastAPI()

        @app.get("/broken")
        async def broken() -> None:
            raise HTTPException(500, "told so")

        return app

    async with ChatProcesses(make) as processes:
        server = await processes.start()
        response = await server.request("GET", "/broken", path="")
        assert (response.status, await response.json()) == (500, {"detail": "told so"})


async def test_a_test_that_ends_with_its_answer_logs_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with ChatProcesses(application(ScriptedReply("Hello"))) as processes:
        server = await processes.start()
        await (await server.ask("Hi!")).rest()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_long_answer_is_read_whole_however_late() -> None:
    words = " ".join(map(str, range(500)))
    async with ChatProcesses(application(ScriptedReply(words))) as processes:
        server = await processes.start()
        answer = await server.ask("Count!")
        while (await texts(server))[1:] == []:
            await asyncio.sleep(0)
        await answer.rest()
        assert answer.text == words


async def test_an_answer_that_is_regenerated_replaces_the_last_one() -> None:
    async with ChatProcesses(application(ScriptedReply("One", "Two", "Three"))) as processes:
        first, second = await processes.start(), await processes.start()
        await (await first.ask("Hi!")).rest()
        await (await first.ask("And now?")).rest()
        await first.crash()
        await (await second.regenerate()).rest()
        assert await texts(second) == ["Hi!", "One", "And now?", "Three"]


async def test_a_regeneration_without_a_question_says_so() -> None:
    async with ChatProcesses(application(ScriptedReply("Hello"))) as processes:
        server = await processes.start()
        await (await server.ask("Hi!")).rest()
        with pytest.raises(AssertionError, match="nothing was asked in 'chat-2'"):
            await server.regenerate("chat-2")
        with pytest.raises(AssertionError, match="with the same headers"):
            await server.regenerate(headers={"user": "bob"})
        with pytest.raises(ValueError, match=r"regenerate\(\) asks the last one again"):
            await server.ask("Hi!", trigger="regenerate-message")


@pytest.mark.parametrize(
    ("headers", "text"),
    [(None, "Hello, Hello, world"), ({"x-ui-message-profile": "v7.0.149"}, "Hello, world")],
    ids=["a page that names no release", "ai 7"],
)
async def test_the_page_of_a_test_reads_as_the_release_that_it_names(
    headers: dict[str, str] | None, text: str
) -> None:
    async def reply(turn: ChatTurn) -> None:
        say = UIMessageBuilder(message_id=turn.message_id, send_start=False)
        await turn.pub.write(*say.start_step(), *say.text("t", "Hello, "))
        await turn.pub.write(*say.reset_step(), *say.text("u", "Hello, world"))

    async with ChatProcesses(application(reply)) as processes:
        server = await processes.start()
        answer = await server.ask("Hi!", headers=headers)
        await answer.rest()
        assert answer.text == text


async def test_headers_sign_each_request_in() -> None:
    def make(service: DurableStreamService[Any]) -> FastAPI:
        async def user(x_user: Annotated[str, Header()]) -> str:
            return x_user

        app = FastAPI()
        router = create_chat_router(service, ScriptedReply("Hello", "Hello"), authorize=user)
        app.include_router(router, prefix="/chat")
        return app

    async with ChatProcesses(make, path="/chat", headers={"x-user": "ann"}) as processes:
        server = await processes.start()
        await (await server.ask("Hi!")).rest()
        assert await server.resume() is not None
        assert await server.resume(headers={"x-user": "bob"}) is None


async def test_an_application_that_cannot_start_says_why() -> None:
    def make(service: DurableStreamService[Any]) -> FastAPI:
        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            raise ValueError("no settings")
            yield

        return FastAPI(lifespan=lifespan)

    async with ChatProcesses(make) as processes:
        with pytest.raises((ValueError, RuntimeError), match="no settings"):
            await processes.start()


async def test_nothing_is_left_behind() -> None:
    before, handler = asyncio.all_tasks(), signal.getsignal(signal.SIGTERM)
    async with ChatProcesses(application(ScriptedReply(["Hello", Gate()]))) as processes:
        server, _ = await processes.start(), await processes.start()
        answer = await server.ask("Hi!")
        await answer.until("Hello")
    assert asyncio.get_running_loop().get_task_factory() is None
    assert asyncio.all_tasks() == before
    assert signal.getsignal(signal.SIGTERM) is handler


def test_testing_an_application_needs_no_pytest() -> None:
    program = "import sys, monostream_ai.testing; assert 'pytest' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


async def test_an_answer_goes_on_with_the_message_that_was_sent_back() -> None:
    call = {"toolCallId": "call_1", "dynamic": True}

    async def reply(turn: ChatTurn) -> None:
        if turn.messages[-1]["role"] == "user":
            asked = {"type": "tool-input-available", **call, "toolName": "refund", "input": {}}
            may = {"type": "tool-approval-request", "approvalId": "may", "toolCallId": "call_1"}
            await turn.pub.write(asked, may)
        else:
            await turn.pub.write({"type": "tool-output-available", **call, "output": "Done"})

    async with ChatProcesses(application(reply)) as processes:
        server = await processes.start()
        message = await (await server.ask("Refund it")).rest()
        part = message["parts"][-1]
        part.update(state="approval-responded", approval={**part["approval"], "approved": True})
        page = await server.ask(message)
        shown = await page.rest()

    assert shown["id"] == message["id"]
    assert [part.get("output") for part in shown["parts"] if "toolCallId" in part] == ["Done"]


async def test_a_crashed_process_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    reply = ScriptedReply(["Hello, ", Gate(), "world"], ["Hello ", Gate(), "again"])
    caplog.set_level(logging.WARNING, logger="monostream_ai")

    async with ChatProcesses(application(reply, on_lost="retry")) as processes:
        server = await processes.start()
        await (await server.ask("Hi!")).until("Hello")
        await server.crash()
        another = await processes.start()
        resumed = await another.resume()
        assert resumed is not None
        await resumed.until("Hello")

    assert caplog.messages == []


async def test_a_test_that_is_cancelled_while_it_ends_leaves_nothing_behind() -> None:
    ends, may_end = asyncio.Event(), asyncio.Event()

    def make(service: DurableStreamService[Any]) -> FastAPI:
        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            yield
            ends.set()
            await may_end.wait()

        return FastAPI(lifespan=lifespan)

    async def use() -> None:
        async with ChatProcesses(make) as processes:
            await processes.start()

    logger = logging.getLogger("monostream_ai.service")
    before = asyncio.get_running_loop().get_task_factory(), [*logger.filters]
    test = asyncio.create_task(use())
    await ends.wait()
    test.cancel()
    await asyncio.wait([test])
    may_end.set()

    assert (asyncio.get_running_loop().get_task_factory(), logger.filters) == before


async def test_processes_that_run_log_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    reply = ScriptedReply(["Hello, ", Gate()], [ValueError("the model is away")])

    async with ChatProcesses(application(reply)) as processes:
        server, another = await processes.start(), await processes.start()
        await (await server.ask("Hi!")).until("Hello")
        await server.crash()
        await (await another.ask("Hi!", chat_id="chat-2")).rest()

    assert [line for line in caplog.messages if "chat-2" in line and "failed" in line]

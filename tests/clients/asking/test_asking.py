"""Pages that ask by themselves (`sendAutomaticallyWhen`): never behind a turn that has finished,
and once behind an answer that the turn waits for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from fastapi import FastAPI
from langgraph.types import Command

from monostream_ai import DurableStreamService
from monostream_ai.fastapi import ChatTurn, FinishedTurn, create_chat_router
from monostream_ai.ui_messages import UIMessage, UIMessageProtocol
from tests.app_server import serving
from tests.backends import Backend, open_backend
from tests.clients.asking.replies import (
    ASKED,
    GOT,
    STEP,
    Reply,
    asking_for_a_year,
    finished,
    waiting,
)
from tests.clients.resuming.releases import OLD, PAGES, RELEASES
from tests.plugins.services import ServiceFactory
from tests.programs import run

PROGRAM: Final = Path(__file__).parent / "ask.mjs"
QUESTION: Final[UIMessage] = {
    "id": "u1",
    "role": "user",
    "parts": [{"type": "text", "text": "hi"}],
}


class Pages(NamedTuple):
    """A server, the messages that `on_finish` got by chat, and the service."""

    url: str
    histories: dict[str, UIMessage]
    finished: asyncio.Condition
    service: DurableStreamService[Any]

    async def ask(
        self, release: str, stories: Iterable[dict[str, Any]], *, silent: bool = False
    ) -> list[dict[str, Any]]:
        """Tell ask.mjs these stories; return what it saw of each."""
        lines = [
            {
                "client": release,
                "api": f"{self.url}/api/chat",
                "headers": {} if silent else {"x-ui-message-profile": f"v{release[0]}"},
                **story,
            }
            for story in stories
        ]
        told = await run(PROGRAM, lines)
        return sorted(told, key=lambda each: str(each["key"]))

    async def history(self, chat_id: str) -> list[UIMessage]:
        async with self.finished:
            await self.finished.wait_for(lambda: chat_id in self.histories)
        return [QUESTION, self.histories[chat_id]]


Open = Callable[..., Awaitable[Pages]]


@pytest.fixture
def backend(tmp_path: Path, request: pytest.FixtureRequest) -> Backend:
    return open_backend("memory", tmp_path, request)


@pytest.fixture
async def open_pages(packages: Path, service_factory: ServiceFactory) -> AsyncIterator[Open]:
    """Serve the replies of `replies`, chosen by `cause` in the request."""
    async with AsyncExitStack() as stack:

        async def open(replies: Mapping[str, Reply], **options: Any) -> Pages:
            service, histories, finished = (
                service_factory(protocol=UIMessageProtocol()),
                dict[str, UIMessage](),
                asyncio.Condition(),
            )

            async def reply(turn: ChatTurn) -> None:
                await replies[turn.body["cause"]](turn)

            async def on_finish(message: UIMessage, turn: FinishedTurn) -> None:
                async with finished:
                    histories[turn.chat_id] = message
                    finished.notify_all()

            app = FastAPI()
            router = create_chat_router(service, reply, on_finish=on_finish, **options)
            app.include_router(router, prefix="/api/chat")
            server = await stack.enter_async_context(serving(app))
            return Pages(server.url, histories, finished, service)

        yield open


def seen(told: Iterable[dict[str, Any]], what: str) -> dict[str, Any]:
    return {each["key"]: each[what] for each in told}


@pytest.mark.sweep(2)
@pytest.mark.parametrize("window", [60.0, 0.0], ids=["in the replay window", "after it"])
@pytest.mark.parametrize(("release", "silent"), PAGES)
async def test_a_turn_that_finished_never_asks_again(
    open_pages: Open, release: str, silent: bool, window: float
) -> None:
    replies = finished(release, silent)
    pages = await open_pages(replies, replay_window=window)
    chats = {cause: {"key": cause, "id": cause, "cause": cause} for cause in replies}

    asked = await pages.ask(release, chats.values(), silent=silent)
    histories = {cause: await pages.history(cause) for cause in replies}
    reloaded = await pages.ask(
        release, ({**chat, "history": [QUESTION]} for chat in chats.values()), silent=silent
    )
    shown = await pages.ask(
        release,
        ({**chat, "history": histories[cause]} for cause, chat in chats.items()),
        silent=silent,
    )

    once, never = dict.fromkeys(replies, [1]), dict.fromkeys(replies, [0])
    assert seen(asked, "posts") == once
    assert seen(asked, "error") == dict.fromkeys(replies)
    assert seen(reloaded, "posts") == never
    assert seen(shown, "posts") == never
    resumed = dict.fromkeys(replies, [200] if window else [204])
    assert seen(reloaded, "statuses") == seen(shown, "statuses") == resumed


@pytest.mark.sweep(2)
@pytest.mark.parametrize(("release", "silent"), PAGES)
@pytest.mark.parametrize("view", ["live", "reloaded", "from the history"])
async def test_a_turn_that_waits_for_the_page_goes_on_once_with_its_answer(
    open_pages: Open, release: str, silent: bool, view: str
) -> None:
    replies = waiting(release)
    # Old releases show a replay over its history twice: they want no window.
    late = view == "from the history" and release in OLD
    pages = await open_pages(replies, replay_window=0.0 if late else 60.0)
    chats: dict[str, dict[str, Any]] = {
        cause: {"key": cause, "id": cause, "cause": cause} for cause in replies
    }

    if view != "live":
        asked = await pages.ask(release, chats.values(), silent=silent)
        assert seen(asked, "posts") == dict.fromkeys(replies, [1])
        for cause, chat in chats.items():
            history = await pages.history(cause)
            chat["history"] = history if view == "from the history" else [QUESTION]
    answered = await pages.ask(
        release,
        ({**chat, "answers": replies[cause].answers} for cause, chat in chats.items()),
        silent=silent,
    )

    expected = dict.fromkeys(replies, [1 if view == "live" else 0, 1])
    assert seen(answered, "posts") == expected
    assert seen(answered, "error") == dict.fromkeys(replies)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("view", ["live", "reloaded"])
async def test_an_interrupt_of_a_graph_gets_the_value_that_the_page_sends(
    open_pages: Open, release: str, view: str
) -> None:
    graph = asking_for_a_year()

    async def reply(turn: ChatTurn) -> None:
        config: Any = {
            "callbacks": [turn.callback],
            "configurable": {"thread_id": turn.message_id},
        }
        decided = turn.resume_value()
        given: Any = {"messages": turn.langchain_messages()} if decided is None else None
        await graph.ainvoke(given or Command(resume=decided), config)

    pages = await open_pages({"year": reply}, replay_window=60.0)
    chat: dict[str, Any] = {"key": "year", "id": "year", "cause": "year", "value": 1999}
    if view == "reloaded":
        await pages.ask(release, [{**chat, "value": None}])
        chat["history"] = [QUESTION]

    [told] = await pages.ask(release, [chat])

    assert told["error"] is None
    assert told["posts"] == [1 if view == "live" else 0, 1]
    texts = [part["text"] for part in told["messages"][-1]["parts"] if part["type"] == "text"]
    assert texts == ["Nothing is known of 1999."]


@pytest.mark.parametrize("release", ["5.0.277", "6.0.326", "7.0.173"])
async def test_a_turn_that_was_stopped_or_failed_never_asks_again(
    open_pages: Open, release: str
) -> None:
    async def stopped(turn: ChatTurn) -> None:
        await turn.pub.write(STEP, ASKED, GOT)
        await pages.service.stop(turn.stream_id, turn.version)
        await asyncio.Event().wait()

    async def failed(turn: ChatTurn) -> None:
        await turn.pub.write(STEP, ASKED, GOT)
        raise RuntimeError("the model is away")

    async def says_it_failed(turn: ChatTurn) -> None:
        await turn.pub.write(STEP, ASKED, GOT, {"type": "error", "errorText": "Sorry."})

    replies: dict[str, Reply] = {"stopped": stopped, "failed": failed, "said": says_it_failed}
    pages = await open_pages(replies, replay_window=60.0)
    chats = [{"key": cause, "id": cause, "cause": cause} for cause in replies]

    asked = await pages.ask(release, chats)
    histories = {cause: await pages.history(cause) for cause in replies}
    again = [
        each
        for history in ({cause: [QUESTION] for cause in replies}, histories)
        for each in await pages.ask(
            release, ({**chat, "history": history[str(chat["id"])]} for chat in chats)
        )
    ]

    assert seen(asked, "posts") == dict.fromkeys(replies, [1])
    assert [each["posts"] for each in again] == [[0]] * 6
    assert seen(asked, "error") == {
        "stopped": None,
        "failed": "An error occurred.",
        "said": "Sorry.",
    }

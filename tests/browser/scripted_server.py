"""The pages of the chat example on a server whose answers and network the test controls.

An answer consists of numbered words, so a page that loses or repeats one cannot look right. The
question is a script: `20 | 30` stands for 20 words, then 30 more once `/test/go` has been called;
`!` for a failure; `^5000` for 5,000 words at once; `=name` for the call of a tool, with its result.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monostream_ai import DurableStreamService, create_service
from monostream_ai.fastapi import ChatHistory, ChatTurn, create_chat_router
from tests.app_server import serving

STATIC = Path(__file__).parents[2] / "examples" / "chat" / "static"
WORDS_PER_CHUNK = 5


class ScriptedReply:
    def __init__(self) -> None:
        self._gates: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(0))

    def go(self, chat_id: str) -> None:
        """Let the answer of a chat pass its next `|`."""
        self._gates[chat_id].release()

    async def __call__(self, turn: ChatTurn) -> None:
        script = turn.messages[-1]["parts"][0]["text"].split()
        numbers = count()
        await turn.pub.write({"type": "start-step"}, {"type": "text-start", "id": "t"})
        for word in script:
            if word == "|":
                await self._gates[turn.chat_id].acquire()
            elif word == "!":
                raise RuntimeError("the script says so")
            elif word.startswith("="):
                await turn.pub.write(*_call(f"c{next(numbers)}", word[1:]))
            elif word.startswith("^"):
                await turn.pub.write(*(_delta(f"w{next(numbers)} ") for _ in range(int(word[1:]))))
            else:
                for _ in range(0, int(word), WORDS_PER_CHUNK):
                    await turn.pub.write(
                        _delta("".join(f"w{next(numbers)} " for _ in range(WORDS_PER_CHUNK)))
                    )
        await turn.pub.write({"type": "text-end", "id": "t"}, {"type": "finish-step"})


def _delta(text: str) -> dict[str, Any]:
    return {"type": "text-delta", "id": "t", "delta": text}


def _call(call_id: str, name: str) -> list[dict[str, Any]]:
    call = {"type": "tool-input-available", "toolCallId": call_id, "toolName": name, "input": {}}
    return [call, {"type": "tool-output-available", "toolCallId": call_id, "output": 1}]


class Network:
    """Sits between the pages and the chat routes, records each request, and can cut open responses.

    `break` cuts a response as a dying server would. `end` ends it cleanly, as a proxy might when it
    loses its upstream; our routes never do that.
    """

    def __init__(self) -> None:
        self.log: list[tuple[str, str, int]] = []
        self._open: set[asyncio.Future[str]] = set()

    def cut(self, how: str) -> None:
        for each in self._open:
            each.set_result(how)
        self._open.clear()

    async def carry(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def write_down(message: Message) -> None:
            if ended.done():
                return
            if message["type"] == "http.response.start":
                self.log.append((scope["method"], scope["path"], message["status"]))
            await send(message)

        async def answer() -> None:
            await app(scope, receive, write_down)

        answering = asyncio.create_task(answer())
        self._open.add(ended)
        either: set[asyncio.Future[Any]] = {answering, ended}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        self._open.discard(ended)
        if not ended.done():
            return await answering
        answering.cancel()
        await asyncio.wait([answering])
        if ended.result() == "end":
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class NetworkMiddleware:
    def __init__(self, app: ASGIApp, network: Network) -> None:
        self._app = app
        self._network = network

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/api/chat"):
            await self._network.carry(self._app, scope, receive, send)
        else:
            await self._app(scope, receive, send)


def create_app(service: DurableStreamService[Any], network: Network) -> FastAPI:
    app = FastAPI()
    reply, history = ScriptedReply(), ChatHistory(service)

    async def remembering(turn: ChatTurn) -> None:
        await history.ask(turn)
        await reply(turn)

    app.add_middleware(NetworkMiddleware, network=network)
    router = create_chat_router(service, remembering, on_finish=history.finish, on_busy="queue")
    app.include_router(router, prefix="/api/chat")

    @app.get("/api/history/{chat_id:path}")
    async def messages(chat_id: str) -> dict[str, Any]:
        return {"messages": await history.messages(chat_id)}

    @app.get("/api/chats")
    async def chats() -> dict[str, Any]:
        latest = await history.chats()
        return {"chats": [{"id": chat.chat_id, "title": chat.title} for chat in latest]}

    @app.get("/api/info")
    async def info() -> dict[str, Any]:
        return {"model": "scripted", "backend": "memory", "pid": 1, "demo": False}

    @app.post("/test/go/{chat_id}")
    async def go(chat_id: str) -> None:
        reply.go(chat_id)

    @app.post("/test/cut/{how}")
    async def cut(how: str) -> None:
        network.cut(how)

    app.mount("/", StaticFiles(directory=STATIC, html=True))
    return app


class Scripted:
    def __init__(self, url: str, service: DurableStreamService[Any], network: Network) -> None:
        self.url = url
        self.service = service
        self.network = network

    def requests(self, method: str, chat_id: str = "c1") -> list[int]:
        """Return the status codes of the requests for a chat's stream."""
        paths = ("/api/chat", f"/api/chat/{chat_id}/stream")
        return [
            status for made, path, status in self.network.log if made == method and path in paths
        ]


@asynccontextmanager
async def run_scripted(database_url: str) -> AsyncIterator[Scripted]:
    network = Network()
    async with create_service(database_url) as service:
        async with serving(create_app(service, network)) as server:
            yield Scripted(server.url, service, network)

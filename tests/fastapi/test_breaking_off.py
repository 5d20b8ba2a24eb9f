"""A response that loses its turn breaks off, under any middleware and server.

A client would take a clean end for the end of the answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from monostream_ai import DurableStreamService
from monostream_ai.errors import StoreUnavailable
from monostream_ai.fastapi import create_chat_router
from monostream_ai.interfaces import Store
from tests.fastapi.chat_client import ChatClient, question, types_in
from tests.fastapi.conftest import NewService
from tests.fastapi.replies import Held, greet
from tests.hooked_store import HookedStore

ServeApp = Callable[[FastAPI], Awaitable[ChatClient]]
Service = DurableStreamService[Any]


class Part:
    """A service, whose store a test can break."""

    def __init__(self, new_service: NewService) -> None:
        self.service: Service = new_service(
            wrap_store=self._hook, outage_timeout=0.2, poll_interval=0.05
        )

    def _hook(self, store: Store) -> Store:
        self.store = HookedStore(store)
        return self.store


async def supersede(part: Part) -> None:
    await part.service.publisher("chat:c1").open()


async def delete(part: Part) -> None:
    await part.service.delete("chat:c1")


async def begin_shutdown(part: Part) -> None:
    part.service.begin_shutdown()


async def close(part: Part) -> None:
    await part.service.aclose()


async def fail_to_read(part: Part) -> None:
    async def fail() -> None:
        raise StoreUnavailable("the test says so")

    part.store.before.update(dict.fromkeys(("read", "payloads"), fail))


async def pass_on(request: Request, call_next: Any) -> Any:
    return await call_next(request)


def bare(app: FastAPI) -> None:
    pass


def http_middleware(app: FastAPI) -> None:
    app.middleware("http")(pass_on)


def two_http_middlewares(app: FastAPI) -> None:
    app.middleware("http")(pass_on)
    app.middleware("http")(pass_on)


def gzip(app: FastAPI) -> None:
    app.add_middleware(GZipMiddleware)


def gzip_of_everything(app: FastAPI) -> None:
    app.add_middleware(GZipMiddleware, exclude_content_types=())


def all_together(app: FastAPI) -> None:
    app.add_middleware(GZipMiddleware)
    app.middleware("http")(pass_on)
    app.add_middleware(CORSMiddleware, allow_origins=["*"])
    app.add_middleware(ProxyHeadersMiddleware)


STACKS = [bare, http_middleware, two_http_middlewares, gzip, gzip_of_everything, all_together]


def application(service: Service, reply: Any, wrap: Callable[[FastAPI], None]) -> FastAPI:
    app = FastAPI()
    app.include_router(create_chat_router(service, reply, drain_timeout=0.05), prefix="/api/chat")
    wrap(app)
    return app


@pytest.mark.sweep(2, each="lose")
@pytest.mark.parametrize("wrap", STACKS)
@pytest.mark.parametrize("lose", [supersede, delete, begin_shutdown, close, fail_to_read])
async def test_a_response_that_loses_its_turn_breaks_off(
    new_service: NewService,
    serve_app: ServeApp,
    wrap: Callable[[FastAPI], None],
    lose: Callable[[Part], Awaitable[None]],
) -> None:
    part, held = Part(new_service), Held()
    client = await serve_app(application(part.service, held, wrap))

    async with client.ask(question()) as posted, client.resume() as resumed:
        await held.started.wait()
        for stream in (posted, resumed):
            await stream.event()
        await lose(part)
        for stream in (posted, resumed):
            with pytest.raises(httpx.RemoteProtocolError):
                await stream.rest()


@pytest.mark.parametrize("wrap", STACKS)
async def test_an_answer_ends_cleanly(
    new_service: NewService, serve_app: ServeApp, wrap: Callable[[FastAPI], None]
) -> None:
    client = await serve_app(application(new_service(), greet, wrap))

    body = (await client.post(question())).text

    assert types_in(body)[-1] == "finish"
    assert body.endswith("data: [DONE]\n\n")

"""The routes as an ASGI application, beside those of a router of FastAPI."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Mount, Route

from monostream_ai import create_service
from monostream_ai.ag_ui import AGUIProtocol
from monostream_ai.chats import OnBusy, RequestRefused, create_agui_app, create_chat_app
from monostream_ai.errors import ServiceClosed
from monostream_ai.fastapi import create_agui_router, create_chat_router
from monostream_ai.files import DatabaseFiles
from monostream_ai.ui_messages import UIMessage
from tests.fastapi.chat_client import chunks_in, question, types_in
from tests.fastapi.conftest import NewService, Serve, ServeApp
from tests.fastapi.replies import Held, greet
from tests.fastapi.test_files import replying
from tests.filing import LARGE
from tests.frameworks import application

OWN = {"authorize", "prefix", "lifespan"}
"""Options of an application that are other ones than those of a router."""


async def asked(request: Request) -> str:
    raise AssertionError("nobody asks")


@pytest.mark.every_framework
@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("HEAD", "/api/chat/c1/stream", 405, "GET"),
        ("HEAD", "/api/chat/events", 405, "GET"),
        ("GET", "/api/chat", 405, "POST"),
        ("GET", "/api/chat/c1/stop", 405, "POST"),
        ("POST", "/api/chat/%2E%2E/status", 405, "GET"),
        ("GET", "/api/chat/c1", 404, None),
        ("GET", "/api/chat/c1/status/", 307, None),
        ("GET", "/api/chat/c1/stream?protocol=x", 400, None),
        ("GET", "/api/chat/c1/stream?profile=x", 400, None),
        ("GET", "/api/chat/c1/stream?protocol=x&protocol=ag-ui", 204, None),
        ("GET", "/api/chat/c1/stream?protocol=", 400, None),
        ("GET", "/api/chat/c1/stream?after=&startIndex=0", 200, None),
        ("GET", "/api/chat/%2E%2E/status", 400, None),
        ("GET", "/api/chat//status", 400, None),
        ("GET", "/api/chat/a%2F%0Ab%20/status", 200, None),
    ],
)
async def test_a_method_or_path_gets_the_same_answer_under_every_framework(
    new_service: NewService,
    serve: Serve,
    method: str,
    path: str,
    status: int,
    allowed: str | None,
) -> None:
    client = await serve(new_service(), greet)
    # As it is: a client would take the dots out.
    url = client.http.base_url.copy_with(raw_path=path.encode())

    answer = await client.http.request(method, url)

    assert (answer.status_code, answer.headers.get("allow")) == (status, allowed)
    if status == 307:
        assert answer.headers["location"] == str(url).rstrip("/")


@pytest.mark.every_framework
async def test_the_root_path_of_a_server_is_before_the_path_of_each_file(
    new_service: NewService, serve_app: ServeApp, framework: str
) -> None:
    service = new_service()
    app = application(framework, service, replying(), files=DatabaseFiles(service))

    async def below_proxy(scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on as `uvicorn --root-path /proxy` does."""
        if scope["type"] == "http":
            path, raw = "/proxy" + scope["path"], b"/proxy" + scope["raw_path"]
            scope = {**scope, "root_path": "/proxy", "path": path, "raw_path": raw}
        await app(scope, receive, send)

    client = await serve_app(below_proxy)
    answer = await client.post(question())

    [url] = [chunk["url"] for chunk in chunks_in(answer.text) if chunk["type"] == "file"]
    assert url.startswith("/proxy/api/chat/c1/files/")
    assert (await client.http.get(url.removeprefix("/proxy"))).content == LARGE


@pytest.mark.every_framework
async def test_a_slash_at_the_end_of_the_path_makes_no_difference(
    new_service: NewService, serve: Serve
) -> None:
    client = await serve(new_service(), greet)

    answer = await client.http.post("/api/chat/", json=question())

    assert types_in(answer.text)[-1] == "finish"


@pytest.mark.parametrize(
    ("app", "router"),
    [(create_chat_app, create_chat_router), (create_agui_app, create_agui_router)],
)
def test_an_application_has_the_options_of_the_router(app: Any, router: Any) -> None:
    ours, theirs = (inspect.signature(each).parameters for each in (app, router))

    assert {name: ours[name] for name in ours.keys() - OWN} == {
        name: theirs[name] for name in theirs.keys() - OWN
    }
    assert ours.keys() == theirs.keys() | {"lifespan"}


@pytest.mark.parametrize(
    ("refusal", "status", "headers"),
    [
        (RequestRefused(401, "Please sign in."), 401, {}),
        (RequestRefused(403, "Please sign in."), 403, {}),
        (HTTPException(401, "Please sign in.", {"www-authenticate": "Bearer"}), 401, {"Bearer"}),
    ],
    ids=["401", "403", "HTTPException"],
)
async def test_authorize_refuses_a_request_in_plain_text(
    new_service: NewService, serve_app: ServeApp, refusal: Exception, status: int, headers: Any
) -> None:
    async def authorize(request: Request) -> str:
        raise refusal

    app = create_chat_app(new_service(), greet, authorize=authorize, prefix="/api/chat")
    answer = await (await serve_app(app)).post(question())

    assert (answer.status_code, answer.text) == (status, "Please sign in.")
    assert {answer.headers.get("www-authenticate")} - {None} == set(headers)


async def refusing(request: Request) -> Any:
    raise RequestRefused(401, "Please sign in.")


STARLETTE = Starlette(routes=[Route("/mine", refusing)])
FASTAPI = FastAPI()
FASTAPI.get("/mine")(refusing)


@pytest.mark.parametrize(
    ("app", "text"), [(STARLETTE, "Please sign in."), (FASTAPI, '{"detail":"Please sign in."}')]
)
async def test_routes_beside_the_chat_answer_a_refusal_too(app: Any, text: str) -> None:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as client:
        answer = await client.get("/mine")

    assert (answer.status_code, answer.text) == (401, text)
    assert str(RequestRefused(401, "Please sign in.")) == "Please sign in."


async def test_authorize_gets_the_request(new_service: NewService, serve_app: ServeApp) -> None:
    async def authorize(request: Request) -> str:
        return request.cookies["user"]

    held = Held()
    held.go_on.set()
    app = create_chat_app(new_service(), held, authorize=authorize, prefix="/api/chat")
    await (await serve_app(app)).post(question(), headers={"cookie": "user=ada"})

    assert [turn.owner for turn in held.turns] == ["ada"]


def test_an_authorize_that_is_not_async_is_refused() -> None:
    def authorize(request: Request) -> str:
        return "ada"

    with pytest.raises(TypeError, match="authorize is not async"):
        create_chat_app(create_service("memory://"), greet, authorize=authorize)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="authorize is not async"):
        create_agui_app(
            create_service("memory://", AGUIProtocol()),
            greet,
            authorize=authorize,  # type: ignore[arg-type]
        )


@pytest.mark.parametrize("prefix", ["api/chat", "/api/chat/", "/"])
def test_a_prefix_that_is_no_path_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix is .*: use a path such as '/api/chat', or ''"):
        create_chat_app(create_service("memory://"), greet, prefix=prefix)


async def test_the_service_is_closed_after_the_turns_have_ended(
    new_service: NewService, serve_app: ServeApp
) -> None:
    service, held, seen = new_service(), Held(), list[str]()

    async def keep(answer: UIMessage, turn: Any) -> None:
        seen.append(turn.ending)

    app = create_chat_app(
        service, held, prefix="/api/chat", on_finish=keep, lifespan=lambda app: service
    )
    client = await serve_app(app)
    async with client.ask(question()):
        await held.started.wait()
    held.go_on.set()
    await client.shut_down()

    assert seen == ["finish"]
    with pytest.raises(ServiceClosed):
        await service.status("chat:c1")


async def test_an_application_whose_lifespan_nobody_enters_says_so_once(
    new_service: NewService, serve_app: ServeApp, caplog: pytest.LogCaptureFixture
) -> None:
    chats = create_chat_app(new_service(), greet, prefix="/api/chat")
    client = await serve_app(Starlette(routes=chats.routes))

    for _ in range(2):
        assert (await client.status())["state"] == "idle"

    [record] = [each for each in caplog.records if each.name == "monostream_ai.chats.asgi"]
    assert "ChatApp.lifespan" in record.getMessage()


@pytest.mark.parametrize("entered", [False, True])
async def test_a_router_of_a_mounted_application_says_that_nobody_enters_its_lifespan(
    new_service: NewService,
    serve_app: ServeApp,
    caplog: pytest.LogCaptureFixture,
    entered: bool,
) -> None:
    mounted = FastAPI()
    mounted.include_router(create_chat_router(new_service(), greet), prefix="/chat")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with mounted.router.lifespan_context(mounted):
            yield

    outer = FastAPI(lifespan=lifespan if entered else None)
    outer.mount("/api", mounted)
    client = await serve_app(outer)

    for _ in range(2):
        assert (await client.status())["state"] == "idle"

    said = [each.getMessage() for each in caplog.records if each.name == "monostream_ai.chats.asgi"]
    assert len(said) == (not entered)
    assert all(
        "no framework enters that of an application which it mounts" in each for each in said
    )


@pytest.mark.parametrize("on_busy", ["refuse", "queue"])
async def test_the_lifespan_may_be_entered_again(
    new_service: NewService, serve_app: ServeApp, on_busy: OnBusy
) -> None:
    app = create_chat_app(new_service(), greet, prefix="/api/chat", on_busy=on_busy)

    for number in range(2):
        client = await serve_app(app)
        answer = await client.post(question(f"c{number}"))
        assert types_in(answer.text)[-1] == "finish"
        await client.shut_down()


async def test_a_lifespan_of_the_applications_own_enters_that_of_the_routes(
    new_service: NewService, serve_app: ServeApp, caplog: pytest.LogCaptureFixture
) -> None:
    service, held = new_service(lease=60.0), Held()
    app = create_chat_app(service, held, prefix="/api/chat", drain_timeout=0.05)

    @asynccontextmanager
    async def lifespan(outer: Starlette) -> AsyncIterator[None]:
        async with app.lifespan():
            yield

    client = await serve_app(Starlette(routes=app.routes, lifespan=lifespan))
    async with client.ask(question()):
        await held.started.wait()
    await client.shut_down()

    assert held.cancelled.is_set()
    assert (await service.status("chat:c1")).lost
    assert caplog.records == []


async def test_an_application_is_mounted_without_a_prefix(
    new_service: NewService, serve_app: ServeApp
) -> None:
    service = new_service()
    chats = create_chat_app(service, replying(), files=DatabaseFiles(service))
    app = Starlette(routes=[Mount("/deep/chat", chats)], lifespan=chats.lifespan)
    client = await serve_app(app)

    answer = await client.http.post("/deep/chat", json=question(), follow_redirects=True)

    assert answer.history[0].headers["location"].endswith("/deep/chat/")
    [url] = [chunk["url"] for chunk in chunks_in(answer.text) if chunk["type"] == "file"]
    assert url.startswith("/deep/chat/c1/files/")
    assert (await client.http.get(url)).content == LARGE

"""Files of answers through the chat router: stored by a turn, and served to their owner only."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Header, HTTPException
from langchain_core.messages import AIMessageChunk

from monostream_ai import DurableStreamService
from monostream_ai.fastapi import ChatTurn, create_chat_router
from monostream_ai.files import DatabaseFiles
from monostream_ai.recording import consume_stream
from tests.fastapi.chat_client import ChatClient, chunks_in, question
from tests.fastapi.conftest import NewService, Serve
from tests.filing import LARGE, LARGE_BASE64, Shelf, as_base64
from tests.frameworks import application
from tests.langchain.scripted import ScriptedModel
from tests.recording.test_files import FileMapper

pytestmark = pytest.mark.every_framework

SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>" + b" " * 100_000


def replying(content: bytes = LARGE, media_type: str = "image/png") -> Any:
    async def reply(turn: ChatTurn) -> None:
        url = f"data:{media_type};base64,{as_base64(content)}"
        await consume_stream(["Look", url, "END"], turn.pub, FileMapper)

    return reply


async def user(x_user: Annotated[str | None, Header()] = None) -> str:
    if x_user is None:
        raise HTTPException(401, "Who are you?")
    return x_user


async def ask(client: ChatClient, chat_id: str = "c1", **headers: str) -> str:
    """Ask, and return the URL of the file in the answer."""
    answer = await client.http.post("/api/chat", json=question(chat_id), headers=headers)
    assert answer.status_code == 200
    [file] = [chunk for chunk in chunks_in(answer.text) if chunk["type"] == "file"]
    url: str = file["url"]
    return url


async def stored(serve: Serve, service: DurableStreamService[Any], **options: Any) -> ChatClient:
    return await serve(service, options.pop("reply", replying()), files=DatabaseFiles(service))


async def test_an_answer_shows_a_file_that_its_route_serves(
    serve: Serve, new_service: NewService
) -> None:
    service = new_service()
    client = await stored(serve, service)
    url = await ask(client)
    assert url.startswith("/api/chat/c1/files/")
    response = await client.http.get(url)
    assert (response.status_code, response.content) == (200, LARGE)
    headers = response.headers
    assert headers["content-type"] == "image/png"
    assert headers["content-disposition"] == 'inline; filename="file.png"'
    assert headers["content-length"] == str(len(LARGE))
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]
    assert headers["cache-control"] == "private, max-age=31536000, immutable"


@pytest.mark.parametrize("chat_id", ["c 1", "a/b", "ä?#%2F", "files", "x" * 300])
async def test_any_chat_id_makes_a_url_that_works(
    serve: Serve, new_service: NewService, chat_id: str
) -> None:
    client = await stored(serve, new_service())
    response = await client.http.get(await ask(client, chat_id))
    assert response.content == LARGE


async def test_a_turn_of_langchain_uses_the_hook(serve: Serve, new_service: NewService) -> None:
    image = {"type": "image", "base64": LARGE_BASE64, "mime_type": "image/png"}
    model = ScriptedModel(scripts=[[AIMessageChunk(content=[image])]])

    async def reply(turn: ChatTurn) -> None:
        await model.ainvoke("Hi", config={"callbacks": [turn.callback]})

    service = new_service()
    client = await stored(serve, service, reply=reply)
    assert (await client.http.get(await ask(client))).content == LARGE


async def test_a_function_may_store_the_files_elsewhere(
    serve: Serve, new_service: NewService
) -> None:
    shelf = Shelf()
    client = await serve(new_service(), replying(), files=shelf)
    assert await ask(client) == "https://files.test/1"
    assert shelf.files == [(LARGE, "image/png")]
    assert (await client.http.get(f"/api/chat/c1/files/{'0' * 32}")).status_code == 404


async def test_only_the_owner_gets_a_file(serve: Serve, new_service: NewService) -> None:
    service = new_service()
    client = await serve(service, replying(), files=DatabaseFiles(service), authorize=user)
    url = await ask(client, **{"x-user": "ada"})
    mine = await client.http.get(url, headers={"x-user": "ada"})
    other = await client.http.get(url, headers={"x-user": "eve"})
    nobody = await client.http.get(url)
    assert (mine.content, mine.status_code) == (LARGE, 200)
    assert (other.status_code, other.text) == (404, "There is no such file.")
    assert (nobody.status_code, nobody.text) == (401, "Who are you?")


@pytest.mark.parametrize(
    "path",
    [
        f"c1/files/{'0' * 32}",
        "c1/files/x",
        "c1/files/%00",
        f"c2/files/{'0' * 32}",
        f"%00/files/{'0' * 32}",
        f"{'x' * 3000}/files/{'0' * 32}",
    ],
)
async def test_a_url_that_names_no_file_is_refused(
    serve: Serve, new_service: NewService, path: str
) -> None:
    client = await stored(serve, new_service())
    await ask(client)
    response = await client.http.get(f"/api/chat/{path}")
    assert response.status_code in (400, 404)
    assert response.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("content", "media_type"),
    [(SVG, "image/svg+xml"), (SVG, "text/html"), (SVG, "application/pdf"), (SVG, "text/plain")],
)
async def test_a_file_that_could_run_is_downloaded(
    serve: Serve, new_service: NewService, content: bytes, media_type: str
) -> None:
    service = new_service()
    client = await stored(serve, service, reply=replying(content, media_type))
    response = await client.http.get(await ask(client))
    assert response.content == content
    assert response.headers["content-disposition"].startswith('attachment; filename="file.')
    assert response.headers["content-type"].partition(";")[0] == media_type
    assert "sandbox" in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_a_browser_that_has_the_file_gets_it_once(
    serve: Serve, new_service: NewService
) -> None:
    client = await stored(serve, new_service())
    url = await ask(client)
    tag = (await client.http.get(url)).headers["etag"]
    for given in (tag, f'"x", W/{tag}', "*"):
        again = await client.http.get(url, headers={"if-none-match": given})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    other = await client.http.get(url, headers={"if-none-match": '"x"'})
    assert other.status_code == 200


LAST = len(LARGE) - 1


@pytest.mark.parametrize(
    ("wanted", "first", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-1", 0, 2),
        ("bytes=5-", 5, len(LARGE)),
        ("bytes=-7", len(LARGE) - 7, len(LARGE)),
        (f"bytes={LAST}-{LAST}", LAST, len(LARGE)),
        ("bytes=524280-524300", 524280, 524301),
        ("bytes=1-99999999999", 1, len(LARGE)),
    ],
)
async def test_a_player_gets_the_bytes_that_it_wants(
    serve: Serve, new_service: NewService, wanted: str, first: int, end: int
) -> None:
    client = await stored(serve, new_service())
    response = await client.http.get(await ask(client), headers={"range": wanted})
    assert (response.status_code, response.content) == (206, LARGE[first:end])
    assert response.headers["content-range"] == f"bytes {first}-{end - 1}/{len(LARGE)}"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"range": "bytes=0-1,4-5"}, 200),
        ({"range": "bytes=5-4"}, 200),
        ({"range": "bytes=-"}, 200),
        ({"range": "lines=1-2"}, 200),
        ({"range": "bytes=0-1", "if-range": '"x"'}, 200),
        ({"range": f"bytes={len(LARGE)}-"}, 416),
        ({"range": "bytes=-0"}, 416),
    ],
)
async def test_other_ranges_get_the_whole_file_or_a_refusal(
    serve: Serve, new_service: NewService, headers: dict[str, str], status: int
) -> None:
    client = await stored(serve, new_service())
    response = await client.http.get(await ask(client), headers=headers)
    assert response.status_code == status
    assert response.content == (LARGE if status == 200 else b"")


async def test_a_given_url_replaces_the_path_that_the_server_sees(
    serve: Serve, new_service: NewService
) -> None:
    service = new_service()
    files = DatabaseFiles(service, url="https://app.test/proxied/chat/")
    client = await serve(service, replying(), files=files)
    url = await ask(client)
    assert url.startswith("https://app.test/proxied/chat/c1/files/")
    path = url.removeprefix("https://app.test/proxied/chat")
    assert (await client.http.get(f"/api/chat{path}")).content == LARGE


async def test_a_turn_that_runs_again_before_any_request_knows_the_path(
    new_service: NewService, serve_app: Any
) -> None:
    """Its process has just started, and found the turn by its sweep."""
    lost, service, begun = new_service(lease=0.2), new_service(lease=0.2), asyncio.Event()

    async def hang(turn: ChatTurn) -> None:
        begun.set()
        await asyncio.Event().wait()

    def app(service: DurableStreamService[Any], reply: Any, **options: Any) -> FastAPI:
        app, files = FastAPI(), DatabaseFiles(service)
        router = create_chat_router(
            service, reply, files=files, on_lost="retry", drain_timeout=0.0, **options
        )
        app.include_router(router, prefix="/deep/api/chat")
        return app

    first = await serve_app(app(lost, hang, sweep_interval=600.0))
    asking = asyncio.create_task(first.http.post("/deep/api/chat", json=question()))
    await begun.wait()
    await first.shut_down()
    await asyncio.wait([asking])
    finished: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def keep(answer: Any, turn: Any) -> None:
        finished.set_result(answer)

    await serve_app(app(service, replying(), sweep_interval=0.05, on_finish=keep))
    [url] = [part["url"] for part in (await finished)["parts"] if part["type"] == "file"]
    assert url.startswith("/deep/api/chat/c1/files/")


def test_the_route_is_documented(new_service: NewService) -> None:
    service = new_service()
    app = application("fastapi", service, replying(), files=DatabaseFiles(service))
    plain = application("fastapi", service, replying())
    assert "/api/chat/{chat_id}/files/{token}" in app.openapi()["paths"]
    assert "/api/chat/{chat_id}/files/{token}" not in plain.openapi()["paths"]


async def test_a_file_is_no_chat(serve: Serve, new_service: NewService) -> None:
    """Nobody reads the pieces of a file as an answer."""
    client = await stored(serve, new_service())
    url = await ask(client)
    token = url.rpartition("/")[2]
    response: httpx.Response = await client.http.get(f"/api/chat/c1%2F{token}/stream")
    assert response.status_code == 204

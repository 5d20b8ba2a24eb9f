"""The server examples answer, and a second server on the same file replays an answer."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from monostream_ai.ui_messages import reduce_chunks
from tests.examples.test_scripts import ROOT, text_of
from tests.fastapi.chat_client import chunks_in, question


@asynccontextmanager
async def server(directory: Path, app: str = "fastapi_app") -> AsyncIterator[httpx.AsyncClient]:
    # The socket listens before the server starts, so that clients need not wait for the server.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        options = [
            "--app-dir",
            str(ROOT / "examples"),
            "--fd",
            str(listener.fileno()),
            "--log-level",
            "warning",
        ]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-m", "uvicorn", f"{app}:app", *options),
            cwd=directory,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            pass_fds=[listener.fileno()],
        )
        host, port = listener.getsockname()
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=30.0) as client:
            yield client
        process.terminate()
        async with asyncio.timeout(30):
            assert await process.wait() in (0, -15)


async def test_the_fastapi_app_answers_and_its_answer_outlives_it(tmp_path: Path) -> None:
    async with server(tmp_path) as client:
        answered = chunks_in((await client.post("/api/chat", json=question())).text)
    async with server(tmp_path) as client:
        # A cursor brings the rest however long ago the answer ended.
        rest = chunks_in((await client.get("/api/chat/c1/stream?after=0.0")).text)

    assert text_of(reduce_chunks(answered)) == "Every word of this is stored before you see it."
    assert reduce_chunks([answered[0], *rest]) == reduce_chunks(answered)


async def test_a_chat_needs_no_framework(tmp_path: Path) -> None:
    async with server(tmp_path, "asgi_app") as client:
        answered = chunks_in((await client.post("/api/chat", json=question())).text)

    assert text_of(reduce_chunks(answered)) == "Every word of this is stored before you see it."


@pytest.mark.parametrize("app", ["starlette_app", "litestar_app", "django_app"])
async def test_an_application_of_another_framework_answers_those_who_have_signed_in(
    app: str, tmp_path: Path
) -> None:
    async with server(tmp_path, app) as ada:
        refused = await ada.post("/api/chat", json=question())
        welcome = await ada.post("/sign-in/ada")
        answered = chunks_in((await ada.post("/api/chat", json=question())).text)
        mine = (await ada.get("/api/chat/c1/status")).json()
        ada.cookies.clear()
        await ada.post("/sign-in/eve")
        other = (await ada.get("/api/chat/c1/status")).json()

    assert (refused.status_code, refused.text) == (401, "Please sign in.")
    assert welcome.text == "Welcome."
    assert text_of(reduce_chunks(answered)) == "Every word of this is stored before you see it."
    assert (mine["state"], other["state"]) == ("closed", "idle")


async def test_django_keeps_the_paths_that_only_begin_like_those_of_the_chats(
    tmp_path: Path,
) -> None:
    async with server(tmp_path, "django_app") as ada:
        await ada.post("/sign-in/ada")
        chats, django = await ada.get("/api/chat/c1/status"), await ada.get("/api/chats")

    assert chats.headers["content-type"] == "application/json"
    assert django.headers["content-type"].startswith("text/html")


def test_the_fastapi_app_has_no_more_than_30_lines() -> None:
    source = (ROOT / "examples" / "fastapi_app.py").read_text()

    assert len(source.splitlines()) <= 30

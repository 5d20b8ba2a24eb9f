"""A page of another origin asks, resumes and counts chunks (wire item 52)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from monostream_ai.fastapi import create_chat_router
from tests.fastapi.chat_client import ChatClient, question, types_in
from tests.fastapi.conftest import NewService
from tests.fastapi.replies import greet

PAGE = {"origin": "https://page.example"}


async def test_a_page_of_another_origin_asks_and_learns_its_run(
    new_service: NewService, serve_app: Callable[[FastAPI], Awaitable[ChatClient]]
) -> None:
    app = FastAPI()
    app.include_router(
        create_chat_router(new_service(), greet, allowed_origins=[PAGE["origin"]]),
        prefix="/api/chat",
    )
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["https://page.example"],
        allow_credentials=True,
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type"],
        expose_headers=["x-workflow-run-id", "x-workflow-stream-tail-index"],
    )
    client = await serve_app(app)

    asking = {
        **PAGE,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    asked = await client.http.options("/api/chat", headers=asking)
    answer = await client.post(question(), headers=PAGE)
    counted = await client.get(params={"startIndex": "-1"}, headers=PAGE)

    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (
        200,
        PAGE["origin"],
    )
    assert types_in(answer.text)[-1] == "finish"
    for response in (answer, counted):
        assert response.headers["access-control-allow-origin"] == PAGE["origin"]
        assert response.headers["x-workflow-run-id"] == "c1~0"
        assert "x-workflow-run-id" in response.headers["access-control-expose-headers"]

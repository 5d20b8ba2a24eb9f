"""Files that models make and tools return, in LangChain's runs."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool, tool
from pydantic import BaseModel

from monostream_ai import DurableStreamService, create_service
from monostream_ai.langchain import (
    OwningCallbackHandler,
    StreamCallbackHandler,
    record_graph,
    to_langchain_messages,
)
from monostream_ai.ui_messages import Chunk, FileHook, reduce_chunks
from tests.filing import LARGE, LARGE_BASE64, SMALL_BASE64, SMALL_URL, Shelf, refuses
from tests.langchain.recording import check_message
from tests.langchain.scripted import USER, ScriptedModel, agent, calls, says

Service = DurableStreamService[Chunk]

IMAGE = {"type": "image", "base64": LARGE_BASE64, "mime_type": "image/png"}
SMALL_IMAGE = {"type": "image", "base64": SMALL_BASE64, "mime_type": "image/png"}
LOOK = calls(("call_1", "look", "{}"))


def looking(content: Any, artifact: Any = None) -> BaseTool:
    @tool(response_format="content_and_artifact")
    async def look() -> tuple[Any, Any]:
        """Look."""
        return content, artifact

    return look


async def message_of(service: Service) -> dict[str, Any]:
    chunks = await service.chunks("chat")
    check_message(chunks)
    return reduce_chunks(chunks)


def shown(message: dict[str, Any]) -> list[tuple[str, Any]]:
    keys = ("text", "url", "output", "errorText")
    parts = [part for part in message["parts"] if part["type"] != "step-start"]
    return [(p["type"], next((p[key] for key in keys if key in p), None)) for p in parts]


async def asked(content: Any, artifact: Any = None, **options: Any) -> dict[str, Any]:
    """Let an agent call a tool that returns this; return the message."""
    async with create_service("memory://") as service:
        async with service.publisher("chat") as pub:
            handler = StreamCallbackHandler(pub, **options)
            model = ScriptedModel(scripts=[LOOK, says("I see.")])
            graph = agent(model, [looking(content, artifact)])
            await graph.ainvoke(USER, {"callbacks": [handler]})
        return await message_of(service)


CONTENTS: dict[str, Any] = {
    "LangChain": [{"type": "text", "text": "see"}, IMAGE],
    "LangChain v0": [
        {"type": "image", "source_type": "base64", "data": LARGE_BASE64, "mime_type": "image/png"}
    ],
    "OpenAI": [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{LARGE_BASE64}"}}
    ],
    "Anthropic": [
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": LARGE_BASE64},
        }
    ],
    "MCP as text": json.dumps([{"type": "image", "data": LARGE_BASE64, "mimeType": "image/png"}]),
    "base64": LARGE_BASE64,
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
async def test_an_image_of_a_tool_is_stored_shown_and_no_text_for_a_model(content: Any) -> None:
    shelf = Shelf()
    message = await asked(content, files=shelf)
    [(kind, output), file, text] = shown(message)
    assert (kind, file, text) == (
        "dynamic-tool",
        ("file", "https://files.test/1"),
        ("text", "I see."),
    )
    assert "https://files.test/1" in str(output)
    assert shelf.files == [(LARGE, "image/png")]
    [_, result, _] = to_langchain_messages([message])
    assert "https://files.test/1" in result.text
    assert len(result.text) < 200


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize("files", [None, refuses], ids=["no hook", "hook fails"])
async def test_an_image_of_a_tool_that_is_not_stored_leaves_a_visible_text(
    content: Any, files: Any
) -> None:
    message = await asked(content, files=files)
    [_, (kind, note), text] = shown(message)
    assert (kind, text) == ("text", ("text", "I see."))
    assert "A file (image/png, 2.0 MB)" in note
    assert LARGE_BASE64[:100] not in json.dumps(message)


async def test_a_small_image_of_a_tool_is_shown_and_no_text_for_a_model() -> None:
    message = await asked([{"type": "text", "text": "see"}, SMALL_IMAGE])
    assert ("file", SMALL_URL) in shown(message)
    [_, result, _] = to_langchain_messages([message])
    assert isinstance(result, ToolMessage)
    assert json.loads(result.text) == [
        {"type": "text", "text": "see"},
        {"type": "text", "text": "A file (image/png) that the user sees."},
    ]


class Content(BaseModel):
    """A content of an MCP server, as its SDK has it."""

    type: str
    data: str = ""
    mimeType: str = ""
    text: str = ""


@pytest.mark.parametrize("kind", [dict, Content])
async def test_an_image_in_the_artifact_of_an_mcp_server_is_shown(kind: Any) -> None:
    contents = [
        kind(type="image", data=LARGE_BASE64, mimeType="image/png"),
        kind(type="text", text="no file"),
    ]
    message = await asked("see", contents, files=Shelf())
    assert shown(message)[:2] == [("dynamic-tool", "see"), ("file", "https://files.test/1")]


@pytest.mark.parametrize("artifact", [None, 7, "x", [1, None], {"a": object()}, [object()]])
async def test_any_other_artifact_is_left_alone(artifact: Any) -> None:
    assert shown(await asked("see", artifact))[0] == ("dynamic-tool", "see")


async def test_an_image_of_a_model_waits_in_its_place() -> None:
    shelf = Shelf()
    script = [
        AIMessageChunk(content="Look: "),
        AIMessageChunk(content=[IMAGE]),
        AIMessageChunk(content="nice"),
    ]
    async with create_service("memory://") as service:
        async with service.publisher("chat") as pub:
            handler = StreamCallbackHandler(pub, files=shelf)
            model = ScriptedModel(scripts=[script])
            # In a thread, where callbacks come from another one than the publisher's.
            await asyncio.to_thread(model.invoke, "Hi", {"callbacks": [handler]})
        assert shown(await message_of(service)) == [
            ("text", "Look: "),
            ("file", "https://files.test/1"),
            ("text", "nice"),
        ]


async def test_the_stream_of_a_graph_takes_a_hook() -> None:
    async with create_service("memory://") as service:
        async with service.publisher("chat") as pub:
            model = ScriptedModel(scripts=[LOOK, says("I see.")])
            graph = agent(model, [looking([IMAGE])])
            stream = graph.astream(USER, stream_mode=["messages", "updates", "custom"])
            await record_graph(stream, pub, files=FileHook(Shelf()))
        assert ("file", "https://files.test/1") in shown(await message_of(service))


@pytest.mark.parametrize("files", [Shelf(), None], ids=["hook", "no hook"])
async def test_a_handler_that_owns_its_version_takes_a_hook(files: Any) -> None:
    async with create_service("memory://") as service:
        handler = OwningCallbackHandler(service, "chat", files=files)
        script = [AIMessageChunk(content=[IMAGE]), AIMessageChunk(content="nice")]
        await ScriptedModel(scripts=[script]).ainvoke("Hi", {"callbacks": [handler]})
        await handler.aclose()
        (kind, _), text = shown(await message_of(service))
        assert (kind, text) == ("text" if files is None else "file", ("text", "nice"))


def test_the_users_own_image_is_still_given_to_the_model() -> None:
    part = {"type": "file", "url": SMALL_URL, "mediaType": "image/png"}
    [message] = to_langchain_messages([{"id": "u", "role": "user", "parts": [part]}])
    assert isinstance(message, HumanMessage)
    assert SMALL_BASE64 in str(message.content)

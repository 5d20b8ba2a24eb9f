"""A turn that answers with `respond` goes on in another process, with the same response."""

from __future__ import annotations

import asyncio

import openai

from monostream_ai.fastapi import ChatTurn
from monostream_ai.openai import respond, to_openai_input
from monostream_ai.ui_messages import reduce_chunks
from tests.fastapi.chat_client import chunks_in, question
from tests.fastapi.conftest import NewService, Serve
from tests.openai.background_server import BackgroundServer, long_answer


async def test_a_released_turn_goes_on_with_its_response(
    new_service: NewService, serve: Serve
) -> None:
    async with (
        BackgroundServer(lambda body: long_answer()).running() as server,
        openai.AsyncOpenAI(api_key="none", base_url=server.url) as client,
    ):

        async def reply(turn: ChatTurn) -> None:
            await respond(client, turn.pub, model="m", input=to_openai_input(turn.messages))

        async def break_off() -> None:
            opening = {"message_id": "m1", "request": question(), "watched": True}
            async with here.publisher("chat:c1", on_cancel="release", **opening) as pub:
                await pub.write({"type": "start", "messageId": "m1"})
                await respond(client, pub, model="m", input="Hi")

        here, there = new_service(), new_service()
        page = await serve(there, reply, on_lost="continue")
        pause = asyncio.create_task(server.pause_behind(15))
        lost = asyncio.create_task(break_off())
        await pause
        lost.cancel()
        server.resume()
        await asyncio.wait([lost])
        chunks = chunks_in((await page.get()).text)

    [text] = [part["text"] for part in reduce_chunks(chunks)["parts"] if part["type"] == "text"]
    assert text == "".join(f"wörd{number} 🌍 " for number in range(12))
    assert [chunk["type"] for chunk in chunks].count("start") == 1
    assert (server.creates, server.cancelled) == (1, [])

"""The agent of the chat example goes on with an answer, wherever its process died."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from agent import run_agent
from monostream_ai import create_service
from monostream_ai.chats.turns.written import Written
from monostream_ai.langchain import StreamCallbackHandler, to_langchain_messages
from monostream_ai.ui_messages import Chunk, MessageReducer, UIMessage
from offline_model import OfflineChatModel
from tests.fastapi.chat_client import user_message

QUESTION: Final = "What is the weather in Rome?"
"""It gets a thought, a text, a call of a tool, and another text."""


async def answer(written: list[Chunk] | None = None) -> list[Chunk]:
    """Return the chunks of an answer; after those `written`, if its first process died there."""
    conversation: list[UIMessage] = [user_message(text=QUESTION)]
    async with create_service("memory://") as service:
        if written is None:
            pub = service.publisher("chat", message_id="m")
        else:
            dead = await service.publisher("chat", message_id="m", watched=True).open()
            await dead.write(*written)
            await dead.release()
            pub = service.successor("chat", 0)
        async with pub:
            if written is None:
                await pub.write({"type": "start", "messageId": "m"})
            elif begun := Written(written):
                conversation.append(begun.message)
            handler = StreamCallbackHandler(pub, send_start=False, goes_on=True)
            model = OfflineChatModel(tokens_per_second=0)
            await run_agent(model, to_langchain_messages(conversation), handler, ask_user)
        return await service.chunks("chat")


async def ask_user(call_id: str) -> None:
    raise AssertionError(call_id)


def texts_shown(chunks: list[Chunk], after: int) -> list[str]:
    """Return the text that a page shows after `after` chunks, and after each further one."""
    reducer, shown = MessageReducer(), []
    for number, chunk in enumerate(chunks, 1):
        reducer.feed(chunk)
        if number >= after:
            parts = reducer.message["parts"]
            shown.append("".join(part["text"] for part in parts if part["type"] == "text"))
    return shown


async def test_an_answer_goes_on_from_each_of_its_chunks() -> None:
    whole = await answer()
    text = texts_shown(whole, len(whole))

    for count in range(1, len(whole)):
        shown = texts_shown(await answer(whole[:count]), count)
        assert shown[-1:] == text, count
        assert all(after.startswith(before) for before, after in pairwise(shown)), count

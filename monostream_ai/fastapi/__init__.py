"""FastAPI routes for `useChat`: answers run on their own, and clients can come back to them.

    async def reply(turn: ChatTurn) -> None:
        config = {"callbacks": [turn.callback]}
        await agent.ainvoke({"messages": turn.langchain_messages()}, config=config)

    app.include_router(create_chat_router(service, reply), prefix="/api/chat")

`stream_response` serves any stream of UI message chunks from an endpoint of your own.
"""

from monostream_ai.fastapi.chats import chat_stream_id
from monostream_ai.fastapi.finishing import FinishedTurn
from monostream_ai.fastapi.replays.starting import without_active_message
from monostream_ai.fastapi.responses import stream_response
from monostream_ai.fastapi.router import create_chat_router
from monostream_ai.fastapi.turns import ChatTurn

__all__ = [
    "ChatTurn",
    "FinishedTurn",
    "chat_stream_id",
    "create_chat_router",
    "stream_response",
    "without_active_message",
]

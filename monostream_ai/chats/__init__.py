"""Chats for `useChat` under any ASGI framework: answers run on, and clients can come back.

    async def reply(turn: ChatTurn) -> None:
        config = {"callbacks": [turn.callback]}
        await agent.ainvoke({"messages": turn.langchain_messages()}, config=config)

    app = create_chat_app(service, reply, prefix="/api/chat", lifespan=lambda app: service)

Each chat is a stream, and each of its turns one version. `monostream_ai.fastapi` has the same as
routers of FastAPI.
"""

from monostream_ai._extras import needs

with needs("starlette", "asgi", by=__name__):
    import starlette as starlette

from monostream_ai.chats.ag_ui import AGUIRun
from monostream_ai.chats.asgi import ChatApp, create_agui_app, create_chat_app
from monostream_ai.chats.history import ChatHistory, RecentChat
from monostream_ai.chats.publishing import WhileBusy, chat_publisher
from monostream_ai.chats.rules import OnBusy
from monostream_ai.chats.streaming.replays.starting import without_active_message
from monostream_ai.chats.streaming.responses import stream_response
from monostream_ai.chats.turns.dispatching import Dispatch
from monostream_ai.chats.turns.finishing import FinishedTurn, OnFinish, TurnEnding
from monostream_ai.chats.turns.names import chat_stream_id
from monostream_ai.chats.turns.replies import ChatReplies, OnLost, Reply
from monostream_ai.chats.turns.requests import RequestRefused
from monostream_ai.chats.turns.turn import ChatTurn, RunTool
from monostream_ai.chats.workers import run_turn

__all__ = [
    "AGUIRun",
    "ChatApp",
    "ChatHistory",
    "ChatReplies",
    "ChatTurn",
    "Dispatch",
    "FinishedTurn",
    "OnBusy",
    "OnFinish",
    "OnLost",
    "RecentChat",
    "Reply",
    "RequestRefused",
    "RunTool",
    "TurnEnding",
    "WhileBusy",
    "chat_publisher",
    "chat_stream_id",
    "create_agui_app",
    "create_chat_app",
    "run_turn",
    "stream_response",
    "without_active_message",
]

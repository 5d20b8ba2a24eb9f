"""FastAPI routes for `useChat`: answers run on their own, and clients can come back to them.

    async def reply(turn: ChatTurn) -> None:
        config = {"callbacks": [turn.callback]}
        await agent.ainvoke({"messages": turn.langchain_messages()}, config=config)

    app.include_router(create_chat_router(service, reply), prefix="/api/chat")

Workers of a queue answer too: `create_chat_router(dispatch=…)` hands turns on, and `run_turn` runs
one. `stream_response` serves any stream of UI message chunks from an endpoint of your own, and
`create_agui_router` agents that speak AG-UI.
"""

from monostream_ai._extras import needs

with needs("fastapi", "fastapi", by=__name__):
    import fastapi as fastapi

from monostream_ai.chats import (
    AGUIRun,
    ChatHistory,
    ChatReplies,
    ChatTurn,
    Dispatch,
    FinishedTurn,
    OnBusy,
    OnFinish,
    OnLost,
    RecentChat,
    Reply,
    RunTool,
    TurnEnding,
    WhileBusy,
    chat_publisher,
    chat_stream_id,
    run_turn,
    stream_response,
    without_active_message,
)
from monostream_ai.fastapi.router import create_agui_router, create_chat_router

__all__ = [
    "AGUIRun",
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
    "RunTool",
    "TurnEnding",
    "WhileBusy",
    "chat_publisher",
    "chat_stream_id",
    "create_agui_router",
    "create_chat_router",
    "run_turn",
    "stream_response",
    "without_active_message",
]

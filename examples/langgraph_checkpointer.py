"""Go on with a killed turn from LangGraph's checkpoint: finished steps are not run again.

Longer than the other examples, because it plays both processes: it starts a copy of itself that
kills itself in the middle of an answer, and then takes the turn over.

    python examples/langgraph_checkpointer.py       # runs offline
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient
from langchain.agents import create_agent
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from monostream_ai import create_service
from monostream_ai.fastapi import ChatTurn, create_chat_router

directory, dies = (sys.argv[1], True) if len(sys.argv) > 1 else (tempfile.mkdtemp(), False)
service = create_service(f"sqlite+aiosqlite:///{directory}/chat.db", lease=1.0)
finished = asyncio.Queue[Any]()


class OfflineModel(FakeMessagesListChatModel):
    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: list[Any], *args: Any, **kwargs: Any) -> Any:
        self.i = len(messages) // 2
        print(f"model call {self.i + 1}", flush=True)
        if dies and self.i == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._generate(messages, *args, **kwargs)


def measure(place: str) -> str:
    """Measure the waves."""
    print("tool call", flush=True)
    return "2 m"


call: Any = {"id": "call_1", "name": "measure", "args": {"place": "pier"}}
said = [AIMessage("I will measure.", tool_calls=[call]), AIMessage("The waves are 2 m high.")]
model = OfflineModel(responses=said)


async def reply(turn: ChatTurn) -> None:
    # The message id stays the same when a turn runs again, so it can name the thread.
    config: Any = {"configurable": {"thread_id": turn.message_id}, "callbacks": [turn.callback]}
    asked = turn.langchain_messages()
    async with AsyncSqliteSaver.from_conn_string(f"{directory}/graph.db") as saver:
        agent = create_agent(model, [measure], checkpointer=saver)
        before = await agent.aget_state(config)
        turn.callback.show_finished(before, skip=len(asked))
        if before.next or not before.values:
            given: Any = None if before.next else {"messages": asked}
            await agent.ainvoke(given, config, durability="sync")


app = FastAPI()
router = create_chat_router(
    service,
    reply,
    on_lost="continue",
    on_finish=lambda message, turn: finished.put(message),
    sweep_interval=0.5,
)
app.include_router(router, prefix="/api/chat")


async def main() -> None:
    first = subprocess.run([sys.executable, __file__, directory])
    print(f"killed by signal {-first.returncode}")
    async with service, app.router.lifespan_context(app):
        print(await finished.get())


if __name__ == "__main__" and dies:
    question = {"id": "q1", "role": "user", "parts": [{"type": "text", "text": "How is the sea?"}]}
    with TestClient(app) as client:
        client.post("/api/chat", json={"id": "c1", "messages": [question]})
elif __name__ == "__main__":
    asyncio.run(main())

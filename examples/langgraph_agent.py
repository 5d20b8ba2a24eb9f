"""Let an agent ask before it acts. Its question is stored, so a user can answer it days later.

python examples/langgraph_agent.py yes      # or no; runs offline with a scripted model
"""

import asyncio
import sys
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from monostream_ai import create_service
from monostream_ai.langchain import StreamCallbackHandler, resume_value
from monostream_ai.ui_messages import UIMessage, reduce_chunks

service = create_service("memory://")


class OfflineModel(GenericFakeChatModel):
    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self


def delete_file(path: str) -> str:
    """Delete a file."""
    return f"{path} is deleted"


call: Any = {"id": "call_1", "name": "delete_file", "args": {"path": "old.txt"}}
said = iter([AIMessage("Let me see.", tool_calls=[call]), AIMessage("That is all.")])
model = OfflineModel(messages=said, disable_streaming=True)
# A checkpointer on disk, such as that of langgraph-checkpoint-postgres, survives restarts too.
ask = HumanInTheLoopMiddleware({"delete_file": True})
agent = create_agent(model, [delete_file], middleware=[ask], checkpointer=InMemorySaver())


async def answer(given: Any, continued: UIMessage | None = None) -> None:
    async with service.publisher("chat:1", message_id="answer-1") as pub:
        handler = StreamCallbackHandler(pub, continued=continued)
        await agent.ainvoke(given, {"callbacks": [handler], "configurable": {"thread_id": "1"}})


async def main(choice: str = "yes") -> None:
    async with service:
        await answer({"messages": [HumanMessage("Clean up my files.")]})
        message = reduce_chunks(await service.chunks("chat:1"))
        part = next(part for part in message["parts"] if part.get("state") == "approval-requested")
        print(f"May I run {part['toolName']}({part['input']})? {choice}")
        # On a page, `addToolApprovalResponse` of `useChat` does this and sends the message back.
        approval = {**part["approval"], "approved": choice == "yes"}
        part.update(state="approval-responded", approval=approval)
        await answer(Command(resume=resume_value([message])), message)
        print(*await service.chunks("chat:1"), sep="\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

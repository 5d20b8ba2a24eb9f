"""An agent that asks before it acts. The question is stored: whoever comes back, even days later, sees it and can answer.

python examples/langgraph_agent.py [yes|no]     # runs offline, with a model that follows a script
"""

import asyncio
import sys
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from monostream_ai import create_service
from monostream_ai.langchain import StreamCallbackHandler, resume_value, to_langchain_messages
from monostream_ai.ui_messages import UIMessage, reduce_chunks

service = create_service("memory://")
QUESTION = {"id": "q1", "role": "user", "parts": [{"type": "text", "text": "Clean up my files."}]}


class OfflineModel(GenericFakeChatModel):
    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self


def delete_file(path: str) -> str:
    """Delete a file."""
    return f"{path} is deleted"


call: Any = {"id": "call_1", "name": "delete_file", "args": {"path": "old.txt"}}
script = iter([AIMessage("Let me see.", tool_calls=[call]), AIMessage("That is all.")])
ask = HumanInTheLoopMiddleware({"delete_file": True})
# A checkpointer that stores to disk, such as langgraph-checkpoint-postgres, lets the agent survive a restart as well.
saver = InMemorySaver()
agent = create_agent(OfflineModel(messages=script, disable_streaming=True), [delete_file], middleware=[ask], checkpointer=saver)


async def answer(*messages: UIMessage) -> None:
    continued = messages[-1] if messages[-1]["role"] == "assistant" else None
    given: Any = Command(resume=resume_value(messages)) if continued else {"messages": to_langchain_messages(messages)}
    async with service.publisher("chat:1", message_id="answer-1") as pub:
        callback = StreamCallbackHandler(pub, continued=continued)
        await agent.ainvoke(given, {"callbacks": [callback], "configurable": {"thread_id": "chat:1"}})


async def main(choice: str = "yes") -> None:
    async with service:
        await answer(QUESTION)
        message = reduce_chunks(await service.chunks("chat:1"))
        part = next(part for part in message["parts"] if part.get("state") == "approval-requested")
        print(f"May I run {part['toolName']}({part['input']})? {choice}")
        # `useChat` does this in `addToolApprovalResponse`, and sends the message back.
        part.update(state="approval-responded", approval={**part["approval"], "approved": choice == "yes"})
        await answer(QUESTION, message)
        print(*await service.chunks("chat:1"), sep="\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

"""Record a LangChain chain with a callback, without changing the chain.

python examples/langchain_chain.py      # runs offline with a scripted model
"""

import asyncio

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from monostream_ai import create_service
from monostream_ai.langchain import StreamCallbackHandler
from monostream_ai.ui_messages import UIMessageProtocol

model = GenericFakeChatModel(messages=iter([AIMessage("Postgres keeps it, so nothing is lost.")]))
chain = (
    ChatPromptTemplate.from_messages([("user", "Explain {topic} in a sentence.")])
    | model
    | StrOutputParser()
)


async def answer() -> None:
    async with service.publisher("chat:1", message_id="answer-1") as pub:
        await chain.ainvoke(
            {"topic": "durable streams"}, config={"callbacks": [StreamCallbackHandler(pub)]}
        )


async def read(name: str) -> None:
    async for chunk in service.subscribe("chat:1"):
        print(f"{name}: {chunk}")


async def main() -> None:
    async with service:
        await asyncio.gather(answer(), read("reader 1"))
        await read("a late reader")


service = create_service("memory://", protocol=UIMessageProtocol())

if __name__ == "__main__":
    asyncio.run(main())

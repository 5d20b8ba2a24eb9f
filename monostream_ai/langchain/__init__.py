"""LangChain and LangGraph: record their runs, and convert the messages of `useChat` for them."""

from monostream_ai._extras import needs

with needs("langchain-core", "langchain", by=__name__):
    import langchain_core as langchain_core

from monostream_ai.langchain.approvals import resume_value
from monostream_ai.langchain.graph_stream import record_graph
from monostream_ai.langchain.handler import StreamCallbackHandler, attached
from monostream_ai.langchain.owning import OwningCallbackHandler
from monostream_ai.langchain.to_langchain import to_langchain_messages

__all__ = [
    "OwningCallbackHandler",
    "StreamCallbackHandler",
    "attached",
    "record_graph",
    "resume_value",
    "to_langchain_messages",
]

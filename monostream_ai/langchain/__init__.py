"""LangChain and LangGraph: record their runs, and convert the messages of `useChat` for them."""

try:
    import langchain_core as langchain_core
except ImportError as error:
    raise ImportError(
        "monostream_ai.langchain needs langchain-core: pip install langchain-core"
    ) from error

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

"""LangChain and LangGraph: record what they do, and turn the messages of `useChat` into theirs."""

try:
    import langchain_core as langchain_core
except ImportError as error:
    raise ImportError(
        "monostream_ai.langchain needs langchain-core: pip install langchain-core"
    ) from error

from monostream_ai.langchain.ambient import attached
from monostream_ai.langchain.approvals import resume_value
from monostream_ai.langchain.handler import StreamCallbackHandler
from monostream_ai.langchain.messages import to_langchain_messages
from monostream_ai.langchain.owning import OwningCallbackHandler

__all__ = [
    "OwningCallbackHandler",
    "StreamCallbackHandler",
    "attached",
    "resume_value",
    "to_langchain_messages",
]

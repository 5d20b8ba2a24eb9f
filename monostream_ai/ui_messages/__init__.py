"""UI messages of the AI SDK: build their chunks, store them, send them, and reduce them again."""

from monostream_ai.ui_messages.builder import UIMessageBuilder
from monostream_ai.ui_messages.chunks import Chunk, check_chunk
from monostream_ai.ui_messages.file_hook import FileHook, StoreFile
from monostream_ai.ui_messages.json_values import to_json_value
from monostream_ai.ui_messages.message_chunks import chunks_of_message
from monostream_ai.ui_messages.profiles import Profile, ProfileFilter
from monostream_ai.ui_messages.protocol import UIMessageProtocol
from monostream_ai.ui_messages.reducer import MessageReducer, UIMessage, reduce_chunks
from monostream_ai.ui_messages.sse import (
    DONE,
    HEADERS,
    KEEP_ALIVE,
    KEEP_ALIVE_INTERVAL,
    STREAM_OPEN,
    SSEEncoder,
)

__all__ = [
    "Chunk",
    "DONE",
    "FileHook",
    "HEADERS",
    "KEEP_ALIVE",
    "KEEP_ALIVE_INTERVAL",
    "MessageReducer",
    "Profile",
    "ProfileFilter",
    "SSEEncoder",
    "STREAM_OPEN",
    "StoreFile",
    "UIMessage",
    "UIMessageBuilder",
    "UIMessageProtocol",
    "check_chunk",
    "chunks_of_message",
    "reduce_chunks",
    "to_json_value",
]

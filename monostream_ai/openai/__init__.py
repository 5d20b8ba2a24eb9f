"""OpenAI: record its streams, of chat completions and of responses, while they pass through.
`openai` itself is not imported.
"""

from monostream_ai.openai.capture import Capture, capture, consume
from monostream_ai.openai.errors import ResponseFailed, TruncatedStream
from monostream_ai.openai.messages import to_openai_input, to_openai_messages
from monostream_ai.openai.sync_capture import SyncCapture, capture_sync

__all__ = [
    "Capture",
    "ResponseFailed",
    "SyncCapture",
    "TruncatedStream",
    "capture",
    "capture_sync",
    "consume",
    "to_openai_input",
    "to_openai_messages",
]

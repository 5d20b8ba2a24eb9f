"""OpenAI: record streams of chat completions and responses while they pass through.

The `openai` package itself is not imported.
"""

from monostream_ai.openai.capture import Capture, capture, consume
from monostream_ai.openai.model_output import ResponseFailed, TruncatedStream
from monostream_ai.openai.sync_capture import SyncCapture, capture_sync
from monostream_ai.openai.to_openai import to_openai_input, to_openai_messages

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

"""OpenAI: record streams of chat completions and responses while they pass through.

The `openai` package itself is not imported.
"""

from monostream_ai.openai.background import Answer, respond
from monostream_ai.openai.capturing import capture, capture_sync, consume
from monostream_ai.openai.to_openai import to_openai_input, to_openai_messages
from monostream_ai.recording.capture import Capture
from monostream_ai.recording.model_output import ResponseFailed, TruncatedStream
from monostream_ai.recording.sync_capture import SyncCapture

__all__ = [
    "Answer",
    "Capture",
    "ResponseFailed",
    "SyncCapture",
    "TruncatedStream",
    "capture",
    "capture_sync",
    "consume",
    "respond",
    "to_openai_input",
    "to_openai_messages",
]

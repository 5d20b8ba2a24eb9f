"""Anthropic: record streams of messages while they pass through.

The `anthropic` package itself is not imported.
"""

from monostream_ai.anthropic.capturing import capture, capture_sync, consume
from monostream_ai.anthropic.to_anthropic import to_anthropic_messages
from monostream_ai.recording.capture import Capture
from monostream_ai.recording.model_output import ResponseFailed, TruncatedStream
from monostream_ai.recording.sync_capture import SyncCapture

__all__ = [
    "Capture",
    "ResponseFailed",
    "SyncCapture",
    "TruncatedStream",
    "capture",
    "capture_sync",
    "consume",
    "to_anthropic_messages",
]

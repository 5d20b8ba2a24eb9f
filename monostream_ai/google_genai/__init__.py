"""Google Gen AI: record streams of `generate_content_stream` while they pass through.

The `google.genai` package itself is not imported.
"""

from monostream_ai.google_genai.capturing import capture, capture_sync, consume
from monostream_ai.google_genai.to_google import to_google_contents
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
    "to_google_contents",
]

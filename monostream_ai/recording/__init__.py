"""Record the stream of any SDK while it passes through: the seam under every capture.

A mapper turns one SDK's events into chunks, mostly by the methods of `ModelOutput`. Reading,
closing, backpressure, endings and tool results are the same for all of them.
"""

from monostream_ai.recording.capture import Capture, Mapper, consume_stream, record
from monostream_ai.recording.message import Recording
from monostream_ai.recording.model_output import ModelOutput, ResponseFailed, TruncatedStream
from monostream_ai.recording.sync_capture import SyncCapture, record_sync

__all__ = [
    "Capture",
    "Mapper",
    "ModelOutput",
    "Recording",
    "ResponseFailed",
    "SyncCapture",
    "TruncatedStream",
    "consume_stream",
    "record",
    "record_sync",
]

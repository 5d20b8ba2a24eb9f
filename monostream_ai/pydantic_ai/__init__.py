"""Pydantic AI: record the run of an agent, and answer the turns of a chat with one."""

from monostream_ai.pydantic_ai.responding import respond
from monostream_ai.pydantic_ai.runs import capture, consume
from monostream_ai.recording.capture import Capture
from monostream_ai.recording.model_output import ResponseFailed, TruncatedStream

__all__ = ["Capture", "ResponseFailed", "TruncatedStream", "capture", "consume", "respond"]

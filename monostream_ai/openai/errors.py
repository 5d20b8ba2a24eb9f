"""How a response of a model can fail although the SDK raises nothing."""

from __future__ import annotations

from monostream_ai.errors import MonostreamError


class ResponseFailed(MonostreamError):
    """The model reported an error in its stream. The SDK yields such an event and then ends the
    loop as if all were well.
    """

    def __init__(self, code: str | None, reason: str) -> None:
        super().__init__(
            f"the model's response failed ({code or 'no code'}): {reason or 'no reason given'}"
        )
        self.code = code
        self.reason = reason


class TruncatedStream(ResponseFailed):
    """The stream ended before a `finish_reason` or `response.completed`: a server or a proxy broke
    off. The SDK says nothing.
    """

    def __init__(self) -> None:
        super().__init__("truncated", "the stream ended before the response was complete")

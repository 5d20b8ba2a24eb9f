"""Which API an event is of, told by its shape: streams may come from any version of the SDK, or as
plain dicts.
"""

from __future__ import annotations

from typing import Any

from monostream_ai.openai.chat import ChatMapper
from monostream_ai.openai.fields import get, get_text
from monostream_ai.openai.output import Output
from monostream_ai.openai.recording import Recording
from monostream_ai.openai.responses import ResponsesMapper
from monostream_ai.ui_messages import Chunk


class EventMapper:
    """Maps the events of one stream, without any input or output of its own.

    It never returns a terminal chunk: whoever opened the version ends it, since a tool loop makes
    several responses. A `message-metadata` chunk says why the model stopped and what was used, and
    the protocol's `finish` repeats the reason.
    """

    def __init__(
        self, recording: Recording, *, encrypted_reasoning: bool, other_items: bool
    ) -> None:
        self._recording = recording
        self._options = {"encrypted_reasoning": encrypted_reasoning, "other_items": other_items}
        self._mapper: ChatMapper | ResponsesMapper | None = None
        self._silence = Output(recording)

    @property
    def output(self) -> Output:
        """The response that speaks now, or else the last one; before the first event, one that says
        nothing.
        """
        return self._silence if self._mapper is None else self._mapper.output

    def feed(self, event: Any) -> list[Chunk]:
        kind = get_text(event, "type")
        if kind == "chunk":
            # The manager of `chat.completions.stream` wraps chunks, and its own events say the same
            # again.
            event, kind = get(event, "chunk"), ""
        if kind.startswith("response.") or kind == "error":
            if not isinstance(self._mapper, ResponsesMapper):
                self._mapper = ResponsesMapper(self._recording, **self._options)
            return self._mapper.feed(event)
        if isinstance(get(event, "choices"), list | tuple) or get(event, "error"):
            if not isinstance(self._mapper, ChatMapper):
                self._mapper = ChatMapper(self._recording)
            return self._mapper.feed(event)
        return []

"""Picks the API that an event belongs to, and hands the event to the mapper of that API.

The shape of the event decides: streams may come from any version of the SDK, or as plain dicts.
"""

from __future__ import annotations

from typing import Any

from monostream_ai.openai.chat import ChatMapper
from monostream_ai.openai.responses import ResponsesMapper
from monostream_ai.recording.fields import get, get_text
from monostream_ai.recording.message import Recording
from monostream_ai.recording.model_output import ModelOutput
from monostream_ai.ui_messages import Chunk


class EventMapper:
    """Maps the events of one stream, without any I/O.

    It never returns a terminal chunk, since a tool loop makes several responses: the publisher's
    block ends the version. A `message-metadata` chunk tells the finish reason and the tokens used,
    and the protocol's `finish` repeats the reason.
    """

    def __init__(
        self, recording: Recording, *, encrypted_reasoning: bool, other_items: bool
    ) -> None:
        self.recording = recording
        self._options = {"encrypted_reasoning": encrypted_reasoning, "other_items": other_items}
        self._mapper: ChatMapper | ResponsesMapper | None = None
        # Stands for the response until the first event tells which API it comes from.
        self._nothing_yet = ModelOutput(recording)

    @property
    def output(self) -> ModelOutput:
        """The current response, or the last one if none is running."""
        return self._nothing_yet if self._mapper is None else self._mapper.output

    def feed(self, event: Any) -> list[Chunk]:
        kind = get_text(event, "type")
        if kind == "chunk":
            # The manager of `chat.completions.stream` wraps each chunk like this. Its other events
            # repeat the content of the chunks and are ignored below.
            event, kind = get(event, "chunk"), ""
        if kind.startswith("response.") or kind == "error":
            if not isinstance(self._mapper, ResponsesMapper):
                self._mapper = ResponsesMapper(self.recording, **self._options)
            return self._mapper.feed(event)
        if isinstance(get(event, "choices"), list | tuple) or get(event, "error"):
            if not isinstance(self._mapper, ChatMapper):
                self._mapper = ChatMapper(self.recording)
            return self._mapper.feed(event)
        return []

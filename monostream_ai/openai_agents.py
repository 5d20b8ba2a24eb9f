"""OpenAI Agents SDK: record the events of a run while they pass through.

The `agents` package itself is not imported.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Protocol

from monostream_ai._writing.publisher import Publisher
from monostream_ai.errors import InvalidArgument
from monostream_ai.openai.events import EventMapper
from monostream_ai.recording.capture import Capture, record
from monostream_ai.recording.fields import get, get_text
from monostream_ai.recording.message import Recording
from monostream_ai.recording.model_output import ModelOutput, ResponseFailed, TruncatedStream
from monostream_ai.recording.streams import Stream
from monostream_ai.ui_messages import Chunk, to_json_value
from monostream_ai.ui_messages.file_hook import Files

__all__ = ["Capture", "ResponseFailed", "TruncatedStream", "capture", "consume"]

_RESULTS = ("tool_output", "handoff_occured", "tool_search_output_created")
"""Names of the items that hold a result. Source: openai-agents 0.24.0, agents/stream_events.py."""


class Run(Protocol):
    """The result of `Runner.run_streamed`."""

    def stream_events(self) -> AsyncIterator[Any]: ...


def capture(
    run: Run | Stream[Any],
    pub: Publisher[Chunk],
    *,
    encrypted_reasoning: bool = False,
    files: Files | None = None,
) -> Capture[Any]:
    """Iterate over the events of a run, and record them to an open publisher as chunks.

        async for event in capture(Runner.run_streamed(agent, "Hi!"), pub): ...

    Each call of a model is a step. The results of tools and hand-offs are those of their calls, and
    each agent that takes over is a `data-agent` part: `{"name"}`.

    Args:
        run: The result of `Runner.run_streamed`, or its `stream_events()`.
        encrypted_reasoning: Keep the encrypted reasoning of a response as `providerMetadata`. It is
            large.
        files: As for `record`.

    Raises:
        TypeError: `run` is no run, or `pub` is no publisher.
        InvalidArgument (from `anext`): The first event is not one of a run.
    """
    stream = getattr(run, "stream_events", None)
    events: Any = run if stream is None else stream()
    mapper = partial(AgentsMapper, encrypted_reasoning=encrypted_reasoning)
    return record(events, pub, mapper, files=files)


async def consume(
    run: Run | Stream[Any],
    pub: Publisher[Chunk],
    *,
    encrypted_reasoning: bool = False,
    files: Files | None = None,
) -> None:
    """Record a run to its end, and return when it is durable; otherwise like `capture`."""
    async for _ in capture(run, pub, encrypted_reasoning=encrypted_reasoning, files=files):
        pass


class AgentsMapper:
    """Maps the events of one run. The responses of its models are mapped as those of OpenAI."""

    def __init__(self, recording: Recording, *, encrypted_reasoning: bool = False) -> None:
        self._recording = recording
        self._responses = EventMapper(
            recording, encrypted_reasoning=encrypted_reasoning, other_items=False
        )
        self._unread = recording.unread("openai-agents")
        self._agent: str | None = None
        self._begun = False

    @property
    def output(self) -> ModelOutput:
        return self._responses.output

    def feed(self, event: Any) -> list[Chunk]:
        kind = get_text(event, "type")
        if kind == "raw_response_event":
            self._begun = True
            return self._responses.feed(get(event, "data"))
        if kind == "run_item_stream_event":
            self._begun = True
            found = get_text(event, "name") in _RESULTS
            return self._result(get(event, "item")) if found else []
        if kind == "agent_updated_stream_event":
            return self._agent_named(get_text(event, "new_agent", "name"))
        if not self._begun:
            raise InvalidArgument(
                f"{type(event).__name__} of type {kind!r:.80} is no event of a run: capture "
                "Runner.run_streamed(...), or a model's stream with monostream_ai.openai"
            )
        return self._unread.keep(kind or type(event).__name__, to_json_value(event))

    def _agent_named(self, name: str) -> list[Chunk]:
        first, self._begun = not self._begun and self._agent is None, True
        self._agent, before = name, self._agent
        # The run begins with its own agent, which is no news.
        return (
            [] if first or name == before else self._recording.builder.data("agent", {"name": name})
        )

    def _result(self, item: Any) -> list[Chunk]:
        raw = get(item, "raw_item")
        call_id, output = get_text(raw, "call_id"), get(item, "output")
        output = to_json_value(get(raw, "output") if output is None else output)
        published = self._recording.calls.find(call_id) or ""
        if published in self._recording.refused_calls:
            return []
        known = self._recording.builder.call(published)
        if known is None:
            return self._unread.keep(get_text(item, "type") or "result", output)
        if known.state == "called" and published in self._recording.denied_calls:
            return self._recording.builder.tool_denied(published)
        if known.state != "done":
            return self._recording.builder.tool_output(published, output)
        # A provider's result came with its response.
        return [] if known.provider_executed else self._unread.keep(get_text(item, "type"), output)

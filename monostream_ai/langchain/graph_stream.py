"""Records the stream of a LangGraph graph, for programs that hold it and pass no callbacks.

It feeds the mapper of the callbacks, so both make the same message.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Collection, Generator, Iterable, Mapping
from functools import partial
from typing import Any, Final, Generic, Self, TypeVar
from uuid import UUID, uuid4

from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, LLMResult

from monostream_ai._writing.publisher import Publisher
from monostream_ai.errors import InvalidArgument
from monostream_ai.langchain.handler import push_mapped, push_rest_at_end
from monostream_ai.langchain.mapper import LangChainMapper
from monostream_ai.langchain.messages_in import as_answer, messages_in
from monostream_ai.langchain.runs import Include, Runs
from monostream_ai.types import check_function, check_texts
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.file_hook import Files, note_files
from monostream_ai.ui_messages.protocol import note_continued
from monostream_ai.ui_messages.sinks import check_sink, unread_counter

E = TypeVar("E")

_MODES: Final = frozenset(
    {"messages", "updates", "custom", "values", "debug", "checkpoints", "tasks", "tools"}
)
_DEBUG_KEYS: Final = frozenset({"step", "timestamp", "type", "payload"})
_READ: Final = frozenset({"messages", "updates", "custom"})
_INTERRUPT: Final = "__interrupt__"
MAX_APART: Final = 32
"""Chunks of a message that are kept one by one. LangChain joins many in little more time than two,
but each takes much memory.
"""


def record_graph(
    stream: AsyncIterator[E],
    pub: Publisher[Chunk],
    *,
    send_start: bool = True,
    continued: Mapping[str, Any] | None = None,
    exclude_tags: Collection[str] = (),
    include: Include | None = None,
    tool_output: Callable[[Any], Any] | None = None,
    files: Files | None = None,
) -> GraphCapture[E]:
    """Record what `graph.astream` yields, and pass it through.

        modes = ["messages", "updates", "custom"]
        async for item in record_graph(graph.astream(inputs, stream_mode=modes), pub): ...

    `await record_graph(...)` records without a loop. `messages` brings the tokens, `updates` the
    interrupts and the answers of cached nodes, and `custom` the data of `get_stream_writer`:
    an object with a `type` becomes a `data-<type>` part of its other keys, and its string `id`
    makes a later one replace it. Everything else of `custom`, and other modes, are passed through
    only. Do not attach a `StreamCallbackHandler` to the same run.

    Args:
        stream: The stream of a graph, with one mode or a list, and with or without subgraphs.
        pub: An open publisher of UI message chunks.
        send_start, continued, exclude_tags, include, tool_output, files: As for
            `StreamCallbackHandler`.

    Raises:
        TypeError: The stream is none that can be awaited, such as that of `graph.stream`, the
            publisher is none, or an option has a value that cannot work.
        InvalidArgument (from `anext`, at the end): The stream had only modes that are not read.
        StreamClosed, StreamStopped, Fenced, PublisherClosed: The publisher has ended.
    """
    check_sink("record_graph", pub)
    if not hasattr(stream, "__anext__"):
        raise TypeError(
            f"record_graph needs the stream of graph.astream(...), not {type(stream).__name__}"
        )
    check_function("include", include)
    check_function("tool_output", tool_output)
    check_texts("exclude_tags", exclude_tags)
    if not isinstance(continued, Mapping | None):
        raise TypeError(f"continued is one message, not {type(continued).__name__}")
    note_files(pub, files)
    if continued is not None:
        note_continued(pub, continued)
    mapper = LangChainMapper.for_message(
        pub.message_id,
        send_start=send_start,
        continued=continued,
        written=pub.written,
        runs=lambda: Runs(exclude_tags=exclude_tags, include=include),
        tool_output=tool_output,
        count_unread=unread_counter(pub),
    )
    return GraphCapture(stream, pub, mapper)


class GraphCapture(Generic[E]):
    """An async iterator over the items of a graph's stream; made by `record_graph`.

    An error of the stream closes the parts that it left open, and leaves the loop.
    """

    def __init__(
        self, stream: AsyncIterator[E], pub: Publisher[Chunk], mapper: LangChainMapper
    ) -> None:
        self._stream = stream
        self._pub = pub
        self._mapper = mapper
        self._contributor = push_rest_at_end(pub, mapper, threading.Lock())
        self._graph = _Graph(mapper)
        self._over = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._pub!r} {'over' if self._over else 'open'}>"

    def __aiter__(self) -> Self:
        return self

    def __await__(self) -> Generator[Any, None, None]:
        return self._drain().__await__()

    async def __anext__(self) -> E:
        if self._over:
            raise StopAsyncIteration
        try:
            item = await anext(self._stream)
        except StopAsyncIteration:
            self._end(self._graph.end)
            await self._pub.flush()
            self._graph.check_modes()
            raise
        except BaseException as error:
            self._end(partial(self._graph.fail, error))
            raise
        self._push(partial(self._graph.feed, item))
        return item

    async def _drain(self) -> None:
        async for _ in self:
            pass

    def _end(self, map: Callable[[], list[Chunk]]) -> None:
        self._over = True
        self._push(map)

    def _push(self, map: Callable[[], list[Chunk]]) -> None:
        push_mapped(self._pub, self._mapper, self._contributor, lambda _: map())


class _Speaker:
    """A model that streams: its run, its place in the graph, and its chunks so far."""

    def __init__(self, run_id: UUID, metadata: Mapping[str, Any]) -> None:
        self.run_id = run_id
        # `<node>:<task id>`, behind those of the graphs around it and `|`.
        # Source: langgraph 1.2.24, pregel/_algo.py.
        self.task = str(metadata.get("langgraph_checkpoint_ns") or "")
        self._step = metadata.get("langgraph_step")
        self._chunks: list[AIMessageChunk] = []

    def add(self, chunk: AIMessageChunk) -> None:
        # A copy, since the program is given the chunk next and may change it.
        self._chunks.append(chunk.model_copy())
        if len(self._chunks) > MAX_APART:
            self._chunks = [self.whole()]

    def is_before(self, other: _Speaker) -> bool:
        """Whether the step of this model is over once the other one speaks."""
        if self.task.rpartition("|")[0] != other.task.rpartition("|")[0]:
            return False
        earlier, later = self._step, other._step
        return isinstance(earlier, int) and isinstance(later, int) and earlier < later

    def whole(self) -> AIMessageChunk:
        first, *rest = self._chunks
        return add_ai_message_chunks(first, *rest) if rest else first


class _Graph:
    """Turns the items of the stream into the callbacks of the mapper."""

    def __init__(self, mapper: LangChainMapper) -> None:
        self._mapper = mapper
        self._root: UUID | None = None
        self._speaking: dict[str | None, _Speaker] = {}
        self._streams_messages = False
        self._spoken: set[str | None] = set()
        self._modes: set[str] = set()

    def feed(self, item: Any) -> list[Chunk]:
        chunks: list[Chunk] = []
        if self._root is None:
            self._root = uuid4()
            chunks = self._mapper.run_start("chain", self._root)
        mode, data = _mode_of(item)
        self._modes.add(mode)
        if mode == "messages":
            self._streams_messages = True
            return chunks + self._message(*data)
        if mode == "updates" and isinstance(data, Mapping):
            return chunks + self._updates(data)
        return chunks + (self._mapper.written(data) if mode == "custom" else [])

    def end(self) -> list[Chunk]:
        chunks = self._end_speakers([*self._speaking])
        return chunks if self._root is None else chunks + self._mapper.run_end(self._root)

    def check_modes(self) -> None:
        """Refuse a stream that could not bring an answer, since its message would look whole."""
        if self._modes and self._modes.isdisjoint(_READ):
            modes = ", ".join(sorted(self._modes))
            raise InvalidArgument(
                f"the stream had only the modes {modes}, which record_graph does not read: "
                "add messages and updates to stream_mode"
            )

    def fail(self, error: BaseException) -> list[Chunk]:
        return [] if self._root is None else self._mapper.run_error(self._root, error)

    def _message(self, given: Any, metadata: Mapping[str, Any]) -> list[Chunk]:
        message = as_answer(given)
        if isinstance(message, AIMessageChunk):
            return self._token(message, metadata)
        if isinstance(message, AIMessage):
            return self._whole(message, metadata)
        return self._returned(message) if isinstance(message, ToolMessage) else []

    def _token(self, message: AIMessageChunk, metadata: Mapping[str, Any]) -> list[Chunk]:
        chunks: list[Chunk] = []
        speaker = self._speaking.get(message.id)
        if speaker is None:
            if message.id in self._spoken:
                return []
            # A model that streams on under another id has begun a new answer in its node.
            run_id = uuid4()
            new = _Speaker(run_id, metadata)
            over = [key for key, each in self._speaking.items() if each.is_before(new)]
            chunks = self._end_speakers(over)
            chunks += self._mapper.model_start(run_id, self._root, metadata.get("tags"), metadata)
            speaker = self._speaking[message.id] = new
        speaker.add(message)
        token = ChatGenerationChunk(message=message)
        chunks += self._mapper.token(speaker.run_id, message.text, token)
        ended = message.chunk_position == "last"
        return chunks + (self._end_speaker(message.id) if ended else [])

    def _whole(self, message: AIMessage, metadata: Mapping[str, Any]) -> list[Chunk]:
        if message.id in self._speaking or message.id in self._spoken:
            return []
        self._spoken.add(message.id)
        if message.usage_metadata is None and not (message.id or "").startswith("lc_run-"):
            return self._returned(message)
        run_id = uuid4()
        started = self._mapper.model_start(run_id, self._root, metadata.get("tags"), metadata)
        return started + self._mapper.model_end(run_id, _result(message))

    def _updates(self, updates: Mapping[str, Any]) -> list[Chunk]:
        chunks: list[Chunk] = []
        for node, update in updates.items():
            chunks += self._end_speakers(self._over(node, update))
            if node == _INTERRUPT and self._root is not None:
                chunks += self._mapper.interrupted(self._root, update)
                continue
            for message, _ in messages_in(update):
                if isinstance(message, ToolMessage):
                    chunks += self._returned(message)
                elif isinstance(message, AIMessage) and message.id in self._spoken:
                    chunks += self._returned(message)
                elif isinstance(message, AIMessage) and not self._streams_messages:
                    chunks += self._whole(message, {})
        return chunks

    def _returned(self, message: AIMessage | ToolMessage) -> list[Chunk]:
        """Map a message that a node has made."""
        node = uuid4()
        started = self._mapper.run_start("chain", node, self._root, node=True)
        return started + self._mapper.run_end(node, message)

    def _over(self, node: str, update: Any) -> list[str | None]:
        """Return the models that have ended without saying so, as the update of a node tells.

        Several tasks may run at once, also of the same node, and an update does not name its own.
        """
        asks = node == _INTERRUPT
        returned = set() if asks else {message.id for message, _ in messages_in(update)}
        return [
            key for key, speaker in self._speaking.items() if key in returned or not speaker.task
        ]

    def _end_speakers(self, keys: Iterable[str | None]) -> list[Chunk]:
        return [chunk for key in keys for chunk in self._end_speaker(key)]

    def _end_speaker(self, message_id: str | None) -> list[Chunk]:
        speaker = self._speaking.pop(message_id)
        self._spoken.add(message_id)
        return self._mapper.model_end(speaker.run_id, _result(speaker.whole()))


def _result(message: AIMessage) -> LLMResult:
    return LLMResult(generations=[[ChatGeneration(message=message)]])


def _mode_of(item: Any) -> tuple[str, Any]:
    """Return the mode and the data of an item, whichever of LangGraph's forms it has."""
    if isinstance(item, Mapping) and item.get("type") in _MODES and "data" in item:
        return item["type"], item["data"]
    parts = item if isinstance(item, tuple) else (item,)
    if len(parts) > 1 and isinstance(parts[0], tuple):
        # The namespace of a subgraph.
        parts = parts[1:]
    if len(parts) == 2 and isinstance(parts[0], str) and parts[0] in _MODES:
        return parts[0], parts[1]
    if len(parts) == 2 and isinstance(parts[1], Mapping):
        return "messages", parts
    (data,) = parts if len(parts) == 1 else (None,)
    if isinstance(data, tuple):
        return "messages", data
    if isinstance(data, Mapping) and data.keys() >= _DEBUG_KEYS:
        return "debug", data
    # A single mode is not named. An update has an object or nothing for each node.
    updates = isinstance(data, Mapping) and all(
        value is None or isinstance(value, Mapping | tuple) for value in data.values()
    )
    written = isinstance(data, Mapping) and isinstance(data.get("type"), str)
    return ("custom" if written else "updates" if updates else "values"), data

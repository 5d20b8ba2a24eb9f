"""The callback handler that records LangChain's runs to a publisher.

Each callback becomes an event; events are mapped to chunks one at a time, whichever thread they
come from.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar
from uuid import UUID, uuid4

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, GenerationChunk, LLMResult
from langchain_core.tracers.context import register_configure_hook

from monostream_ai.errors import InvalidArgument, MonostreamError
from monostream_ai.langchain.finished_messages import Snapshot, finished_in
from monostream_ai.langchain.mapper import LangChainMapper
from monostream_ai.langchain.runs import Include, Runs
from monostream_ai.types import Ending, check_function, check_texts, check_word
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.contributing import Contributor
from monostream_ai.ui_messages.file_hook import Files, as_hook, note_files, state_of
from monostream_ai.ui_messages.protocol import note_continued
from monostream_ai.ui_messages.pushing import push_chunks
from monostream_ai.ui_messages.sinks import Sink, check_open, check_sink, unread_counter

H = TypeVar("H", bound=BaseCallbackHandler)
T = TypeVar("T")

Map: TypeAlias = Callable[[LangChainMapper], list[Chunk]]
"""Maps one callback with the mapper of its message."""

# LangChain asks this variable for a handler whenever it configures a run.
_ATTACHED: ContextVar[BaseCallbackHandler | None] = ContextVar(
    "monostream_ai_handler", default=None
)
register_configure_hook(_ATTACHED, inheritable=True)


class Event(NamedTuple):
    """One callback: whether it starts or ends the run, and the error that ended it."""

    run_id: UUID
    map: Map
    starts: bool = False
    ends: bool = False
    error: BaseException | None = None


class StreamCallbackHandler(BaseCallbackHandler):
    """Records runs to an open publisher as UI message chunks.

        await chain.ainvoke(question, config={"callbacks": [StreamCallbackHandler(pub)]})

    Works for `ainvoke`, `astream` and sync calls in any thread. Several chains, one after another
    or at once, make one message. The handler touches memory only, changes no result, and never ends
    the version: leaving the publisher's block does. Use one handler per publisher. Call sync code
    with `asyncio.to_thread`: while it holds the event loop, nothing is stored.

    Args:
        pub: An open publisher of UI message chunks, or a `SyncPublisher`. Its message id goes into
            `start`.
        force_streaming: Make every model stream, also under `invoke` and inside LangGraph nodes.
            Otherwise an answer grows on the page only if its model streams anyway. Turn it off for
            `astream_events` and `astream_log`: they lose parser events.
        send_start: False if the program writes `start` itself.
        continued: The assistant `UIMessage` that this turn continues, as after an approval: its
            calls get their results and are not announced again. Give the publisher the id of that
            message.
        exclude_tags: Hide runs with these tags. `nostream` and `langsmith:hidden` are always
            hidden.
        nested: Whether to show models and tools that run inside a tool.
        include: Called with the tags and metadata of each model run; False hides it.
        error_text: Makes the text that a user sees for a tool that failed. The default is a fixed
            text, since an exception may reveal secrets.
        tool_output: Makes the JSON value that a user sees for the return value of a tool: a
            `ToolMessage`, or the plain value of a tool that ran without a tool call.
        goes_on: With a successor (`pub.written`): the prompt ends with the text that broke off, and
            the first model goes on in that text. Otherwise a graph runs its unfinished step again:
            what is shown of it is taken back, or, in clients that cannot do so, stays above it.
        files: Stores large files of models and tools: a `FileHook`, or an async function from bytes
            and media type to a URL. It runs on the publisher's loop. Without it, a file that is too
            large to store becomes a text that says so.

    Raises (also from a run that begins later, in place of a record that nobody would get):
        StreamClosed, StreamStopped, Fenced, PublisherClosed: The publisher has ended. Make a new
            handler for each publisher.
        InvalidArgument: Another handler of the publisher records the same run.
        TypeError, InvalidWord: An argument is none that works, such as a service in place of a
            publisher.
    """

    run_inline = True

    def __init__(
        self,
        pub: Sink,
        *,
        force_streaming: bool = True,
        send_start: bool = True,
        continued: Mapping[str, Any] | None = None,
        exclude_tags: Collection[str] = (),
        nested: Literal["hide", "show"] = "hide",
        include: Include | None = None,
        error_text: Callable[[BaseException], str] | None = None,
        tool_output: Callable[[Any], Any] | None = None,
        goes_on: bool = False,
        files: Files | None = None,
    ) -> None:
        check_sink(type(self).__name__, pub)
        check_word("nested", nested, ("hide", "show"))
        check_function("include", include)
        check_function("error_text", error_text)
        check_function("tool_output", tool_output)
        check_texts("exclude_tags", exclude_tags)
        if not isinstance(continued, Mapping | None):
            raise TypeError(f"continued is one message, not {type(continued).__name__}")
        self._new_mapper = partial(
            LangChainMapper.for_message,
            send_start=send_start,
            continued=continued,
            runs=partial(Runs, exclude_tags=exclude_tags, nested=nested, include=include),
            error_text=error_text,
            tool_output=tool_output,
            goes_on=goes_on,
        )
        if continued is not None:
            note_continued(pub, continued)
        self._files = None if files is None else as_hook(files)
        self._lock = threading.Lock()
        self._begin_message(pub)
        self._waiting = deque[Event]()
        self._holder: int | None = None
        if force_streaming:
            self.tap_output_aiter = self.tap_output_iter = _unchanged

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._pub!r}>"

    @property
    def unread(self) -> Mapping[str, int]:
        """Number of values in the message that this release cannot read, by kind.

        Each is a `data-unread` part of the message, and the first of a kind is logged.
        """
        return self._mapper.unread.counts

    def show_finished(self, state: Snapshot | Sequence[BaseMessage], *, skip: int = 0) -> None:
        """Show messages that a checkpoint holds, whose steps the graph will not run again.

            turn.callback.show_finished(await graph.aget_state(config), skip=len(asked))

        Parts that a lost publisher has stored are not shown twice: only the rest of them is, or
        nothing. Nor are the messages of the answer that `continued` holds. A step that belongs to
        none of them was not finished: the graph runs it again, and it is taken back when that
        begins. Call it before the graph runs, also in a first run.

        Args:
            state: The state of a graph with the key `messages`, or a list of messages.
            skip: Number of messages at its beginning that are no part of this answer, such as those
                that the graph was given.

        Raises:
            StreamClosed, StreamStopped, Fenced, PublisherClosed: The publisher has ended.
        """
        check_open(self._pub)
        messages = finished_in(state)[skip:]
        self._enter(Event(uuid4(), lambda mapper: mapper.finished(messages)))

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        **kwargs: Any,
    ) -> None:
        # Set by `with_structured_output`. Source: langchain-core 1.8.3, chat_models.py.
        structured = "ls_structured_output_format" in (kwargs.get("options") or {})
        origin = _origin(kwargs)
        self._start(
            run_id,
            origin[0],
            lambda mapper: mapper.model_start(run_id, *origin, structured=structured),
        )

    def on_llm_start(
        self, serialized: dict[str, Any], prompts: list[str], *, run_id: UUID, **kwargs: Any
    ) -> None:
        origin = _origin(kwargs)
        self._start(run_id, origin[0], lambda mapper: mapper.model_start(run_id, *origin))

    def on_llm_new_token(
        self,
        token: str | list[str | dict[str, Any]],
        *,
        chunk: GenerationChunk | ChatGenerationChunk | None = None,
        run_id: UUID,
        **kwargs: Any,
    ) -> None:
        self._record(run_id, lambda mapper: mapper.token(run_id, token, chunk))

    def on_stream_event(self, event: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(run_id, lambda mapper: mapper.stream_event(run_id, event))

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(run_id, lambda mapper: mapper.model_end(run_id, response), ends=True)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(
            run_id, lambda mapper: mapper.model_error(run_id, error), ends=True, error=error
        )

    def on_chain_start(
        self, serialized: dict[str, Any], inputs: dict[str, Any], *, run_id: UUID, **kwargs: Any
    ) -> None:
        origin, node = _origin(kwargs), _is_node(kwargs)
        self._start(
            run_id,
            origin[0],
            lambda mapper: mapper.run_start(
                "chain",
                run_id,
                *origin,
                inputs=inputs,
                without_inputs=inputs is None,
                node=node,
            ),
        )

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(run_id, lambda mapper: mapper.run_end(run_id, outputs), ends=True)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(run_id, lambda mapper: mapper.run_error(run_id, error), ends=True, error=error)

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        name = str(kwargs.get("name") or (serialized or {}).get("name") or "tool")
        call_id: str | None = kwargs.get("tool_call_id")
        parent_id, tags, _ = _origin(kwargs)
        arguments = input_str if inputs is None else inputs
        self._start(
            run_id,
            parent_id,
            lambda mapper: mapper.tool_start(run_id, parent_id, tags, name, call_id, arguments),
        )

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(run_id, lambda mapper: mapper.tool_end(run_id, output), ends=True)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(
            run_id, lambda mapper: mapper.tool_error(run_id, error), ends=True, error=error
        )

    def on_retriever_start(
        self, serialized: dict[str, Any], query: str, *, run_id: UUID, **kwargs: Any
    ) -> None:
        origin = _origin(kwargs)
        self._start(
            run_id, origin[0], lambda mapper: mapper.run_start("retriever", run_id, *origin)
        )

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(run_id, lambda mapper: mapper.run_end(run_id), ends=True)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(run_id, lambda mapper: mapper.run_end(run_id), ends=True, error=error)

    def on_custom_event(self, name: str, data: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(run_id, lambda mapper: mapper.custom_event(name, data))

    def _start(self, run_id: UUID, parent_id: UUID | None, map: Map) -> None:
        # The program asks for a record of a root run, and would not get one. A run that only finds
        # the handler attached to its context, such as one in the background, goes on without.
        if not self._mapper.follows(parent_id) and _ATTACHED.get() is not self:
            self._check_open()
        self._check_alone(run_id)
        self._enter(Event(run_id, map, starts=True))

    def _record(
        self,
        run_id: UUID,
        map: Map,
        *,
        ends: bool = False,
        error: BaseException | None = None,
    ) -> None:
        self._enter(Event(run_id, map, ends=ends, error=error))

    def _enter(self, event: Event) -> None:
        # Any thread may append: a deque's append and popleft are atomic.
        self._waiting.append(event)
        # Read without the lock: only this thread ever writes its own id there.
        if self._holder == threading.get_ident():
            # The garbage collector may close a forgotten generator, and so report its end, in the
            # middle of an event on this very thread. Waiting for the lock would be a deadlock; the
            # loop below, further up the stack, takes this event next.
            return
        with self._lock:
            self._holder = threading.get_ident()
            try:
                while self._waiting:
                    self._take(self._waiting.popleft())
            finally:
                self._holder = None

    def _begin_message(self, pub: Sink) -> None:
        note_files(pub, self._files)
        self._pub = pub
        self._mapper = self._new_mapper(
            pub.message_id, written=getattr(pub, "written", ()), count_unread=unread_counter(pub)
        )
        self._contributor = push_rest_at_end(pub, self._mapper, self._lock)

    def _take(self, event: Event) -> None:
        push_mapped(self._pub, self._mapper, self._contributor, event.map)

    def _check_alone(self, run_id: UUID) -> None:
        """Refuse a run that another handler of this publisher records already."""
        state = state_of(self._pub)
        latest = state.get(StreamCallbackHandler)
        other = None if latest is None else latest()
        if other is self:
            return
        if other is not None and other._mapper.follows(run_id):
            self.raise_error = True
            raise InvalidArgument("two handlers of one publisher record the same run: use one")
        # Weak, since the handler holds the publisher, which a cycle would keep alive.
        state[StreamCallbackHandler] = weakref.ref(self)

    def _check_open(self) -> None:
        try:
            check_open(self._pub)
        except MonostreamError:
            # Otherwise LangChain logs the error, and the run goes on.
            self.raise_error = True
            raise


def push_mapped(pub: Sink, mapper: LangChainMapper, contributor: Contributor, map: Map) -> None:
    """Push the chunks of one callback; the mapper learns first which chunks others have written."""
    mapper.follow(contributor.news())
    chunks = map(mapper)
    with contributor:
        push_chunks(pub, chunks)


def push_rest_at_end(pub: object, mapper: LangChainMapper, lock: threading.Lock) -> Contributor:
    """Let a publisher ask the mapper for the rest of the message before it ends the version.

    Args:
        lock: Guards the mapper, since runs go on in other threads.

    Returns:
        The contributor with whom all chunks of the mapper are pushed.
    """
    contributor = Contributor.to(pub)
    # Nothing here holds the publisher, and a handler may be dropped before its block ends.
    rest = partial(_push_rest, mapper, contributor, lock)
    getattr(pub, "_before_end", {})[LangChainMapper] = rest
    return contributor


def _push_rest(
    mapper: LangChainMapper,
    contributor: Contributor,
    lock: threading.Lock,
    pub: Sink,
    ending: Ending,
) -> None:
    with lock:
        push_mapped(pub, mapper, contributor, lambda mapper: mapper.rest(ending))


@contextmanager
def attached(handler: H) -> Iterator[H]:
    """Attach a handler to every run that begins in this block, so that no callbacks are passed.

    That includes runs in tasks and `asyncio.to_thread` calls that the block starts. An inner block
    replaces the handler of an outer one. A handler that is also among a run's callbacks records
    once.

    Raises:
        TypeError: This is no callback handler.
        StreamClosed, StreamStopped, Fenced, PublisherClosed: Its publisher has ended.
    """
    if not isinstance(handler, BaseCallbackHandler):
        raise TypeError(f"attached needs a callback handler, not {type(handler).__name__}")
    if isinstance(handler, StreamCallbackHandler):
        check_sink(type(handler).__name__, handler._pub)
    token = _ATTACHED.set(handler)
    try:
        yield handler
    finally:
        _ATTACHED.reset(token)


def _origin(
    kwargs: Mapping[str, Any],
) -> tuple[UUID | None, list[str] | None, dict[str, Any] | None]:
    return kwargs.get("parent_run_id"), kwargs.get("tags"), kwargs.get("metadata")


def _is_node(kwargs: Mapping[str, Any]) -> bool:
    """Whether the run is a node of a graph, and not a chain inside the node.

    Source: langgraph 1.2.24, pregel/_messages.py, `StreamMessagesHandler.on_chain_start`.
    """
    node = (kwargs.get("metadata") or {}).get("langgraph_node")
    return node is not None and kwargs.get("name") == node


def _unchanged(run_id: UUID, output: T) -> T:
    """Tap the output of a run without changing it.

    LangChain makes every model stream if a handler has a method to tap its output.
    """
    return output

"""The callback handler that records what LangChain does."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, GenerationChunk, LLMResult

from monostream_ai.langchain.mapper import LangChainMapper
from monostream_ai.langchain.runs import Include, Runs
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.size_limit import Sink, push_fitting

T = TypeVar("T")


class Event(NamedTuple):
    """One callback. `starts` and `ends` tell that a run does so; `error` is what ended it."""

    run_id: UUID
    chunks: Callable[[], list[Chunk]]
    starts: bool = False
    ends: bool = False
    error: BaseException | None = None


class StreamCallbackHandler(BaseCallbackHandler):
    """Records runs to an open publisher as UI message chunks; for `config={"callbacks":
    [StreamCallbackHandler(pub)]}`.

    Works for `ainvoke`, `astream` and sync calls in any thread, for one chain after another and for
    several at once: all of them become one message. It touches memory only, changes no result, and
    never ends the version: leaving the publisher's block does. Use one handler for a publisher.
    Call sync code with `asyncio.to_thread`: while it holds the event loop, nothing is stored.

    Args:
        pub: An open publisher of UI message chunks, or a `SyncPublisher`. Its message id goes into
            `start`.
        force_streaming: Make every model stream, also under `invoke` and inside LangGraph nodes;
            otherwise only models that stream anyway are shown as they speak. Turn it off for
            `astream_events` and `astream_log`: they lose parser events.
        send_start: False if somebody else has written `start`.
        continued: The assistant `UIMessage` that this turn goes on with, as after an approval: its
            calls get their results and are not announced again. The publisher's message id is then
            the id of that message.
        exclude_tags: Do not show runs with these tags. `nostream` and `langsmith:hidden` are never
            shown.
        nested: Whether to show models and tools that run inside a tool.
        include: Called with the tags and metadata of each model run; False hides it.
        error_text: Makes what a user reads about a tool that failed; a fixed text otherwise, since
            an exception may tell secrets.
        tool_output: Makes the JSON value that a user sees of what a tool returned: a `ToolMessage`,
            or the value of a tool that was called without a tool call.
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
    ) -> None:
        self._new_mapper = partial(
            LangChainMapper.for_message,
            send_start=send_start,
            continued=continued,
            runs=partial(Runs, exclude_tags=exclude_tags, nested=nested, include=include),
            error_text=error_text,
            tool_output=tool_output,
        )
        self._begin_message(pub)
        self._lock, self._waiting = threading.Lock(), deque[Event]()
        self._holder: int | None = None
        if force_streaming:
            self.tap_output_aiter = self.tap_output_iter = _as_it_is

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        **kwargs: Any,
    ) -> None:
        self._record(
            Event(run_id, lambda: self._mapper.model_start(run_id, *_origin(kwargs)), starts=True)
        )

    def on_llm_start(
        self, serialized: dict[str, Any], prompts: list[str], *, run_id: UUID, **kwargs: Any
    ) -> None:
        self._record(
            Event(run_id, lambda: self._mapper.model_start(run_id, *_origin(kwargs)), starts=True)
        )

    def on_llm_new_token(
        self,
        token: str | list[str | dict[str, Any]],
        *,
        chunk: GenerationChunk | ChatGenerationChunk | None = None,
        run_id: UUID,
        **kwargs: Any,
    ) -> None:
        self._record(Event(run_id, lambda: self._mapper.token(run_id, token, chunk)))

    def on_stream_event(self, event: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(Event(run_id, lambda: self._mapper.stream_event(run_id, event)))

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(Event(run_id, lambda: self._mapper.model_end(run_id, response), ends=True))

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(
            Event(run_id, lambda: self._mapper.model_error(run_id, error), ends=True, error=error)
        )

    def on_chain_start(
        self, serialized: dict[str, Any], inputs: dict[str, Any], *, run_id: UUID, **kwargs: Any
    ) -> None:
        self._record(
            Event(
                run_id,
                lambda: self._mapper.run_start("chain", run_id, *_origin(kwargs)),
                starts=True,
            )
        )

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(Event(run_id, lambda: self._mapper.run_end(run_id, outputs), ends=True))

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(
            Event(run_id, lambda: self._mapper.run_error(run_id, error), ends=True, error=error)
        )

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
        event = Event(
            run_id,
            lambda: self._mapper.tool_start(run_id, parent_id, tags, name, call_id, arguments),
            starts=True,
        )
        self._record(event)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(Event(run_id, lambda: self._mapper.tool_end(run_id, output), ends=True))

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(
            Event(run_id, lambda: self._mapper.tool_error(run_id, error), ends=True, error=error)
        )

    def on_retriever_start(
        self, serialized: dict[str, Any], query: str, *, run_id: UUID, **kwargs: Any
    ) -> None:
        self._record(
            Event(
                run_id,
                lambda: self._mapper.run_start("retriever", run_id, *_origin(kwargs)),
                starts=True,
            )
        )

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(Event(run_id, lambda: self._mapper.run_end(run_id), ends=True))

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(Event(run_id, lambda: self._mapper.run_end(run_id), ends=True, error=error))

    def on_custom_event(self, name: str, data: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(Event(run_id, lambda: self._mapper.custom_event(name, data)))

    def _record(self, event: Event) -> None:
        self._waiting.append(event)
        if self._holder == threading.get_ident():
            # The garbage collector closes a forgotten generator wherever it runs, even in the
            # middle of an event of ours; that event takes this one along when it is done.
            return
        with self._lock:
            self._holder = threading.get_ident()
            try:
                while self._waiting:
                    self._take(self._waiting.popleft())
            finally:
                self._holder = None

    def _begin_message(self, pub: Sink) -> None:
        self._pub = pub
        self._mapper = self._new_mapper(pub.message_id)

    def _take(self, event: Event) -> None:
        push_fitting(self._pub, event.chunks())


def _origin(
    kwargs: Mapping[str, Any],
) -> tuple[UUID | None, list[str] | None, dict[str, Any] | None]:
    return kwargs.get("parent_run_id"), kwargs.get("tags"), kwargs.get("metadata")


def _as_it_is(run_id: UUID, output: T) -> T:
    """Tap the output of a run. LangChain makes every model stream where it sees a handler that
    taps.
    """
    return output

"""The callback handler that records what LangChain does."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from typing import Any, Final, Literal, Protocol, Self
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, GenerationChunk, LLMResult

from monostream_ai.errors import ChunkTooLarge
from monostream_ai.langchain.mapper import LangChainMapper
from monostream_ai.langchain.runs import Include, Runs
from monostream_ai.ui_messages import Chunk, UIMessageBuilder

TOO_LARGE_TEXT: Final = "The result is too large to show."


class Sink(Protocol):
    """What the handler needs of a publisher."""

    @property
    def message_id(self) -> str | None: ...

    def push(self, *chunks: Chunk) -> None: ...


class StreamCallbackHandler(BaseCallbackHandler):
    """Records runs to an open publisher as UI message chunks; for `config={"callbacks": [StreamCallbackHandler(pub)]}`.

    Works for `ainvoke`, `astream` and sync calls in any thread, for one chain after another and for several at once: all of them
    become one message. It touches memory only, changes no result, and never ends the version: leaving the publisher's block does.
    Use one handler for a publisher. Call sync code with `asyncio.to_thread`: while it holds the event loop, nothing is stored.

    Args:
        pub: An open publisher of UI message chunks. Its message id goes into `start`.
        force_streaming: Make every model stream, also under `invoke` and inside LangGraph nodes; otherwise only models that
            stream anyway are shown as they speak. Turn it off for `astream_events` and `astream_log`: they lose parser events.
        send_start: False if somebody else has written `start`.
        exclude_tags: Do not show runs with these tags. `nostream` and `langsmith:hidden` are never shown.
        nested: Whether to show models and tools that run inside a tool.
        include: Called with the tags and metadata of each model run; False hides it.
        error_text: Makes what a user reads about a tool that failed; a fixed text otherwise, since an exception may tell secrets.
        tool_output: Makes the JSON value that a user sees of what a tool returned: a `ToolMessage`, or the value of a tool that
            was called without a tool call.
    """

    run_inline = True

    def __new__(cls, pub: Sink, *, force_streaming: bool = True, **options: Any) -> Self:
        chosen: Any = _ForcesStreaming if force_streaming and cls is StreamCallbackHandler else cls
        handler: Self = object.__new__(chosen)
        return handler

    def __init__(
        self,
        pub: Sink,
        *,
        force_streaming: bool = True,
        send_start: bool = True,
        exclude_tags: Collection[str] = (),
        nested: Literal["hide", "show"] = "hide",
        include: Include | None = None,
        error_text: Callable[[BaseException], str] | None = None,
        tool_output: Callable[[Any], Any] | None = None,
    ) -> None:
        self._pub = pub
        self._mapper = LangChainMapper(
            UIMessageBuilder(message_id=pub.message_id, send_start=send_start),
            Runs(exclude_tags=exclude_tags, nested=nested, include=include),
            error_text=error_text,
            tool_output=tool_output,
        )
        self._lock = threading.Lock()
        self._holder: int | None = None
        self._waiting: deque[Callable[[], list[Chunk]]] = deque()

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._record(lambda: self._mapper.model_start(run_id, parent_run_id, tags, metadata))

    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._record(lambda: self._mapper.model_start(run_id, parent_run_id, tags, metadata))

    def on_llm_new_token(
        self,
        token: str | list[str | dict[str, Any]],
        *,
        chunk: GenerationChunk | ChatGenerationChunk | None = None,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        self._record(lambda: self._mapper.token(run_id, token, chunk))

    def on_stream_event(self, event: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(lambda: self._mapper.stream_event(run_id, event))

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(lambda: self._mapper.model_end(run_id, response))

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(lambda: self._mapper.model_error(run_id))

    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: dict[str, Any],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._record(lambda: self._mapper.run_start("chain", run_id, parent_run_id, tags, metadata))

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(lambda: self._mapper.run_end(run_id, outputs))

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(lambda: self._mapper.run_end(run_id))

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        name = str(kwargs.get("name") or (serialized or {}).get("name") or "tool")
        call_id: str | None = kwargs.get("tool_call_id")
        arguments = input_str if inputs is None else inputs
        self._record(lambda: self._mapper.tool_start(run_id, parent_run_id, tags, name, call_id, arguments))

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(lambda: self._mapper.tool_end(run_id, output))

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(lambda: self._mapper.tool_error(run_id, error))

    def on_retriever_start(
        self,
        serialized: dict[str, Any],
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._record(lambda: self._mapper.run_start("retriever", run_id, parent_run_id, tags, metadata))

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(lambda: self._mapper.run_end(run_id))

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(lambda: self._mapper.run_end(run_id))

    def on_custom_event(self, name: str, data: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._record(lambda: self._mapper.custom_event(name, data))

    def _record(self, event: Callable[[], list[Chunk]]) -> None:
        self._waiting.append(event)
        if self._holder == threading.get_ident():
            # The garbage collector closes a forgotten generator wherever it runs, even in the middle of an event of ours; that
            # event takes this one along when it is done.
            return
        with self._lock:
            self._holder = threading.get_ident()
            try:
                while self._waiting:
                    self._push(self._waiting.popleft()())
            finally:
                self._holder = None

    def _push(self, chunks: list[Chunk]) -> None:
        if not chunks:
            return
        try:
            self._pub.push(*chunks)
        except ChunkTooLarge:
            for chunk in chunks:
                self._push_what_fits(chunk)

    def _push_what_fits(self, chunk: Chunk) -> None:
        try:
            self._pub.push(chunk)
        except ChunkTooLarge:
            if chunk["type"] != "tool-output-available":
                raise
            small = {key: value for key, value in chunk.items() if key not in ("output", "preliminary")}
            self._pub.push({**small, "type": "tool-output-error", "errorText": TOO_LARGE_TEXT})


class _ForcesStreaming(StreamCallbackHandler):
    """LangChain streams wherever it sees a handler with these two methods; they must return the iterator as it is."""

    def tap_output_aiter(self, run_id: UUID, output: AsyncIterator[Any]) -> AsyncIterator[Any]:
        return output

    def tap_output_iter(self, run_id: UUID, output: Iterator[Any]) -> Iterator[Any]:
        return output

"""Answers with a background response, which goes on at the provider when its reader is gone.

Its id is stored with the version, so another process retrieves it instead of asking the model
again. Source of the calls: OpenAI's API reference, responses/retrieve and guides/background.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, Final

from monostream_ai._backoff import Backoff
from monostream_ai._writing.cancelling import finish_despite_cancel
from monostream_ai._writing.publisher import Publisher
from monostream_ai.errors import Fenced, InvalidArgument, StreamDeleted, StreamStopped
from monostream_ai.openai.events import EventMapper
from monostream_ai.recording.capture import Capture, NewMapper, check_publisher
from monostream_ai.recording.fields import get, get_text
from monostream_ai.recording.message import Recording, replaying_recording
from monostream_ai.recording.model_output import ResponseFailed, TruncatedStream
from monostream_ai.recording.overlap import Overlap
from monostream_ai.recording.streams import events_of
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.contributing import Contributor
from monostream_ai.ui_messages.protocol import note_continued

logger = logging.getLogger(__name__)

TRIES: Final = 8
"""Tries to reach a response in a row without any news of it."""
FIRST_DELAY, LAST_DELAY = 0.25, 8.0
"""Seconds before the second of these tries, and between tries at most."""
FRUITLESS: Final = 2
"""Streams in a row that end at once, after which the response is polled."""
POLL_INTERVAL: Final = 1.0
"""Seconds between polls of a response whose events cannot be streamed."""
CREATE_TIMEOUT: Final = 3.0
"""Seconds for which a cancelled turn waits for the id of the response that it has asked for."""
CANCEL_TIMEOUT: Final = 5.0
"""Seconds that the provider gets to cancel a response that nobody wants any more."""

_RETRIEVING: Final = ("include", "extra_headers", "extra_query", "timeout")
_CANCELLING: Final = _RETRIEVING[1:]
"""Options of the request that the calls after it take as well."""
_UNSTREAMABLE: Final = (400, 405, 422, 501)
"""Status of a refusal to stream a response, which may still be polled."""
_TEMPORARY: Final = (408, 425, 429)
_NETWORK: Final = frozenset({"openai", "httpx", "httpx2", "httpcore", "httpcore2", "aiohttp"})
"""Packages whose errors tell of the connection, unless they have the status of an answer."""


class Answer:
    """A response that is complete and durable; made by `respond`.

    Args:
        response: The SDK's `Response`.
    """

    def __init__(self, response: Any, events: Capture[Any]) -> None:
        self.response = response
        self._events = events

    def __repr__(self) -> str:
        return f"<Answer {get_text(self.response, 'id')!r} by {self._events!r}>"

    def tool_result(self, call_id: str, *, output: Any = None, error: str | None = None) -> None:
        """As `Capture.tool_result`; one that is stored already is not stored again."""
        self._events.tool_result(call_id, output=output, error=error)

    def ask_approval(self, call_id: str, *, reason: str | None = None) -> None:
        """As `Capture.ask_approval`."""
        self._events.ask_approval(call_id, reason=reason)


async def respond(
    client: Any,
    pub: Publisher[Chunk],
    *,
    encrypted_reasoning: bool = True,
    other_items: bool = False,
    continued: Mapping[str, Any] | None = None,
    **request: Any,
) -> Answer:
    """Record a background response to its end, wherever it has to be read from.

        await respond(client, turn.pub, model="gpt-5-mini", input="Hi!")

    The first time it calls `responses.create`. The publisher that goes on with a lost version knows
    the id of its response, and calls `responses.retrieve` instead. Of several calls, as in a tool
    loop, each goes on with its own response: the program makes the same calls again. A connection
    that breaks is opened again behind the last event.

    A turn that is stopped, or replaced by a newer version, cancels the response, if the provider
    can be reached. A version that is released or lost leaves it running for a successor.

    Args:
        client: An `AsyncOpenAI`, or a client like it.
        encrypted_reasoning, other_items, continued: As for `capture`.
        request: Arguments of `responses.create`, without `stream` and `background`.

    Raises:
        ResponseFailed: The model reported an error, or the provider has the response no longer: the
            code is `not_found` then.
        TruncatedStream: The streams of the response ended early, `TRIES` times in a row.
        InvalidArgument: `stream` or `background` is given, and not as true.
        TypeError: `client` is no async client, or `pub` is no publisher.
        OpenAIError: The SDK refused the request, or the provider stayed away.
        StreamClosed, StreamStopped, Fenced, StoreUnavailable: As `pub.write`.
    """
    _check(client, request)
    mapper = partial(EventMapper, encrypted_reasoning=encrypted_reasoning, other_items=other_items)
    check_publisher(pub)
    if continued is not None:
        note_continued(pub, continued)
    await pub.flush()
    stored = StoredResponses.of(pub)
    response_id = stored.next_id()
    source = ResponseStream(client, request, response_id)
    events = Capture(
        source.events(), pub, source.mapped_by(mapper), stored.overlap if response_id else None
    )
    response = None
    try:
        async for event in events:
            response = get(event, "response") or response
            if get_text(event, "type") == "response.created":
                # Nobody else can go on with the response before its id is stored.
                await pub.flush()
    except BaseException as error:
        if _is_unwanted(pub, error):
            await finish_despite_cancel(source.cancel())
        else:
            events._push(source.unread())
        raise
    return Answer(response, events)


class StoredResponses:
    """The responses of a version that its lost publisher began, in their order.

    Args:
        written: Its chunks, and those that the program has written since.
    """

    def __init__(self, written: Sequence[Chunk]) -> None:
        told = [get_text(chunk, "messageMetadata", "responseId") for chunk in written]
        ids = dict.fromkeys(filter(None, told))
        self.begun = len(ids) > 0
        self._ids = iter(ids)
        self.overlap = Overlap(written)

    @classmethod
    def of(cls, pub: Publisher[Chunk]) -> StoredResponses:
        """Return those of an open publisher, made by the first call."""
        state = pub._adapter_state
        if cls not in state:
            made = state[cls] = cls([*pub.written, *Contributor.to(pub).news()])
            if made.begun and Recording not in state:
                # The responses are mapped once more, so that ids and counts are the same.
                state[Recording] = replaying_recording(pub)
        found: StoredResponses = state[cls]
        return found

    def next_id(self) -> str:
        """Return the id of the next response, empty if it is still to be created."""
        return next(self._ids, "")


class ResponseStream:
    """The events of one background response, from as many streams as it takes.

    Args:
        response_id: The id of a response to retrieve; an empty one creates it.
    """

    def __init__(self, client: Any, request: Mapping[str, Any], response_id: str) -> None:
        self._responses = client.responses
        self._request = request
        self._id = response_id
        self._mapper: EventMapper
        self._unread: Any = None
        """The first event of a response, if it came after the reader was cancelled."""
        self._polls = False
        self._backoff = Backoff(FIRST_DELAY, LAST_DELAY)
        self._tries = 0
        self._seen: int | None = None

    def mapped_by(self, mapper: Callable[[Recording], EventMapper]) -> NewMapper:
        """Return a function that makes the mapper, whose place in the response counts here."""

        def new_mapper(recording: Recording) -> EventMapper:
            self._mapper = mapper(recording)
            return self._mapper

        return new_mapper

    async def events(self) -> AsyncGenerator[Any, None]:
        stream = await (self._retrieve() if self._id else self._create())
        while True:
            failure: Exception = TruncatedStream()
            try:
                async with aclosing(events_of(stream)) as events:
                    async for event in events:
                        self._id = self._id or get_text(event, "response", "id")
                        yield event
                        if self._is_over:
                            return
            except Exception as error:
                failure = error
            stream = await self._again(failure)

    def unread(self) -> list[Chunk]:
        """Return chunks with the id of the response, for a successor, if it became known when the
        reader was cancelled already.
        """
        return [] if self._unread is None else self._mapper.feed(self._unread)

    async def cancel(self) -> None:
        """Cancel the response; a failure is only logged."""
        if not self._id:
            return
        try:
            async with asyncio.timeout(CANCEL_TIMEOUT):
                await self._responses.cancel(self._id, **self._options(_CANCELLING))
        except Exception as error:
            kind = type(error).__name__
            logger.warning("could not cancel the response %r: %s", self._id, kind)

    @property
    def _is_over(self) -> bool:
        return self._mapper.output.complete or self._mapper.output.failure is not None

    async def _create(self) -> AsyncGenerator[Any, None]:
        """Create the response, and return its events once the first one is there.

        A cancellation waits for that: until its id is known, nobody can cancel the response or go
        on with it.
        """
        creating = asyncio.create_task(self._begin())
        try:
            first, events = await asyncio.shield(creating)
        except asyncio.CancelledError:
            await finish_despite_cancel(self._learn_id(creating))
            raise
        return _joined(first, events)

    async def _begin(self) -> tuple[Any, AsyncGenerator[Any, None]]:
        events = events_of(
            await self._responses.create(**self._request, stream=True, background=True)
        )
        try:
            return await anext(events, None), events
        except BaseException:
            await events.aclose()
            raise

    async def _learn_id(
        self, creating: asyncio.Task[tuple[Any, AsyncGenerator[Any, None]]]
    ) -> None:
        await asyncio.wait([creating], timeout=CREATE_TIMEOUT)
        creating.cancel()
        with suppress(Exception, asyncio.CancelledError):
            self._unread, events = await creating
            self._id = get_text(self._unread, "response", "id")
            await events.aclose()

    async def _again(self, failure: Exception) -> Any:
        """Return the next stream, as soon as there is one."""
        number = self._mapper.last_number
        self._tries = self._tries + 1 if number == self._seen else 0
        self._seen = number
        if self._tries == 0:
            self._backoff.reset()
        while True:
            if not self._id or not _is_temporary(failure) or self._tries >= TRIES:
                raise _named(failure, self._id)
            if self._tries:
                await asyncio.sleep(self._backoff.next())
            fruitless = isinstance(failure, TruncatedStream) and self._tries >= FRUITLESS
            self._polls = self._polls or fruitless
            try:
                return await self._retrieve()
            except Exception as error:
                failure = error
                self._tries += 1

    async def _retrieve(self) -> Any:
        number = self._mapper.last_number
        if self._polls or (number is None and self._mapper.begun):
            # Without numbers, nobody can tell which events would come twice.
            return self._polled()
        self._mapper.go_on()
        after = {} if number is None else {"starting_after": number}
        try:
            return await self._responses.retrieve(
                self._id, stream=True, **after, **self._options(_RETRIEVING)
            )
        except Exception as error:
            if getattr(error, "status_code", None) not in _UNSTREAMABLE:
                raise
            self._polls = True
            return self._polled()

    async def _polled(self) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the last event of the response, as soon as it has ended."""
        while True:
            response = await self._responses.retrieve(self._id, **self._options(_RETRIEVING))
            status = get_text(response, "status")
            if status not in ("queued", "in_progress"):
                break
            self._tries = 0
            await asyncio.sleep(POLL_INTERVAL)
        self._mapper.go_on()
        ended = status if status in ("completed", "incomplete") else "failed"
        yield {"type": f"response.{ended}", "response": response}

    def _options(self, names: Sequence[str]) -> dict[str, Any]:
        return {name: self._request[name] for name in names if name in self._request}


def _check(client: Any, request: Mapping[str, Any]) -> None:
    if not hasattr(get(client, "responses"), "retrieve") or not hasattr(client, "__aenter__"):
        raise TypeError(f"respond needs an AsyncOpenAI, not {type(client).__name__}")
    for name in ("stream", "background"):
        if request.get(name, True) is not True:
            raise InvalidArgument(f"respond streams a background response: leave out {name!r}")


async def _joined(first: Any, events: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    async with aclosing(events):
        if first is not None:
            yield first
        async for event in events:
            yield event


def _is_unwanted(pub: Publisher[Chunk], error: BaseException) -> bool:
    """Whether nobody will go on with a response whose recording ends with this error."""
    cause = pub._outside.error or error
    if isinstance(cause, Fenced):
        return cause.current != pub.version
    if isinstance(cause, asyncio.CancelledError):
        return pub._on_cancel == "abort"
    return isinstance(cause, StreamStopped | StreamDeleted)


def _is_temporary(error: Exception) -> bool:
    """Whether the response may be there if it is asked for again."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return status in _TEMPORARY or status >= 500
    packages = {cls.__module__.partition(".")[0] for cls in type(error).__mro__}
    return isinstance(error, TruncatedStream | OSError) or bool(_NETWORK & packages)


def _named(error: Exception, response_id: str) -> Exception:
    """Return an error that says what is wrong with the response."""
    if getattr(error, "status_code", None) != 404:
        return error
    failure = ResponseFailed("not_found", f"the provider has no response {response_id!r} any more")
    failure.__cause__ = error
    return failure

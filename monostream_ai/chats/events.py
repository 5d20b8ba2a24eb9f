"""Server-sent events about the turns of an owner's chats, for other tabs and devices.

The store decides: a process reads it for all of its responses, at once after a wake-up and else at
each poll, and reports every turn whose state has changed. A state may be reported twice, but never
an older one after it, so clients take each event as the state of its chat.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, Self

from monostream_ai._periodic import start_task
from monostream_ai.chats.exit_signals import process_exiting
from monostream_ai.chats.queue.questions import queued_in
from monostream_ai.chats.rules import state_of
from monostream_ai.chats.turns.finishing import all_changes, last_type
from monostream_ai.chats.turns.names import QUEUE_PREFIX, chat_stream_id, queue_stream_id
from monostream_ai.errors import MonostreamError, ServiceClosed, UnknownStream
from monostream_ai.service import DurableStreamService
from monostream_ai.types import VersionInfo, WakeUp
from monostream_ai.ui_messages.sse import KEEP_ALIVE, STREAM_OPEN

OVERLAP: Final = timedelta(seconds=15)
"""How far an event's place is set back, since a commit becomes visible later than the instant it
stores.
"""

OLDEST: Final = timedelta(hours=1)
"""Age of a place beyond which ended turns are no longer reported."""

QUIET: Final = 0.3
"""Seconds without a chunk after which a running turn is looked at: it may have ended."""

PAUSE: Final = 0.1
"""At least this many seconds lie between two looks at the store."""

MOST_WAITING: Final = 256
"""Events that may wait for a client that does not read. Beyond that they are dropped, and it
catches up anew.
"""

RETRY: Final = "retry: 1000\n\n"
"""Milliseconds after which an `EventSource` comes back."""


class Place(NamedTuple):
    """Where a client stands, as an event id says it: turns that ended before it were reported."""

    instant: datetime
    told: int = 0
    """How many of those that ended at this very instant were reported; one commit may end several.
    """

    def __str__(self) -> str:
        return f"{self.instant.timestamp():.6f}-{self.told}"

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Read the id of an event; None if it is not one."""
        match = re.fullmatch(r"([0-9]{1,10}\.[0-9]{6})-([0-9]{1,9})", text or "", re.ASCII)
        if match is None:
            return None
        return cls(datetime.fromtimestamp(float(match[1]), UTC), int(match[2]))


class Turn(NamedTuple):
    """A turn, as it is reported."""

    info: VersionInfo
    state: str
    ending: str | None = None
    """The type of its last chunk, if it has ended."""

    def is_as(self, known: Turn | None) -> bool:
        """Return whether this turn was already reported as it is."""
        return known is not None and (self.state, self.info.attempt) == (
            known.state,
            known.info.attempt,
        )


class News(NamedTuple):
    """All that is new to a client."""

    now: datetime
    """The store's clock before it was read."""
    ended: list[tuple[Place, Turn]]
    """In the order of their ends, each with the place after it."""
    running: list[Turn]
    queued: dict[str, int]
    """How many questions wait, by the stream of their chat."""
    starts_over: bool = False
    """Whether turns may have ended that are not listed."""


class EventBody:
    """Yields the events of one client. It ends when the process exits or the store fails, and the
    client comes back with the id of the last event.

    Args:
        chat_id: Report this chat only.
        last_event_id: The place after which ended turns will be reported; another text counts as
            none.
    """

    def __init__(
        self,
        watcher: TurnWatcher,
        owner: str | None,
        chat_id: str | None,
        last_event_id: str | None,
        *,
        keep_alive: float,
    ) -> None:
        self.complete = True
        """However the response ends, clients come back."""
        self.owner = owner
        self._watcher = watcher
        self._chat_id = chat_id
        self._place = Place.parse(last_event_id)
        self._keep_alive = keep_alive
        self._behind = True
        self._pieces: deque[tuple[Place | None, str]] = deque(
            [(self._place, f"{STREAM_OPEN}{RETRY}")]
        )
        """Text to be sent, each with the place that the client has then."""
        self._news = asyncio.Event()

    def __repr__(self) -> str:
        behind = ", behind" if self._behind else ""
        return f"<EventBody of {self.owner!r}, {len(self._pieces)} waiting{behind}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._pieces:
            if self._watcher.closing:
                raise StopAsyncIteration
            if self._behind:
                await self._catch_up()
            else:
                self._news.clear()
                await self._news.wait()
        # Only a task that waits can be cancelled, so yield even if the next piece is ready.
        await asyncio.sleep(0)
        self._place, piece = self._pieces.popleft()
        return piece.encode()

    def open(self) -> None:
        """Begin to listen. The current state is sent first."""
        self._watcher.join(self, after=self._keep_alive)

    def close(self) -> None:
        """Listen no longer."""
        self._watcher.leave(self)

    def look(self) -> float:
        """Send a keep-alive, or notice that the process exits."""
        if not self._pieces:
            self._pieces.append((self._place, KEEP_ALIVE))
        self._news.set()
        return self._keep_alive

    def tell(self, turn: Turn, now: datetime) -> None:
        """Queue an event about a turn of this owner; return at once."""
        if summary := self._summary(turn):
            self._tell("turn", summary, now)

    def tell_queued(self, stream_id: str, queued: int, now: datetime) -> None:
        """Queue an event about the questions that wait in a chat of this owner; return at once."""
        if (chat_id := self._chat_of(stream_id)) is not None:
            self._tell("queue", {"chatId": chat_id, "queued": queued}, now)

    def _tell(self, name: str, data: dict[str, Any], now: datetime) -> None:
        if self._behind:
            return
        if len(self._pieces) >= MOST_WAITING:
            self._pieces.clear()
            self._behind = True
        else:
            self._pieces.append(_piece(name, data, Place(now - OVERLAP)))
        self._news.set()

    async def _catch_up(self) -> None:
        """Queue all that is new after the place: ended turns, then the ones that run."""
        try:
            news = await self._watcher.since(self._place, self.owner, self._chat_id)
        except MonostreamError:
            raise StopAsyncIteration from None
        for place, turn in news.ended:
            if summary := self._summary(turn):
                self._pieces.append(_piece("turn", summary, place))
        running = [summary for turn in news.running if (summary := self._summary(turn))]
        data: dict[str, Any] = {"turns": running, "startsOver": news.starts_over}
        if self._watcher.queues:
            chats = ((self._chat_of(each), queued) for each, queued in news.queued.items())
            data["queued"] = {chat_id: queued for chat_id, queued in chats if chat_id is not None}
        self._pieces.append(_piece("running", data, Place(news.now - OVERLAP)))
        self._behind = False

    def _summary(self, turn: Turn) -> dict[str, Any] | None:
        """Return the turn as JSON, or None if it does not concern this client."""
        info = turn.info
        chat_id = self._chat_of(info.stream_id)
        if info.owner != self.owner or chat_id is None:
            return None
        return {
            "chatId": chat_id,
            "state": turn.state,
            "version": info.version,
            "attempt": info.attempt,
            "messageId": info.message_id,
            "ending": turn.ending,
        }

    def _chat_of(self, stream_id: str) -> str | None:
        """Return the id of a chat, or None if it does not concern this client."""
        chat_id = stream_id.removeprefix(self._watcher.prefix_of(self.owner))
        if chat_id == stream_id or self._chat_id not in (None, chat_id):
            return None
        return chat_id


class TurnWatcher:
    """Reports changes of turns to the responses of this process. Works while there are any.

    Args:
        queues: Report also how many questions wait.
    """

    def __init__(
        self, service: DurableStreamService[Any], stream_prefix: str, *, queues: bool = False
    ) -> None:
        self.queues = queues
        self._service = service
        self._stream_prefix = stream_prefix
        self._lists = queue_stream_id(stream_prefix)
        self._queued: dict[str, VersionInfo] = {}
        """The lists of questions that wait, by the stream of their chat, as last reported."""
        self._bodies: dict[str | None, dict[EventBody, None]] = {}
        """By owner."""
        self._known: dict[tuple[str, int], Turn] = {}
        """Turns as last reported: open ones, and those that ended a moment ago."""
        self._now: datetime | None = None
        """The store's clock before the last look; None before the first one."""
        self._due: dict[tuple[str, int], float] = {}
        """When to look at the store for the sake of a version."""
        self._look_at_once = False
        self._hint = asyncio.Event()
        # A look that began before a body caught up must not report an older state to it afterwards.
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @property
    def closing(self) -> bool:
        return self._service.closing

    def prefix_of(self, owner: str | None, chat_id: str = "") -> str:
        """Return the beginning of the streams of an owner."""
        return chat_stream_id(chat_id, owner=owner, prefix=self._stream_prefix)

    def join(self, body: EventBody, *, after: float) -> None:
        """Report changes to a body, and call its `look` after so many seconds."""
        self._bodies.setdefault(body.owner, {})[body] = None
        self._service._clock.join(body.look, after=after, alarm=process_exiting)
        if self._task is None:
            self._service._runtime.listeners.append(self)
            self._task = start_task(self._run(), name="events")

    def leave(self, body: EventBody) -> None:
        """Take a body away; the last one ends the work. Idempotent."""
        self._service._clock.leave(body.look)
        others = self._bodies.get(body.owner, {})
        others.pop(body, None)
        if not others:
            self._bodies.pop(body.owner, None)
        if not self._bodies and self._task is not None:
            self._service._runtime.listeners.remove(self)
            self._task.cancel()
            self._task, self._now = None, None
            self._known.clear()
            self._queued.clear()
            self._due.clear()

    def on_wake_up(self, wake_up: WakeUp) -> None:
        """Look soon (see `Listener`). A wake-up does not say whether a turn has ended, but the last
        one of a turn is followed by silence.
        """
        if self.queues and wake_up.stream_id.startswith(self._lists):
            self.on_resync()
        place = wake_up.stream_id, wake_up.version
        known = self._known.get(place)
        if wake_up.stream_id.startswith(self._stream_prefix) and (known or place not in self._due):
            runs = known is not None and known.state == "open"
            self._due[place] = asyncio.get_running_loop().time() + (QUIET if runs else 0.0)
            self._hint.set()

    def on_resync(self) -> None:
        """Look at once (see `Listener`)."""
        self._look_at_once = True
        self._hint.set()

    async def since(self, place: Place | None, owner: str | None, chat_id: str | None) -> News:
        """Return all that is new to a client of this owner."""
        async with self._lock:
            # A change between the first look and this read is then reported by the second look.
            clock = self._now or await self._look()
            recent = place if place is not None and clock - place.instant < OLDEST else None
            # A little earlier, since a store may round instants.
            since = None if recent is None else recent.instant - timedelta(milliseconds=1)
            now, infos = await all_changes(
                self._service, self.prefix_of(owner, chat_id or ""), since
            )
            infos = [info for info in infos if info.owner == owner]
            lists = await self._read_lists(self.prefix_of(owner, chat_id or ""))
            queued = {each: queued_in(info) for each, info in lists.items() if info.owner == owner}
            running = [Turn(info, state_of(info)) for info in infos if info.state == "open"]
            ended = [] if recent is None else _ended_after(recent, infos)
            # A place in the future is of another database, or from before its clock was set back.
            if recent is None or recent.instant > now or len(ended) > MOST_WAITING:
                return News(now, [], running, queued, starts_over=True)
            told = [(next, await self._turn(info)) for next, info in ended]
            return News(now, told, running, queued)

    async def _run(self) -> None:
        while True:
            try:
                async with self._lock:
                    await self._look()
            except ServiceClosed:
                return
            # Whatever a store raises: the next look finds what this one missed.
            except Exception as error:
                self._service._runtime.errors.report("events", error)
            await asyncio.sleep(PAUSE)
            await self._pause()

    async def _pause(self) -> None:
        """Wait for a reason to look: a version that is due, a resync, or the next poll."""
        time = asyncio.get_running_loop().time
        poll_at = time() + self._service._runtime.poll_interval
        while not self._look_at_once and (left := min([poll_at, *self._due.values()]) - time()) > 0:
            self._hint.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._hint.wait()

    async def _look(self) -> datetime:
        """Read the store, and report all that has changed since the last look. Return the store's
        clock before this one.
        """
        self._look_at_once = False
        time = asyncio.get_running_loop().time()
        self._due = {place: due for place, due in self._due.items() if due > time}
        first = self._now is None
        since = None if self._now is None else self._now - OVERLAP
        now, infos = await all_changes(self._service, self._stream_prefix, since)
        if first:
            # Those that ended before the first look are no news.
            _, infos = await all_changes(self._service, self._stream_prefix, now - OVERLAP)
        known: dict[tuple[str, int], Turn] = {}
        turns = [*await self._gone(infos), *[await self._known_or_read(info) for info in infos]]
        for turn in turns:
            place = turn.info.stream_id, turn.info.version
            known[place] = turn
            if not first and not turn.is_as(self._known.get(place)):
                for body in self._bodies.get(turn.info.owner, ()):
                    body.tell(turn, now)
        lists = await self._read_lists(self._stream_prefix)
        for stream_id in {*lists, *self._queued}:
            new, old = lists.get(stream_id), self._queued.get(stream_id)
            info = new or old
            if info is None or first or (new and old and new.version == old.version):
                continue
            for body in self._bodies.get(info.owner, ()):
                body.tell_queued(stream_id, 0 if new is None else queued_in(new), now)
        self._known, self._queued, self._now = known, lists, now
        return now

    async def _read_lists(self, prefix: str) -> dict[str, VersionInfo]:
        """Return the lists of questions that wait in chats whose stream begins with `prefix`."""
        if not self.queues:
            return {}
        _, infos = await all_changes(self._service, queue_stream_id(prefix), None)
        return {info.stream_id.removeprefix(QUEUE_PREFIX): info for info in infos}

    async def _known_or_read(self, info: VersionInfo) -> Turn:
        known = self._known.get((info.stream_id, info.version))
        if info.state == "closed" and known is not None and known.state == "closed":
            return known
        return await self._turn(info)

    async def _gone(self, infos: Sequence[VersionInfo]) -> list[Turn]:
        """Return the latest turn of each chat whose running turn is no longer listed, nor a newer
        one: the commit of its end took long to show, or the chat was deleted.
        """
        newest = {info.stream_id: info.version for info in infos}
        gone = []
        for (stream_id, version), turn in self._known.items():
            if turn.info.state == "open" and newest.get(stream_id, -1) < version:
                try:
                    info = await self._service.status(stream_id)
                except UnknownStream:
                    gone.append(Turn(replace(turn.info, state="pruned"), "idle"))
                else:
                    gone.append(await self._turn(info))
        return gone

    async def _turn(self, info: VersionInfo) -> Turn:
        """Return a turn with its ending, which is read only if a client here is to hear of it."""
        if info.state == "open" or info.owner not in self._bodies:
            return Turn(info, state_of(info))
        return Turn(info, state_of(info), await last_type(self._service, info))


def _piece(name: str, data: object, place: Place) -> tuple[Place, str]:
    return place, f"event: {name}\nid: {place}\ndata: {json.dumps(data)}\n\n"


def _ended_after(place: Place, infos: Sequence[VersionInfo]) -> list[tuple[Place, VersionInfo]]:
    """Return the versions that were closed after a place, in order, each with the next place."""
    ended = sorted(
        (info.closed_at, info.stream_id, info.version, info)
        for info in infos
        if info.state == "closed" and info.closed_at and info.closed_at >= place.instant
    )
    found, last = [], Place(place.instant)
    for closed_at, _, _, info in ended:
        last = Place(closed_at, last.told + 1 if closed_at == last.instant else 1)
        if last > place:
            found.append((last, info))
    return found

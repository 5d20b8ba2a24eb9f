"""The values that move between layers: cursors, leases, appends, pages."""

from __future__ import annotations

import functools
import inspect
import math
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from monostream_ai.errors import (
    InvalidCursor,
    InvalidNumber,
    InvalidStreamId,
    InvalidText,
    InvalidVersion,
    InvalidWord,
)

MAX_STREAM_ID_BYTES: Final = 2048
"""Bytes of UTF-8. A Postgres index row holds about 2,700 bytes and a NOTIFY payload 7,999."""

MAX_TEXT_BYTES: Final = 2048
"""Bytes of UTF-8 of an owner or a message id."""

MAX_METADATA_BYTES: Final = 1024 * 1024
"""Bytes of UTF-8 of the metadata of a version, which each append rewrites with its row."""

MAX_REQUEST_BYTES: Final = 64 * 1024 * 1024
"""Bytes of UTF-8 of the request of a version."""

MAX_ATTEMPT: Final = 2**31 - 1

MAX_LIMIT: Final = 100_000
"""Rows of one listing."""

MAX_CHUNK_BYTES: Final = 1024 * 1024
"""Bytes of UTF-8 of one encoded chunk."""

MAX_VERSION: Final = 2**63 - 1

MAX_DOUBLINGS: Final = 8
"""Times that the pause between two attempts to look after a version doubles."""

Chunk: TypeAlias = dict[str, Any]
"""One UI message chunk: a JSON object with a string under `type`."""

Ending = Literal["finish", "error", "abort", "lost"]
"""Why a version ends: its work is done, it failed, a user stopped it, or its publisher died."""

State = Literal["open", "closed", "pruned"]
"""`closed` has its terminal chunk; `pruned` has lost its chunks to retention and keeps only its
number.
"""

WatchedState = Literal["open", "closed"]
"""Of a version that nobody looks after: it is lost, or it is not settled."""


class Cursor(NamedTuple):
    """The position of one chunk: resuming after it yields the next one.

    `id` is 0-based and dense within its version; -1 stands before the first chunk.
    """

    version: int
    id: int

    def __str__(self) -> str:
        return f"{self.version}.{self.id}"

    @classmethod
    def parse(cls, token: str) -> Cursor:
        """Read a cursor from the text that `str(cursor)` made, as SSE ids carry it.

        Raises:
            InvalidCursor: The text is not such a token.
        """
        match = re.fullmatch(r"(0|[1-9][0-9]{0,18})\.(-1|0|[1-9][0-9]{0,18})", token, re.ASCII)
        if match is None:
            raise InvalidCursor(token)
        return cls(int(match[1]), int(match[2]))


class Lease(NamedTuple):
    """The right to write one version; `token` holds 128 random bits and is new for each acquire."""

    stream_id: str
    version: int
    token: str


def new_token() -> str:
    """Return 128 random bits as hexadecimal text, so that nobody writes by guessing."""
    return secrets.token_hex(16)


def log_fields(stream_id: str, version: int) -> dict[str, object]:
    """Return a version's fields for a log record; pass them as `extra`, for formatters of JSON."""
    return {"stream_id": stream_id, "version": version}


class WakeUp(NamedTuple):
    """A hint that a stream has moved: the newest version and the last id stored in it.

    An id of -1 says that the version was opened and holds nothing yet.

    `carried` may hold the committed chunks up to `id`, sealed by their writer; empty if it holds
    none. Only a tailer looks into it: to a notifier it is text, of at most `Notifier.most_carried`
    bytes of UTF-8, which arrives as it was sent or not at all.
    """

    stream_id: str
    version: int
    id: int
    carried: str = ""

    def __repr__(self) -> str:
        # Chunks belong in no log.
        carried = f", carrying {len(self.carried)} characters" if self.carried else ""
        return f"WakeUp({self.stream_id!r}, {self.version}, {self.id}{carried})"


class Position(NamedTuple):
    """Where a reader stands: it wants `next_id` of `version`, or the start of a newer version.

    A version of None asks for the latest version from its first chunk.
    """

    stream_id: str
    version: int | None
    next_id: int


@dataclass(frozen=True, slots=True)
class Opening:
    """The record of a version when it is acquired. Lease in seconds; request and metadata as JSON
    text.

    A `watched` version must be settled after it is closed; until then `Store.unattended` may list
    it. `handovers` counts the attempts before this one that were given up on purpose. One that
    `repeats` opens only while the version before it is lost, and no stop was requested.
    """

    token: str
    lease: float
    message_id: str | None = None
    owner: str | None = None
    attempt: int = 1
    request: str | None = None
    metadata: str | None = None
    watched: bool = False
    handovers: int = 0
    repeats: bool = False


@dataclass(frozen=True, slots=True)
class Append:
    """Payloads for one version, all or none; `first` is the id that the first of them gets."""

    lease: Lease
    first: int
    payloads: Sequence[str]
    closes: bool


@dataclass(frozen=True, slots=True)
class Head:
    """The latest version of a stream as of one read.

    `lease_left` is in seconds by the store's clock, 0 or less once the lease ran out, and infinite
    for versions that another program wrote without a lease. `opener` is the token that acquired the
    version: if an older release deleted a stream and it was begun anew, the number is the same and
    the opener is not. `deleted_to` is the newest version that was deleted before this one was
    opened; -1 if there is none. `writer` is the token that may write to an open version; a store
    that leaves it None has its chunks read, never taken from a wake-up.
    """

    version: int
    state: State
    next_id: int
    lease_left: float
    opener: str | None = None
    deleted_to: int = -1
    writer: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Page:
    """One consistent read of a stream: its head, and payloads from the asked position on.

    `head` is None when the stream has no version. If the head's version is newer than the asked
    one, the payloads are those of the newer version from id 0. Ids are dense from `first`.
    """

    head: Head | None
    first: int
    payloads: Sequence[str]

    @property
    def end(self) -> int:
        return self.first + len(self.payloads)


class Finding(NamedTuple):
    """The result of one check of a backend, and advice. `fail` means that streams do not work."""

    check: str
    level: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""


class StoredChunk(NamedTuple):
    """The time a chunk was stored, by the store's clock, and its size in bytes of UTF-8."""

    id: int
    stored_at: datetime
    size: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive payloads of one version, as JSON text; `first` is the id of the first one. Empty
    after a timeout.

    Many readers may be given the same object.
    """

    version: int
    first: int
    payloads: Sequence[str]
    _frames: dict[str, list[bytes]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )
    """Frames already made from this batch, by encoder, so that readers sharing it encode once."""

    @property
    def cursors(self) -> list[Cursor]:
        """The cursor of each payload."""
        return [Cursor(self.version, self.first + offset) for offset in range(len(self.payloads))]


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """One version of a stream as `service.status` reports it. Times are UTC, by the store's clock.

    `closed_for` is how many seconds ago the version was closed. `attempt` is 0 for a version that
    has waited for its first attempt ever since. `handovers` is how many attempts up to this one
    were given up on purpose by a process that lived on, or exited in good order. `attended` is how
    often a watched version was attended to, because it was lost or had to be settled, or how often
    one that waits was made to wait again; `abandoned_at` is when that had failed so often that it
    is not tried again. `waiting` says that the version waits for a process that goes on with it
    (`Publisher.leave`), and `watched` that some work has to be done after its end, until it is
    settled.
    `service.request` reads the request.
    """

    stream_id: str
    version: int
    state: State
    next_id: int
    lease_left: float
    created_at: datetime | None = None
    closed_at: datetime | None = None
    closed_for: float | None = None
    stop_requested_at: datetime | None = None
    message_id: str | None = None
    owner: str | None = None
    attempt: int = 1
    metadata: str | None = None
    attended: int = 0
    abandoned_at: datetime | None = None
    handovers: int = 0
    waiting: bool = False
    watched: bool = False

    @property
    def lost(self) -> bool:
        """Whether the version is open and its lease ran out: its publisher died, or nobody went on
        with it in time.
        """
        return self.state == "open" and self.lease_left <= 0

    @property
    def active(self) -> bool:
        """Whether a publisher is at work."""
        return self.state == "open" and self.lease_left > 0 and not self.waiting


class Changes(NamedTuple):
    """Versions that are open, or were closed in a span of time, and the store's clock before they
    were read.
    """

    now: datetime
    versions: list[VersionInfo]


class StoredMessage(NamedTuple):
    """A message of a chat's history, as `Messages` keeps it."""

    stream_id: str
    role: Literal["user", "assistant"]
    message_id: str
    """Its id, or the SHA-256 of a long one."""
    version: int
    """The latest turn that asked or wrote it."""
    since: int
    """The first turn that asked or wrote it."""
    owner: str | None
    message: str
    """A JSON object."""
    beginning: str
    """The beginning of its text."""


class LatestMessage(NamedTuple):
    """When the newest message of a chat's history was stored."""

    stream_id: str
    stored_at: datetime
    title: str = ""
    """The beginning of the first question."""


def check_stream_id(stream_id: str) -> str:
    """Return the id, or raise InvalidStreamId."""
    problem = "it is empty" if stream_id == "" else _problem_with(stream_id, MAX_STREAM_ID_BYTES)
    if problem is not None:
        raise InvalidStreamId(problem, MAX_STREAM_ID_BYTES)
    return stream_id


def check_text(name: str, text: str | None) -> str | None:
    """Return the text, or raise InvalidText."""
    problem = None if text is None else _problem_with(text, MAX_TEXT_BYTES)
    if problem is not None:
        raise InvalidText(name, problem, MAX_TEXT_BYTES)
    return text


def check_json(name: str, text: str | None, limit: int) -> str | None:
    """Return the text of a JSON value, or raise InvalidText if it has over `limit` bytes."""
    # At most 4 bytes each: most texts need no look at their letters.
    if text is not None and len(text) * 4 > limit and (size := len(text.encode())) > limit:
        raise InvalidText(name, f"it has {size} bytes", limit)
    return text


def check_count(name: str, count: int, *, least: int = 0, most: int = MAX_VERSION) -> int:
    """Return the count or position, or raise InvalidNumber."""
    if not isinstance(count, int) or isinstance(count, bool) or not least <= count <= most:
        raise InvalidNumber(name, count, f"an integer from {least} to {most}")
    return count


def check_seconds(name: str, seconds: float) -> float:
    """Return the duration, or raise InvalidNumber."""
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not 0 <= seconds < math.inf:
        raise InvalidNumber(name, seconds, "finite seconds, not negative")
    return seconds


def check_word(name: str, word: object, words: Sequence[object]) -> None:
    """Raise InvalidWord unless it is one of the words."""
    if word not in words:
        raise InvalidWord(name, word, words)


def check_function(name: str, function: object) -> None:
    """Refuse an option that is called later, where its failure may be lost; None passes.

    Raises:
        TypeError: It is no function, or one that must be awaited.
    """
    if function is None:
        return
    if not callable(function):
        raise TypeError(f"{name} is {function!r:.80}: use a function")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{name} is async, and nobody would await it: define it with 'def'")


def check_async(name: str, function: object, instead: str = "use an async function") -> None:
    """Refuse a function that cannot be awaited when it is given, not at each call.

    Args:
        instead: The advice about a generator.

    Raises:
        TypeError
    """
    if not callable(function):
        raise TypeError(f"{name} is {function!r}: use an async function")
    called: Any = function
    while isinstance(called, functools.partial):
        called = called.func
    if isinstance(called, type) and not hasattr(called, "__await__"):
        raise TypeError(
            f"{name} is the class {called.__name__}: use an async function, or an instance with an"
            " async '__call__'"
        )
    if not inspect.isroutine(called):
        called = type(called).__call__
    if inspect.isasyncgenfunction(called) or inspect.isgeneratorfunction(called):
        raise TypeError(f"{name} is a generator, and nobody would read what it yields: {instead}")
    # A lambda may well return a coroutine, and so may what a library made in C.
    plain = hasattr(called, "__code__") and called.__name__ != "<lambda>"
    if plain and not inspect.iscoroutinefunction(inspect.unwrap(called)):
        raise TypeError(f"{name} is not async: define it with 'async def'")


def check_texts(name: str, texts: object) -> None:
    """Refuse an option that is no collection of texts, such as one text.

    Raises:
        TypeError
    """
    if (
        isinstance(texts, str)
        or not isinstance(texts, Collection)
        or not all(isinstance(text, str) for text in texts)
    ):
        raise TypeError(f"{name} is {texts!r:.80}: use a list of strings")


def _problem_with(text: object, limit: int) -> str | None:
    """Return why a column cannot hold the text, whatever the database; None if it can."""
    if not isinstance(text, str):
        return f"{text!r} is not a string"
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "it holds half a surrogate pair"
    if size > limit:
        return f"it has {size} bytes"
    return "it holds NUL" if "\0" in text else None


def check_cursor(cursor: Cursor) -> Cursor:
    """Return the cursor, or raise InvalidCursor."""
    if not 0 <= cursor.version <= MAX_VERSION or not -1 <= cursor.id < MAX_VERSION:
        raise InvalidCursor(str(cursor))
    return cursor


def check_version(version: object) -> int:
    """Return the version, or raise InvalidVersion."""
    if not isinstance(version, int) or isinstance(version, bool) or not 0 <= version <= MAX_VERSION:
        raise InvalidVersion(version)
    return version

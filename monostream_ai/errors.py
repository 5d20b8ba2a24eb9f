"""Every error of monostream_ai, drawn as a tree. A module in parentheses defines the error.

MonostreamError
├── InvalidArgument (also a ValueError)
│   ├── InvalidStreamId
│   ├── InvalidVersion
│   ├── InvalidCursor
│   ├── InvalidText              a name stored with a version, such as its owner or message id
│   ├── InvalidNumber            a count, position or duration out of its range
│   ├── InvalidWord              an option that is none of the words it may be
│   ├── InvalidChunk             not JSON, NaN, or refused by the protocol: names the path
│   ├── ChunkTooLarge
│   ├── WriteTooLarge            one call has more chunks than fit into one append
│   ├── InvalidURL
│   ├── InvalidEngine            not an async engine of the store's driver
│   └── InvalidSchema            not the name of a Postgres schema
├── PublisherError               the publisher may not, or no longer, write
│   ├── VersionConflict          this version, or a newer one, exists already
│   ├── Fenced                   a newer version was opened, or this one was taken over
│   ├── NotLost                  the version has a publisher, so nobody can go on with it
│   ├── StreamClosed             the version has its terminal chunk
│   │   └── StreamStopped        …because a user pressed stop
│   ├── PublisherClosed          this object was closed, or never opened
│   └── Overflow                 more chunks are waiting than the store can take
├── SubscriptionError            the reader cannot go on
│   ├── PublisherLost            the publisher's lease ran out without an ending
│   ├── Superseded               a newer version was opened
│   ├── SubscriptionTimeout (also a TimeoutError)
│   ├── SubscriptionClosed
│   └── CursorNotFound           the cursor names a chunk that does not exist
├── UnknownStream                nothing was ever written under this id
├── StreamDeleted                the stream was deleted, or its chunks were pruned
├── ChunksMissing                chunks that were committed are gone, or never came
├── StoreError
│   ├── StoreUnavailable         unreachable for longer than the outage timeout
│   │   ├── FileMoved            …because SQLite's file was moved, deleted or replaced
│   │   └── ReadOnlyDatabase     …because nothing may be written there, as on a standby
│   ├── MissingPrivilege         the database role may not do it: names the GRANT
│   ├── LogHeld                  a reader keeps SQLite's write-ahead log from being emptied
│   ├── SchemaMissing            the tables are not there
│   ├── SchemaMismatch           the tables are not ours
│   ├── SchemaOutdated           the tables are those of an older release
│   ├── SchemaTooNew             the tables are those of a newer release
│   └── ChunkRefused             the column cannot hold this value (a jsonb column and NUL)
├── ServiceClosed
├── MissingExtra (also an ImportError)
├── RequestRefused               a chat request was answered with an error (monostream_ai.chats)
├── ResponseFailed               a model reported a failure in its stream (monostream_ai.openai)
│   └── TruncatedStream          …or broke off before its end
└── WrongEventLoop               the service is bound to another loop or process
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

MASKED_ERROR_TEXT: Final = "An error occurred."
"""The text a browser gets in place of an exception's own. Source: vercel/ai 7.0.173, the default of
`onError` in `toUIMessageStream`.
"""


class MonostreamError(Exception):
    """Base of every error of this package."""


class InvalidArgument(MonostreamError, ValueError):
    """A public call refused an argument; nothing was written."""


class InvalidStreamId(InvalidArgument):
    """A stream id must be 1 to `limit` bytes of UTF-8 without NUL."""

    def __init__(self, reason: str, limit: int) -> None:
        super().__init__(
            f"invalid stream id: {reason}; use 1 to {limit} bytes of UTF-8 without NUL"
        )
        self.limit = limit


class InvalidVersion(InvalidArgument):
    """A version is `"next"` or an integer from 0 to 2**63 - 1."""

    def __init__(self, version: object) -> None:
        super().__init__(
            f"invalid version {version!r}: use 'next' or an integer from 0 to 2**63 - 1"
        )
        self.version = version


class InvalidCursor(InvalidArgument):
    """A cursor token could not be read."""

    def __init__(self, token: str) -> None:
        super().__init__(
            f"invalid cursor {token[:80]!r}: use one that a subscription or an SSE id gave"
        )
        self.token = token


class InvalidText(InvalidArgument):
    """A text stored with a version is not one that every database can hold."""

    def __init__(self, name: str, reason: str, limit: int) -> None:
        super().__init__(
            f"invalid {name}: {reason}; use at most {limit} bytes of UTF-8 without NUL"
        )
        self.name = name
        self.limit = limit


class InvalidNumber(InvalidArgument):
    """A count, position or duration is not a number of its range."""

    def __init__(self, name: str, value: object, allowed: str) -> None:
        super().__init__(f"invalid {name} {value!r}: use {allowed}")
        self.name = name
        self.value = value


class InvalidWord(InvalidArgument):
    """An option is none of the words that it may be."""

    def __init__(self, name: str, value: object, words: Sequence[object]) -> None:
        super().__init__(f"invalid {name} {value!r}: use {' or '.join(map(repr, words))}")
        self.name = name
        self.value = value


class InvalidChunk(InvalidArgument):
    """A chunk cannot be stored; `path` names the offending value, such as `$.data[3].score`."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"invalid chunk at {path}: {reason}")
        self.path = path
        self.reason = reason


class ChunkTooLarge(InvalidArgument):
    """One encoded chunk is over the limit; sizes in bytes of UTF-8."""

    def __init__(self, kind: str, size: int, limit: int) -> None:
        super().__init__(
            f"{kind} chunk of {size} bytes is over the limit of {limit} bytes: "
            "split it, or store the value elsewhere and write a reference to it"
        )
        self.kind = kind
        self.size = size
        self.limit = limit


class WriteTooLarge(InvalidArgument):
    """The chunks of one call are together over the limit, in characters; nothing was written."""

    def __init__(self, count: int, size: int, limit: int) -> None:
        super().__init__(
            f"one write of {count} chunks and {size} characters is over the limit of {limit}: "
            "write the chunks in several calls"
        )
        self.count = count
        self.size = size
        self.limit = limit


class InvalidURL(InvalidArgument):
    """A URL names no backend of this package, or has a parameter, `key`, that cannot be served."""

    def __init__(
        self,
        reason: str,
        advice: str = "use memory://, sqlite+aiosqlite:///file.db "
        "or postgresql+asyncpg://user@host/database",
        *,
        key: str | None = None,
    ) -> None:
        super().__init__(f"{reason}; {advice}")
        self.key = key


class InvalidEngine(InvalidArgument):
    """An engine that is not an async engine of the driver that a store needs."""

    def __init__(self, user: str, found: str, needed: str) -> None:
        super().__init__(f"{user} cannot use {found}: pass create_async_engine({needed!r})")
        self.found = found
        self.needed = needed


class InvalidSchema(InvalidArgument):
    """A schema that cannot hold the tables."""

    def __init__(self, schema: object, reason: str) -> None:
        super().__init__(f"invalid schema {schema!r}: {reason}")
        self.schema = schema


class PublisherError(MonostreamError):
    """A publisher may not, or no longer, write to its version."""

    def __init__(self, message: str, stream_id: str, version: int) -> None:
        super().__init__(message)
        self.stream_id = stream_id
        self.version = version


class VersionConflict(PublisherError):
    """The explicit version is taken, or a newer one exists; `latest` is the newest that does."""

    def __init__(self, stream_id: str, version: int, latest: int) -> None:
        super().__init__(
            f"stream {stream_id!r} already has version {latest}, so version {version} cannot be "
            "opened: use version='next'",
            stream_id,
            version,
        )
        self.latest = latest


class Fenced(PublisherError):
    """A newer version was opened, or another process took this one over, so this publisher may no
    longer write.
    """

    def __init__(self, stream_id: str, version: int, current: int) -> None:
        cause = f"version {current}" if current != version else "another process that took it over"
        super().__init__(
            f"stream {stream_id!r} version {version} was fenced by {cause}", stream_id, version
        )
        self.current = current


class NotLost(PublisherError):
    """Nobody can go on with the version: its publisher lives, another one took it over, it has
    ended, or a stop was requested.
    """

    def __init__(self, stream_id: str, version: int) -> None:
        super().__init__(
            f"stream {stream_id!r} version {version} is not lost, so nobody can go on with it: "
            "look at its status",
            stream_id,
            version,
        )


class StreamClosed(PublisherError):
    """The version is closed: its terminal chunk is stored and nothing lands after it."""

    def __init__(self, stream_id: str, version: int) -> None:
        super().__init__(f"stream {stream_id!r} version {version} is closed", stream_id, version)


class StreamStopped(StreamClosed):
    """The version was ended by `service.stop()`."""

    def __init__(self, stream_id: str, version: int) -> None:
        PublisherError.__init__(
            self, f"stream {stream_id!r} version {version} was stopped", stream_id, version
        )


class PublisherClosed(PublisherError):
    """This publisher object was closed before, or was not opened yet."""

    def __init__(self, stream_id: str, version: int | None) -> None:
        state = (
            "is not open yet: use 'async with' or await open()" if version is None else "was closed"
        )
        super().__init__(
            f"publisher of stream {stream_id!r} {state}",
            stream_id,
            -1 if version is None else version,
        )


class Overflow(PublisherError):
    """More is waiting than the store can take.

    A refused `write` may be repeated later. Refused pushes are lost, so their version ends with an
    error.
    """

    def __init__(self, stream_id: str, version: int, limit: int) -> None:
        super().__init__(
            f"stream {stream_id!r} version {version}: over {limit} characters are waiting to be "
            "stored: the store is too slow or unreachable",
            stream_id,
            version,
        )
        self.limit = limit


class SubscriptionError(MonostreamError):
    """A subscription cannot go on. The chunks it has yielded are right."""

    def __init__(self, message: str, stream_id: str) -> None:
        super().__init__(message)
        self.stream_id = stream_id


class PublisherLost(SubscriptionError):
    """The publisher's lease ran out and the version has no ending; `version='next'` may supersede
    it at once.
    """

    def __init__(self, stream_id: str, version: int) -> None:
        super().__init__(
            f"the publisher of stream {stream_id!r} version {version} was lost: "
            "its lease ran out without an ending",
            stream_id,
        )
        self.version = version


class Superseded(SubscriptionError):
    """A newer version was opened and the subscription was told not to follow it."""

    def __init__(self, stream_id: str, version: int, current: int) -> None:
        super().__init__(
            f"stream {stream_id!r} version {version} was superseded by version {current}", stream_id
        )
        self.version = version
        self.current = current


class SubscriptionTimeout(SubscriptionError, TimeoutError):
    """No chunk came within the subscription's timeout, in seconds."""

    def __init__(self, stream_id: str, timeout: float) -> None:
        super().__init__(f"stream {stream_id!r} had no new chunk for {timeout:g} s", stream_id)
        self.timeout = timeout


class SubscriptionClosed(SubscriptionError):
    """The subscription was closed, or is being read by two tasks at once."""

    def __init__(self, stream_id: str, reason: str = "is closed") -> None:
        super().__init__(f"the subscription to stream {stream_id!r} {reason}", stream_id)


class CursorNotFound(SubscriptionError):
    """The cursor names a chunk or a version that the stream does not have."""

    def __init__(self, stream_id: str, cursor: object) -> None:
        super().__init__(
            f"stream {stream_id!r} has no chunk at cursor {cursor}: subscribe without a cursor",
            stream_id,
        )
        self.cursor = cursor


class UnknownStream(MonostreamError):
    """Nothing was ever written under this stream id."""

    def __init__(self, stream_id: str) -> None:
        super().__init__(f"there is no stream {stream_id!r}")
        self.stream_id = stream_id


class StreamDeleted(MonostreamError):
    """The stream was deleted under its publisher or reader, or its chunks were pruned."""

    def __init__(self, stream_id: str) -> None:
        super().__init__(f"stream {stream_id!r} was deleted or pruned")
        self.stream_id = stream_id


class ChunksMissing(MonostreamError):
    """A committed chunk is gone or never became visible: a failover lost it, or somebody deleted
    rows.
    """

    def __init__(self, stream_id: str, version: int, id: int) -> None:
        super().__init__(
            f"stream {stream_id!r} version {version} lacks chunk {id}, which its store had promised"
        )
        self.stream_id = stream_id
        self.version = version
        self.id = id


class StoreError(MonostreamError):
    """A store cannot do its work."""


class StoreUnavailable(StoreError):
    """The store did not answer, or its answer was lost: whether the last statement landed is
    unknown.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"the store is unavailable: {reason}")
        self.reason = reason


class FileMoved(StoreUnavailable):
    """A file of the SQLite database was moved, deleted or replaced while it was open.

    Nothing more is read or written, since another process that opens `path` would not find it. Put
    the file back, or restart every process that has it open.
    """

    def __init__(self, path: str) -> None:
        super().__init__(
            f"the file {path!r} was moved, deleted or replaced while it was open: "
            "put it back, or restart the processes that use it"
        )
        self.path = path


class ReadOnlyDatabase(StoreUnavailable):
    """The database takes no writes: a standby, a read-only session, or a write-protected file.

    After a failover it may take them again, so the call is repeated like one that found no server.
    """


class MissingPrivilege(StoreError):
    """The database refused a statement to its `role`; `grants` are the statements that allow it, if
    they are known, and `advice` says what to do.

    Args:
        setup: The statement was to create or upgrade the tables.
    """

    def __init__(self, role: str, grants: Sequence[str], *, setup: bool = False) -> None:
        lacks, advice = "lacks a privilege", "; ".join(grants)
        if setup:
            lacks = "may not create or upgrade the tables"
            migrate = (
                "let their owner run your migrations or 'monostream-ai migrate', "
                "and pass create_tables=False here"
            )
            advice = f"{migrate}; or {advice}" if advice else migrate
        self.advice = advice or "let the owner of the tables run it, or look at row security"
        super().__init__(f"the database role {role!r} {lacks}: {self.advice}")
        self.role = role
        self.grants = tuple(grants)


class LogHeld(StoreError):
    """A process keeps a read transaction open, so SQLite cannot empty the write-ahead log; it has
    `size` bytes and grows with each write.
    """

    def __init__(self, path: str, size: int) -> None:
        super().__init__(
            f"the write-ahead log {path!r} has {size / 2**20:.0f} MiB and cannot be emptied: "
            "a process keeps a read transaction open, so end it, or let it go on"
        )
        self.path = path
        self.size = size


class SchemaMissing(StoreError):
    """A table is not there."""

    def __init__(self, table: str) -> None:
        super().__init__(
            f"table {table!r} is missing: call 'await store.setup()' once, "
            "or create it with your migrations"
        )
        self.table = table


class SchemaMismatch(StoreError):
    """A table of our name has other columns than ours."""

    def __init__(self, table: str, missing: str) -> None:
        super().__init__(
            f"table {table!r} lacks {missing}: it is not a table of monostream_ai; "
            "use another database or schema"
        )
        self.table = table


class SchemaOutdated(StoreError):
    """The tables are those of an older release: they have schema version `found`, and this package
    needs `needed`.
    """

    def __init__(self, found: int, needed: int) -> None:
        super().__init__(
            f"the database has schema version {found} and this package needs {needed}: "
            "run 'monostream-ai migrate', call 'await store.setup()', "
            "or upgrade it with your migrations"
        )
        self.found = found
        self.needed = needed


class SchemaTooNew(StoreError):
    """The tables are those of a newer release: they have schema version `found`, and this package
    knows `known`.
    """

    def __init__(self, found: int, known: int) -> None:
        super().__init__(
            f"the database has schema version {found} and this package knows {known} at most: "
            "upgrade monostream-ai. With create_tables=False nothing is checked, "
            "and a release that is one step behind works"
        )
        self.found = found
        self.known = known


class ChunkRefused(StoreError):
    """The database refused a value that is valid JSON, as a jsonb column refuses NUL."""

    def __init__(self, stream_id: str, version: int) -> None:
        super().__init__(
            f"the table of stream {stream_id!r} version {version} cannot hold this chunk: "
            "a jsonb column refuses NUL and lone surrogates; let the column be json or text"
        )
        self.stream_id = stream_id
        self.version = version


class ServiceClosed(MonostreamError):
    """The service was closed."""

    def __init__(self) -> None:
        super().__init__("the service is closed")


class MissingExtra(MonostreamError, ImportError):
    """A module of monostream_ai was imported without the package that it needs.

    `extras` of `monostream-ai-slim` bring the package, each by itself.
    """

    def __init__(self, module: str, package: str, extras: Sequence[str]) -> None:
        choice = " or ".join(f'"monostream-ai-slim[{extra}]"' for extra in extras)
        super().__init__(f"{module} needs {package}: pip install {choice}")
        self.package = package
        self.extras = tuple(extras)


class WrongEventLoop(MonostreamError):
    """A service belongs to the event loop and process that used it first."""

    def __init__(self) -> None:
        super().__init__(
            "this service is bound to another event loop or process: create one service for each"
        )

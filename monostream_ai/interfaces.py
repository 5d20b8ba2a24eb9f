"""Store and Notifier: all that the author of a backend needs to read.

A store keeps chunks and versions; it is the truth. A notifier carries hints between processes; it
may lose, double, delay or reorder them. `monostream_ai.testing` has one conformance suite for each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from monostream_ai.errors import MonostreamError
from monostream_ai.types import (
    Append,
    Changes,
    LatestMessage,
    Lease,
    Opening,
    Page,
    Position,
    StoredChunk,
    StoredMessage,
    VersionInfo,
    WakeUp,
    WatchedState,
)

PAGE_ROWS: Final = 1000
PAGE_BYTES: Final = 1024 * 1024
"""Size of the pages that the service reads from a store."""


class Store(ABC):
    """Keeps streams durably, for any number of processes at once.

    Every method may raise `StoreUnavailable` when its outcome is unknown; calling it again with the
    same arguments must then be safe. Methods connect on first use. Durations are in seconds; the
    store's own clock judges every lease.
    """

    @property
    def keeps_payloads(self) -> bool:
        """Whether its tables show payloads as they were appended. If they do not, because they are
        encrypted for example, wake-ups with `inline="auto"` must not show them either. By default
        False.
        """
        return False

    @property
    def messages(self) -> Messages | None:
        """Where the histories of chats are kept on this storage; None, the default, if it has no
        place for them.
        """
        return None

    @abstractmethod
    async def setup(self) -> None:
        """Create or upgrade the tables. Safe to repeat, and from several processes at once.

        Raises:
            SchemaMismatch: A table of the same name is not ours.
            SchemaTooNew: A newer release of this package has upgraded it.
        """

    @abstractmethod
    async def acquire(self, stream_id: str, version: int | None, opening: Opening) -> int:
        """Open a version atomically and fence every older one; return its number.

        Once it returns, nothing more lands in an older version. A version of None asks for the next
        one: latest + 1, or 0. Two racers for it get different numbers, and only the higher one can
        write. Calling it again with the same token returns the same version.

        Raises:
            VersionConflict: The explicit version, or a newer one, exists.
            NotLost: `opening.repeats`, and the latest version is not lost, or a stop was requested.
        """

    @abstractmethod
    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        """Append to several versions, each all or none; one refusal does not disturb the others.

        An append lands only if its token holds the version, the version is open and the newest of
        its stream, and `first` is its next id; it also renews the lease. An append that has landed
        before counts as landed (same ids, same payloads), whatever came after it. A closing append
        stores its payloads and the closed state in one commit.

        Args:
            appends: At most one for each version.
            lease: Seconds for which the leases are renewed.

        Returns:
            One entry for each append: None if it is durable now, else why it is not: `Fenced`,
            `StreamClosed`, `StreamStopped`, `StreamDeleted`, `ChunksMissing` (the store has fewer
            chunks than this publisher wrote), `ChunkRefused`, or `StoreUnavailable` if the outcome
            of this one is unknown and it should be repeated.
        """

    @abstractmethod
    async def read(
        self, positions: Sequence[Position], *, max_rows: int, max_bytes: int
    ) -> list[Page]:
        """Read one page for each position; each page is one consistent snapshot of its stream.

        Args:
            positions: At most 64.
            max_rows: Payloads in a page at most; 0 asks for heads only.
            max_bytes: A page ends with the payload that reaches this size; it has at least one
                payload if there are any.

        Returns:
            One page for each position, in order. A gap in the ids, which only other programs can
            make, ends a page before it.
        """

    @abstractmethod
    async def payloads(
        self, stream_id: str, version: int, first: int, *, max_rows: int, max_bytes: int
    ) -> list[str]:
        """Return payloads from id `first` on of any version, also a superseded one.

        Bounded as in `read`. Empty past the end.
        """

    @abstractmethod
    async def renew(self, leases: Sequence[Lease], *, lease: float) -> list[MonostreamError | None]:
        """Renew leases for `lease` seconds; return None for each one held, else why it is lost.

        The reasons are those of `append`.
        """

    @abstractmethod
    async def check(self, leases: Sequence[Lease]) -> list[MonostreamError | None]:
        """As `renew`, without writing anything."""

    @abstractmethod
    async def claim(
        self,
        taker: Lease,
        *,
        lease: float,
        stop: bool,
        attempt: int | None = None,
        waits: bool = False,
    ) -> int | None:
        """Take over an open version, to end it, to go on with it, or to let it wait: its publisher
        is fenced, `taker` holds it.

        Args:
            taker: The version, and the token that takes it.
            lease: Seconds that the taker has before somebody else may claim.
            stop: Take it from a live publisher, and store that a stop was requested. Otherwise only
                a lapsed lease is taken.
            attempt: Go on with it as this attempt: it is stored, and the attempts to attend to the
                version are forgotten. It must have the attempt before, and no stop asked. A version
                that waits is taken even while its lease runs.
            waits: Let it wait for a claim with an attempt, for `lease` seconds; a publisher may do
                so with its own token. Nobody renews such a lease, and the death of no process cuts
                it short. `attended` then counts how often the version was made to wait again since
                its last attempt.

        Returns:
            The next id, or None if there is nothing to take: closed, superseded, unknown, still
            leased (unless `stop`, or it waits), of another attempt, or being stopped by somebody
            whose lease has not lapsed. A repeated claim by the same token returns the same answer.
        """

    @abstractmethod
    async def release(self, lease: Lease, *, handover: bool = False) -> None:
        """Let a held lease lapse now, so that the version counts as lost at once. Without effect if
        it is not held.

        Args:
            handover: The attempt is given up on purpose and has not failed: it is counted in
                `VersionInfo.handovers`, unless the lease has lapsed before.
        """

    @abstractmethod
    async def info(self, stream_id: str, version: int | None = None) -> VersionInfo | None:
        """Return a version (None: the latest), or None if there is none."""

    @abstractmethod
    async def streams(self, *, prefix: str, after: str | None, limit: int) -> list[VersionInfo]:
        """Return the latest version of each stream whose id begins with `prefix`, always in the
        same order, past the stream `after`.

        Streams that other programs wrote without versions are left out.
        """

    async def changes(
        self,
        *,
        prefix: str,
        since: datetime | None,
        after: tuple[str, int] | None,
        limit: int,
    ) -> Changes:
        """Return the open versions of streams whose id begins with `prefix`, and those closed at
        `since` or later; none of the closed ones if it is None. In the order of stream and number,
        past the version `after`. Left out are open versions that a newer one has superseded.

        By default looks at the latest version of each stream.
        """
        now, last, found = datetime.now(UTC), None, []
        while page := await self.streams(prefix=prefix, after=last, limit=PAGE_ROWS):
            last = page[-1].stream_id
            for info in page:
                if info.closed_at is not None and info.closed_for is not None:
                    now = info.closed_at + timedelta(seconds=info.closed_for)
                if info.state == "open" or (info.state == "closed" and _is_since(info, since)):
                    found.append(info)
        found.sort(key=_place)
        return Changes(now, [info for info in found if not after or _place(info) > after][:limit])

    @abstractmethod
    async def versions(
        self, stream_id: str, *, before: int | None, limit: int
    ) -> list[VersionInfo]:
        """Return versions of a stream, the newest first, only those below `before`; leaves out what
        `streams` does.
        """

    @abstractmethod
    async def timeline(
        self, stream_id: str, version: int, first: int, *, max_rows: int
    ) -> list[StoredChunk]:
        """Return when each chunk of a version was stored, from id `first` on, also behind a gap in
        the ids.
        """

    async def holder_of(self, stream_id: str, version: int) -> str | None:
        """Return a name for people of the process that holds an open version; None if the store
        does not know it, as by default.
        """
        return None

    @abstractmethod
    async def request(self, stream_id: str, version: int) -> str | None:
        """Return the request stored with a version, as JSON text; None if there is none."""

    @abstractmethod
    async def unattended(
        self, *, prefix: str, limit: int, state: WatchedState | None = None
    ) -> list[VersionInfo]:
        """Return watched versions of one state, or of both, that nobody looks after, of streams
        whose id begins with `prefix`. Those attended to the fewest times come first, and of these
        the ones whose lease lapsed the earliest.

        Open ones are lost, closed ones are not settled. Their lease lapsed, and nobody attends to
        them; a closing append lets the lease lapse at once. Left out are abandoned versions, and
        those superseded while open: the publisher of the newer one has taken their work over.
        """

    @abstractmethod
    async def attend(
        self, taker: Lease, *, lease: float, state: WatchedState = "closed"
    ) -> int | None:
        """Take a version of one state as `unattended` lists it, or an abandoned one, to look after
        it; return how often it was taken so far, or None if it cannot be taken.

        Of many takers at once one gets it. The n-th taker has it for `lease` * 2 ** (n - 1)
        seconds, at most `lease` * 2 ** MAX_DOUBLINGS, so that work which fails, or kills its
        process, waits longer each time; an abandoned one for `lease` seconds. The append that
        closes a version frees it, and starts the count anew. A repeated call by the same token
        returns the same answer.
        """

    @abstractmethod
    async def abandon(self, taker: Lease) -> None:
        """List a version that `taker` attends to no longer as unattended. It is not settled, and
        can be taken at once. Without effect if somebody else attends to it.
        """

    @abstractmethod
    async def settle(self, taker: Lease) -> None:
        """End the watch over a version that `taker` attends to. Without effect if somebody else
        does.
        """

    @abstractmethod
    async def delete(self, stream_id: str) -> bool:
        """Delete a stream, all versions, at once; return whether there was one.

        The stream is unknown afterwards, but keeps the number of its newest version: the next one
        is newer, so that no cursor, stop or publisher of a deleted version can mean it. Of a stream
        deleted before, nothing changes.
        """

    @abstractmethod
    async def prune(self, *, older_than: float, limit: int) -> int:
        """Remove up to `limit` versions whose last activity is over `older_than` seconds ago;
        return how many.

        Last activity is the close of a closed version, else the end of its lease. A version that is
        open and leased is never touched. The newest version of a stream keeps its number, in state
        `pruned`, so that numbers never start over.
        """

    async def watch(
        self, watcher: Watcher, on_error: BackgroundErrors
    ) -> Callable[[], Awaitable[None]]:
        """Begin to notice the death of other processes, and to show this one's; return without
        waiting for a connection.

        A store that cannot tell does nothing: leases do.

        Returns:
            A function that ends it; safe to call twice.
        """

        async def unwatch() -> None:
            """There is nothing to end."""

        return unwatch

    @abstractmethod
    async def aclose(self) -> None:
        """Close the connections that the store opened. Safe to call twice."""


def _is_since(info: VersionInfo, since: datetime | None) -> bool:
    return since is not None and info.closed_at is not None and info.closed_at >= since


def _place(info: VersionInfo) -> tuple[str, int]:
    return info.stream_id, info.version


class Watcher(Protocol):
    """A service, as a store sees it that notices the death of processes. Called on the event loop;
    no method waits or raises.
    """

    @property
    def is_writing(self) -> bool:
        """Whether a version is held here."""

    def is_reading(self, stream_id: str) -> bool:
        """Whether a stream is read here."""

    def renew_leases(self) -> None:
        """Renew all leases at once: what the store tells by them has changed."""

    def on_wake_up(self, wake_up: WakeUp) -> None:
        """The lease of a version that is read here was cut short."""

    def announce(self, wake_up: WakeUp) -> None:
        """As `on_wake_up`, and other processes are to know."""


class Listener(Protocol):
    """Takes a notifier's calls, on the event loop that called `listen`. Both methods return at once
    and never raise.
    """

    def on_wake_up(self, wake_up: WakeUp) -> None:
        """Somebody stored something, or opened a version."""

    def on_resync(self) -> None:
        """Wake-ups may have been missed, or `healthy` has changed: every stream may have moved."""


class Messages(ABC):
    """Keeps the messages of chats, which are never pruned. A message is told by its stream, its
    role and its id. As with a `Store`, every method may raise `StoreUnavailable`.
    """

    @abstractmethod
    async def put(self, message: StoredMessage) -> None:
        """Store a message, or merge it with the stored one of the same stream, role and id: the
        higher version stays with its text, the new one if both are equal, and the lower `since`.

        Safe to repeat, and in any order. The time of storing changes with the version only.
        """

    @abstractmethod
    async def of_stream(self, stream_id: str) -> list[StoredMessage]:
        """Return the messages of a stream by version, the user's before the assistant's."""

    @abstractmethod
    async def latest(
        self, owner: str | None, *, prefix: str, before: LatestMessage | None, limit: int
    ) -> list[LatestMessage]:
        """Return an owner's streams that have messages, the one with the newest message first, and
        of two at the same time that with the higher id.

        Args:
            owner: None stands for messages without an owner.
            prefix: Of the streams' ids.
            before: The last one that was returned before; its title does not matter.
        """

    @abstractmethod
    async def delete(self, stream_id: str, version: int | None = None) -> bool:
        """Delete the messages of a stream, or of one version; return whether there were any."""


class BackgroundErrors(Protocol):
    """Where work in the background reports an error that stops no stream."""

    def __call__(self, source: str, error: BaseException) -> None:
        """Take an error; `source` is a fixed word such as `"notify"` or `"listen"`."""


class Notifier(ABC):
    """Carries wake-ups between processes, best effort.

    `healthy` says whether wake-ups of other processes arrive as far as the notifier knows; readers
    poll often while it is False and rarely while it is True.

    A wake-up may carry the chunks that were just committed (`WakeUp.carried`), so that a reader
    need not ask the store. It stays a hint: a notifier may drop what a wake-up carries, and deliver
    the rest.
    """

    @property
    @abstractmethod
    def healthy(self) -> bool:
        """Whether wake-ups are believed to arrive."""

    @property
    def most_carried(self) -> int:
        """Bytes of UTF-8 that a wake-up may carry here; 0, the default, if it carries nothing."""
        return 0

    async def is_confidential(self) -> bool:
        """Whether all who can hear these wake-ups may read the chunks in the store, and all of them
        who may read the token of a version's writer may write. With `inline="auto"`, wake-ups carry
        chunks only while this is so; a service asks when it starts and each minute.

        By default nobody knows, so it is not. May raise anything, which counts as False, and may
        wait until a listener is connected.
        """
        return False

    def lend_to(self, store: Store) -> None:  # noqa: B027  (most have nothing to lend)
        """Let the store of the same service use this notifier's connection, from the first `listen`
        on. By default there is nothing to lend.
        """

    @abstractmethod
    async def notify(self, wake_ups: Sequence[WakeUp]) -> None:
        """Send wake-ups to all processes. May raise anything: the caller drops the batch, counts
        it, and goes on.
        """

    @abstractmethod
    async def listen(
        self, listener: Listener, on_error: BackgroundErrors
    ) -> Callable[[], Awaitable[None]]:
        """Start to deliver to the listener, return without waiting for a connection.

        Reconnecting is the notifier's own work and ends only when told to. The listener also hears
        of this process's wake-ups, or does not: either is fine.

        Returns:
            A function that stops the delivery; safe to call twice.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Close the connections that the notifier opened. Safe to call twice."""

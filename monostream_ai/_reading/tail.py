"""The tail of one stream as this process knows it: the head of its latest version, and a window of
recent payloads that all its readers share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from monostream_ai._inline import opened
from monostream_ai._reading.waiting import Waiters
from monostream_ai.errors import ChunksMissing, MonostreamError, StreamDeleted
from monostream_ai.types import Append, Batch, Page, Position, State, WakeUp

WINDOW_ROWS: Final = 1024
WINDOW_CHARACTERS: Final = 1024 * 1024
BATCH_ROWS: Final = 256
"""Payloads that a reader takes from the window at once."""

SHARED_BATCHES: Final = 16
"""Batches kept until the window moves; most readers stand at the same place."""

DOUBT: Final = 10.0
"""Seconds for which a read that contradicts earlier ones is repeated. A stale replica or a row that
is not visible yet may explain the contradiction; after this time, nothing innocent does.
"""


class Tail:
    """Moved by pages read, local commits, and chunks that their writer sealed into a wake-up.

    Used by the event loop's thread only. A commit may come here between the start of a read and
    its end; the page is then older than the tail. `landings` tells such a page from one that
    contradicts the tail.
    """

    def __init__(self, asked: Position) -> None:
        self.stream_id = asked.stream_id
        self.version: int | None = None
        self.deleted_to = -1
        """The newest version that was deleted before `version` was opened."""
        self.state: State = "open"
        self.next_id = 0
        self.loaded = False
        self.lost = False
        self.error: BaseException | None = None
        self.readers = 0
        self.landings = 0
        """How often a commit or a wake-up has moved it without a read."""
        self.reads_begun = 0
        self.reads_done = 0
        """The number of the latest read that was taken in."""
        self.lease_until = math.inf
        """Loop time at which the publisher's lease runs out unless it is renewed."""
        self.poll_delay = 0.0
        self.poll_at: float | None = None
        self.announced = False
        """Whether wake-ups were believed to arrive after the latest read."""
        self._asked = asked
        self.opener: str | None = None
        """The token that acquired the version, once a page has shown it."""
        self._writer: str | None = None
        """The token that may write, as of the latest page."""
        self._window: list[str] = []
        self._window_first = 0
        self._window_characters = 0
        self.last: tuple[int, str] | None = None
        """Id and payload of the latest chunk that came here."""
        self._doubt_since: float | None = None
        self._batches: dict[int, Batch] = {}
        self.waiters = Waiters()
        """Readers that have everything there is; woken when the tail moves or ends."""
        self.newcomers = Waiters()
        """Readers that wait for a first read; woken by each read, and by the end."""

    @property
    def position(self) -> Position:
        """Where the next read starts."""
        if self.version is None:
            return self._asked
        return Position(self.stream_id, self.version, self.next_id)

    @property
    def over(self) -> bool:
        """Whether its version can move no more."""
        return self.state != "open" or self.error is not None

    def batch_from(self, id: int) -> Batch | None:
        """Return payloads from this id on, as one object for all readers that ask; None if they
        have not come yet or have left the window.
        """
        batch = self._batches.get(id)
        offset = id - self._window_first
        if batch is None and self.version is not None and 0 <= offset < len(self._window):
            if len(self._batches) >= SHARED_BATCHES:
                self._batches.clear()
            payloads = self._window[offset : offset + BATCH_ROWS]
            batch = self._batches[id] = Batch(self.version, id, payloads)
        return batch

    def is_behind(self, version: int, id: int) -> bool:
        """Whether a chunk (version, id) is news."""
        if not self.loaded or self.version is None:
            return True
        if version == self.version and self.state == "closed":
            return False
        return (version, id) >= (self.version, self.next_id)

    def hear_of(self, version: int) -> None:
        """Take a hint of a newer version: the known one does not count as lost until the next read
        has shown which of them is the latest.
        """
        if self.version is not None and version > self.version:
            self.lost = False

    def see(self, page: Page, now: float, *, landings: int, read: int = 0) -> bool:
        """Take a page in; return False if it contradicts earlier ones and must be read again.

        Args:
            landings: The value of `landings` when the read began.
            read: The number of the read, if it was counted in `reads_begun`.
        """
        before = (self.version, self.next_id, self.state, self.lost)
        fits = self._is_outrun(page, landings) or self._fits(page, now)
        self.loaded = True
        if fits:
            self.reads_done = max(self.reads_done, read)
        self.newcomers.wake()
        if before != (self.version, self.next_id, self.state, self.lost):
            self.waiters.wake()
        return fits

    def to_confirm(self, page: Page) -> tuple[int, str] | None:
        """Return the chunk to look up before this page may end the version; None if it does not
        end it.

        A failover may have lost the chunk in `last`, and the ending that was written since may be
        long enough to hide it: the ids go on, and readers would take the end of another history
        for the end of theirs.
        """
        head = page.head
        if head is None or head.state != "closed" or self.state != "open":
            return None
        same = head.version == self.version and self.opener in (None, head.opener)
        return self.last if same else None

    def landed(self, append: Append, lease_until: float) -> bool:
        """Take in a commit of this process; return False if it does not follow the known chunks,
        so that a read is due.
        """
        version = append.lease.version
        if not self.loaded or (self.version is not None and version < self.version):
            return self.loaded
        if self.version is None and append.first == 0:
            self._open(version)
        self.hear_of(version)
        if version != self.version or append.first != self.next_id or self.state != "open":
            return False
        # Only a commit that follows can explain an old page. Any other may be the ending of a
        # history that a failover cut short.
        self.landings += 1
        self._extend(append.first, append.payloads)
        self.next_id = append.first + len(append.payloads)
        self.lease_until, self.lost, self._doubt_since = lease_until, False, None
        if append.closes:
            self.state = "closed"
        self.waiters.wake()
        return True

    def take(self, wake_up: WakeUp) -> bool:
        """Take in the chunks that a wake-up carries; return False if a read is due instead.

        They count only where they continue an open version that a page has shown, and only with
        the seal of the writer that this page has named. Nothing else is believed: not the end of a
        version, and no lease.
        """
        doubtful = self.lost or self.error is not None or self._doubt_since is not None
        if wake_up.version != self.version or self.state != "open" or doubtful:
            return False
        found = None if self._writer is None else opened(wake_up, self._writer)
        if found is None:
            return False
        first, payloads = found
        end = first + len(payloads)
        if not first <= self.next_id < end or end != wake_up.id + 1:
            return False
        self.landings += 1
        self._extend(self.next_id, payloads[self.next_id - first :])
        self.next_id = end
        self.waiters.wake()
        return True

    def clear(self) -> None:
        """Forget the payloads, since nobody reads any more."""
        self._window, self._window_characters, self.last = [], 0, None
        self._batches.clear()

    def fail(self, error: BaseException) -> None:
        """End the tail: every reader gets this error."""
        self.error = error
        self.newcomers.wake()
        self.waiters.wake()

    def _is_outrun(self, page: Page, landings: int) -> bool:
        # If a commit came during the read, a page without news is old, not a contradiction.
        if landings == self.landings or self.version is None:
            return False
        if page.head is None:
            return True
        return (page.head.version, page.head.next_id) <= (self.version, self.next_id)

    def _fits(self, page: Page, now: float) -> bool:
        head = page.head
        if head is None:
            if self.version is None:
                return True
            return self._doubt(now, StreamDeleted(self.stream_id), patience=0.0)
        if self.version is None or head.version > self.version:
            self._open(head.version)
        elif head.version == self.version and self.opener not in (None, head.opener):
            # An earlier release deleted the stream, and it was begun anew with the same number.
            self.fail(StreamDeleted(self.stream_id))
            return True
        elif head.version < self.version or head.next_id < self.next_id:
            missing = ChunksMissing(self.stream_id, self.version, self.next_id - 1)
            return self._doubt(now, missing, patience=DOUBT)
        self._doubt_since = None
        self.opener, self.deleted_to = head.opener, head.deleted_to
        self._writer = head.writer
        # The page of a replay must not take the window from readers that are close to the end.
        if not self._window or page.end >= head.next_id:
            self._extend(page.first, page.payloads)
        self.next_id, self.state = head.next_id, head.state
        self.lease_until = now + head.lease_left
        self.lost = head.state == "open" and head.lease_left <= 0
        return True

    def _open(self, version: int) -> None:
        self.version, self.state, self.next_id = version, "open", 0
        self.lost, self.opener, self._writer, self.last = False, None, None, None
        self._window, self._window_first, self._window_characters = [], 0, 0
        self._batches.clear()

    def _extend(self, first: int, payloads: Sequence[str]) -> None:
        end = self._window_first + len(self._window)
        if self._window_first <= first < end:
            # The read overlaps a local commit.
            payloads, first = payloads[end - first :], end
        if not payloads:
            return
        self._batches.clear()
        if first != end:
            self._window, self._window_first, self._window_characters = [], first, 0
        self._window.extend(payloads)
        self.last = first + len(payloads) - 1, payloads[-1]
        self._window_characters += sum(map(len, payloads))
        while len(self._window) > WINDOW_ROWS or (
            self._window_characters > WINDOW_CHARACTERS and len(self._window) > 1
        ):
            # Half at once: the cost of moving the rest is spread over many appends.
            dropped = len(self._window) // 2
            self._window_characters -= sum(map(len, self._window[:dropped]))
            self._window_first += dropped
            del self._window[:dropped]

    def _doubt(self, now: float, error: MonostreamError, *, patience: float) -> bool:
        # The page may be older than a commit that landed while it was read, so one contradiction
        # proves nothing.
        if self._doubt_since is None:
            self._doubt_since = now
        elif now - self._doubt_since >= patience:
            self.fail(error)
            return True
        return False

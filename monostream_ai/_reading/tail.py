"""What one process knows of one stream that it reads: its head, and a window of recent payloads
shared by all readers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from monostream_ai._reading.waiting import Waiters
from monostream_ai.errors import ChunksMissing, MonostreamError, StreamDeleted
from monostream_ai.types import Append, Batch, Page, Position, State

WINDOW_ROWS: Final = 1024
WINDOW_CHARACTERS: Final = 1024 * 1024
BATCH_ROWS: Final = 256
"""Payloads that a reader takes from the window at once."""

SHARED_BATCHES: Final = 16
"""Places in the window whose batches are kept until it moves; most readers are at the same one."""

DOUBT: Final = 10.0
"""Seconds for which a read that contradicts what was seen before (a stale replica, a row that is
not visible yet) is repeated.
"""


class Feed:
    """The tail of one stream. It moves by pages read and by local commits, never by wake-ups alone."""

    def __init__(self, asked: Position) -> None:
        self.stream_id = asked.stream_id
        self.version: int | None = None
        self.state: State = "open"
        self.next_id = 0
        self.loaded = False
        self.lost = False
        self.error: BaseException | None = None
        self.readers = 0
        self.landings = 0
        self.reads_begun = 0
        self.reads_done = 0
        self.lease_until = math.inf
        """Loop time at which the publisher's lease runs out unless it is renewed."""
        self.poll_delay = 0.0
        self.poll_at: float | None = None
        self._asked = asked
        self._opener: str | None = None
        self._window: list[str] = []
        self._window_first = 0
        self._window_characters = 0
        self._doubt_since: float | None = None
        self._batches: dict[int, Batch] = {}
        self.waiters = Waiters()
        """Readers that have all there is; woken when the feed moves or ends."""
        self.newcomers = Waiters()
        """Readers that wait for a read; woken by each, and by the end."""

    @property
    def position(self) -> Position:
        """Where the next read starts."""
        return (
            self._asked
            if self.version is None
            else Position(self.stream_id, self.version, self.next_id)
        )

    @property
    def over(self) -> bool:
        """Whether the version that it shows will not move any more."""
        return self.state != "open" or self.error is not None

    def batch_from(self, id: int) -> Batch | None:
        """Return recent payloads from this id on, as one object for all who ask; None if there are
        none, or none any more.
        """
        batch = self._batches.get(id)
        offset = id - self._window_first
        if batch is None and self.version is not None and 0 <= offset < len(self._window):
            if len(self._batches) >= SHARED_BATCHES:
                self._batches.clear()
            batch = self._batches[id] = Batch(
                self.version, id, self._window[offset : offset + BATCH_ROWS]
            )
        return batch

    def is_behind(self, version: int, id: int) -> bool:
        """Whether a chunk (version, id) is news."""
        if not self.loaded or self.version is None:
            return True
        if version == self.version and self.state == "closed":
            return False
        return (version, id) >= (self.version, self.next_id)

    def see(self, page: Page, now: float, *, landings: int, read: int = 0) -> bool:
        """Take a page; return False if it contradicts what is known and must be read again.

        Args:
            landings: What `landings` was when the read began.
            read: The number of the read, if it was one of `reads_begun`.
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

    def _is_outrun(self, page: Page, landings: int) -> bool:
        # A local commit that landed during the read knows more than the page, in which nothing is
        # new then.
        if landings == self.landings or self.version is None:
            return False
        return page.head is None or (page.head.version, page.head.next_id) <= (
            self.version,
            self.next_id,
        )

    def _fits(self, page: Page, now: float) -> bool:
        head = page.head
        if head is None:
            return self.version is None or self._doubt(
                now, StreamDeleted(self.stream_id), patience=0.0
            )
        if self.version is None or head.version > self.version:
            self._open(head.version)
        elif head.version == self.version and self._opener not in (None, head.opener):
            self.fail(StreamDeleted(self.stream_id))
            return True
        elif head.version < self.version or head.next_id < self.next_id:
            missing = ChunksMissing(self.stream_id, self.version, self.next_id - 1)
            return self._doubt(now, missing, patience=DOUBT)
        self._doubt_since = None
        self._opener = head.opener
        self._extend(page.first, page.payloads)
        self.next_id, self.state = head.next_id, head.state
        self.lease_until = now + head.lease_left
        self.lost = head.state == "open" and head.lease_left <= 0
        return True

    def landed(self, append: Append, lease_until: float) -> bool:
        """Take a commit of this process; return False if it does not follow what is known, so that
        a read is due.
        """
        version = append.lease.version
        self.landings += 1
        if not self.loaded or (self.version is not None and version < self.version):
            return self.loaded
        if version != self.version and append.first == 0:
            self._open(version)
        if version != self.version or append.first != self.next_id or self.state != "open":
            return False
        self._extend(append.first, append.payloads)
        self.next_id = append.first + len(append.payloads)
        self.lease_until, self.lost, self._doubt_since = lease_until, False, None
        if append.closes:
            self.state = "closed"
        self.waiters.wake()
        return True

    def clear(self) -> None:
        """Forget the payloads: nobody reads any more."""
        self._window, self._window_characters = [], 0
        self._batches.clear()

    def fail(self, error: BaseException) -> None:
        """End the feed: every reader gets this error."""
        self.error = error
        self.newcomers.wake()
        self.waiters.wake()

    def _open(self, version: int) -> None:
        self.version, self.state, self.next_id, self.lost, self._opener = (
            version,
            "open",
            0,
            False,
            None,
        )
        self._window, self._window_first, self._window_characters = [], 0, 0
        self._batches.clear()

    def _extend(self, first: int, payloads: Sequence[str]) -> None:
        end = self._window_first + len(self._window)
        if self._window_first <= first < end:
            # A read that overlaps a local commit.
            payloads, first = payloads[end - first :], end
        if not payloads:
            return
        self._batches.clear()
        if first != end:
            self._window, self._window_first, self._window_characters = [], first, 0
        self._window.extend(payloads)
        self._window_characters += sum(map(len, payloads))
        while len(self._window) > WINDOW_ROWS or (
            self._window_characters > WINDOW_CHARACTERS and len(self._window) > 1
        ):
            # Half at once, so that the cost of moving the rest is spread over many appends.
            dropped = len(self._window) // 2
            self._window_characters -= sum(map(len, self._window[:dropped]))
            self._window_first += dropped
            del self._window[:dropped]

    def _doubt(self, now: float, error: MonostreamError, *, patience: float) -> bool:
        # The page may be older than a local commit that landed while it was read, so one
        # contradiction proves nothing.
        if self._doubt_since is None:
            self._doubt_since = now
        elif now - self._doubt_since >= patience:
            self.fail(error)
            return True
        return False

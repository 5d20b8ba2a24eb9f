"""Tells within seconds that a process has died: Postgres takes the lock of its session from it.

A process holds an advisory lock (see `holders`) on a connection of its own, as a rule the one that
listens, and its versions name that lock in `holder`. The lock is gone as soon as the server notices
that the session has ended; after a SIGKILL that takes milliseconds.

**Judging.** While something is read or written here, one small statement a second asks whether the
holders of the versions read here are in `pg_locks`. If one is not, `CUT_SHORT` leaves its versions
`GRACE` seconds of lease, unless a lease was renewed meanwhile. From then on the lease decides, as
always, and fencing is what it was. A sweep asks the same about all open versions.

**A living process whose connection broke** must not lose its versions. At once it renews all its
leases without a holder, through the pool, so that only the lease counts; it locks the same key
again on another connection; and there, before anything else, it gives its versions their full
leases back. The same statement a second shows a session that has ended without a sign: it goes
through the pool, and so sees the lock as others do.

**A session that an administrator has ended** proves no death. If a lock goes while the server
counts such an end, the versions lose their holder, and their leases decide. After a restart or a
failover the old names mean nothing. A process that has lost a connection itself judges nobody for
`SETTLING` seconds.

**Where there is no lock** (a pooler, a missing privilege), `holder` is NULL, and leases decide.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from monostream_ai._backoff import Backoff
from monostream_ai._periodic import start_task
from monostream_ai.errors import MonostreamError, StoreUnavailable
from monostream_ai.interfaces import BackgroundErrors, Watcher
from monostream_ai.stores.postgres.database import PostgresDatabase
from monostream_ai.stores.postgres.holders import CUT_SHORT, LOOK, Held, NoLock, ProcessLock
from monostream_ai.stores.postgres.sessions import Session, open_session, unbroken
from monostream_ai.stores.sql.translation import sqlstate
from monostream_ai.types import MAX_VERSION, Head, WakeUp

logger = logging.getLogger(__name__)

EVERY: Final = 1.0
"""Seconds between two looks at the holders."""

GRACE: Final = 1.0
"""Seconds in which the publisher of a holder that is gone may renew its lease."""

COUNTED_AFTER: Final = 0.05
"""Seconds after which the server has counted a session that an administrator ended."""

SETTLING: Final = 5.0
"""Seconds after a failure here in which nobody is judged: others may have met with it too."""

REFUSED_PAUSE: Final = 60.0
"""Seconds until the next look after the database refused one, as to a role that may not see locks.
"""

LOOKS_AT_ALL: Final = 16
"""Looks at the holders from one that goes through all streams read here to the next that does:
there may be thousands.
"""

FIRST_WAIT: Final = 0.5
"""Seconds that the first version may wait for the lock of its process."""


class Presence:
    """The lock of one store's process, and its look at the locks of others.

    Args:
        engine: Opens a connection for the lock where no notifier lends its own. Borrowed.
    """

    def __init__(self, database: PostgresDatabase, engine: AsyncEngine) -> None:
        self._database = database
        self._engine = engine
        self.is_lent = False
        """Whether a notifier lends its connections."""
        self._lock = ProcessLock(database.text_of)
        self._lease = 0.0
        self._held: dict[Session, Held] = {}
        self._former: str | None = None
        self._decided = asyncio.Event()
        self._reads: dict[str, dict[str, int]] = {}
        """By holder: the streams that it writes and that are read here, each with its version."""
        self._looks = itertools.count()
        self._busy = asyncio.Event()
        self._ended: int | None = None
        """How many sessions administrators had ended by the last look; None if it is not known."""
        # By the clock of the loop.
        self._judges_from = -math.inf
        self._watchers: list[Watcher] = []
        self._on_error: BackgroundErrors | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def holder(self) -> str | None:
        """The name of this process's lock; None while it holds none."""
        for held in self._held.values():
            return held.holder
        return None

    async def decided(self) -> None:
        """Return once it is known whether this process gets a lock, at the latest after
        `FIRST_WAIT`: readers elsewhere look up the holder of a version when they begin.
        """
        if self._tasks and not self._decided.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST_WAIT):
                    await self._decided.wait()
            self._decided.set()

    def wrote(self, lease: float) -> None:
        """Note that a version is held here, with a lease of so many seconds."""
        self._lease = lease
        self._busy.set()

    def saw(self, stream_id: str, head: Head | None, holder: str | None) -> None:
        """Note the head that a read has shown, and the holder of an open version; empty if it waits
        for one.
        """
        if head is None or head.lease_left <= 0 or holder == self.holder:
            holder = None
        elif holder and self._reads.get(holder, {}).get(stream_id) == head.version:
            # Nearly all polls of silent streams end here.
            return
        for streams in self._reads.values():
            streams.pop(stream_id, None)
        if head is not None and holder:
            self._reads.setdefault(holder, {})[stream_id] = head.version
            self._busy.set()

    async def watch(
        self, watcher: Watcher, on_error: BackgroundErrors
    ) -> Callable[[], Awaitable[None]]:
        """Begin to look, as `Store.watch`."""
        self._watchers.append(watcher)
        self._on_error = on_error
        if not self._tasks:
            # An event belongs to the loop that first waits for it.
            self._busy, self._decided = asyncio.Event(), asyncio.Event()
            self._tasks = [start_task(self._look_again())]
            if not self.is_lent:
                self._tasks.append(start_task(self._keep_session()))

        async def unwatch() -> None:
            if watcher in self._watchers:
                self._watchers.remove(watcher)
            if not self._watchers:
                await self.aclose()

        return unwatch

    async def aclose(self) -> None:
        """Give the lock up, unless it is on a notifier's connection."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def lock(self, session: Session) -> Held | None:
        """Take the lock on a session; None where that is not possible. Raises TimeoutError."""
        try:
            return await unbroken(self._lock.take(session, lease=self._lease))
        except NoLock as error:
            logger.info("the death of this process is noticed when its leases run out: %s", error)
            self._decided.set()
            return None

    @asynccontextmanager
    async def on(self, session: Session, held: Held | None) -> AsyncIterator[None]:
        """Let versions name the lock that a session holds, within the block."""
        # Seen by the others as well: the session may lead to another database than the store's.
        if held is None or not await self._is_visible(held):
            self._decided.set()
            yield
            return
        self._held[session] = held
        self._decided.set()
        # A server that was started anew gives each version a whole lease, and there is no haste.
        if self._former in (None, held.holder):
            self._renew()
        self._former = held.holder
        try:
            yield
        finally:
            self._give_up(session)

    async def _is_visible(self, held: Held) -> bool:
        ((visible, _, _),) = await unbroken(self._database.execute(LOOK, held.parameters([])))
        if not visible:
            logger.info("the store does not see the lock on the notifier's connection")
        return bool(visible)

    async def cut_short(self, holders: Sequence[str] | None = None) -> int:
        """Leave the versions of these holders, or of all, a short lease if they are gone; return
        how many such versions there are.
        """
        if not self._may_judge:
            return 0
        parameters = {"holders": holders, "grace": GRACE, "spare": False}
        rows = await self._database.execute(CUT_SHORT, parameters)
        for _, stream_id, version, next_id in rows:
            if stream_id is not None:
                logger.info("the process of stream %r version %d is gone", stream_id, version)
                for watcher in self._watchers:
                    watcher.announce(WakeUp(stream_id, version, next_id))
        return int(rows[0][0])

    async def _spare(self, holders: Sequence[str]) -> None:
        """Let the leases of versions decide whose holders are gone."""
        logger.info("sessions were ended by an administrator: leases decide for %r", holders)
        parameters = {"holders": holders, "grace": GRACE, "spare": True}
        await self._database.execute(CUT_SHORT, parameters)

    async def await_lapses(self) -> None:
        """Return once the versions of all processes that are gone by now have lapsed."""
        try:
            if await self.cut_short():
                await asyncio.sleep(GRACE)
        # The statement after this one meets with an outage too.
        except Exception as error:
            logger.debug("nobody can be found to be dead: %s", type(error).__name__)

    @property
    def _may_judge(self) -> bool:
        return asyncio.get_running_loop().time() >= self._judges_from

    def _distrust(self) -> None:
        self._judges_from = asyncio.get_running_loop().time() + SETTLING

    def _give_up(self, session: Session) -> None:
        if self._held.pop(session, None) is not None:
            session.lost.set()
            self._distrust()
            self._renew()

    def _renew(self) -> None:
        for watcher in self._watchers:
            watcher.renew_leases()

    async def _look_again(self) -> None:
        loop = asyncio.get_running_loop()
        pause = EVERY
        while True:
            await self._busy.wait()
            await asyncio.sleep(pause)
            self._forget()
            if not self._reads and not any(watcher.is_writing for watcher in self._watchers):
                self._busy.clear()
                self._ended = None
                continue
            began, pause = loop.time(), EVERY
            try:
                await self._look()
            # Whatever a database raises, a later look asks again.
            except Exception as error:
                self._distrust()
                self._report(error)
                if _is_refused(error):
                    pause = REFUSED_PAUSE
            pause = max(pause - (loop.time() - began), pause / 2)

    def _forget(self) -> None:
        look_at_all = next(self._looks) % LOOKS_AT_ALL == 0
        for holder, streams in [*self._reads.items()]:
            for stream_id in [*streams]:
                if not any(watcher.is_reading(stream_id) for watcher in self._watchers):
                    del streams[stream_id]
                elif not look_at_all:
                    break
            if not streams:
                del self._reads[holder]

    async def _look(self) -> None:
        before = self._ended
        gone = await self._gone()
        if not gone:
            return
        if before is not None and before == self._ended:
            # The server counts a session a moment after it has taken its locks.
            await asyncio.sleep(COUNTED_AFTER)
            gone = await self._gone()
        if before is not None and before != self._ended:
            await self._spare(gone)
        elif self._may_judge:
            await self.cut_short(gone)
        else:
            return
        # Also where another process was the first: it may have no notifier that tells us.
        for holder in gone:
            for stream_id, version in [*self._reads.get(holder, {}).items()]:
                # Whatever chunks have come since: a tail may be past the head that was read here.
                for watcher in self._watchers:
                    watcher.on_wake_up(WakeUp(stream_id, version, MAX_VERSION))

    async def _gone(self) -> list[str]:
        holders = [*self._reads]
        session, held = next(iter(self._held.items()), (None, None))
        if held is None and not holders:
            return []
        parameters = {"own": None, "pid": None, "holders": holders}
        asked = parameters if held is None else held.parameters(holders)
        ((visible, gone, self._ended),) = await unbroken(self._database.execute(LOOK, asked))
        if session is not None and not visible:
            logger.warning("the session that shows that this process lives has ended unheard")
            self._give_up(session)
        return list(gone)

    async def _keep_session(self) -> None:
        backoff = Backoff(first=0.1, last=1.0)
        while True:
            try:
                async with open_session(self._engine) as session:
                    held = await self.lock(session)
                    async with self.on(session, held):
                        if session not in self._held:
                            return
                        backoff.reset()
                        await session.until_lost()
            # Wrong names, refused logins, broken sockets: leases decide meanwhile.
            except Exception as error:
                self._report(error)
            await asyncio.sleep(backoff.next())

    def _report(self, error: Exception) -> None:
        if self._on_error is not None:
            self._on_error("presence", error)


def _is_refused(error: Exception) -> bool:
    if isinstance(error, MonostreamError):
        return not isinstance(error, StoreUnavailable)
    return sqlstate(error) is not None

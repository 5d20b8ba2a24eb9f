"""Ways to break leases, stops, and what happens when a publisher or a process goes away."""

from __future__ import annotations

from typing import Final

from fuzz.breaking.mutant import MEMORY, Mutant, mutant

LEASES: Final[list[Mutant]] = [
    mutant(
        "lease-never-renewed",
        "A publisher that is silent for longer than its lease counts as lost.",
        "leases.py",
        "self._tell(leases, await self._store.renew(leases, lease=self._lease))",
        "self._tell(leases, await self._store.check(leases))",
    ),
    mutant(
        "renewals-end-with-an-error",
        "The first renewal that fails is the last.",
        "leases.py",
        '                self._on_error("renew", error)\n',
        '                self._on_error("renew", error)\n                return\n',
        "tests/writing/test_leases.py",
    ),
    mutant(
        "dropped-publisher-renewed",
        "A publisher that was dropped without being closed is renewed for ever.",
        "leases.py",
        " = weakref.WeakValueDictionary()",
        " = {}",
    ),
    mutant(
        "stop-ignored",
        "A publisher that is silent does not hear of a stop.",
        "leases.py",
        "            if verdict is not None and holder is not None:\n",
        '            if verdict is not None and holder is not None and "Stopped" not in type(verdict).__name__:\n',
    ),
    mutant(
        "wake-up-not-checked",
        "A publisher that is silent hears of a takeover by its next renewal only.",
        "leases.py",
        "            if holder is not None and (wake_up.version, wake_up.id) >= (lease.version, holder.next_id):\n",
        "            if holder is None and (wake_up.version, wake_up.id) >= (lease.version, -1):\n",
        f"{MEMORY} --only stopped-while-idle,fenced-while-idle",
    ),
    mutant(
        "stop-without-fence",
        "A stop takes only versions whose publisher is lost.",
        "takeover.py",
        "store.claim(lease, lease=machinery.lease, stop=stop)",
        "store.claim(lease, lease=machinery.lease, stop=False)",
    ),
    mutant(
        "stop-hits-the-next-turn",
        "A stop ends whatever version is the latest when it arrives.",
        "service.py",
        "        info = await self._info(stream_id, version)\n        return info is not None and info.state",
        "        info = await self._info(stream_id, None)\n        return info is not None and info.state",
    ),
    mutant(
        "stop-forgotten",
        "A version whose stopper died is ended as lost, not as stopped.",
        "takeover.py",
        '"abort" if stopped else "lost"',
        '"abort" if stop else "lost"',
    ),
    mutant(
        "everybody-ends-the-lost",
        "Each process that finds a lost version claims it.",
        "stores/memory.py",
        "            if leased and (not stop or row.stop_requested_at is not None):\n",
        "            if leased and not stop and row.stop_requested_at is None:\n",
    ),
    mutant(
        "ending-before-the-fence",
        "Whoever ends a version reads it before it has fenced the publisher, and ends it where it was.",
        "takeover.py",
        "    transcript = protocol.transcript(info.message_id)\n"
        "    for chunk in await patiently(lambda: stored_chunks(store, protocol, info)):\n",
        "    transcript = protocol.transcript(info.message_id)\n"
        "    for chunk in (await patiently(lambda: stored_chunks(store, protocol, info)))[: info.next_id]:\n",
        "tests/writing/test_endings.py",
    ),
    mutant(
        "leases-not-released",
        "A process that leaves lets others wait for its leases.",
        "machinery.py",
        "            for wake_up in await self.leases.release(held):\n",
        "            for wake_up in await self.leases.release([]):\n",
    ),
    mutant(
        "readers-not-told-of-the-end",
        "A service that is closed lets its readers wait.",
        "hub.py",
        "            feed.fail(error)\n        self._feeds.clear()\n",
        "            feed.clear()\n        self._feeds.clear()\n",
    ),
    mutant(
        "failed-notify-ends-notifying",
        "The first wake-up that cannot be sent is the last.",
        "announcer.py",
        '                    self._on_error("notify", error)\n',
        '                    self._on_error("notify", error)\n                    self._pending.clear()\n'
        "                    self.add = lambda wake_up: None\n",
        "tests/reading/test_late_reads.py",
    ),
    mutant(
        "prune-takes-the-living",
        "Prune removes versions that are being written.",
        "stores/memory.py",
        "idle_since > horizon or pruned == limit",
        "pruned == limit",
    ),
    mutant(
        "numbers-start-over",
        "Prune forgets a stream's newest version, and old cursors fit new chunks.",
        "stores/memory.py",
        "                if row.number == newest:\n                    row.payloads",
        "                if row.number < 0:\n                    row.payloads",
    ),
]

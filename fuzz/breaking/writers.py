"""Ways to break what publishers store, and who may."""

from __future__ import annotations

from typing import Final

from fuzz.breaking.mutant import MEMORY, MEMORY_STORE, Change, Mutant, mutant

WRITERS: Final[list[Mutant]] = [
    mutant(
        "skip-the-fence",
        "A publisher whose version is not its own any more may write on.",
        "stores/verdicts.py",
        "if token != lease.token or latest > lease.version:",
        "if token != lease.token and latest < lease.version:",
    ),
    mutant(
        "write-behind-the-end",
        "A closed version takes more chunks.",
        "stores/verdicts.py",
        'if state != "open":',
        'if state == "never":',
        MEMORY_STORE,
    ),
    mutant(
        "stop-looks-like-fence",
        "A publisher that a user stopped is told that another one took over.",
        "stores/verdicts.py",
        "if stopped and token != lease.token:",
        "if stopped and token == lease.token:",
    ),
    Mutant(
        "terminal-outside-the-commit",
        "The terminal chunk and the closed state are two commits.",
        [
            Change(
                "writer.py",
                "            verdicts = await self._store.append(appends, lease=self._lease)\n",
                "            left_open = [replace(each, closes=False) for each in appends]\n"
                "            verdicts = await self._store.append(left_open, lease=self._lease)\n"
                "            ends = [each.first + len(each.payloads) for each in appends]\n"
                "            closing = [replace(it, first=end, payloads=[]) for it, end in zip(appends, ends) if it.closes]\n"
                "            if closing:\n"
                "                await self._store.append(closing, lease=self._lease)\n",
            ),
            Change(
                "writer.py",
                "from typing import Final\n",
                "from dataclasses import replace\nfrom typing import Final\n",
            ),
        ],
    ),
    mutant(
        "retry-takes-more",
        "An append whose answer was lost is tried again with more chunks, so that the store cannot tell that it had landed.",
        "outbox.py",
        "        if self._in_doubt:\n            return",
        "        if self._in_doubt < 0:\n            return",
        f"{MEMORY} --only lost-answers",
    ),
    mutant(
        "retry-out-of-order",
        "What is put back after an outage is put back in the wrong order.",
        "outbox.py",
        "        self._writes.extendleft(reversed(writes))\n        self._in_doubt",
        "        self._writes.extendleft(writes)\n        self._in_doubt",
        f"{MEMORY} --only lost-answers",
    ),
    mutant(
        "retry-stored-twice",
        "The store takes a repeated append for a new one.",
        "stores/memory.py",
        "        if self._landed_before(append, row):\n",
        "        if not append.payloads and self._landed_before(append, row):\n",
    ),
    mutant(
        "ids-from-the-publisher",
        "An append lands wherever the store is, not where the publisher believes to be.",
        "stores/memory.py",
        "        if row.next_id != append.first:\n",
        "        if row.next_id < append.first:\n",
        MEMORY_STORE,
    ),
    mutant(
        "two-appends-in-flight",
        "The writer starts an append before the last one has come back.",
        "writer.py",
        "        if self._task is None and self._ready:\n",
        "        if self._ready:\n",
    ),
    mutant(
        "one-for-all",
        "One publisher's refusal is everybody's who was in the same append.",
        "writer.py",
        "            self._settle(outbox, writes, append, verdict)\n",
        "            self._settle(outbox, writes, append, next((each for each in verdicts if each), verdict))\n",
        "tests/writing/test_writer.py",
    ),
    mutant(
        "outage-at-once",
        "A store that does not answer once ends its publishers.",
        "writer.py",
        "isinstance(verdict, StoreUnavailable) and not self._closed",
        "isinstance(verdict, StoreUnavailable) and self._closed",
    ),
    mutant(
        "outage-without-end",
        "A store that stays away is waited for without end.",
        "outbox.py",
        "        if now - self._unavailable_since >= patience:\n",
        "        if now - self._unavailable_since < 0:\n",
    ),
    mutant(
        "close-without-writing",
        "A service that is closed forgets what was queued.",
        "writer.py",
        "        self._closed = True\n        while self._task is not None:\n",
        "        self._closed = True\n        for outbox in self._ready:\n            outbox.fail(ServiceClosed())\n"
        "        self._ready.clear()\n        while self._task is not None:\n",
        "tests/writing/test_writer.py",
    ),
    mutant(
        "write-overtakes-push",
        "A chunk that is written comes before those that were pushed before it.",
        "open_version.py",
        '        """As `Publisher.write`."""\n        self._drain_here()\n',
        '        """As `Publisher.write`."""\n',
        "tests/writing/test_publisher_pushes.py",
    ),
    mutant(
        "cancelled-write-fails-later",
        "A write that is given up takes its outcome with it.",
        "open_version.py",
        "return await asyncio.shield(done)",
        "return await done",
        "tests/writing/test_publisher_cancelled.py",
    ),
    mutant(
        "cancelled-block-leaves-no-ending",
        "A publisher whose task is cancelled leaves the version open.",
        "shielding.py",
        "            cancellation = error\n",
        "            task.cancel()\n            cancellation = error\n",
        f"{MEMORY} --only cancelled-block",
    ),
    mutant(
        "block-not-interrupted",
        "A block whose version was taken away runs on.",
        "interruption.py",
        "                self._task.cancel()\n",
        "",
    ),
    mutant(
        "acquire-again-is-another",
        "An acquire whose answer was lost opens a second version when it is repeated.",
        "stores/memory.py",
        "            if row.opening.token == opening.token:\n",
        "            if row.opening is opening and row.token is None:\n",
        MEMORY_STORE,
    ),
    mutant(
        "nan-is-stored",
        "A number that JSON does not have is stored.",
        "json_text.py",
        "ensure_ascii=False, allow_nan=False",
        "ensure_ascii=False",
        "tests/test_bad_input.py",
    ),
]

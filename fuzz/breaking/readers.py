"""Ways to break what readers get."""

from __future__ import annotations

from typing import Final

from fuzz.breaking.mutant import MEMORY, MEMORY_STORE, Change, Mutant, mutant

LATE_READS: Final = "tests/reading/test_late_reads.py"

READERS: Final[list[Mutant]] = [
    mutant(
        "deliver-before-commit",
        "Readers of the process get chunks, and others are notified, before they are stored.",
        "writer.py",
        "        verdicts: Sequence[Exception | None]\n",
        "        verdicts: Sequence[Exception | None]\n        for append in appends:\n            self._on_landed(append)\n",
    ),
    mutant(
        "drop-the-poll",
        "Nothing is polled: a lost wake-up is a hang.",
        "hub.py",
        "            self._polls.schedule(feed, now, delay if",
        "            (feed, now, delay if",
    ),
    mutant(
        "poll-without-lease",
        "The end of a lease schedules no read: a lost publisher is noticed by the next poll only.",
        "hub.py",
        "delay if feed.lost else min(delay, max(feed.lease_until - now, 0.0))",
        "delay",
    ),
    mutant(
        "off-by-one-cursor",
        "A subscription that goes on after a cursor repeats the chunk of the cursor.",
        "subscription.py",
        "0 if after is None else after.id + 1",
        "0 if after is None else after.id + (after.id < 0)",
    ),
    mutant(
        "replay-skips-a-page",
        "A reader behind the window goes on with the window.",
        "subscription.py",
        "                    batch = await self._pages",
        "                    self._next_id = max(self._next_id, feed._window_first)\n"
        "                    batch = await self._pages",
        f"{MEMORY} --only behind-the-window",
    ),
    mutant(
        "window-miscounts",
        "Ids of the window are off by one once its older half was dropped.",
        "feed.py",
        "self._window_first += dropped\n",
        "self._window_first += dropped + 1\n",
    ),
    mutant(
        "overlap-delivered-twice",
        "A read that overlaps a local commit adds its payloads again.",
        "feed.py",
        "payloads, first = payloads[end - first :], end",
        "first = end",
        LATE_READS,
    ),
    Mutant(
        "page-rewinds",
        "A page that is older than a local commit moves the feed back.",
        [
            Change(
                "feed.py",
                "        if landings == self.landings or self.version is None:\n",
                "        if landings >= 0:\n",
            ),
            Change(
                "feed.py",
                "elif head.version < self.version or head.next_id < self.next_id:",
                "elif head.version < self.version:",
            ),
        ],
    ),
    mutant(
        "wake-up-moves-the-cursor",
        "A wake-up is believed: the head moves by what it says.",
        "hub.py",
        "        if feed is not None and feed.is_behind(wake_up.version, wake_up.id):\n",
        "        if feed is not None and feed.is_behind(wake_up.version, wake_up.id):\n"
        "            feed.next_id = max(feed.next_id, wake_up.id + 1)\n",
    ),
    mutant(
        "join-without-a-read",
        "A reader that joins believes what the feed knew before, and may get an older version.",
        "subscription.py",
        "if feed.reads_done < self._fresh_after:",
        "if not feed.reads_done:",
        f"{MEMORY} --only crash-live,reuse,mixed",
    ),
    mutant(
        "versions-merged",
        "A reader that follows to the next version goes on at its old place.",
        "subscription.py",
        "            self._version, self._next_id = current, 0\n",
        "            self._version, self._next_id = current, min(self._next_id, feed.next_id)\n",
    ),
    mutant(
        "window-of-two-versions",
        "The window keeps the chunks of the version before.",
        "feed.py",
        "self._window, self._window_first, self._window_characters = [], 0, 0\n        self._batches.clear()\n\n    def _ext",
        "self._batches.clear()\n\n    def _ext",
    ),
    mutant(
        "batches-of-two-versions",
        "What readers of the version before were given is given to those of the next one.",
        "feed.py",
        "self._window, self._window_first, self._window_characters = [], 0, 0\n        self._batches.clear()\n\n    def _ext",
        "self._window, self._window_first, self._window_characters = [], 0, 0\n\n    def _ext",
    ),
    mutant(
        "page-of-another-place",
        "A page that was read ahead is used wherever its reader stands by then.",
        "page_reads.py",
        "if self._next is None or self._next[0] != position:",
        "if self._next is None:",
        f"{MEMORY} --only behind-the-window,reuse,mixed",
    ),
    mutant(
        "superseded-ignored",
        "A reader that asked to be told of a newer version is led into it.",
        "subscription.py",
        'self._on_superseded == "raise"',
        'self._on_superseded == "never"',
    ),
    mutant(
        "end-too-early",
        "A reader ends as soon as the version is known to be closed.",
        "subscription.py",
        "            if feed.version is not None:\n                version",
        "            if feed.state == 'closed':\n"
        "                raise StopAsyncIteration\n            if feed.version is not None:\n                version",
    ),
    mutant(
        "loss-not-told",
        "Readers of a lost publisher wait for ever.",
        "subscription.py",
        "        if feed.lost:\n            raise PublisherLost",
        "        if feed.lost and self._after is self:\n            raise PublisherLost",
    ),
    mutant(
        "loss-told-too-early",
        "Readers are told of a loss while the lease still runs.",
        "feed.py",
        'head.state == "open" and head.lease_left <= 0',
        'head.state == "open" and head.lease_left <= 6',
    ),
    mutant(
        "no-unsubscribe",
        "A subscription that is over stays registered with the hub.",
        "subscription.py",
        "            self._machinery.hub.detach(feed)\n            # A read",
        "            # A read",
        "tests/reading/test_tail.py tests/reading/test_subscription_load.py -k 'nothing_is_held or many_subscriptions and memory'",
    ),
    mutant(
        "resync-ignored",
        "A notifier that says that it may have missed something is not heard.",
        "hub.py",
        "        for feed in self._feeds.values():\n            self._mark(feed, polled=False)\n",
        "        pass\n",
        LATE_READS,
    ),
    mutant(
        "tailer-ends-with-an-error",
        "The first read that fails ends the tailer, and every reader of the process waits for ever.",
        "hub.py",
        "                except StoreUnavailable as error:\n                    unavailable_since",
        "                except ZeroDivisionError as error:\n                    unavailable_since",
    ),
    mutant(
        "contradiction-believed",
        "A store that has lost chunks which were delivered rewinds its readers.",
        "feed.py",
        "            return self._doubt(now, missing, patience=DOUBT)\n",
        "            missing.add_note('believed')\n",
        LATE_READS,
    ),
    mutant(
        "pages-without-bound",
        "A page is as large as the log.",
        "stores/memory.py",
        "        if size >= max_bytes:\n",
        "        if size < 0:\n",
        MEMORY_STORE,
    ),
]

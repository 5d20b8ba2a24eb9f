"""All breakages: the guarantee that is lost, the name that is replaced, the damage, its catcher.

When a name of the core changes, this table is the place to follow it.
"""

from __future__ import annotations

from typing import Final

from fuzz.breaking import reading, stores, writing
from fuzz.breaking.breakage import MEMORY, Breakage

ANNOUNCER: Final = "_writing.announcer.Announcer"
BEGINNING: Final = "_writing.beginning"
CANCELLING: Final = "_writing.cancelling"
ENDINGS: Final = "_writing.endings"
LEASES: Final = "_writing.leases.LeaseKeeper"
OUTBOX: Final = "_writing.outbox.Outbox"
PUBLISHER: Final = "_writing.publisher.Publisher"
WRITER: Final = "_writing.writer.Writer"
PAGES: Final = "_reading.pages.PageReads"
POLLS: Final = "_reading.polls.PollSchedule"
SUBSCRIPTION: Final = "_reading.subscription.Subscription"
TAIL: Final = "_reading.tail.Tail"
TAILER: Final = "_reading.tailer.Tailer"
MEMORY_STORE: Final = "stores.memory.MemoryStore"
SQLITE: Final = "stores.sqlite.statements"
POSTGRES: Final = "stores.postgres.statements"
LISTENING: Final = "notifiers.postgres.PostgresNotifier"
SERVING: Final = "notifiers.serving.ServingNotifier"

GONE_ON: Final = f"{MEMORY} --only gone-on"
ANEW: Final = f"{MEMORY} --only begun-anew"
FAILOVERS: Final = f"{MEMORY} --only lost-commits"
POISONED: Final = f"{MEMORY} --only poisoned"
RACING: Final = "fuzz/pg.py --only racing-versions --jobs 16"
WATCHED: Final = f"{MEMORY} --only watched"
BEHIND: Final = f"{MEMORY} --only behind-the-window"
CANCELLED: Final = f"{MEMORY} --only cancelled-block"
JOINS: Final = f"{MEMORY} --only crash-live,reuse,mixed"
LOST_ANSWERS: Final = f"{MEMORY} --only lost-answers"
BAD_INPUT: Final = "tests/test_bad_input.py"
FOREIGN: Final = "tests/reading/test_unreadable_chunks.py"
HELD: Final = "tests/reading/test_tail.py -k nothing_is_held"
LIES: Final = f"{MEMORY} --only bad-notifications"
LATE_ENDINGS: Final = "tests/writing/test_endings.py"
LOSSES: Final = "tests/reading/test_tail.py -k loss"
OUTAGES: Final = "tests/writing/test_writer.py tests/reading/test_tail.py -k outages"
PUSHES: Final = "tests/writing/test_publisher_pushes.py"
RENEWALS: Final = "tests/writing/test_leases.py"
RESYNCS: Final = "tests/notifiers/test_postgres.py tests/notifiers/test_redis.py -k resync"
SILENCE: Final = "tests/stores/test_silent_connections.py -k listening"
SQLITE_TOKENS: Final = "tests/stores/test_conformance.py -k 'TestSQLiteStore and foreign_token'"
POSTGRES_TOKENS: Final = "tests/stores/test_conformance.py -k 'TestPostgresStore and foreign_token'"

BREAKAGES: Final = {
    each.name: each
    for each in (
        Breakage("G1", f"{OUTBOX}.put", writing.acknowledged_before_stored),
        Breakage("G1", f"{WRITER}.__init__", writing.delivered_before_stored),
        Breakage("G1", f"{WRITER}._append", writing.carried_before_stored),
        Breakage("G2", f"{WRITER}.put", writing.two_appends_in_flight),
        Breakage("G2", f"{PUBLISHER}._drained", writing.write_overtakes_push, PUSHES),
        Breakage("G2", f"{SUBSCRIPTION}.__init__", reading.cursor_off_by_one),
        Breakage("G2", f"{SUBSCRIPTION}._join", reading.deletion_not_noticed, ANEW),
        Breakage("G2", f"{TAIL}.to_confirm", reading.ending_not_confirmed, FAILOVERS),
        Breakage("G2", f"{MEMORY_STORE}.delete", stores.number_of_a_deleted_stream_forgotten, ANEW),
        Breakage("G2", f"{PAGES}.begin", reading.page_of_another_place, BEHIND),
        Breakage("G2", "_inline.opened", reading.seal_not_looked_at, LIES),
        Breakage("G3", "stores.fencing.refusal", stores.fence_skipped),
        Breakage("G3", f"{BEGINNING}.take_over", writing.successor_forgets_the_end, GONE_ON),
        Breakage("G3", f"{MEMORY_STORE}.claim", stores.claim_shared_by_successors, GONE_ON),
        Breakage("G9", f"{MEMORY_STORE}.claim", stores.waits_in_vain_not_counted, GONE_ON),
        Breakage("G3", f"{SQLITE}.APPEND", stores.sqlite_append_without_token, SQLITE_TOKENS),
        Breakage("G3", f"{POSTGRES}.APPEND", stores.postgres_append_without_token, POSTGRES_TOKENS),
        Breakage("G3", f"{POSTGRES}.LOCK_STREAM", stores.versions_opened_without_a_lock, RACING),
        Breakage("G4", f"{TAILER}.attach", reading.joined_without_a_read, JOINS),
        Breakage("G4", f"{TAILER}._judged", reading.foreign_version_judged_at_first_sight, FOREIGN),
        Breakage("G5", f"{WRITER}.__init__", writing.closed_in_a_second_commit),
        Breakage(
            "G5",
            f"{CANCELLING}.finish_despite_cancel",
            writing.cancelled_block_leaves_no_ending,
            CANCELLED,
        ),
        Breakage(
            "G5", f"{ENDINGS}.stored_pages", writing.ending_read_before_the_fence, LATE_ENDINGS
        ),
        Breakage("G5", f"{ENDINGS}._close", writing.version_without_an_ending_left_open, POISONED),
        Breakage("G6", f"{POLLS}.schedule", reading.nothing_is_polled),
        Breakage("G6", f"{SUBSCRIPTION}._judge", reading.loss_not_told),
        Breakage("G6", f"{TAIL}.landed", reading.local_commit_renews_no_lease, LOSSES),
        Breakage("G6", f"{LEASES}._renew", writing.lease_never_renewed),
        Breakage("G6", f"{LEASES}.__init__", writing.renewals_end_with_an_error, RENEWALS),
        Breakage("G6", f"{LEASES}.add", writing.dropped_publisher_renewed),
        Breakage("G6", f"{LISTENING}._watch", stores.listening_connection_never_probed, SILENCE),
        Breakage("G6", f"{SERVING}.listen", stores.missed_wake_ups_not_looked_for, RESYNCS),
        Breakage("G7", f"{LEASES}._tell", writing.stop_not_heard),
        Breakage("G7", f"{CANCELLING}.OutsideError.throw", writing.lost_block_runs_on),
        Breakage("G7", f"{ANNOUNCER}.add", writing.nothing_is_announced),
        Breakage("G8", f"{OUTBOX}.take", writing.retry_takes_more, LOST_ANSWERS),
        Breakage("G8", f"{OUTBOX}.landed", writing.outage_clock_of_the_writer_kept, OUTAGES),
        Breakage("G8", f"{TAILER}._outage", reading.outage_clock_of_the_tailer_kept, OUTAGES),
        Breakage("G9", f"{MEMORY_STORE}.attend", stores.attempts_not_counted, WATCHED),
        Breakage("G9", f"{TAILER}.detach", reading.no_reader_is_detached, HELD),
        Breakage("G10", "json_text.encode_json", writing.values_json_lacks_are_stored, BAD_INPUT),
    )
}

HARMLESS: Final = Breakage("", f"{OUTBOX}.put", writing.harmless)
"""Every catcher must be quiet under it, since replacing a method does no harm by itself."""

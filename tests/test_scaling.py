"""The simulation behind docs/scaling.md neither loses nor invents chunks, and the page shows what
it prints.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.scale.cells import Outcome, one_database, one_machine
from benchmarks.scale.costs import Costs
from benchmarks.scale.runs import load_runs
from benchmarks.scaling import tables

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
SECONDS = 0.2


def run(streams: int, processes: int) -> Outcome:
    return one_database(Costs.load(), streams, processes, processors=4, seconds=SECONDS)


@pytest.mark.parametrize(("streams", "processes"), [(1, 1), (7, 3), (250, 1), (1000, 4)])
def test_every_chunk_that_was_said_is_committed_and_delivered_once(
    streams: int, processes: int
) -> None:
    counts = run(streams, processes).counts

    assert counts.said == counts.committed == counts.delivered == streams * 10


def test_chunks_wait_for_processors_and_none_is_lost_when_there_are_too_few() -> None:
    outcome = one_database(Costs.load(), 4000, 4, processors=1, seconds=SECONDS)

    assert not outcome.keeps_up
    assert outcome.counts.delivered == outcome.counts.said == 40_000


def test_batches_grow_with_the_load_and_commits_do_not() -> None:
    small, large = (one_machine(Costs.load(), streams, seconds=SECONDS) for streams in (64, 512))

    assert large.chunks_per_batch > 8 * small.chunks_per_batch
    assert large.counts.batches <= small.counts.batches


def test_no_chunk_is_with_its_reader_before_its_commit_was_on_disk() -> None:
    costs = Costs.load()

    assert min(age for age, _ in run(64, 2).counts.ages) > min(costs.flush)


def test_the_page_shows_the_tables_that_the_simulation_prints() -> None:
    shown = dict(
        re.findall(r"<!-- benchmarks/scaling\.py: (\w+) -->\n\n((?:\|.*\n)+)", PAGE.read_text())
    )

    assert {name: table.rstrip("\n") for name, table in shown.items()} == tables(
        Costs.load(), load_runs()
    )

"""The model behind docs/scaling.md neither loses nor invents chunks; the page shows its tables."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.scaling import PATH, RATE, Cell, Costs, balance, tables

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
COSTS: Costs = json.loads(PATH.read_text())


def one_database(streams: int, processes: int, *, processors: int = 16) -> Cell:
    return balance(COSTS, streams, processes, processors=processors)


@pytest.mark.parametrize(("streams", "processes"), [(1, 1), (7, 3), (250, 1), (1000, 4)])
def test_batches_carry_every_chunk_that_was_said_once(streams: int, processes: int) -> None:
    cell = one_database(streams, processes)

    assert cell.keeps_up
    assert cell.batches * cell.chunks_per_batch == pytest.approx(streams * RATE)


def test_a_database_with_too_few_processors_does_not_keep_up() -> None:
    assert one_database(4000, 16).keeps_up
    assert not one_database(4000, 16, processors=1).keeps_up


def test_batches_grow_with_the_load_and_commits_do_not() -> None:
    small, large = (one_database(streams, 1, processors=2) for streams in (64, 512))

    assert large.chunks_per_batch > 8 * small.chunks_per_batch
    assert large.batches <= small.batches


def test_no_chunk_is_with_its_reader_before_its_commit_was_on_disk() -> None:
    for streams, processes in ((1, 1), (64, 2), (1000, 4)):
        assert one_database(streams, processes).delay > COSTS["flush"]


def test_more_processes_cost_a_database_more_for_the_same_chunks() -> None:
    assert one_database(1000, 8).database > one_database(1000, 4).database


def test_the_page_shows_the_tables_that_the_model_prints() -> None:
    shown = dict(
        re.findall(r"<!-- benchmarks/scaling\.py: (\w+) -->\n\n((?:\|.*\n)+)", PAGE.read_text())
    )

    assert {name: table.rstrip("\n") for name, table in shown.items()} == tables(COSTS)

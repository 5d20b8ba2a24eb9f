"""A sample leaves cases out, and its seed draws the same ones again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.plugins.lanes import SLOW_TO_START
from tests.plugins.trying import ROOT, run_pytest

SWEEP = """
import pytest

@pytest.mark.sweep(2, each="letter")
@pytest.mark.parametrize("number", range(50))
@pytest.mark.parametrize("letter", "abc")
def test_everything(letter, number):
    pass

def test_one():
    pass
"""


PARAMETERS = """
import pytest

@pytest.mark.parametrize("number", range(9))
def test_some(number):
    pass

@pytest.mark.parametrize("number", range(3))
def test_few(number):
    pass
"""


STORIES = """
import pytest

pytestmark = pytest.mark.sweep(3, of="file")

@pytest.mark.parametrize("number", range(4))
def test_some(number):
    pass

def test_one():
    pass

def test_another():
    pass
"""


def run(directory: Path, *options: str, tests: str = SWEEP) -> tuple[list[str], str]:
    """Return the ids of the tests that ran, and the last lines of the output."""
    (directory / "test_sweep.py").write_text(tests)
    done = run_pytest(directory, "tests.plugins.lanes", "-v", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    names = re.findall(r"test_sweep\.py::(\S+)", done.stdout)
    return sorted(set(names)), done.stdout


def test_without_an_option_every_case_runs(tmp_path: Path) -> None:
    assert len(run(tmp_path)[0]) == 3 * 50 + 1


@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_sample_has_so_many_cases_of_each_value(tmp_path: Path, processes: str) -> None:
    names, output = run(tmp_path, "--sample", "--seed", "1", "-n", processes)

    assert [name[:17] for name in names] == [
        *(f"test_everything[{letter}" for letter in "aabbcc"),
        "test_one",
    ]
    assert "Drew 6 of 150 cases of the sweeps; draw them again with --seed 1.\n" in output
    assert "skipped" not in output


def test_the_quick_lane_draws_a_quarter_of_every_test_with_parameters(tmp_path: Path) -> None:
    names, _ = run(tmp_path, "--quick", tests=PARAMETERS)

    assert [name.partition("[")[0] for name in names] == ["test_few", "test_some", "test_some"]
    assert len(run(tmp_path, "--sample", tests=PARAMETERS)[0]) == 9 + 3


def test_tests_that_are_a_sweep_together_are_drawn_together(tmp_path: Path) -> None:
    drawn = [run(tmp_path, "--sample", "--seed", f"{seed}", tests=STORIES)[0] for seed in range(5)]

    assert {len(names) for names in drawn} == {3}
    assert {name.partition("[")[0] for names in drawn for name in names} == {
        "test_some",
        "test_one",
        "test_another",
    }
    assert len(run(tmp_path, tests=STORIES)[0]) == 6


@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_seed_draws_the_same_cases_again(tmp_path: Path, processes: str) -> None:
    names, output = run(tmp_path, "--sample", "-n", processes)
    [seed] = re.findall(r"--seed (\d+)", output)

    assert run(tmp_path, "--quick", "--seed", seed)[0] == names
    assert run(tmp_path, "--sample", "--seed", f"{seed}1")[0] != names


@pytest.mark.parametrize("place", SLOW_TO_START)
def test_what_the_quick_lane_leaves_out_is_there(place: str) -> None:
    assert (ROOT / place).exists()

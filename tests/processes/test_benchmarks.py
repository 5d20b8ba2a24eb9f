"""Every command of benchmarks/README.md runs, at its smallest size."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.run import ROWS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"
BLOCK = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)

DRAWN = 2
"""The row whose latencies are drawn."""

SMALLEST = [
    "benchmarks/presence.py --kills 1 --minutes 0.01",
    "benchmarks/scaling.py",
    "benchmarks/soak.py --minutes 0.05 --json {folder}/soak.json",
    "benchmarks/soak.py --minutes 0.05 --workers 1 --json {folder}/soak.json",
]
RUN_BY_CI = {"scripts/setup-env benchmark", "npm ci --prefix benchmarks/node"}
"""Commands that install. `.ci/run` installs the packages of every lock file."""


def commands() -> list[list[str]]:
    text = (FOLDER / "README.md").read_text()
    lines = [line for block in BLOCK.findall(text) for line in block.splitlines()]
    found = [shlex.split(line, comments=True) for line in lines]
    return [command for command in found if command and shlex.join(command) not in RUN_BY_CI]


def run(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, script, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    if shutil.which("node") is None or not (FOLDER / "node" / "node_modules").exists():
        pytest.skip("needs Node.js and `npm ci --prefix benchmarks/node`")
    if shutil.which("redis-server") is None:
        pytest.skip("needs redis-server")


@pytest.mark.sweep(1)
@pytest.mark.parametrize("row", ROWS)
def test_a_row_runs_and_its_checks_hold(row: int, tmp_path: Path) -> None:
    table = run("benchmarks/run.py", "--quick", f"--rows={row}", f"--json={tmp_path}/run.json")

    assert f"\n{row:3} " in table
    if row == DRAWN:
        picture = tmp_path / "latency.png"
        run("benchmarks/plots.py", str(row), str(picture), f"--json={tmp_path}/run.json")
        assert picture.stat().st_size > 1000


@pytest.mark.parametrize("command", SMALLEST)
def test_the_other_benchmarks_run(command: str, tmp_path: Path) -> None:
    assert run(*command.format(folder=tmp_path).split())


def test_no_command_of_the_readme_is_left_out() -> None:
    scripts = {script for python, script, *_ in commands() if python == ".venv/bin/python"}

    assert len(scripts) == len({script for _, script, *_ in commands()})
    others = {command.split()[0] for command in SMALLEST}
    assert scripts == others | {"benchmarks/run.py", "benchmarks/plots.py"}

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SKIPPING = "import pytest\ndef test_a(): pytest.skip('no service')\n"


@pytest.mark.parametrize(
    ("options", "code"),
    [((), 0), (("--fail-on-skip",), 1), (("--fail-on-skip", "-n", "2"), 1)],
    ids=["without", "with", "in two processes"],
)
def test_a_skip_fails_the_run_only_if_asked(
    tmp_path: Path, options: tuple[str, ...], code: int
) -> None:
    (tmp_path / "test_skipping.py").write_text(SKIPPING)
    pytest_here = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.plugins.fail_on_skip",
        f"--rootdir={tmp_path}",
        tmp_path,
    ]

    assert (
        subprocess.run([*pytest_here, *options], cwd=ROOT, capture_output=True).returncode == code
    )

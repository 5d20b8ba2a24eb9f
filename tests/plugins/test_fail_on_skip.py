from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins.trying import run_pytest

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

    assert run_pytest(tmp_path, "tests.plugins.fail_on_skip", *options).returncode == code

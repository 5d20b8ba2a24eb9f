"""Runs pytest with one of the plugins of this folder, on tests that a test has written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


def run_pytest(directory: Path, plugin: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the tests in the directory with this plugin and pytest-xdist only.

    The plugins of the packages that are installed here take seconds to import.
    """
    command = [sys.executable, "-m", "pytest", "-p", "xdist", "-p", plugin]
    return subprocess.run(
        [*command, f"--rootdir={directory}", directory, *options],
        cwd=ROOT,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )

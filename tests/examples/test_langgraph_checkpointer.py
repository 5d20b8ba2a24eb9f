"""After SIGKILL, the graph of the example continues from its checkpoint."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "langgraph_checkpointer.py"


def test_a_finished_step_is_not_run_again_and_the_message_is_whole(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-W", "error", str(SCRIPT)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")
    *steps, shown = run.stdout.splitlines()
    message = ast.literal_eval(shown)

    killed = f"killed by signal {signal.SIGKILL.value}"
    assert steps == ["model call 1", "tool call", "model call 2", killed, "model call 2"]
    parts = [part.get("text") or part.get("output") or part["type"] for part in message["parts"]]
    assert parts == [
        "step-start", "I will measure.", "2 m", "step-start", "The waves are 2 m high."
    ]  # fmt: skip
    assert "failed" not in message.get("metadata", {})

"""The example scripts run offline and without warnings, and print the whole message read back."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from monostream_ai.ui_messages import reduce_chunks
from tests.plugins.postgres import import_pgserver

ROOT = Path(__file__).parents[2]


def output_of(script: str) -> list[str]:
    environment = {key: value for key, value in os.environ.items() if key != "OPENAI_API_KEY"} | {
        "PYTHONPATH": str(ROOT)
    }
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / script)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout.splitlines()


def message_in(lines: list[str], reader: str = "") -> dict[str, Any]:
    """Return the message made of the printed chunks."""
    shown = [line.removeprefix(reader) for line in lines if line.startswith(f"{reader}{{")]
    chunks = [ast.literal_eval(line) for line in shown]
    assert chunks[-1]["type"] == "finish"
    return reduce_chunks(chunks, finished=True)


def text_of(message: dict[str, Any]) -> str:
    return "".join(part["text"] for part in message["parts"] if part["type"] == "text")


def test_openai_chat_prints_the_answer_and_reads_it_back() -> None:
    answer, *rest = output_of("openai_chat.py")

    assert text_of(message_in(rest)) == answer


def test_openai_responses_shows_the_call_its_result_and_the_answer() -> None:
    message = message_in(output_of("openai_responses.py"))

    call = next(part for part in message["parts"] if part["type"] == "dynamic-tool")
    assert (call["state"], call["input"], call["output"]["celsius"]) == (
        "output-available",
        {"city": "Rome"},
        21,
    )
    assert text_of(message) == "In Rome it is sunny, 21 °C."


@pytest.mark.parametrize("reader", ["reader 1: ", "a late reader: "])
def test_langchain_chain_shows_every_reader_the_same(reader: str) -> None:
    assert (
        text_of(message_in(output_of("langchain_chain.py"), reader))
        == "Postgres keeps it, so nothing is lost."
    )


def test_sync_script_is_recorded() -> None:
    assert text_of(message_in(output_of("sync_script.py"))) == "Blocking code can stream too."


def test_job_progress_draws_the_bar_for_everybody_to_its_end() -> None:
    lines = output_of("job_progress.py")

    assert [line for line in lines if "saw" in line] == [
        "from the start saw it end: finish",
        "later saw it end: finish",
    ]
    assert [line.split()[-2] for line in lines if "━" in line] == ["100%", "100%"]


def test_pydantic_ai_agent_shows_the_call_its_result_and_the_answer() -> None:
    message = message_in(output_of("pydantic_ai_agent.py"))

    call = next(part for part in message["parts"] if part["type"] == "tool-get_weather")
    assert (message["id"], call["state"], call["output"]) == (
        "answer-1",
        "output-available",
        "a: sunny, 21 °C",
    )
    assert text_of(message) == "In Rome it is sunny, 21 °C."


def test_encrypted_store_returns_the_chunks_and_stores_none_in_plain_text() -> None:
    lines = output_of("encrypted_store.py")

    assert text_of(message_in(lines)) == "Hello"
    on_disk = [line for line in lines if line.startswith("on disk: ")]
    assert len(on_disk) == 4
    assert "type" not in "".join(on_disk)


def test_postgres_workers_do_each_job_once() -> None:
    import_pgserver()
    lines = output_of("postgres_workers.py")

    assert sorted(line.split()[0] for line in lines) == [f"job:{number}" for number in range(6)]
    assert {line.split()[-1] for line in lines} <= {"Ada", "Grace", "Edsger"}

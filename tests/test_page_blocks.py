"""Every fenced block of the README is run or checked.

A comment just above a fence, `<!-- readme: word -->`, says what a python block is if not a program
of its own: it `continues` the one before it, needs `postgres` or `openai`, is a `server`, or is a
`suite` of tests. Lines that start with `#>` are its output.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from packaging.requirements import Requirement

from tests.fastapi.chat_client import chunks_in, question

ROOT: Final = Path(__file__).parents[1]
README: Final = (ROOT / "README.md").read_text()
WEB: Final = ROOT / "examples" / "chat" / "web"

RUNNER: Final = """
import ast, asyncio, inspect, pathlib, sys, types
code = compile(pathlib.Path(sys.argv[1]).read_text(), sys.argv[1], "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
result = types.FunctionType(code, {"__name__": "__main__"})()
if inspect.iscoroutine(result):
    asyncio.run(result)
"""

CHECKERS: Final = {
    ("python", ""): "test_a_program_prints_what_it_says",
    ("python", "continues"): "test_a_program_prints_what_it_says",
    ("python", "postgres"): "test_the_postgres_program_prints_what_it_says",
    ("python", "openai"): "test_the_openai_program_captures_an_answer",
    ("python", "server"): "test_the_server_answers_resumes_and_stops",
    ("python", "suite"): "test_the_suite_passes",
    ("bash", ""): "test_a_command_can_be_run",
    ("tsx", ""): "test_the_page_uses_what_the_example_uses",
}


@dataclass(frozen=True)
class Block:
    language: str
    directive: str
    text: str
    line: int

    @property
    def kind(self) -> tuple[str, str]:
        return self.language, self.directive


BLOCK: Final = re.compile(
    r"^(?:<!-- readme: (\w+) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
BLOCKS: Final = [
    Block(match[2], match[1] or "", match[3], README.count("\n", 0, match.start()) + 1)
    for match in BLOCK.finditer(README)
]


def blocks(language: str, directive: str = "") -> list[Block]:
    return [block for block in BLOCKS if block.kind == (language, directive)]


def programs() -> list[Any]:
    joined: list[Block] = []
    for block in BLOCKS:
        if block.kind == ("python", ""):
            joined.append(block)
        elif block.kind == ("python", "continues"):
            joined[-1] = replace(joined[-1], text=joined[-1].text + block.text)
    return [pytest.param(block, id=f"line {block.line}") for block in joined]


def commands() -> list[str]:
    return [line for block in blocks("bash") for line in block.text.splitlines()]


async def run(source: str, directory: Path, **environment: str) -> str:
    """Run a program in a process of its own, with warnings as errors; return what it prints."""
    (directory / "program.py").write_text(source)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", RUNNER, "program.py"),
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        printed, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    return printed.decode()


def promised(source: str) -> str:
    return "".join(f"{line}\n" for line in re.findall(r"^#> (.*)$", source, re.MULTILINE))


def test_every_block_has_one_checker() -> None:
    assert README.count("```") == 2 * len(BLOCKS)
    assert README.count("<!-- readme:") == sum(block.directive != "" for block in BLOCKS)
    assert {block.kind for block in BLOCKS} == set(CHECKERS)
    assert set(CHECKERS.values()) <= set(globals())


def test_the_first_program_starts_by_line_20() -> None:
    assert blocks("python")[0].line <= 20


@pytest.mark.parametrize("block", programs())
async def test_a_program_prints_what_it_says(block: Block, tmp_path: Path) -> None:
    assert await run(block.text, tmp_path) == promised(block.text)


async def test_the_postgres_program_prints_what_it_says(postgres_url: str, tmp_path: Path) -> None:
    [block] = blocks("python", "postgres")
    source, replaced = re.subn(r"postgresql\+asyncpg://[^\"]+", lambda _: postgres_url, block.text)
    assert replaced == 1
    assert await run(source, tmp_path) == promised(block.text)


PLACE: Final = {"item_id": "m", "output_index": 0, "content_index": 0}
MESSAGE: Final = {"id": "m", "type": "message", "role": "assistant"}
RECORDING: Final[list[dict[str, Any]]] = [
    {"type": "response.created", "response": {"id": "r", "status": "in_progress", "output": []}},
    {"type": "response.output_item.added", "output_index": 0, "item": MESSAGE},
    {"type": "response.content_part.added", **PLACE, "part": {"type": "output_text", "text": ""}},
    {"type": "response.output_text.delta", **PLACE, "delta": "Hello "},
    {"type": "response.output_text.delta", **PLACE, "delta": "there"},
    {"type": "response.output_text.done", **PLACE, "text": "Hello there"},
    {"type": "response.output_item.done", "output_index": 0, "item": MESSAGE},
    {"type": "response.completed", "response": {"id": "r", "status": "completed", "output": []}},
]


@pytest.fixture
async def openai_url() -> AsyncIterator[str]:
    """A server that gives the recorded answer to whatever it is asked."""
    events = "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in RECORDING)
    answer = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {len(events)}\r\n\r\n{events}"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer.encode())
        # The client leaves first.
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


async def test_the_openai_program_captures_an_answer(openai_url: str, tmp_path: Path) -> None:
    [block] = blocks("python", "openai")
    assert (
        await run(block.text, tmp_path, OPENAI_BASE_URL=openai_url, OPENAI_API_KEY="none")
        == "Hello there\n"
    )


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The README's server, run by uvicorn on a socket that is open before it is."""
    [block] = blocks("python", "server")
    (tmp_path / "server.py").write_text(block.text)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = await asyncio.create_subprocess_exec(
            *(
                sys.executable,
                "-m",
                "uvicorn",
                "server:app",
                "--fd",
                str(listener.fileno()),
                "--log-level",
                "warning",
            ),
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            pass_fds=[listener.fileno()],
        )
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=url, timeout=30.0) as client:
            yield client
        server.terminate()
        async with asyncio.timeout(30):
            await server.wait()


async def test_the_server_answers_resumes_and_stops(served: httpx.AsyncClient) -> None:
    answer = (await served.post("/api/chat", json=question())).text
    resumed = await served.get("/api/chat/c1/stream")
    stopped = await served.post("/api/chat/c1/stop")
    status = await served.get("/api/chat/c1/status")

    assert (
        "".join(chunk.get("delta", "") for chunk in chunks_in(answer)) == "Hello from a fake model"
    )
    assert answer.endswith("data: [DONE]\n\n")
    assert chunks_in(resumed.text)[-1]["type"] == "finish"
    assert (stopped.json(), status.json()["state"]) == ({"success": True}, "closed")


def test_the_suite_passes(tmp_path: Path) -> None:
    [block] = blocks("python", "suite")
    (tmp_path / "test_my_store.py").write_text(block.text)
    command = [sys.executable, "-m", "pytest", "-q", f"--rootdir={tmp_path}", "test_my_store.py"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("command", commands())
async def test_a_command_can_be_run(command: str, tmp_path: Path) -> None:
    program, *arguments = shlex.split(command)
    if program == "pip":
        check_install(arguments)
    elif program == "uvicorn":
        [server] = blocks("python", "server")
        assert arguments == ["server:app"] and "\napp = FastAPI(" in server.text
    elif program == "monostream-ai":
        await check_own_command(arguments, tmp_path)
    else:
        assert (
            program.startswith("scripts/") and os.access(ROOT / program, os.X_OK) and not arguments
        )


async def check_own_command(arguments: list[str], folder: Path) -> None:
    """Run our command beside the file that the first block has written."""
    await run(blocks("python", "")[0].text, folder)
    command = [sys.executable, "-m", "monostream_ai.cli", *arguments]
    result = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def check_install(arguments: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    tested = {
        Requirement(each).name
        for each in project["dependency-groups"]["demo"]
        if isinstance(each, str)
    }
    assert arguments[0] == "install"
    for requirement in map(Requirement, arguments[1:]):
        assert requirement.name in {project["project"]["name"], *tested}


def test_the_page_uses_what_the_example_uses() -> None:
    [page] = blocks("tsx")
    example = "\n".join(path.read_text() for path in sorted(WEB.glob("src/*.ts*")))
    imports = [line for line in page.text.splitlines() if line.startswith("import ")]
    assert imports and all(line in example for line in imports)
    assert re.search(r"useChat\(\{.*\bresume: true\b", page.text) and re.search(
        r"useChat.*\(\{.*\bresume: true\b", example
    )
    assert "`/api/chat/${encodeURIComponent(id)}/stop`" in page.text


def test_the_page_type_checks(tmp_path: Path) -> None:
    if not (WEB / "node_modules").is_dir():
        pytest.skip(f"no packages to check against: npm ci in {WEB.relative_to(ROOT)}")
    [page] = blocks("tsx")
    (tmp_path / "page.tsx").write_text(page.text)
    (tmp_path / "node_modules").symlink_to(WEB / "node_modules")
    options = json.loads((WEB / "tsconfig.json").read_text())["compilerOptions"] | {"types": []}
    (tmp_path / "tsconfig.json").write_text(
        json.dumps({"compilerOptions": options, "include": ["page.tsx"]})
    )
    result = subprocess.run(
        [WEB / "node_modules" / ".bin" / "tsc"], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout

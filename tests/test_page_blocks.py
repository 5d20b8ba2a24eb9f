"""Every fenced block of the README and of the pages in docs/ is run or checked."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import shlex
import socket
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import pytest
import yaml
from langchain.agents import create_agent
from packaging.requirements import Requirement

from monostream_ai import create_service
from monostream_ai.cli.app import app
from monostream_ai.langchain import StreamCallbackHandler
from monostream_ai.notifiers.postgres import PostgresNotifier
from monostream_ai.stores.sql import PostgresStore
from monostream_ai.testing import Gate, RecordingListener, ToolCall
from monostream_ai.testing.langchain import ScriptedChatModel
from monostream_ai.ui_messages import Chunk
from tests.anthropic import recordings as anthropic_recordings
from tests.failover.conftest import Server
from tests.fastapi.chat_client import chunks_in, question
from tests.openai_agents.responses import saying
from tests.pages import BLOCKS, PAGES, ROOT, Block, blocks, blocks_of
from tests.plugins.postgres import asyncpg_dsn, import_pgserver

WEB: Final = ROOT / "examples" / "chat" / "web"
TRANSPORT: Final = ROOT / "packages" / "reconnecting-transport" / "README.md"

OF_GOOGLE: Final = "ignore:Inheritance class AiohttpClientSession:DeprecationWarning"
"""A warning of google-genai about itself, as in pyproject.toml."""

OWN_COMMAND: Final = re.compile(r"`monostream-ai ([^`]+)`")

RUNNER: Final = """
import ast, asyncio, inspect, pathlib, sys, types
source = pathlib.Path(sys.argv[1]).read_text()
code = compile(source, sys.argv[1], "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
result = types.FunctionType(code, {"__name__": "__main__"})()
if inspect.iscoroutine(result):
    asyncio.run(result)
"""

CHECKERS: Final = {
    ("python", ""): "test_a_program_prints_what_it_says",
    ("python", "continues"): "test_a_program_prints_what_it_says",
    ("python", "postgres"): "test_the_postgres_program_prints_what_it_says",
    ("python", "openai"): "test_the_openai_program_captures_an_answer",
    ("python", "agents"): "test_the_agents_program_captures_a_run",
    ("python", "gemini"): "test_the_gemini_program_captures_an_answer",
    ("python", "anthropic"): "test_the_anthropic_program_captures_an_answer",
    ("python", "server"): "test_a_server_answers_resumes_and_stops",
    ("python", "asgi"): "test_an_application_without_fastapi_does_so_too",
    ("python", "host"): "test_an_application_without_fastapi_does_so_too",
    ("python", "plain"): "test_the_plain_server_answers_and_no_more",
    ("python", "suite"): "test_the_suite_passes",
    ("python", "answers"): "test_the_suite_passes",
    # tests/test_tool_loops.py runs them with servers that ask for tools.
    ("python", "tools"): "test_a_reply_compiles",
    # tests/openai_agents/test_approvals.py runs it.
    ("python", "approving"): "test_a_reply_compiles",
    ("python", "steps"): "test_a_reply_compiles",
    # tests/fastapi/test_history.py runs both.
    ("python", "failing"): "test_a_reply_compiles",
    ("python", "forgetting"): "test_a_reply_compiles",
    ("python", "checkpoints"): "test_a_graph_goes_on_after_a_restart_of_postgres",
    ("bash", ""): "test_a_command_can_be_run",
    ("sql", ""): "test_the_statements_let_nobody_hear_more_than_it_may_read",
    ("tsx", ""): "test_the_page_uses_what_the_example_uses",
    # tests/tutorial runs the hooks in a browser.
    ("tsx", "waiting"): "test_the_page_type_checks",
    ("tsx", "marked"): "test_the_page_type_checks",
    ("tsx", "shared"): "test_the_page_type_checks",
    ("tsx", "ai_6"): "test_the_page_type_checks",
    ("ts", ""): "test_the_page_type_checks",
    # tests/test_dashboard.py checks the names in its query.
    ("yaml", ""): "test_a_rule_can_be_read",
    # tests/clients/asking/test_only_last.py runs it.
    ("ts", "last"): "test_the_page_type_checks",
    # tests/tutorial/test_dev_server.py runs it.
    ("ts", "vite"): "test_the_page_type_checks",
    # Their drawings are made by scripts/diagrams, and test_docs.py builds the site with them.
    ("mermaid", ""): "test_a_drawing_is_on_a_page_of_the_site",
}


REPLIES: Final = ("tools", "steps", "approving", "failing", "forgetting")

ABOUT_CAPTURES: Final = (
    "anthropic.md",
    "google-genai.md",
    "langchain.md",
    "langgraph.md",
    "openai.md",
    "openai-agents.md",
    "pydantic-ai.md",
    "recording.md",
)


def placed(found: list[Block]) -> list[Any]:
    return [pytest.param(block, id=block.place) for block in found]


def programs() -> list[Any]:
    joined: list[Block] = []
    for block in BLOCKS:
        if block.kind == ("python", ""):
            joined.append(block)
        elif block.kind == ("python", "continues"):
            joined[-1] = replace(joined[-1], text=joined[-1].text + block.text)
    return placed(joined)


def commands() -> list[Any]:
    """Return each command with the variables that its block has exported before it."""
    found: list[Any] = []
    for block in blocks("bash"):
        exported: dict[str, str] = {}
        for line in block.text.splitlines():
            if line.startswith("export "):
                name, _, value = line.removeprefix("export ").partition("=")
                exported[name] = value
            else:
                found.append(pytest.param(line, dict(exported), id=f"{block.place} {line}"))
    return found


async def run(source: str, directory: Path, **environment: str) -> str:
    """Run a program in a process of its own, with warnings as errors; return what it prints."""
    (directory / "program.py").write_text(source)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-W", OF_GOOGLE, "-c", RUNNER, "program.py"),
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
    text = "".join(page.read_text() for page in PAGES)
    assert text.count("```") == 2 * len(BLOCKS)
    assert text.count("<!-- run:") == sum(block.directive != "" for block in BLOCKS)
    assert {block.kind for block in BLOCKS} == set(CHECKERS)
    assert set(CHECKERS.values()) <= set(globals())


@pytest.mark.parametrize("page", ABOUT_CAPTURES)
def test_a_capture_is_shown_in_ten_lines(page: str) -> None:
    shown = [
        block.text
        for block in BLOCKS
        if (block.page, block.language) == (page, "python")
        # Whole applications may be longer.
        and block.directive not in ("server", "suite", "checkpoints", "tools", "steps", "approving")
    ]
    assert shown
    for text in shown:
        code = [line for line in text.splitlines() if line and not line.startswith("#>")]
        assert len(code) <= 10, text


@pytest.mark.parametrize("page", [*ABOUT_CAPTURES, "fastapi.md", "sqlalchemy.md"])
def test_a_page_about_an_integration_leads_from_the_install_to_the_next_page(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    install, code = text.index("```bash\npip install "), text.index("```python\n")
    faults, following = text.index("\n## Faults\n"), text.index("\n**Next:** [")

    assert install < code < faults < following
    if page in ABOUT_CAPTURES:
        assert code < text.index("\n## What each part becomes\n") < following


@pytest.mark.parametrize("block", programs())
async def test_a_program_prints_what_it_says(block: Block, tmp_path: Path) -> None:
    assert await run(block.text, tmp_path) == promised(block.text)


async def test_the_postgres_program_prints_what_it_says(postgres_url: str, tmp_path: Path) -> None:
    [block] = blocks("python", "postgres")
    source, replaced = re.subn(r"postgresql\+asyncpg://[^\"]+", lambda _: postgres_url, block.text)
    assert replaced == 1
    assert await run(source, tmp_path) == promised(block.text)


async def test_the_statements_let_nobody_hear_more_than_it_may_read(postgres_url: str) -> None:
    [block] = blocks("sql", "")
    store, notifier = PostgresStore.from_url(postgres_url), PostgresNotifier.from_url(postgres_url)
    await store.setup()
    notifier.lend_to(store)
    listener = await RecordingListener(notifier).start()
    admin = await asyncpg.connect(asyncpg_dsn(postgres_url))
    # Roles belong to the whole cluster.
    names = {name: f"{name}_{secrets.token_hex(4)}" for name in ("chat_service", "reports")}
    for name in names.values():
        await admin.execute(f"CREATE ROLE {name} LOGIN; GRANT SELECT ON stream_chunk TO {name}")
        await admin.execute(f"GRANT SELECT ON stream_version TO {name}")
    await admin.execute(f"GRANT INSERT ON stream_chunk TO {names['chat_service']}")
    assert not await notifier.is_confidential()

    names["app"] = await admin.fetchval("SELECT current_database()")
    statements, replaced = re.subn(
        r"\b(app|chat_service|reports)\b", lambda match: names[match[0]], block.text
    )
    assert replaced == 6
    await admin.execute(statements)
    assert await notifier.is_confidential()

    for role in (names["chat_service"], names["reports"]):
        await admin.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    await admin.close()
    await listener.stop()
    await notifier.aclose()
    await store.aclose()


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


@asynccontextmanager
async def answering(recording: Sequence[dict[str, Any]]) -> AsyncIterator[str]:
    """A server that answers every request with the recorded events."""
    events = "".join(
        (f"event: {each['type']}\n" if "type" in each else "") + f"data: {json.dumps(each)}\n\n"
        for each in recording
    )
    head = f"content-type: text/event-stream\r\ncontent-length: {len(events)}"
    answer = f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n{events}"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer.encode())
        # The client leaves first.
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("block", placed(blocks("python", "openai")))
async def test_the_openai_program_captures_an_answer(block: Block, tmp_path: Path) -> None:
    async with answering(RECORDING) as url:
        settings = {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "none"}
        assert await run(block.text, tmp_path, **settings) == "Hello there\n"


@pytest.mark.parametrize("block", placed(blocks("python", "agents")))
async def test_the_agents_program_captures_a_run(block: Block, tmp_path: Path) -> None:
    async with answering(saying("Hello there")) as url:
        settings = {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "none"}
        quiet = {"OPENAI_AGENTS_DISABLE_TRACING": "1"}
        assert await run(block.text, tmp_path, **settings, **quiet) == "Hello there\n"


@pytest.mark.parametrize("block", placed(blocks("python", "gemini")))
async def test_the_gemini_program_captures_an_answer(block: Block, tmp_path: Path) -> None:
    content = {"role": "model", "parts": [{"text": "Hello there"}]}
    said = {"candidates": [{"content": content, "finishReason": "STOP"}]}
    async with answering([said]) as url:
        settings = {"GOOGLE_GEMINI_BASE_URL": url, "GEMINI_API_KEY": "none"}
        assert await run(block.text, tmp_path, **settings) == "Hello there\n"


@pytest.mark.parametrize("block", placed(blocks("python", "anthropic")))
async def test_the_anthropic_program_captures_an_answer(block: Block, tmp_path: Path) -> None:
    async with answering(anthropic_recordings.events_of("text")) as url:
        settings = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "none"}
        assert await run(block.text, tmp_path, **settings) == "Hello there\n"


@asynccontextmanager
async def serving(block: Block, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Run a page's server by uvicorn, on a socket that is open before the server is."""
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


@pytest.mark.parametrize("block", placed(blocks("python", "server")))
async def test_a_server_answers_resumes_and_stops(block: Block, tmp_path: Path) -> None:
    await check_server(block, tmp_path)


async def check_server(block: Block, tmp_path: Path) -> None:
    async with serving(block, tmp_path) as client:
        answer = (await client.post("/api/chat", json=question())).text
        resumed = await client.get("/api/chat/c1/stream")
        stopped = await client.post("/api/chat/c1/stop")
        status = await client.get("/api/chat/c1/status")

    assert (
        "".join(chunk.get("delta", "") for chunk in chunks_in(answer)) == "Hello from a fake model"
    )
    assert answer.endswith("data: [DONE]\n\n")
    assert chunks_in(resumed.text)[-1]["type"] == "finish"
    assert (stopped.json(), status.json()["state"]) == ({"success": True}, "closed")


@pytest.mark.parametrize("block", placed([*blocks("python", "asgi"), *blocks("python", "host")]))
async def test_an_application_without_fastapi_does_so_too(block: Block, tmp_path: Path) -> None:
    [answers] = blocks("python", "asgi")
    (tmp_path / "answers.py").write_text(answers.text)
    (tmp_path / "mysite").mkdir()
    (tmp_path / "mysite" / "settings.py").write_text("ROOT_URLCONF, SECRET_KEY = __name__, 'x'\n")

    assert len([line for line in block.text.splitlines() if line]) <= 15
    await check_server(block, tmp_path)


async def test_the_plain_server_answers_and_no_more(tmp_path: Path) -> None:
    [block] = blocks("python", "plain")
    async with serving(block, tmp_path) as client:
        answer = (await client.post("/api/chat", json=question())).text
        resumed = await client.get("/api/chat/c1/stream")

    assert (
        "".join(chunk.get("delta", "") for chunk in chunks_in(answer)) == "Hello from a fake model"
    )
    assert resumed.status_code == 404


def test_a_drawing_is_on_a_page_of_the_site() -> None:
    listed = (ROOT / "mkdocs.yml").read_text()
    assert [block.page for block in blocks("mermaid") if f": {block.page}" not in listed] == []


@pytest.mark.parametrize("block", placed(blocks("python", "suite")))
def test_the_suite_passes(tmp_path: Path, block: Block) -> None:
    (tmp_path / "test_mine.py").write_text(block.text)
    for module in blocks("python", "answers"):
        if module.page == block.page:
            (tmp_path / "answers.py").write_text(module.text)
    command = [sys.executable, "-m", "pytest", "-q", f"--rootdir={tmp_path}", "test_mine.py"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


async def test_a_graph_goes_on_after_a_restart_of_postgres(short_directory: Path) -> None:
    [block] = blocks("python", "checkpoints")
    page: dict[str, Any] = {}
    exec(compile(block.text, block.place, "exec"), page)
    postgres = import_pgserver().get_server(short_directory / "pg", cleanup_mode="stop")
    server, gate, chunks = Server(short_directory / "pg", postgres), Gate(), list[Chunk]()
    model = ScriptedChatModel([ToolCall("look")], ["All is ", gate, "well."])

    async def look() -> str:
        """Look."""
        return "calm"

    async def run(saver: Any) -> None:
        graph = create_agent(model, [look], checkpointer=saver)
        async with create_service(postgres.get_uri()) as service:
            async with service.publisher("chat:1") as pub:
                config: Any = {
                    "callbacks": [StreamCallbackHandler(pub)],
                    "configurable": {"thread_id": "1"},
                }
                asked: Any = {"messages": [("user", "How is the sea?")]}
                run = asyncio.create_task(graph.ainvoke(asked, config, durability="sync"))
                await gate.reached()
                # A write that the restart breaks off fails.
                while saver.lock.locked():
                    await asyncio.sleep(0)
                await asyncio.to_thread(server.control, "restart", "-m", "fast")
                gate.open()
                await run
            chunks.extend(await service.chunks("chat:1"))
            assert not (await graph.aget_state(config)).next

    try:
        await page["main"](postgres.get_uri(), run)
    finally:
        postgres.cleanup()

    assert "".join(chunk.get("delta", "") for chunk in chunks) == "All is well."
    assert chunks[-1]["type"] == "finish"


def test_a_command_in_a_sentence_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chat.db").touch()
    pages = [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]
    found = [words for page in pages for words in OWN_COMMAND.findall(page.read_text())]
    assert found
    for words in found:
        name, *arguments = shlex.split(words)
        assert name in app.commands, words
        app.commands[name].make_context(name, [*arguments, "--url", "memory://"])


@pytest.mark.parametrize(("command", "exported"), commands())
async def test_a_command_can_be_run(
    command: str, exported: dict[str, str], tmp_path: Path, postgres_url: str
) -> None:
    program, *arguments = shlex.split(command)
    if program == "pip":
        check_install(arguments)
    elif program == "uvicorn":
        assert arguments == ["server:app"]
        assert all("\napp = FastAPI(" in server.text for server in blocks("python", "server"))
    elif program == "monostream-ai":
        here = [postgres_url if each.startswith("postgres") else each for each in arguments]
        await check_own_command(here, exported, tmp_path)
    else:
        assert (
            program.startswith("scripts/") and os.access(ROOT / program, os.X_OK) and not arguments
        )


CHATS: Final = """
import os
from monostream_ai import DurableStreamService, create_service
service = create_service("sqlite+aiosqlite:///chat.db", lease=3600)
async with service.publisher("chat:1") as pub:
    await pub.write({"type": "start"})
async with service.publisher("chat:2") as pub:
    await pub.write({"type": "start"})
    os._exit(0)
"""
"""Leaves a chat that has ended, and one that still runs."""


async def check_own_command(arguments: list[str], exported: dict[str, str], folder: Path) -> None:
    # An application that is imported has been ended.
    await run(CHATS.replace("3600", "0.1") if arguments[0] == "import" else CHATS, folder)
    command = [sys.executable, "-m", "monostream_ai.cli", *arguments]
    result = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | exported | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def check_install(arguments: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    tested = {
        Requirement(each).name
        for group in ("demo", "test")
        for each in project["dependency-groups"][group]
        if isinstance(each, str)
    }
    assert arguments[0] == "install"
    for requirement in map(Requirement, arguments[1:]):
        if requirement.name in ("monostream-ai", project["project"]["name"]):
            assert requirement.extras <= project["project"]["optional-dependencies"].keys()
        else:
            assert requirement.name in tested


@pytest.mark.parametrize("page", placed(blocks("tsx")))
def test_the_page_uses_what_the_example_uses(page: Block) -> None:
    example = "\n".join(path.read_text() for path in sorted(WEB.glob("src/*.ts*")))
    imports = [line for line in page.text.splitlines() if line.startswith("import ")]
    assert imports and all(line in example for line in imports)
    assert re.search(r"useChat\(\{.*\bresume: true\b", page.text) and re.search(
        r"useChat.*\(\{.*\bresume: true\b", example
    )
    assert "`/api/chat/${encodeURIComponent(id)}/stop`" in page.text


@pytest.mark.parametrize(
    "page",
    placed([each for each in [*BLOCKS, *blocks_of(TRANSPORT)] if each.language in ("ts", "tsx")]),
)
def test_the_page_type_checks(page: Block, tmp_path: Path) -> None:
    if not (WEB / "node_modules").is_dir():
        pytest.skip(f"no packages to check against: npm ci in {WEB.relative_to(ROOT)}")
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


@pytest.mark.parametrize(
    "block",
    placed([each for kind in REPLIES for each in blocks("python", kind)]),
)
def test_a_reply_compiles(block: Block) -> None:
    compile(block.text, block.place, "exec")


@pytest.mark.parametrize("block", placed(blocks("yaml")))
def test_a_rule_can_be_read(block: Block) -> None:
    assert yaml.safe_load(block.text)

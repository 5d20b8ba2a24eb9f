"""The container recipe: its files are valid, and its commands, started by hand, answer a chat.

No container engine is needed: the files and variables of the image are laid out in a folder, and
the embedded Postgres stands for the database. The programs are those of this environment; with
`MONOSTREAM_BUILD_IMAGE` they come from one that the commands of the Dockerfile make, from PyPI.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import asyncpg
import httpx
import pytest
import yaml
from compose_spec import PyCompose

from tests.fastapi.chat_client import chunks_in, question, types_in
from tests.plugins.postgres import asyncpg_dsn

ROOT: Final = Path(__file__).parents[2]
RECIPE: Final = ROOT / "examples" / "container"
COMPOSE: Final = yaml.safe_load((RECIPE / "compose.yaml").read_text())
SERVICES: Final = COMPOSE["services"]

PATIENCE: Final = 60.0
"""Seconds that a busy machine gets to start or to end a process."""


class Instruction(NamedTuple):
    name: str
    rest: str

    @property
    def copied(self) -> list[str]:
        """The files of the repository that it copies, and where to."""
        is_copy = self.name == "COPY" and not self.rest.startswith("--from")
        return self.words if is_copy else []

    @property
    def words(self) -> list[str]:
        """The arguments, whether they are written as JSON or as a shell has them."""
        return json.loads(self.rest) if self.rest.startswith("[") else shlex.split(self.rest)


def stages() -> list[list[Instruction]]:
    """Return the instructions of each stage of the Dockerfile; each begins with FROM."""
    text = re.sub(r"^#.*\n", "", (RECIPE / "Dockerfile").read_text(), flags=re.MULTILINE)
    found: list[list[Instruction]] = []
    for line in filter(None, text.replace("\\\n", "").splitlines()):
        instruction = Instruction(*line.split(maxsplit=1))
        if instruction.name == "FROM":
            found.append([])
        found[-1].append(instruction)
    return found


BUILD, IMAGE = stages()
"""The instructions of the stage that installs, and of the one that becomes the image."""


def only(name: str) -> Instruction:
    [found] = [each for each in IMAGE if each.name == name]
    return found


def copy(instruction: Instruction, folder: Path) -> None:
    *sources, target = instruction.copied or [""]
    for source in sources:
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, folder / target)
        else:
            shutil.copy(ROOT / source, folder / target)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs in the image."""
    if "MONOSTREAM_BUILD_IMAGE" not in os.environ:
        return Path(sys.executable).parent
    source, venv = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("venv")
    for instruction in BUILD:
        copy(instruction, source)
        if instruction.name == "RUN":
            command = instruction.rest.replace("/venv", str(venv))
            subprocess.run(command, shell=True, cwd=source, check=True)
    return venv / "bin"


class Image:
    """The files of the image in a folder, and its programs."""

    def __init__(self, root: Path, programs: Path, database: str) -> None:
        self._app = root / only("WORKDIR").rest.lstrip("/")
        self._app.mkdir(parents=True)
        for instruction in IMAGE:
            copy(instruction, self._app)
        variables = dict(word.split("=", 1) for word in only("ENV").words)
        variables["PATH"] = f"{programs}:{os.environ['PATH']}"
        assert variables["PYTHONPATH"] == only("WORKDIR").rest
        variables["PYTHONPATH"] = str(self._app)
        self._environment = variables | {"DATABASE_URL": database}

    def start(
        self, command: Sequence[str], pass_fds: Sequence[int] = ()
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, cwd=self._app, env=self._environment, pass_fds=pass_fds)

    def run(self, command: Sequence[str]) -> int:
        return self.start(command).wait(PATIENCE)


class App(NamedTuple):
    process: subprocess.Popen[bytes]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/chat"


def serve(image: Image) -> App:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # With it, uvicorn ignores the address of the image, which is for all of its network.
        descriptor = listener.fileno()
        process = image.start([*only("CMD").words, "--fd", str(descriptor)], [descriptor])
        return App(process, listener.getsockname()[1])


def healthcheck(port: int) -> list[str]:
    """Return the check of the image, for a port of this machine."""
    command = Instruction("CMD", only("HEALTHCHECK").rest.partition(" CMD ")[2]).words
    inside = f"http://127.0.0.1:{only('EXPOSE').rest}/"
    assert inside in command[-1]
    return [*command[:-1], command[-1].replace(inside, f"http://127.0.0.1:{port}/")]


@pytest.fixture
def image(tmp_path: Path, programs: Path, postgres_url: str) -> Image:
    return Image(tmp_path, programs, asyncpg_dsn(postgres_url))


@contextmanager
def ending(*processes: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill in the end what the test has not ended itself."""
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait(PATIENCE)


async def until(code: int, image: Image, app: App) -> None:
    """Wait until the check of the image exits with this code."""
    async with asyncio.timeout(PATIENCE):
        while await asyncio.to_thread(image.run, healthcheck(app.port)) != code:
            assert app.process.poll() is None
            await asyncio.sleep(0.2)


async def test_the_commands_of_the_recipe_answer_a_chat(image: Image) -> None:
    for _ in range(2):  # `docker compose up` runs it each time.
        assert image.run(SERVICES["tables"]["command"]) == 0
    apps = [serve(image) for _ in range(SERVICES["app"]["deploy"]["replicas"])]
    worker = image.start(SERVICES["worker"]["command"])
    processes = [worker, *(app.process for app in apps)]
    with ending(*processes):
        for app in apps:
            await until(0, image, app)
        checked, *command = SERVICES["worker"]["healthcheck"]["test"]
        assert (checked, image.run(command)) == ("CMD", 0)

        first, other = apps
        async with httpx.AsyncClient(timeout=PATIENCE) as http:
            answer = (await http.post(first.url, json=question())).text
            resumed = (await http.get(f"{other.url}/c1/stream")).text

        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(PATIENCE)

    text = "".join(chunk.get("delta", "") for chunk in chunks_in(answer))
    assert text.startswith("Every question gets its answer")
    assert types_in(answer)[-1] == "finish"
    assert chunks_in(resumed)[-1]["type"] == "finish"


async def test_a_web_process_that_lost_its_database_is_not_ready(
    image: Image, postgres_server: str, postgres_url: str
) -> None:
    assert image.run(SERVICES["tables"]["command"]) == 0
    name = postgres_url.rpartition("/")[2].partition("?")[0]
    admin = await asyncpg.connect(asyncpg_dsn(postgres_server))
    app = serve(image)
    with ending(app.process):
        await until(0, image, app)
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
        )
        await until(1, image, app)
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await until(0, image, app)
    await admin.close()


def test_the_compose_file_is_one_that_the_specification_admits() -> None:
    # The parser knows no merge keys, which are resolved here.
    parsed = PyCompose.from_yaml(yaml.safe_dump(COMPOSE))

    assert sorted(parsed.service_names()) == sorted(SERVICES)
    wrong = yaml.safe_dump(COMPOSE).replace("stop_grace_period", "stop_grace_time")
    with pytest.raises(ValueError, match="stop_grace_time"):
        PyCompose.from_yaml(wrong)


def test_the_image_runs_as_a_user_without_rights_and_is_built_apart() -> None:
    assert int(only("USER").rest) > 0
    assert [each.rest for each in IMAGE if each.rest.startswith("--from=build")] == [
        "--from=build /venv /venv"
    ]


def test_the_address_is_that_of_the_whole_network_of_the_container() -> None:
    words = only("CMD").words
    port = words[words.index("--port") + 1]

    assert words[words.index("--host") + 1] == "0.0.0.0"
    assert port == only("EXPOSE").rest
    assert [str(each["target"]) for each in SERVICES["app"]["ports"]] == [port]


def test_a_container_is_stopped_after_its_program_has_given_up() -> None:
    words = only("CMD").words
    bound = int(words[words.index("--timeout-graceful-shutdown") + 1])

    for name in ("app", "worker"):
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > bound


def test_the_build_gets_every_file_that_it_copies() -> None:
    admitted = [
        line.removeprefix("!")
        for line in (RECIPE / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    copied = [source for each in [*BUILD, *IMAGE] for source in each.copied[:-1]]
    assert [path for path in copied if not (ROOT / path).exists()] == []
    assert [path for path in copied if not path.startswith(tuple(admitted))] == []


def test_a_database_is_there_before_its_tables_and_these_before_the_rest() -> None:
    def waits(name: str) -> Mapping[str, Any]:
        found: dict[str, Any] = SERVICES[name]["depends_on"]
        return {each: condition["condition"] for each, condition in found.items()}

    assert waits("tables") == {"postgres": "service_healthy"}
    assert waits("app") == waits("worker") == {"tables": "service_completed_successfully"}

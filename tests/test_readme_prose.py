"""The names, files and numbers in the prose of the README and the docs, and one promise that no
other test covers.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine

from monostream_ai import DurableStreamService, StoreUnavailable, create_service
from monostream_ai._writing.encoding import MAX_WRITE_SIZE
from monostream_ai._writing.outbox import MAX_WAITING, MAX_WAITING_TOGETHER
from monostream_ai.chats.turns.requests import MAX_BODY_BYTES
from monostream_ai.service import DEFAULT_LEASE, DEFAULT_OUTAGE_TIMEOUT, DEFAULT_POLL_INTERVAL
from monostream_ai.stores.sql import SQLiteStore
from monostream_ai.types import MAX_CHUNK_BYTES, MAX_STREAM_ID_BYTES
from tests.chunks import PROTOCOL, texts
from tests.pages import PAGES, ROOT

SAID: Final = "".join(page.read_text() for page in PAGES)
LIMITS: Final = " ".join((ROOT / "docs" / "guarantees.md").read_text().split())
README: Final = (ROOT / "README.md").read_text()
MIB: Final = 1024 * 1024


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_every_link_to_a_file_leads_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text())
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


def test_every_guarantee_has_its_tests() -> None:
    guarantees = re.findall(r"^\| G(\d+) \|", README, re.MULTILINE)
    assert guarantees == [str(number) for number in range(1, 11)]
    assert [
        number for number in guarantees if not [*ROOT.glob(f"tests/guarantees/test_g{number}_*.py")]
    ] == []


def test_every_extra_that_is_named_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = re.findall(r"monostream-ai(?:-slim)?\[([\w,-]+)\]", SAID)
    assert named and {extra for each in named for extra in each.split(",")} <= set(extras)


async def test_every_member_that_is_named_exists() -> None:
    async with create_service("memory://") as service, service.publisher("s") as pub:
        owners = {"service": service, "pub": pub}
        named = re.findall(r"\b(service|pub)\.(\w+)", re.sub(r"service\.(py|md)", "", SAID))
        assert [
            f"{owner}.{name}" for owner, name in named if not hasattr(owners[owner], name)
        ] == []


@pytest.mark.parametrize(
    "said",
    [
        f"A chunk has at most {MAX_CHUNK_BYTES // MIB} MiB",
        f"one call of `write` or `push` at most {MAX_WRITE_SIZE // MIB} MiB",
        f"a stream id at most {MAX_STREAM_ID_BYTES:,} bytes",
        f"At most {MAX_WAITING // MIB} MiB may be pushed",
        f"and {MAX_WAITING_TOGETHER // MIB} MiB per process",
        f"at most {MAX_BODY_BYTES // MIB} MiB (`max_body_bytes=`)",
    ],
)
def test_a_limit_is_that_of_the_code(said: str) -> None:
    assert said in LIMITS


@pytest.mark.parametrize(
    "said",
    [
        f"its lease runs out ({DEFAULT_LEASE:g} s)",
        f"`poll_interval` ({DEFAULT_POLL_INTERVAL:g} s)",
        f"`outage_timeout` ({DEFAULT_OUTAGE_TIMEOUT:g} s)",
    ],
)
def test_a_number_is_that_of_the_code(said: str) -> None:
    assert said in README


async def test_a_full_disk_is_an_outage_that_loses_nothing(tmp_path: Path) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'full.db'}")
    # Pages, as if the disk ended there.
    event.listen(
        engine.sync_engine,
        "connect",
        lambda driver, _: driver.execute("PRAGMA max_page_count = 100").close(),
    )
    service = DurableStreamService(
        SQLiteStore(engine), None, PROTOCOL, outage_timeout=0.3, create_tables=True
    )
    acknowledged = 0
    pub = await service.publisher("s").open()
    with pytest.raises(StoreUnavailable, match="the disk is full"):
        while True:
            await pub.write(*texts(1000, acknowledged))
            acknowledged += 1000
    assert await service.chunks("s") == texts(acknowledged)
    assert acknowledged > 0
    await service.aclose()
    await engine.dispose()

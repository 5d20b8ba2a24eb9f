"""The documentation in Chromium: it needs no other host, fits phones, and can be searched."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import HERE, SCREENSHOTS

pytestmark = pytest.mark.browser

PARTS = 5
"""Pages are looked at in so many parts, of which a sample draws one or two."""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("part", range(PARTS))
def test_pages_fit_phones_and_ask_nobody_else(
    browser: str, address: str, site: Path, part: int
) -> None:
    found = sorted(f"{each.parent.relative_to(site)}/" for each in site.glob("*/**/index.html"))
    pages = ["", *found][part::PARTS]
    seen = look(browser, address, pages)

    assert seen["trouble"] == []
    assert [each["page"] for each in seen["looked"]] == [page for page in pages for _ in "12"]
    for each in seen["looked"]:
        place = (each["page"], each["width"])
        assert (place, each["overflow"], each["cut"]) == (place, 0, [])
        assert (place, each["broken"], each["undrawn"]) == (place, [], 0)


def test_the_search_needs_no_network(browser: str, address: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    seen = look(
        browser, address, ["", "reference/chats/"], screenshots=str(SCREENSHOTS), searches=True
    )

    assert seen["trouble"] == []
    for found in seen["found"]:
        assert {"Glossary", "Service"} <= set(found["titles"])
        assert found["opened"] != "/"


def look(browser: str, address: str, pages: list[str], **options: Any) -> dict[str, Any]:
    """Open the pages on a phone and at a desk; return what the driver prints."""
    task = {"url": address, "browser": browser, "pages": pages, **options}
    command = ["node", str(HERE / "driver" / "site.mjs"), json.dumps(task)]
    seen = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert seen.returncode == 0, seen.stderr
    result: dict[str, Any] = json.loads(seen.stdout)
    return result

"""With the hook of the reconnecting transport, an open tab shows an answer that begins anew once.

It runs in the page of the tutorial, with each major release of `ai`.
"""

from __future__ import annotations

from typing import Final

import pytest

from tests.pages import blocks_of
from tests.tutorial.conftest import (
    Application,
    NewApplication,
    OpenPage,
    behind_a_proxy,
    signed_in,
)
from tests.tutorial.steps import ROOT, command
from tests.tutorial.test_steps import answer_of, ask

pytestmark = [pytest.mark.browser, pytest.mark.sweep(3, of="file")]

PACKAGE: Final = ROOT / "packages" / "reconnecting-transport"
ANSWER: Final = "Each letter of this answer"


@pytest.fixture(params=["react-2", "react-3", ""], ids=["ai 5", "ai 6", "ai 7"])
def app(application: NewApplication, request: pytest.FixtureRequest) -> Application:
    """The application of step 5, whose page uses the hook of the README."""
    app = application(5)
    hook = next(block for block in blocks_of(PACKAGE / "README.md") if block.language == "tsx")
    page = app.folder / "page"
    (page / "transport.ts").write_text((PACKAGE / "src" / "reconnecting-transport.ts").read_text())
    copied = hook.text.replace('"monostream-reconnecting-transport"', '"./transport.ts"')
    app.use_hook(
        "useDurableChat.tsx",
        copied,
        "useDurableChat",
        r"useChat\(\{.*?\n  \}\)",
        "useDurableChat(id, known)",
    )
    app.build(request.param)
    return app


async def test_an_answer_that_another_process_runs_again_is_shown_once(
    app: Application, open_page: OpenPage
) -> None:
    server = app.serve(command(1, "uvicorn"))
    page = await open_page(app.url)
    await ask(page, "Hi!")
    await page("sees", ANSWER)
    app.kill(server)
    app.serve(command(1, "uvicorn"))
    live = await page("reads", answer_of(5))
    await page("reload")
    loaded = await page("reads", answer_of(5))

    assert live == loaded
    assert (live.count(ANSWER), live.count("Hi!")) == (1, 1)


async def test_an_answer_that_another_device_asked_for_takes_the_place_of_the_old_one(
    app: Application, open_page: OpenPage
) -> None:
    app.serve(command(1, "uvicorn"))
    async with behind_a_proxy(app.url) as (url, cut), signed_in(app.url) as http:
        page = await open_page(url)
        await ask(page, "Hi!")
        await page("sees", ANSWER)
        await page("cut", "/api/chat/c1/stream*")
        cut()
        await page("failed")
        question = (await http.get("/api/history/c1")).json()
        await http.post("/api/chat/c1/stop")
        again = {"id": "c1", "trigger": "regenerate-message", "messages": question}
        asked = await http.post("/api/chat", json=again, headers={"prefer": "respond-async"})
        await page("mend", "/api/chat/c1/stream*")
        live = await page("reads", answer_of(5))

    assert asked.status_code == 202
    assert (live.count(ANSWER), live.count("Hi!")) == (1, 1)

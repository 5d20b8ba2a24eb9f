"""With the hook of `docs/compatibility.md`, an open tab of `ai` 6 and `@ai-sdk/react` 3 shows an
answer once after its connection broke. It runs in the page of the tutorial.
"""

from __future__ import annotations

from typing import Final

import pytest

from tests.pages import blocks
from tests.tutorial.conftest import Application, NewApplication, OpenPage, behind_a_proxy
from tests.tutorial.steps import command

pytestmark = pytest.mark.browser

ANSWER: Final = "Each letter of this answer"
END: Final = "it is all there."


@pytest.fixture
def old(application: NewApplication) -> Application:
    """The application of step 2, whose page uses the hook and the older packages."""
    app = application(2)
    [hook] = blocks("tsx", "ai_6")
    app.use_hook(
        "useDurableChat.tsx",
        hook.text,
        "useDurableChat",
        r"useChat\(\{ id, resume: true \}\)",
        "useDurableChat(id)",
    )
    app.build("react-3")
    app.serve(command(1, "uvicorn"))
    return app


async def test_an_open_tab_shows_an_answer_once_after_its_connection_broke(
    old: Application, open_page: OpenPage
) -> None:
    async with behind_a_proxy(old.url) as (url, cut):
        page = await open_page(url)
        await page("open", "/?chat=c1")
        await page("fill", "Question", "Hi!")
        await page("click", "Ask")
        await page("sees", ANSWER)
        cut()
        shown = await page("reads", END)

    assert shown.count(ANSWER) == 1

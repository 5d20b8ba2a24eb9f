"""The hook of `docs/usechat.md` marks failed answers, in a page that has the history of the fourth
step.
"""

from __future__ import annotations

import re

import pytest

from tests.pages import blocks
from tests.tutorial.conftest import NewApplication, OpenPage
from tests.tutorial.steps import command
from tests.tutorial.test_steps import ask, change, fail_at_the_end

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("window", ["60", "0"])
async def test_a_failed_answer_is_marked_at_once_and_after_a_reload(
    application: NewApplication, open_page: OpenPage, window: str
) -> None:
    app, failed = application(4), "incomplete"
    fail_at_the_end(app)
    change(
        app.folder / "app.py", "authorize=user, on", f"authorize=user, replay_window={window}, on"
    )
    [hook] = blocks("tsx", "marked")
    page = app.folder / "page"
    (page / "useMarkedChat.tsx").write_text(hook.text)
    text = (page / "Chat.jsx").read_text()
    text, replaced = re.subn(r"useChat\(\{.*\}\)", "useMarkedChat(id, known)", text)
    assert (replaced, text.count("</article>")) == (1, 1)
    text = text.replace("</article>", "<Mark {...message} /></article>")
    imported = 'import { Mark, useMarkedChat } from "./useMarkedChat.tsx";'
    (page / "Chat.jsx").write_text(f"{imported}\n{text}")
    app.build()
    app.serve(command(1, "uvicorn"))
    tab = await open_page(app.url)
    await ask(tab, "Hi!")
    first = await tab("reads", failed)
    await tab("fill", "Question", "Again?")
    await tab("click", "Ask")
    await tab("sees", "Again?")
    second = await tab("reads", failed)
    await tab("reload")
    loaded = await tab("reads", failed)

    assert [shown.count(failed) for shown in (first, second, loaded)] == [1, 2, 2]

"""The hook of `docs/usechat.md` marks failed answers, in a page that has the history of the fourth
step.
"""

from __future__ import annotations

import pytest

from tests.pages import blocks
from tests.tutorial.conftest import NewApplication, OpenPage
from tests.tutorial.steps import command
from tests.tutorial.test_steps import change, check_marks, fail_at_the_end

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("window", ["60", "0"])
async def test_a_failed_answer_is_marked_at_once_and_after_a_reload(
    application: NewApplication, open_page: OpenPage, window: str
) -> None:
    app = application(4)
    fail_at_the_end(app)
    change(
        app.folder / "app.py", "authorize=user, on", f"authorize=user, replay_window={window}, on"
    )
    [hook] = blocks("tsx", "marked")
    app.use_hook(
        "useMarkedChat.tsx",
        hook.text,
        "Mark, useMarkedChat",
        r"useChat\(\{[^\n]*\}\)",
        "useMarkedChat(id, known)",
    )
    app.change("page/Chat.jsx", "</article>", "<Mark {...message} /></article>")
    app.build()
    app.serve(command(1, "uvicorn"))
    await check_marks(await open_page(app.url))

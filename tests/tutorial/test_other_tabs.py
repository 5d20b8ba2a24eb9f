"""The hook `useSharedChat` of the npm package keeps a chat in step with other tabs and devices.

It runs in the page of the tutorial, beside its `useChat`, with each major release of `ai`.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import pytest

from monostream_ai import create_service
from tests.fastapi.chat_client import question
from tests.pages import blocks
from tests.tutorial.conftest import Application, NewApplication, OpenPage, Page, signed_in
from tests.tutorial.steps import ROOT, command
from tests.tutorial.test_steps import REFUND, answer_of, begun, change, sign_in

pytestmark = [pytest.mark.browser, pytest.mark.sweep(3, of="file")]

SOURCES: Final = ROOT / "packages" / "reconnecting-transport" / "src"

PATH: Final = "/?chat=c1"

HOOK: Final = """
import { useChat } from "@ai-sdk/react";
import { useState } from "react";
import { ReconnectingChatTransport } from "./reconnecting-transport.ts";
import { useSharedChat } from "./shared-chat.ts";

const history = async (id) => {
  const response = await fetch(`/api/history/${id}`);
  if (response.status >= 500) throw new Error(await response.text());
  return response.ok ? response.json() : null;
};
const onRefused = (text, error) => {
  document.querySelector("input").value = text;
  document.title = error.message;
};

export function useTabChat(options) {
  const [transport] = useState(() => TRANSPORT);
  const chat = useChat({ ...options, transport });
  useSharedChat(chat, { history, onRefused });
  return chat;
}
"""
RELEASES: Final = [("", "stock"), ("react-3", "stock"), ("react-3", "reconnecting")]
"""Versions of `@ai-sdk/react`, the usual one or an older one, with a transport."""

TRANSPORTS: Final = {"stock": "undefined", "reconnecting": "new ReconnectingChatTransport()"}


class Deciding(NamedTuple):
    app: Application
    page: Page


@pytest.fixture
def pace() -> str:
    """Seconds between the letters of an answer."""
    return "0.1"


@pytest.fixture
def shared(application: NewApplication, pace: str) -> Application:
    """The application of step 4, whose page uses the hook."""
    app = with_hook(application, pace)
    app.build()
    app.serve(command(1, "uvicorn"))
    return app


def with_hook(
    application: NewApplication, pace: str, step: int = 4, transport: str = "stock"
) -> Application:
    app = application(step)
    change(app.folder / "answers.py", "sleep=0.1", f"sleep={pace}")
    for source in SOURCES.iterdir():
        (app.folder / "page" / source.name).write_text(source.read_text())
    hook = HOOK.replace("TRANSPORT", TRANSPORTS[transport])
    app.use_hook("useTabChat.tsx", hook, "useTabChat", r"useChat\(\{", "useTabChat({")
    if step >= 5:
        # The hook looks after lost connections.
        app.change("page/Chat.jsx", r"    onFinish: .*?\n", "")
    return app


def hook_of(directive: str) -> str:
    """Return a hook of the documents for a page that has the file of the events."""
    [hook] = blocks("tsx", directive)
    installed = '"monostream-reconnecting-transport/chat-events"'
    assert hook.text.count(installed) == 1
    return hook.text.replace(installed, '"./chat-events.ts"')


async def opened(open_page: OpenPage, app: Application, *cut: str) -> Page:
    page = await open_page(app.url)
    await sign_in(page)
    for path in cut:
        await page("cut", path)
    await page("open", PATH)
    await page("finds", "button", "Ask")
    return page


async def ask(page: Page, text: str) -> None:
    await page("fill", "Question", text)
    await page("click", "Ask")


async def test_a_device_follows_the_question_and_the_answer_of_another_one(
    shared: Application, open_page: OpenPage
) -> None:
    answer = answer_of(4)
    one, other = [await opened(open_page, shared) for _ in range(2)]
    await ask(one, "Hi!")
    begun = await other("sees", answer[:5])
    shown = [await page("reads", answer) for page in (one, other)]

    assert "Hi!" in begun and answer not in begun
    assert [(each.count("Hi!"), each.count(answer)) for each in shown] == [(1, 1), (1, 1)]


async def test_a_page_in_strict_mode_follows_too(
    application: NewApplication, open_page: OpenPage, pace: str
) -> None:
    app = with_hook(application, pace)
    main = app.folder / "page" / "main.jsx"
    text = main.read_text()
    assert text.count("<Chat ") == 1
    chat = re.sub(r"<Chat .*? />", r"<StrictMode>\g<0></StrictMode>", text)
    main.write_text(f'import {{ StrictMode }} from "react";\n{chat}')
    # React calls each effect twice in development only.
    app.environment["NODE_ENV"] = "development"
    app.build()
    app.serve(command(1, "uvicorn"))
    page = await opened(open_page, app)
    async with signed_in(app.url) as http, begun(http):
        shown = await page("reads", answer_of(4))

    assert shown.count(answer_of(4)) == 1


async def test_a_question_that_is_refused_goes_back_and_the_other_answer_is_shown(
    shared: Application, open_page: OpenPage
) -> None:
    answer = answer_of(4)
    # Without events it asks while another one is answered, as two tabs do that ask at once.
    page = await opened(open_page, shared, "/api/chat/events")
    async with signed_in(shared.url) as http, begun(http):
        await ask(page, "And I?")
        shown = await page("reads", answer)

    assert (shown.count(answer), "And I?" in shown) == (1, False)
    assert await page("holds", "Question") == "And I?"


@pytest.mark.parametrize(("react", "transport"), RELEASES)
async def test_a_question_that_is_too_large_goes_back_and_the_page_says_why(
    application: NewApplication, open_page: OpenPage, pace: str, react: str, transport: str
) -> None:
    answer, app = answer_of(4), with_hook(application, pace, transport=transport)
    change(app.folder / "app.py", "authorize=user, on", "authorize=user, max_body_bytes=5000, on")
    app.build(react)
    app.serve(command(1, "uvicorn"))
    page = await opened(open_page, app)
    await ask(page, "Hi!")
    await page("reads", answer)
    await ask(page, "long " * 1000)
    shown = await page("reads", "The request is too large")

    assert (shown.count(answer), "long" in shown) == (1, False)
    assert await page("holds", "Question") == "long " * 1000


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_question_behind_the_end_of_the_session_goes_back(
    application: NewApplication, open_page: OpenPage, pace: str, transport: str
) -> None:
    answer, app = answer_of(4), with_hook(application, pace, transport=transport)
    app.build()
    app.serve(command(1, "uvicorn"))
    page = await opened(open_page, app)
    await ask(page, "Hi!")
    await page("reads", answer)
    await page("expire")
    await ask(page, "And I?")
    shown = await page("reads", "Sign in")

    assert (shown.count(answer), "And I?" in shown) == (1, False)
    assert await page("holds", "Question") == "And I?"


async def test_a_tab_that_shows_an_error_follows_too(
    shared: Application, open_page: OpenPage
) -> None:
    answer = answer_of(4)
    page = await opened(open_page, shared, "/api/chat")
    await ask(page, "And I?")
    await page("sees", "Failed to fetch")
    await page("mend", "/api/chat")
    async with signed_in(shared.url) as http, begun(http):
        shown = await page("reads", answer)

    assert (shown.count(answer), "And I?" in shown) == (1, False)
    assert "Failed to fetch" not in shown


@pytest.mark.parametrize("transport", ["stock", "reconnecting"])
async def test_a_tab_whose_server_dies_shows_the_new_answer_in_place_of_the_old_one(
    application: NewApplication, open_page: OpenPage, transport: str
) -> None:
    answer = answer_of(5)
    app = with_hook(application, "0.05", step=5, transport=transport)
    app.build()
    server = app.serve(command(1, "uvicorn"))
    page = await opened(open_page, app)
    await ask(page, "Hi!")
    await page("sees", answer[:10])
    app.kill(server)
    # The history cannot be loaded at first.
    await page("failed")
    app.serve(command(1, "uvicorn"))
    live = await page("reads", answer)
    await page("reload")
    loaded = await page("reads", answer)

    assert live == loaded
    assert (live.count(answer), live.count("Hi!")) == (1, 1)


@pytest.mark.parametrize("pace", ["0.0"])
async def test_an_answer_that_is_over_at_once_is_shown_in_a_tab_that_is_open(
    shared: Application, open_page: OpenPage
) -> None:
    page = await opened(open_page, shared)
    async with signed_in(shared.url) as http:
        for number in range(3):
            text = f"Question {number}"
            message = {
                "id": f"q{number}",
                "role": "user",
                "parts": [{"type": "text", "text": text}],
            }
            answer = await http.post("/api/chat", json={"id": "c1", "messages": [message]})
            assert answer.status_code == 200
            shown = await page("sees", text)

    shown = await page("reads", text)
    assert shown.count(answer_of(4)) == 3


DELETE: Final = """
@app.delete("/api/history/{chat_id:path}")
async def delete(chat_id: str, owner: User):
    await answers.history.delete(chat_id, owner=owner)

app.mount("""


async def test_a_chat_that_is_deleted_elsewhere_is_emptied(
    application: NewApplication, open_page: OpenPage, pace: str
) -> None:
    app = with_hook(application, pace)
    change(app.folder / "app.py", "\napp.mount(", DELETE)
    app.build()
    app.serve(command(1, "uvicorn"))
    page = await opened(open_page, app)
    await ask(page, "Hi!")
    await page("sees", answer_of(4)[:5])
    async with signed_in(app.url) as http:
        (await http.delete("/api/history/c1")).raise_for_status()
        await page("misses", "Hi!")
        # The versions of the chat begin anew.
        (await http.post("/api/chat", json=question("c1", "Again?"))).raise_for_status()
        shown = await page("reads", answer_of(4))

    assert (shown.count("Again?"), "Hi!" in shown) == (1, False)


@pytest.fixture(params=RELEASES)
async def deciding(
    application: NewApplication, open_page: OpenPage, pace: str, request: pytest.FixtureRequest
) -> Deciding:
    """The application of step 6 with the hook, and a page that asks the user."""
    react, transport = request.param
    app = with_hook(application, pace, step=6, transport=transport)
    app.build(react)
    app.serve(command(1, "uvicorn"))
    page = await opened(open_page, app)
    await ask(page, REFUND)
    await page("reads", "May I call")
    return Deciding(app, page)


async def test_a_decision_that_another_tab_has_made_first_is_replaced(
    deciding: Deciding, open_page: OpenPage
) -> None:
    # Without events it decides after the other tab, as two tabs do that decide at once.
    late = await opened(open_page, deciding.app, "/api/chat/events")
    await late("reads", "May I call")
    await deciding.page("click", "No")
    await deciding.page("reads", "output-denied")
    await late("click", "Yes")

    shown = await late("reads", "output-denied")
    assert shown == await deciding.page("reads", "output-denied")
    assert "incomplete" not in shown


async def test_a_decision_that_does_not_arrive_is_taken_back_and_the_page_says_why(
    deciding: Deciding,
) -> None:
    await deciding.page("cut", "/api/chat")
    await deciding.page("click", "Yes")
    lost = await deciding.page("reads", "Failed to fetch")
    await deciding.page("mend", "/api/chat")
    await deciding.page("click", "Yes")
    mended = await deciding.page("reads", "is refunded")

    assert "May I call" in lost and "incomplete" not in lost
    assert "Failed to fetch" not in mended


async def test_a_retry_that_does_not_arrive_is_taken_back_and_the_page_says_why(
    deciding: Deciding,
) -> None:
    before = await deciding.page("reads", "May I call")
    await deciding.page("cut", "/api/chat")
    await deciding.page("click", "Retry")
    lost = await deciding.page("reads", "Failed to fetch")
    await deciding.page("mend", "/api/chat")
    await deciding.page("click", "Retry")
    await deciding.page("misses", "Failed to fetch")

    assert lost.startswith(before.split("May I call")[0])
    assert "May I call" in lost and "incomplete" not in lost
    assert "May I call" in await deciding.page("reads", "May I call")


async def test_a_decision_that_comes_too_late_says_so(deciding: Deciding) -> None:
    async with create_service(f"sqlite+aiosqlite:///{deciding.app.folder / 'chat.db'}") as service:
        await service.prune(older_than=0.0)
    late = "This answer is no longer kept"
    shown = []
    for _ in range(2):
        await deciding.page("click", "Yes")
        shown.append(await deciding.page("reads", late))

    assert [(late in each, "May I call" in each) for each in shown] == [(True, True)] * 2


LIST: Final = """
{waiting.questions.map(({ number, message }) => (
  <p key={number}>
    waits: {message.parts[0].text}
    <button onClick={() => waiting.cancel(number)}>Cancel {message.parts[0].text}</button>
  </p>
))}
{error && """


@pytest.mark.parametrize("pace", ["0.05"])
async def test_questions_that_wait_are_listed_in_order_and_cancelled_on_any_device(
    application: NewApplication, open_page: OpenPage, pace: str
) -> None:
    answer, app = answer_of(4), with_hook(application, pace)
    change(app.folder / "app.py", "authorize=user, on", 'authorize=user, on_busy="queue", on')
    chat = app.folder / "page" / "Chat.jsx"
    change(chat, "<button disabled={busy}>", "<button>")
    change(chat, "{error && ", LIST)
    app.use_hook(
        "useWaitingQuestions.tsx",
        hook_of("waiting"),
        "useWaitingQuestions",
        "  const busy =",
        "  const waiting = useWaitingQuestions(id);\n  const busy =",
    )
    asks = "const { value } = event.target.question;\n"
    asks += "busy || waiting.questions.length ? waiting.ask(value) : sendMessage({ text: value });"
    change(chat, "sendMessage({ text: event.target.question.value });", asks)
    app.build()
    app.serve(command(1, "uvicorn"))
    one, other = [await opened(open_page, app) for _ in range(2)]
    await ask(one, "First?")
    await one("sees", answer[:5])
    await one("delay", "/api/chat")
    for text in ("Second?", "Third?", "Fourth?"):
        await ask(one, text)
    listed = await other("sees", "waits: Fourth?")
    await other("click", "Cancel Third?")
    await one("misses", "waits: Third?")
    await one("misses", "waits: Fourth?")
    shown = ""
    while shown.count(answer) < 3:
        shown = await one("reads", answer)

    assert re.findall(r"waits: (\w+)", listed) == ["Second", "Third", "Fourth"]
    assert re.findall(r"\w+\?", shown) == ["First?", "Second?", "Fourth?"]
    assert await other("reads", answer) == shown

"""Each step of the tutorial does as its page says: with its own files and commands, on a real
server, and with a real worker and a real Postgres from the eighth on.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import pytest

from monostream_ai import create_service
from tests.fastapi.chat_client import chunks_in, question, types_in
from tests.stores.test_pooler import pooled_url
from tests.tutorial.conftest import PATIENCE, Application, NewApplication, OpenPage, Page, signed_in
from tests.tutorial.steps import ROOT, command, commands, files_after

__all__ = ["pooled_url"]

pytestmark = pytest.mark.sweep(5, of="file")

QUEUE: Final = "python -m procrastinate --app worker.queue"
REFUND: Final = "Please refund my order"


def answer_of(step: int) -> str:
    """Return the answer of the model."""
    name = "answers.py" if step >= 4 else "app.py"
    [found] = re.findall(r'^ANSWER = "(.*)"$', files_after(step)[name], re.MULTILINE)
    return str(found)


def text_in(body: str) -> str:
    return "".join(chunk.get("delta", "") for chunk in chunks_in(body))


async def status(http: httpx.AsyncClient, chat_id: str = "c1") -> dict[str, Any]:
    found: dict[str, Any] = (await http.get(f"/api/chat/{chat_id}/status")).json()
    return found


@asynccontextmanager
async def begun(http: httpx.AsyncClient, chat_id: str = "c1") -> AsyncIterator[str]:
    """Ask, and leave when the answer has begun; yield the events so far."""
    arrived = ""
    async with http.stream("POST", "/api/chat", json=question(chat_id)) as response:
        async for line in response.aiter_lines():
            arrived += f"{line}\n"
            if '"text-delta"' in line:
                break
    yield arrived


async def rest(http: httpx.AsyncClient, arrived: str = "", chat_id: str = "c1") -> str:
    """Come back to an answer and read it to its end, as a page does whose connection breaks.

    It goes on behind the events that have arrived, also if the answer ended long ago.
    """
    after = {"after": re.findall("^id: (.*)$", arrived, re.MULTILINE)[-1]} if arrived else {}
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                response = await http.get(f"/api/chat/{chat_id}/stream", params=after)
            except httpx.TransportError:
                continue
            assert response.status_code == 200
            return arrived + response.text


def request_of(curl: str) -> tuple[str, str, Any]:
    """Return method, path and body of a command."""
    _, _, address, *data = shlex.split(curl)
    path = address.removeprefix("localhost:8000")
    return ("POST", path, json.loads(data[1])) if data else ("GET", path, None)


async def test_1_the_answer_goes_on_without_a_reader(application: NewApplication) -> None:
    app = application(1)
    app.serve(command(1, "uvicorn"))
    asking, resuming = [request_of(each) for each in commands(1) if each.startswith("curl")]
    async with httpx.AsyncClient(base_url=app.url, timeout=PATIENCE) as http:
        async with http.stream(*asking[:2], json=asking[2]) as response:
            async for line in response.aiter_lines():
                if '"text-delta"' in line:
                    break
        resumed = (await http.request(*resuming[:2])).text
        repeated = (await http.request(*asking[:2], json=asking[2])).text
        first = await status(http)
        asking[2]["messages"][0]["id"] = "q2"
        async with http.stream(*asking[:2], json=asking[2]) as response:
            await http.post("/api/chat/c1/stop")
            stopped = "".join([piece async for piece in response.aiter_text()])

    assert text_in(resumed) == text_in(repeated) == answer_of(1)
    assert (types_in(resumed)[-1], first["version"]) == ("finish", 0)
    assert "abort" in types_in(stopped)


@pytest.mark.browser
async def test_2_a_page_that_is_reloaded_shows_the_whole_answer(
    application: NewApplication, open_page: OpenPage
) -> None:
    app, answer = application(2), answer_of(2)
    app.build()
    app.serve(command(1, "uvicorn"))
    page = await open_page(app.url)
    await page("open", "/")
    await page("fill", "Question", "Hi!")
    await page("click", "Ask")
    assert "Hi!" in await page("sees", answer[:5])
    await page("reload")
    shown = await page("sees", answer)

    assert (shown.count(answer), "Hi!" in shown) == (1, False)


@pytest.mark.browser
async def test_3_each_user_has_chats_of_their_own(
    application: NewApplication, open_page: OpenPage
) -> None:
    app, answer = application(3), answer_of(3)
    app.build()
    app.serve(command(1, "uvicorn"))
    page = await open_page(app.url)
    await page("open", "/")
    await page("fill", "Name", "ada")
    await page("fill", "Password", "bobs password")
    await page("click", "Sign in")
    await page("sees", "The name or the password is wrong.")
    await page("fill", "Password", "adas password")
    await page("click", "Sign in")
    await page("fill", "Question", "Hi!")
    await page("click", "Ask")
    await page("sees", answer[:5])

    async with httpx.AsyncClient(base_url=app.url) as http:
        refused = [
            await http.request(*request_of(each)[:2], json=request_of(each)[2])
            for each in commands(1)
            if each.startswith("curl")
        ]
        await http.post("/api/sign-in", json={"name": "bob", "password": "bobs password"})
        bobs = await status(http)
    async with signed_in(app.url) as http:
        adas = await status(http)
    assert [response.status_code for response in refused] == [401, 401]
    assert (bobs["state"], adas["state"]) == ("idle", "open")


async def sign_in(page: Page) -> None:
    await page("open", "/")
    await page("fill", "Name", "ada")
    await page("fill", "Password", "adas password")
    await page("click", "Sign in")
    await page("finds", "button", "Ask")


async def ask(page: Page, text: str) -> None:
    await sign_in(page)
    await page("open", "/?chat=c1")
    await page("fill", "Question", text)
    await page("click", "Ask")


@pytest.mark.browser
async def test_4_a_page_shows_the_conversation_and_the_chats(
    application: NewApplication, open_page: OpenPage
) -> None:
    app, answer = application(4), answer_of(4)
    app.build()
    app.serve(command(1, "uvicorn"))
    page = await open_page(app.url)
    await sign_in(page)
    await page("fill", "Question", "Hi!")
    await page("click", "Ask")
    await page("sees", answer[:5])
    await page("reload")
    live = await page("reads", answer)
    await page("follow", "New chat")
    await page("finds", "button", "Ask")
    await page("follow", "Hi!")
    loaded = await page("reads", answer)

    assert live == loaded
    assert (live.count(answer), live.count("Hi!")) == (1, 1)


@pytest.mark.browser
async def test_4_an_error_of_the_server_asks_nobody_to_sign_in(
    application: NewApplication, open_page: OpenPage
) -> None:
    app = application(4)
    change(app.folder / "app.py", "return await answers.history.messages(", "raise RuntimeError(")
    app.build()
    app.serve(command(1, "uvicorn"))
    page = await open_page(app.url)
    await page("open", "/")
    await page("fill", "Name", "ada")
    await page("fill", "Password", "adas password")
    await page("click", "Sign in")

    assert await page("sees", "The chat cannot be loaded now.")


async def answering(
    application: NewApplication, open_page: OpenPage
) -> tuple[Application, Page, str]:
    """Ask in the page of step 5; return when its answer has begun, with the whole answer."""
    app, answer = application(5), answer_of(5)
    app.build()
    app.serve(command(1, "uvicorn"))
    page = await open_page(app.url)
    await ask(page, "Hi!")
    await page("sees", answer[:5])
    return app, page, answer


@pytest.mark.browser
async def test_5_the_button_stops_an_answer(
    application: NewApplication, open_page: OpenPage
) -> None:
    app, page, answer = await answering(application, open_page)
    await page("click", "Stop")
    await page("finds", "button", "Ask")
    stopped = await page("sees", answer[:5])
    async with signed_in(app.url) as http:
        history = (await http.get("/api/history/c1")).json()

    assert answer not in stopped
    assert history[-1]["metadata"] == {"stopped": True}


@pytest.mark.browser
async def test_5_enter_asks_nothing_while_an_answer_runs(
    application: NewApplication, open_page: OpenPage
) -> None:
    app, page, answer = await answering(application, open_page)
    await page("fill", "Question", "Another?")
    await page("press", "Question", "Enter")

    assert "Another?" not in await page("reads", answer)


@pytest.mark.browser
async def test_5_another_answer_takes_the_place_of_the_first(
    application: NewApplication, open_page: OpenPage
) -> None:
    app, page, answer = await answering(application, open_page)
    await page("click", "Stop")
    stopped = await page("sees", "stopped")
    await page("click", "Retry")
    live = await page("reads", answer)
    await page("reload")
    loaded = await page("reads", answer)

    assert answer not in stopped
    assert live == loaded
    assert (live.count(answer), live.count("Hi!"), "stopped" in live) == (1, 1, False)


def fail_at_the_end(app: Application) -> None:
    """Let the reply raise once the text is whole: a message of the model has no such method."""
    change(app.folder / "answers.py", "sleep=0.1", "sleep=0")
    change(app.folder / "answers.py", "await self.model.ainvoke(", "(await self.model.ainvoke(")
    change(app.folder / "answers.py", "[turn.callback]})", "[turn.callback]})).fails()")


# A page that comes back later gets the history only.
@pytest.mark.parametrize("window", ["60", "0"])
@pytest.mark.browser
async def test_5_an_answer_that_failed_says_so_for_good(
    application: NewApplication, open_page: OpenPage, window: str
) -> None:
    app = application(5)
    fail_at_the_end(app)
    change(app.folder / "app.py", "authorize=user)", f"authorize=user, replay_window={window})")
    app.build()
    app.serve(command(1, "uvicorn"))
    await check_marks(await open_page(app.url))


@pytest.mark.browser
async def test_5_a_press_on_stop_that_ends_after_the_answer_sends_no_draft(
    application: NewApplication, open_page: OpenPage
) -> None:
    app = application(5)
    change(app.folder / "answers.py", "sleep=0.1", "sleep=0.03")
    app.build()
    app.serve(command(1, "uvicorn"))
    page = await open_page(app.url)
    await ask(page, "Hi!")
    await page("fill", "Question", "A draft")
    await page("hold", "Stop")
    await page("reads", answer_of(5))
    await page("release")

    assert await page("holds", "Question") == "A draft"


async def check_marks(page: Page) -> None:
    """Fail unless each of two failed answers is marked at once, and after a reload."""
    failed = "incomplete"
    await ask(page, "Hi!")
    first = await page("reads", failed)
    await page("fill", "Question", "Again?")
    await page("click", "Ask")
    await page("sees", "Again?")
    second = await page("reads", failed)
    await page("reload")
    loaded = await page("reads", failed)

    assert [shown.count(failed) for shown in (first, second, loaded)] == [1, 2, 2]


def change(file: Path, before: str, after: str) -> None:
    """Change a file of the application at one place."""
    text = file.read_text()
    assert text.count(before) == 1
    file.write_text(text.replace(before, after))


async def test_5_a_reloader_hands_the_answer_over(application: NewApplication) -> None:
    app = application(5)
    app.serve(f"{command(1, 'uvicorn')} --reload")
    async with signed_in(app.url) as http:
        async with begun(http):
            (app.folder / "app.py").write_text(files_after(5)["app.py"] + "\n")
        while (await status(http))["attempt"] == 1:
            await asyncio.sleep(0.1)
        body = await rest(http)
    assert (text_in(body), types_in(body)[-1]) == (answer_of(5), "finish")


@pytest.mark.browser
async def test_6_a_refund_waits_for_the_user_through_a_restart(
    application: NewApplication, open_page: OpenPage
) -> None:
    app, answer = application(6), answer_of(6)
    app.build()
    server = app.serve(command(1, "uvicorn"))
    page = await open_page(app.url)
    await ask(page, REFUND)
    await page("sees", "May I call")
    app.kill(server)
    app.serve(command(1, "uvicorn"))
    await page("reload")
    await page("click", "Yes")
    live = await page("reads", answer)
    await page("reload")
    loaded = await page("reads", answer)

    assert live == loaded
    assert (live.count("Order 7 is refunded."), live.count(answer)) == (1, 1)


@pytest.mark.browser
async def test_6_a_question_that_was_passed_over_cannot_be_answered(
    application: NewApplication, open_page: OpenPage
) -> None:
    app, answer = application(6), answer_of(6)
    app.build()
    app.serve(command(1, "uvicorn"))
    page = await open_page(app.url)
    await ask(page, REFUND)
    await page("sees", "May I call")
    await page("fill", "Question", "Hello?")
    await page("click", "Ask")
    await page("reads", answer)

    assert not await page("can", "Yes")


@pytest.mark.browser
async def test_6_a_refund_that_is_declined_is_not_done(
    application: NewApplication, open_page: OpenPage
) -> None:
    app, answer = application(6), answer_of(6)
    app.build()
    app.serve(command(1, "uvicorn"))
    page = await open_page(app.url)
    await ask(page, REFUND)
    await page("click", "No")
    live = await page("reads", answer)
    await page("reload")
    loaded = await page("reads", answer)

    assert live == loaded
    assert (live.count("output-denied"), live.count("is refunded")) == (1, 0)


@pytest.mark.browser
async def test_7_a_part_of_ones_own_is_replayed_and_replaced(
    application: NewApplication, open_page: OpenPage
) -> None:
    app, answer = application(7), answer_of(7)
    app.build()
    app.serve(command(1, "uvicorn"))
    page = await open_page(app.url)
    await ask(page, REFUND)
    await page("click", "Yes")
    await page("finds", "progressbar", "Refund")
    await page("reload")
    grown = await page("finds", "progressbar", "Refund")
    await page("sees", answer)
    async with signed_in(app.url) as http:
        parts = (await http.get("/api/history/c1")).json()[-1]["parts"]
    kept = await page("finds", "progressbar", "Refund")

    assert 1 <= grown <= kept == 5
    assert [part["data"]["done"] for part in parts if part["type"] == "data-progress"] == [5]


@pytest.fixture
def plain_url(postgres_url: str) -> str:
    return postgres_url.replace("+asyncpg", "")


async def test_8_another_worker_answers_when_one_is_killed(
    application: NewApplication, plain_url: str
) -> None:
    app = application(8)
    app.environment["DATABASE_URL"] = plain_url
    app.run(f"{QUEUE} schema --apply")
    worker = app.start(f"{QUEUE} worker")
    app.serve("uvicorn web:app")
    async with signed_in(app.url) as http:
        async with begun(http):
            app.kill(worker)
        app.start(f"{QUEUE} worker")
        body = await rest(http)
        found = await status(http)

    assert (text_in(body), types_in(body)[-1]) == (answer_of(8), "finish")
    assert found["attempt"] == 2


async def test_8_a_worker_writes_on_when_the_web_process_is_killed(
    application: NewApplication, plain_url: str
) -> None:
    app = application(8)
    app.environment["DATABASE_URL"] = plain_url
    app.run(f"{QUEUE} schema --apply")
    app.start(f"{QUEUE} worker")
    web = app.serve("uvicorn web:app")
    async with signed_in(app.url) as http:
        async with begun(http) as arrived:
            app.kill(web)
        app.serve("uvicorn web:app")
        body = await rest(http, arrived)
        found = await status(http)

    assert (text_in(body), types_in(body)[-1]) == (answer_of(8), "finish")
    assert found["attempt"] == 1


def test_9_the_tests_pass_and_find_what_they_are_for(application: NewApplication) -> None:
    app = application(9)
    run = f"{command(9, 'pytest')} -q -p no:cacheprovider"
    told = app.run(f"{run} 2>&1")
    assert "2 passed" in told and "Warning" not in told
    answers = app.folder / "answers.py"
    without = answers.read_text().replace(', on_lost="retry"', "")
    assert without != answers.read_text()
    answers.write_text(without)
    assert "1 failed, 1 passed" in app.run(f"{run} || true")


def with_alembic(app: Application) -> None:
    """Copy the folder of the example, and do as the page says before the first migration."""
    shutil.copytree(ROOT / "examples" / "alembic", app.folder / "alembic")
    name, _, value = command(10, "export ").removeprefix("export ").partition("=")
    app.environment[name] = value


def migrating(what: str) -> str:
    """Return the command of Alembic that begins so."""
    return command(10, f"DATABASE_URL=$DIRECT_URL alembic {what}")


USERS: Final = """
from sqlalchemy import Column, MetaData, Table, Text

metadata = MetaData()
Table("chat_user", metadata, Column("name", Text, primary_key=True))
"""


async def test_10_alembic_goes_on_where_step_8_has_ended(
    application: NewApplication, plain_url: str
) -> None:
    app = application(10)
    app.environment |= {"DATABASE_URL": plain_url, "DIRECT_URL": plain_url}
    app.run(f"{QUEUE} schema --apply")
    async with create_service(plain_url) as service:
        await service.ready()

    with_alembic(app)
    users, environment = app.folder / "users.py", app.folder / "alembic" / "migrations" / "env.py"
    users.write_text(users.read_text() + USERS)
    named = environment.read_text().replace("[stream_metadata]", "[metadata, stream_metadata]")
    environment.write_text(f"from users import metadata\n{named}")
    for what in ("stamp", "revision", "upgrade"):
        app.run(migrating(what))
    app.run("alembic check")

    database = await asyncpg.connect(plain_url)
    listed = await database.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    await database.close()
    assert {"chat_user", "procrastinate_jobs", "stream_chunk"} <= {each[0] for each in listed}


async def test_10_web_processes_behind_a_pooler_are_killed_and_replaced(
    application: NewApplication, plain_url: str, pooled_url: str
) -> None:
    app = application(10)
    app.environment |= {
        "DATABASE_URL": pooled_url.replace("+asyncpg", ""),
        "DIRECT_URL": plain_url,
    }
    with_alembic(app)
    app.run(migrating("upgrade"))
    app.run(f"{QUEUE} schema --apply")
    app.start(f"{QUEUE} worker")
    web = app.serve(command(10, "uvicorn"))
    async with signed_in(app.url) as http:
        async with begun(http) as arrived:
            for child in children_of(web.pid):
                os.kill(child, signal.SIGKILL)
        body = await rest(http, arrived)
        found = await status(http)

    assert (text_in(body), types_in(body)[-1]) == (answer_of(10), "finish")
    assert (found["attempt"], web.poll()) == (1, None)


def children_of(pid: int) -> list[int]:
    """Return the web processes of uvicorn, without the helper of multiprocessing."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(each)
        for each in listed
        if b"resource_tracker" not in Path(f"/proc/{each}/cmdline").read_bytes()
    ]

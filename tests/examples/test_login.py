"""The login check of the chat example.

No `from __future__ import annotations` here: FastAPI could not resolve annotations that name a
function's variables.
"""

import json
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI
from itsdangerous import TimestampSigner
from sqlalchemy.ext.asyncio import create_async_engine

from accounts import Accounts, metadata
from login import COOKIE, LIFETIME, Login, sessions
from sign_in import Pages, create_sign_in_router

SECRET = "a secret of thirty-two characters"
ANN = {"name": "ann", "password": "correct horse"}
with_guests = pytest.mark.parametrize("app", ["guests"], indirect=True)


@pytest.fixture
async def accounts(tmp_path: Path) -> AsyncIterator[Accounts]:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'chat.db'}")
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield Accounts(engine)
    await engine.dispose()


@pytest.fixture(params=["members"])
def app(accounts: Accounts, tmp_path: Path, request: pytest.FixtureRequest) -> FastAPI:
    """For members only, unless the test asks for guests or TLS."""
    login, guests = Login(accounts), request.param == "guests"
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "index.html").write_text("the chat")
    app = FastAPI(middleware=[sessions(SECRET, https_only=request.param == "tls")])
    app.include_router(create_sign_in_router(login, accounts, guests=guests))

    @app.get("/me")
    async def me(user: Annotated[str, Depends(login.authorize)]) -> str:
        return user

    app.mount("/", Pages(tmp_path / "static", login, accounts, guests=guests))
    return app


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://chat"
    ) as http:
        yield http


class Earlier(TimestampSigner):
    """Signs as if `seconds` had passed since."""

    def __init__(self, secret: str, seconds: int) -> None:
        super().__init__(secret)
        self._seconds = seconds

    def get_timestamp(self) -> int:
        return int(time.time()) - self._seconds


def session(account_id: str) -> bytes:
    return b64encode(json.dumps({"account": account_id}).encode())


def signed(account_id: str, secret: str = SECRET, seconds: int = 0) -> str:
    return Earlier(secret, seconds).sign(session(account_id)).decode()


async def test_a_valid_cookie_admits_its_account(http: httpx.AsyncClient) -> None:
    created = await http.post("/sign-up", json=ANN)
    me = (await http.get("/me")).json()

    attributes = set(created.headers["set-cookie"].lower().split("; ")[1:])
    assert attributes == {"httponly", "samesite=lax", "path=/", f"max-age={LIFETIME}"}
    await http.post("/sign-out")
    assert (await http.get("/me")).status_code == 401
    assert (await http.post("/sign-in", json=ANN)).status_code == 204
    assert (await http.get("/me")).json() == me


@pytest.mark.parametrize("app", ["tls"], indirect=True)
async def test_the_cookie_is_secure_where_there_is_tls(http: httpx.AsyncClient) -> None:
    created = await http.post("/sign-up", json=ANN)

    assert "; secure" in created.headers["set-cookie"].lower()


@pytest.mark.parametrize(
    "wrong", [{"password": "correct horses"}, {"name": "bob"}, {"name": "Ann"}]
)
async def test_a_wrong_name_or_password_is_refused(
    http: httpx.AsyncClient, accounts: Accounts, wrong: dict[str, str]
) -> None:
    await accounts.create(**ANN)

    refused = await http.post("/sign-in", json=ANN | wrong)

    assert (refused.status_code, refused.json()) == (
        401,
        {"detail": "The name or the password is wrong."},
    )
    assert "set-cookie" not in refused.headers


async def test_a_name_can_be_taken_once(http: httpx.AsyncClient, accounts: Accounts) -> None:
    await accounts.create(**ANN)

    assert (
        await http.post("/sign-up", json=ANN | {"password": "another password"})
    ).status_code == 409
    assert await accounts.check("ann", "another password") is None


async def test_an_account_has_no_password_in_the_table(accounts: Accounts, tmp_path: Path) -> None:
    await accounts.create(**ANN)

    assert b"ann" in (tmp_path / "chat.db").read_bytes()
    assert b"correct horse" not in (tmp_path / "chat.db").read_bytes()


def forgeries(me: str) -> dict[str, str]:
    value, rest = signed(me).split(".", 1)
    return {
        "empty": "",
        "unsigned": session(me).decode(),
        "signed with nothing": f"{value}..",
        "signed with another secret": signed(me, "another secret"),
        "signed for another account": f"{session(me).decode()}.{signed('x').split('.', 1)[1]}",
        "signed with another date": f"{value}.{Earlier(SECRET, 60).sign(b'x').decode()[2:]}",
        "changed": f"x{value}.{rest}",
        "expired": signed(me, seconds=LIFETIME + 60),
        "of an account that is gone": signed("nobody"),
    }


async def test_a_forged_cookie_is_refused(http: httpx.AsyncClient, accounts: Accounts) -> None:
    me = await accounts.create(**ANN)
    assert me is not None

    async def status(cookie: str) -> int:
        return (await http.get("/me", headers={"cookie": f"{COOKIE}={cookie}"})).status_code

    assert await status(signed(me)) == 200
    assert {name: await status(forged) for name, forged in forgeries(me).items()} == dict.fromkeys(
        forgeries(me), 401
    )


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_requests_from_another_site_are_refused(http: httpx.AsyncClient, site: str) -> None:
    await http.post("/sign-up", json=ANN)
    foreign = {"sec-fetch-site": site}

    assert (await http.get("/me", headers=foreign)).status_code == 403
    assert (await http.post("/sign-in", json=ANN, headers=foreign)).status_code == 403
    assert (await http.post("/sign-out", headers=foreign)).status_code == 403
    assert (await http.get("/me", headers={"sec-fetch-site": "same-origin"})).status_code == 200


async def test_a_page_shows_the_form_until_its_visitor_is_signed_in(
    http: httpx.AsyncClient,
) -> None:
    form = await http.get("/?chat=c1")
    await http.post("/sign-up", json=ANN)
    page = await http.get("/?chat=c1")

    assert ("Sign in" in form.text, page.text) == (True, "the chat")
    assert form.headers["cache-control"] == page.headers["cache-control"] == "no-store"


async def test_guests_are_admitted_only_where_they_are_allowed(http: httpx.AsyncClient) -> None:
    assert (await http.post("/guest")).status_code == 404
    assert (await http.get("/me")).status_code == 401


@with_guests
async def test_a_visitor_is_a_guest_at_once_and_stays_the_same(http: httpx.AsyncClient) -> None:
    first = await http.get("/?chat=c1")
    me = (await http.get("/me")).json()
    again = await http.get("/?chat=c1")

    assert (first.text, (await http.get("/me")).json()) == ("the chat", me)
    # Each visit starts the lifetime of the cookie anew.
    assert f"max-age={LIFETIME}" in again.headers["set-cookie"].lower()


@with_guests
async def test_a_guest_who_signs_up_keeps_the_account(http: httpx.AsyncClient) -> None:
    await http.get("/")
    me = (await http.get("/me")).json()

    assert "Create an account" in (await http.get("/sign-in")).text
    assert (await http.post("/sign-up", json=ANN)).status_code == 204
    await http.post("/sign-out")
    await http.get("/")
    assert (await http.get("/me")).json() != me
    assert (await http.post("/sign-in", json=ANN)).status_code == 204
    assert (await http.get("/me")).json() == me


async def test_a_user_who_creates_another_account_leaves_the_first_as_it_is(
    http: httpx.AsyncClient,
) -> None:
    await http.post("/sign-up", json=ANN)
    me = (await http.get("/me")).json()
    await http.post("/sign-up", json=ANN | {"name": "bob"})

    assert (await http.get("/me")).json() != me
    await http.post("/sign-in", json=ANN)
    assert (await http.get("/me")).json() == me


async def test_a_failed_sign_up_admits_nobody(http: httpx.AsyncClient, accounts: Accounts) -> None:
    await accounts.create(**ANN)

    assert (await http.post("/sign-up", json=ANN)).status_code == 409
    assert (await http.get("/me")).status_code == 401


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32 random characters"):
        sessions("", https_only=False)

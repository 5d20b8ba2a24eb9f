"""The login check of the chat example.

No `from __future__ import annotations` here: FastAPI could not resolve annotations that name a
function's variables.
"""

import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI
from sqlalchemy.ext.asyncio import create_async_engine

from accounts import Accounts, metadata
from login import COOKIE, LIFETIME, Login
from sign_in import Pages, create_sign_in_router

SECRET = "a secret of thirty-two characters"
ANN = {"name": "ann", "password": "correct horse"}


@pytest.fixture
async def accounts(tmp_path: Path) -> AsyncIterator[Accounts]:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'chat.db'}")
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield Accounts(engine)
    await engine.dispose()


@pytest.fixture
def app(accounts: Accounts, tmp_path: Path) -> FastAPI:
    login = Login(accounts, SECRET)
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "index.html").write_text("the chat")
    app = FastAPI()
    app.include_router(create_sign_in_router(login, accounts, guests=False))

    @app.get("/me")
    async def me(user: Annotated[str, Depends(login.authorize)]) -> str:
        return user

    app.mount("/", Pages(tmp_path / "static", login, guests=False))
    return app


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://chat"
    ) as http:
        yield http


def signed(session: str, secret: str = SECRET) -> str:
    return f"{session}.{hmac.new(secret.encode(), session.encode(), hashlib.sha256).hexdigest()}"


async def test_a_valid_cookie_admits_its_account(http: httpx.AsyncClient) -> None:
    created = await http.post("/sign-up", json=ANN)
    me = (await http.get("/me")).json()

    attributes = set(created.headers["set-cookie"].lower().split("; ")[1:])
    assert attributes == {"httponly", "samesite=lax", "path=/", f"max-age={LIFETIME}"}
    await http.post("/sign-out")
    assert (await http.get("/me")).status_code == 401
    assert (await http.post("/sign-in", json=ANN)).status_code == 204
    assert (await http.get("/me")).json() == me


async def test_the_cookie_is_secure_where_there_is_tls(app: FastAPI) -> None:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="https://chat"
    ) as http:
        assert "; Secure" in (await http.post("/sign-up", json=ANN)).headers["set-cookie"]


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


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(lambda me, then: "", id="empty"),
        pytest.param(lambda me, then: f"{me}.{then}", id="unsigned"),
        pytest.param(lambda me, then: f"{me}.{then}.", id="signed with nothing"),
        pytest.param(
            lambda me, then: signed(f"{me}.{then}", "another secret"),
            id="signed with another secret",
        ),
        pytest.param(
            lambda me, then: signed(f"x.{then}").replace("x.", f"{me}.", 1),
            id="signed for another account",
        ),
        pytest.param(
            lambda me, then: signed(f"{me}.1").replace(".1.", f".{then}.", 1),
            id="signed for another time",
        ),
        pytest.param(lambda me, then: signed(f"{me}.{int(time.time()) - 1}"), id="expired"),
        pytest.param(lambda me, then: signed(f"nobody.{then}"), id="of an account that is gone"),
    ],
)
async def test_a_forged_cookie_is_refused(
    http: httpx.AsyncClient, accounts: Accounts, forge: object
) -> None:
    assert callable(forge)
    me, then = await accounts.create(**ANN), int(time.time()) + 60
    assert (
        await http.get("/me", headers={"cookie": f"{COOKIE}={signed(f'{me}.{then}')}"})
    ).json() == me

    refused = await http.get("/me", headers={"cookie": f"{COOKIE}={forge(me, then)}"})

    assert refused.status_code == 401


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
    assert "<section hidden>" in (await http.get("/")).text


def test_a_short_secret_is_refused(accounts: Accounts) -> None:
    with pytest.raises(ValueError, match="32 random characters"):
        Login(accounts, "")

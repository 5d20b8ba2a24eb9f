"""Signing in and out: the routes, and the form that replaces pages for unknown visitors."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field
from starlette.types import Scope

from accounts import Accounts
from login import Login, from_this_site, remember

FORM: Final = (Path(__file__).parent / "sign_in.html").read_text()


class Credentials(BaseModel):
    name: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=8, max_length=256)


def create_sign_in_router(login: Login, accounts: Accounts, *, guests: bool) -> APIRouter:
    """Return the routes that set and delete the cookie.

    Args:
        guests: Let visitors chat without signing in, with a new account for each.
    """
    router = APIRouter(dependencies=[Depends(from_this_site)])

    @router.post("/sign-in", status_code=204)
    async def sign_in(credentials: Credentials, request: Request) -> None:
        account_id = await accounts.check(credentials.name, credentials.password)
        if account_id is None:
            raise HTTPException(401, "The name or the password is wrong.")
        remember(request, account_id)

    @router.post("/sign-up", status_code=204)
    async def sign_up(credentials: Credentials, request: Request) -> None:
        before = await login.account(request)
        guest = before.account_id if before and before.name is None else None
        account_id = await accounts.create(credentials.name, credentials.password, guest)
        if account_id is None:
            raise HTTPException(409, "This name is taken.")
        remember(request, account_id)

    @router.post("/guest", status_code=204)
    async def guest(request: Request) -> None:
        if not guests:
            raise HTTPException(404)
        remember(request, await accounts.create_guest())

    @router.post("/sign-out", status_code=204)
    async def sign_out(request: Request) -> None:
        request.session.clear()

    return router


class Pages(StaticFiles):
    """Serves files to everybody and pages to users.

    Other visitors become guests, or get the sign-in form at the same URL. The form is also the page
    `sign-in`.
    """

    def __init__(
        self, directory: PathLike[str], login: Login, accounts: Accounts, *, guests: bool
    ) -> None:
        super().__init__(directory=directory, html=True)
        self._login = login
        self._accounts = accounts
        self._guests = guests

    async def get_response(self, path: str, scope: Scope) -> Response:
        if Path(path).suffix not in ("", ".html"):
            return await super().get_response(path, scope)
        request = Request(scope)
        account = await self._login.account(request)
        account_id = None if account is None else account.account_id
        if path == "sign-in" or (account_id is None and not self._guests):
            response: Response = HTMLResponse(FORM)
        else:
            # Each visit renews the cookie, so that guests keep their chats.
            remember(request, account_id or await self._accounts.create_guest())
            response = await super().get_response(path, scope)
        # The same URL has two contents, so a browser must not cache either of them.
        response.headers["cache-control"] = "no-store"
        return response

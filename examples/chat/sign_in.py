"""Signing in and out: the routes, and the form that replaces pages for anonymous visitors."""

from __future__ import annotations

import secrets
from os import PathLike
from pathlib import Path
from string import Template
from typing import Final

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field
from starlette.types import Scope

from accounts import Accounts
from login import COOKIE, Login, from_this_site

FORM: Final = Template((Path(__file__).parent / "sign_in.html").read_text())


class Credentials(BaseModel):
    name: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=8, max_length=256)


def create_sign_in_router(login: Login, accounts: Accounts, *, guests: bool) -> APIRouter:
    """Return the routes that set and delete the cookie.

    Args:
        guests: Let visitors continue as guests, with a new account for each.
    """
    router = APIRouter(dependencies=[Depends(from_this_site)])

    @router.post("/sign-in", status_code=204)
    async def sign_in(credentials: Credentials, request: Request, response: Response) -> None:
        account_id = await accounts.check(credentials.name, credentials.password)
        if account_id is None:
            raise HTTPException(401, "The name or the password is wrong.")
        login.remember(request, response, account_id)

    @router.post("/sign-up", status_code=204)
    async def sign_up(credentials: Credentials, request: Request, response: Response) -> None:
        account_id = await accounts.create(credentials.name, credentials.password)
        if account_id is None:
            raise HTTPException(409, "This name is taken.")
        login.remember(request, response, account_id)

    @router.post("/guest", status_code=204)
    async def guest(request: Request, response: Response) -> None:
        if not guests:
            raise HTTPException(404)
        await sign_up(
            Credentials(name=f"guest {secrets.token_hex(4)}", password=secrets.token_hex()),
            request,
            response,
        )

    @router.post("/sign-out", status_code=204)
    async def sign_out(response: Response) -> None:
        response.delete_cookie(COOKIE)

    return router


class Pages(StaticFiles):
    """Serves files to everybody and pages to signed-in users.

    Others get the sign-in form at the same URL.
    """

    def __init__(self, directory: PathLike[str], login: Login, *, guests: bool) -> None:
        super().__init__(directory=directory, html=True)
        self._login = login
        self._form = FORM.substitute(guests="" if guests else "hidden")

    async def get_response(self, path: str, scope: Scope) -> Response:
        if Path(path).suffix not in ("", ".html"):
            return await super().get_response(path, scope)
        if await self._login.user(Request(scope)) is None:
            response: Response = HTMLResponse(self._form)
        else:
            response = await super().get_response(path, scope)
        # The same URL has two contents, so a browser must not cache either of them.
        response.headers["cache-control"] = "no-store"
        return response

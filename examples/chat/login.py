"""The login check of the chat: a signed cookie that holds the id of an account.

Starlette's sessions sign the cookie, with its date. Scripts cannot read it, and browsers never send
it with a POST from another site (`SameSite=Lax`). `Sec-Fetch-Site` also distinguishes sites that
share a domain. And it protects routes that need no cookie: a foreign page must not sign its visitor
in as another user.
"""

from __future__ import annotations

from typing import Final

from fastapi import HTTPException, Request
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware

from accounts import Account, Accounts

COOKIE: Final = "chat_session"
LIFETIME: Final = 30 * 24 * 3600
"""Seconds. Sessions are not stored, so signing out only deletes the cookie: a stolen one stays
valid until it expires.
"""


def sessions(secret: str, *, https_only: bool) -> Middleware:
    """Return the middleware that reads and signs the cookies of an app."""
    if len(secret) < 32:
        raise ValueError(
            "the secret is too short, so somebody could guess it and sign in as any user: "
            "use 32 random characters or more"
        )
    return Middleware(
        SessionMiddleware,
        secret_key=secret,
        session_cookie=COOKIE,
        max_age=LIFETIME,
        same_site="lax",
        https_only=https_only,
    )


def from_this_site(request: Request) -> None:
    if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise HTTPException(403, "Requests from other sites are not allowed.")


class Login:
    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def account(self, request: Request) -> Account | None:
        """Return the account of a request, or None without a valid cookie and account."""
        account_id = request.session.get("account")
        return None if account_id is None else await self._accounts.find(account_id)

    async def authorize(self, request: Request) -> str:
        """Return the account id; the dependency of every route that shows or changes a chat."""
        from_this_site(request)
        account = await self.account(request)
        if account is None:
            raise HTTPException(401, "Please sign in first.")
        return account.account_id


def remember(request: Request, account_id: str) -> None:
    request.session["account"] = account_id

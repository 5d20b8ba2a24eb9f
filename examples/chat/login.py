"""The login check of the chat: a name and a password once, then a signed cookie.

The cookie holds the account id and its expiry in Unix seconds, signed with `secret`. Scripts cannot
read it, and browsers never send it with a POST from another site (`SameSite=Lax`).
`Sec-Fetch-Site` also distinguishes sites that share a domain. And it protects routes that need no
cookie: a foreign page must not sign its visitor in as another user.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Final

from fastapi import HTTPException, Request, Response

from accounts import Accounts

COOKIE: Final = "chat_session"
LIFETIME: Final = 30 * 24 * 3600
"""Seconds. Sessions are not stored, so signing out only deletes the cookie: a stolen one stays
valid until it expires.
"""


def from_this_site(request: Request) -> None:
    if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise HTTPException(403, "Requests from other sites are not allowed.")


class Login:
    def __init__(self, accounts: Accounts, secret: str) -> None:
        if len(secret) < 32:
            raise ValueError(
                "the secret is too short, so somebody could guess it and sign in as any user: "
                "use 32 random characters or more"
            )
        self._accounts = accounts
        self._secret = secret.encode()

    async def user(self, request: Request) -> str | None:
        """Return the account id of a request, or None without a valid cookie and account."""
        account_id, _, rest = request.cookies.get(COOKIE, "").partition(".")
        expires, _, signature = rest.partition(".")
        if not hmac.compare_digest(
            signature.encode(), self._sign(f"{account_id}.{expires}").encode()
        ):
            return None
        return (
            account_id
            if int(expires) > time.time() and await self._accounts.exists(account_id)
            else None
        )

    async def authorize(self, request: Request) -> str:
        """Return the user; the dependency of every route that shows or changes a chat."""
        from_this_site(request)
        user = await self.user(request)
        if user is None:
            raise HTTPException(401, "Please sign in first.")
        return user

    def remember(self, request: Request, response: Response, account_id: str) -> None:
        session = f"{account_id}.{int(time.time()) + LIFETIME}"
        secure = request.url.scheme == "https"
        value = f"{session}.{self._sign(session)}"
        response.set_cookie(
            COOKIE, value, max_age=LIFETIME, httponly=True, samesite="lax", secure=secure
        )

    def _sign(self, session: str) -> str:
        return hmac.new(self._secret, session.encode(), hashlib.sha256).hexdigest()

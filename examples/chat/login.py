"""The login check of the chat: a name and a password once, then a signed cookie.

The cookie names the account and the second in which it expires; only who has `secret` can make one.
Scripts cannot read it, and browsers send it with no POST of another site (`SameSite=Lax`).
`Sec-Fetch-Site` also tells sites apart that share a domain, and covers what has no cookie yet: a
foreign page must not sign its visitor in as somebody else.
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
"""Seconds. Nothing is stored of a session, so signing out forgets the cookie and no more: a stolen
one lasts as long.
"""


def from_this_site(request: Request) -> None:
    if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise HTTPException(403, "Another site may not ask for this.")


class Login:
    def __init__(self, accounts: Accounts, secret: str) -> None:
        if len(secret) < 32:
            raise ValueError(
                "a secret that can be guessed lets everybody sign in as anybody: use 32 random characters or more"
            )
        self._accounts = accounts
        self._secret = secret.encode()

    async def user(self, request: Request) -> str | None:
        """Return the account of who asks, if its cookie is ours, fresh, and the account is still
        there.
        """
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
        """The dependency of every route that shows or changes a chat."""
        from_this_site(request)
        user = await self.user(request)
        if user is None:
            raise HTTPException(401, "Sign in first.")
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

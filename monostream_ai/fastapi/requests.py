"""Reads and validates the JSON body of a chat POST, and refuses requests.

Source: vercel/ai, ai@7.0.173, packages/ai/src/ui/http-chat-transport.ts:171-214.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Self, TypeAlias
from urllib.parse import urlsplit

from starlette.requests import Request

from monostream_ai.errors import MonostreamError
from monostream_ai.service import DurableStreamService
from monostream_ai.types import VersionInfo
from monostream_ai.ui_messages import UIMessage

Body: TypeAlias = dict[str, Any]

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
"""Uploads travel in the body as data URLs."""

ORIGIN: Final = re.compile(r"(?:http(?!.*:80$)|https(?!.*:443$))://[a-z0-9.:\[\]_-]+", re.ASCII)

CONTINUED: Final = "continued"
"""Key in the metadata of a version: whether its turn continues an assistant message."""

ROLES: Final = ("system", "user", "assistant")


class RequestRefused(MonostreamError):
    """A request gets an HTTP error status and one plain line, which clients show to the user."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """The validated body of a POST.

    `body` also keeps the keys that we do not know; it is stored as the request of the version.
    """

    chat_id: str
    messages: list[UIMessage]
    body: Body

    @classmethod
    def from_body(cls, body: object) -> Self:
        """Validate a body of either shape, `{id, messages}` or `{id, message}`.

        Raises:
            RequestRefused: It has neither shape.
        """
        if not isinstance(body, dict):
            raise RequestRefused(400, "The request body is not a JSON object.")
        messages = body["messages"] if "messages" in body else [body.get("message")]
        if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
            raise RequestRefused(400, "The request has no valid messages.")
        return cls(check_chat_id(body.get("id")), messages, body)

    @classmethod
    async def stored_with(
        cls, service: DurableStreamService[Any], version: VersionInfo
    ) -> Self | None:
        """Read the request that a version answers; None if no chat router opened it."""
        try:
            return cls.from_body(await service.request(version.stream_id, version.version))
        except RequestRefused:
            return None

    @property
    def trigger(self) -> str:
        """`submit-message` or `regenerate-message`."""
        return str(self.body.get("trigger", "submit-message"))

    @property
    def continued_message_id(self) -> str | None:
        """The assistant message to continue after a tool result or an approval, if there is one."""
        last = self.messages[-1]
        return _id_of(last) if last["role"] == "assistant" else None

    def asks_the_same_as(self, other: ChatRequest) -> bool:
        """Return whether one request repeats the other, so that the model need not run twice."""
        last = _id_of(self.messages[-1])
        return last is not None and (last, self.trigger) == (
            _id_of(other.messages[-1]),
            other.trigger,
        )


async def read_body(request: Request, limit: int) -> object:
    """Return the JSON value of a request's body, whatever its content type.

    Raises:
        RequestRefused: The body is over `limit` bytes, or is not JSON.
    """
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > limit:
            raise RequestRefused(413, "The request is too large.")
    try:
        return json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RequestRefused(400, "The request body is not valid JSON.") from error


async def read_run_to_stop(request: Request, limit: int) -> str | None:
    """Return the run id that the body of a stop request names, or None: the body is optional."""
    try:
        body = await read_body(request, limit)
    except RequestRefused:
        return None
    run_id = body.get("activeStreamId") if isinstance(body, dict) else None
    return run_id if isinstance(run_id, str) else None


def check_origin(request: Request, allowed: Collection[str]) -> None:
    """Refuse a POST that a page of another site makes in a visitor's name (CSRF).

    The content type cannot tell: the workflow transport sends `text/plain`, as a form may. Browsers
    say in `Sec-Fetch-Site` whose page asks, over HTTPS and on localhost; elsewhere they send
    `Origin`. Programs send neither, and carry no visitor's cookies.

    Sources: Fetch Metadata Request Headers, 2.4 (`Sec-Fetch-Site`); Fetch Standard, 3.2 (`Origin`).

    Args:
        allowed: Origins whose pages may ask, such as `https://app.example.com`; `*` is any.

    Raises:
        RequestRefused: 403.
    """
    origin = request.headers.get("origin")
    if origin is not None and ("*" in allowed or origin in allowed):
        return
    site = request.headers.get("sec-fetch-site")
    if site is None and origin is not None:
        # Proxies drop and add ports, and cookies do not heed them either.
        names = ",".join(request.headers.get(name, "") for name in ("host", "x-forwarded-host"))
        hosts = {_host_in(f"//{name.strip()}") for name in names.split(",")}
        site = "same-origin" if _host_in(origin) in hosts - {None} else "cross-site"
    if site not in (None, "same-origin", "none"):
        raise RequestRefused(403, "This page may not ask here: its origin is not allowed.")


def checked_origins(origins: Collection[str]) -> frozenset[str]:
    """Return the origins as browsers send them.

    Raises:
        TypeError: It is one string instead of a list.
        ValueError: One of them is not an origin.
    """
    if isinstance(origins, str):
        raise TypeError(f"allowed_origins is a list of origins, not the string {origins!r}")
    for origin in origins:
        if origin != "*" and not ORIGIN.fullmatch(origin):
            raise ValueError(
                f"allowed_origins holds {origin!r}: write an origin as browsers send it, such as "
                "'https://app.example.com', in lower case and without a path or a default port"
            )
    return frozenset(origins)


def _host_in(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def check_chat_id(chat_id: object) -> str:
    """Return the id, or raise `RequestRefused`."""
    # Clients percent-encode every other id; a URL cannot carry these as a path segment.
    if not isinstance(chat_id, str) or chat_id in ("", ".", ".."):
        raise RequestRefused(400, "The request has no valid chat id.")
    return chat_id


def _is_message(value: object) -> bool:
    if not isinstance(value, Mapping) or value.get("role") not in ROLES:
        return False
    parts = value.get("parts")
    return isinstance(parts, list) and all(isinstance(part, Mapping) for part in parts)


def _id_of(message: UIMessage) -> str | None:
    message_id = message.get("id")
    return message_id if isinstance(message_id, str) and message_id else None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")

"""Reads and validates the JSON body of a chat POST, and refuses requests.

Source: vercel/ai, ai@7.0.173, packages/ai/src/ui/http-chat-transport.ts:171-214.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NoReturn, Self, TypeAlias, TypeVar
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request

from monostream_ai.chats.turns.messages import MAX_PARTS, fault_in, fault_in_question
from monostream_ai.errors import MonostreamError
from monostream_ai.json_text import LARGE_TEXT, decode_json
from monostream_ai.service import DurableStreamService
from monostream_ai.types import VersionInfo, check_text
from monostream_ai.ui_messages import UIMessage

T = TypeVar("T")

Body: TypeAlias = dict[str, Any]

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
"""Uploads travel in the body as data URLs."""

MAX_VALUES: Final = 250_000
"""JSON values in a body. Python needs up to 100 bytes for each and decodes them without a pause, so
a body of nothing else would take a gigabyte and block the process for a second.
"""

COUNTED_AT_ONCE: Final = 64 * 1024
"""Bytes. In between, other threads run."""

CONTINUED: Final = "continued"
"""Key in the metadata of a version: whether its turn continues an assistant message."""

DIGEST: Final = "request_sha256"
"""Key in the metadata of a version: `ChatRequest.digest`, as hexadecimal text."""

QUESTION: Final = "question"
"""Key in the metadata of a version: the number of the question it answers, if that had waited."""

UNASKED: Final = "unasked"
"""Key in the metadata of a version: true if no client has sent its request."""

ORIGIN: Final = re.compile(r"(?:http(?!.*:80$)|https(?!.*:443$))://[a-z0-9.:\[\]_-]+", re.ASCII)


NO_CHAT_IDS: Final = ("", ".", "..")
"""Clients percent-encode every other id; a URL cannot carry these as a path segment."""


class RequestRefused(MonostreamError, HTTPException):
    """A request gets an HTTP error status and one plain line, which clients show to the user.

    Applications of Starlette and FastAPI answer it in their own routes, too.
    """

    def __init__(self, status: int, text: str) -> None:
        HTTPException.__init__(self, status, text)
        self.status = status
        self.text = text

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """The validated body of a POST.

    `body` also keeps the keys that we do not know; it is stored as the request of the version.
    """

    chat_id: str
    messages: list[UIMessage]
    body: Body
    digest: str | None = None
    """Of the body as the client sent it; None if an earlier release stored it."""
    large: bool = True
    """Whether the body may take milliseconds to encode."""
    question: int | None = None
    """The number of the question, if it had waited for the turn before."""
    was_asked: bool = True
    """Whether a client sent it; a reply runs only then."""

    @classmethod
    async def read(cls, request: Request, limit: int) -> Self:
        """Read the body of a POST, whatever its content type.

        Raises:
            RequestRefused: As `read_body` and `from_body`.
            InvalidText: As `from_body`.
        """
        data = await read_body(request, limit)
        asked = await _aside(data, lambda: cls.from_body(_decode(data)))
        return replace(asked, large=_is_large(data))

    @classmethod
    def from_body(cls, body: object) -> Self:
        """Validate a body of either shape, `{id, messages}` or `{id, message}`.

        Raises:
            RequestRefused: It has neither shape, a message is malformed, or there are more than
                `MAX_PARTS` parts.
            InvalidText: No column could hold the id of a message.
        """
        if not isinstance(body, dict):
            raise RequestRefused(400, "The request body is not a JSON object.")
        messages = _messages_in(body)
        chat_id = check_chat_id(body.get("id"))
        if messages is not None and sum(len(each["parts"]) for each in messages) > MAX_PARTS:
            raise RequestRefused(400, f"The request has more than {MAX_PARTS:,} parts.")
        fault = fault_in(body)
        if fault is not None or messages is None:
            raise RequestRefused(400, f"The request has no valid messages. See {fault}.")
        if (fault := fault_in_question(messages)) is not None:
            raise RequestRefused(400, f"The request has no question. See {fault}.")
        for message_id in (body.get("messageId"), *(each.get("id") for each in messages)):
            check_text("message id", message_id)
        return cls(chat_id, messages, body, _digest(body, messages))

    @classmethod
    async def stored_with(
        cls, service: DurableStreamService[Any], version: VersionInfo
    ) -> Self | None:
        """Read the request that a version answers; None if no chat router opened it."""
        body = await service.request(version.stream_id, version.version)
        # Earlier releases validated less, and their turns go on.
        messages = _messages_in(body, may_be_empty=True) if isinstance(body, dict) else None
        if messages is None or not isinstance(body.get("id"), str):
            return None
        question = question_in(version)
        was_asked = _fact(version, UNASKED) is not True
        digest = digest_in(version)
        return cls(body["id"], messages, body, digest, question=question, was_asked=was_asked)

    @classmethod
    def unasked(cls, chat_id: str, messages: Sequence[UIMessage] = ()) -> Self:
        """Return the stand-in for a request of an answer that nobody asked for over HTTP."""
        body = {"id": chat_id, "messages": [*messages]}
        return cls(chat_id, [*messages], body, was_asked=False)

    @property
    def metadata(self) -> Body:
        """The facts of this request that later ones need, so that they need not read all of it."""
        digest = {} if self.digest is None else {DIGEST: self.digest}
        question = {} if self.question is None else {QUESTION: self.question}
        unasked = {} if self.was_asked else {UNASKED: True}
        continued = {CONTINUED: self.continued_message is not None}
        return {**continued, **digest, **question, **unasked}

    @property
    def trigger(self) -> str:
        """`submit-message` or `regenerate-message`."""
        return str(self.body.get("trigger") or "submit-message")

    @property
    def is_new_question(self) -> bool:
        """Whether it asks something new: it does not regenerate, edit, or continue an answer."""
        again = self.trigger != "submit-message" or self.body.get("messageId") is not None
        return not again and self.messages[-1]["role"] == "user"

    @property
    def continued_message(self) -> UIMessage | None:
        """The assistant message to continue after a tool result or an approval, if there is one."""
        return None if self.continued_message_id is None else self.messages[-1]

    @property
    def continued_message_id(self) -> str | None:
        # A `chat_publisher` may answer no question.
        last = self.messages[-1] if self.messages else None
        return _id_of(last) if last is not None and last["role"] == "assistant" else None

    async def repeats(self, service: DurableStreamService[Any], version: VersionInfo) -> bool:
        """Return whether a version answers this same request, to the last key of its body."""
        known = digest_in(version)
        if known is None:
            stored = await self.stored_with(service, version)
            known = None if stored is None else _digest(stored.body, stored.messages)
        return known == self.digest

    def with_last(self, message: UIMessage) -> Self:
        """Return the same request with another last message."""
        return self.with_messages([*self.messages[:-1], message])

    def with_messages(self, messages: list[UIMessage]) -> Self:
        """Return the same request with other messages; a body with one message gets the last."""
        whole = "messages" in self.body
        changed: Body = {"messages": messages} if whole else {"message": messages[-1]}
        return replace(self, messages=messages, body={**self.body, **changed}, large=True)


async def read_json(request: Request, limit: int) -> object:
    """Return the JSON of a POST; raises `RequestRefused` if it is too large or not JSON."""
    data = await read_body(request, limit)
    return await _aside(data, lambda: _decode(data))


async def read_body(request: Request, limit: int) -> bytearray:
    """Return the body of a request; raises `RequestRefused` if it is over `limit` bytes."""
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > limit:
            raise RequestRefused(413, "The request is too large.")
    return data


def _is_large(data: bytearray) -> bool:
    return len(data) > LARGE_TEXT


async def _aside(data: bytearray, read: Callable[[], T]) -> T:
    """Read data here, or in another thread if it is large."""
    return await asyncio.to_thread(read) if _is_large(data) else read()


def _decode(data: bytearray) -> object:
    if len(data) > MAX_VALUES and _has_too_many_values(data):
        raise RequestRefused(400, f"The request has more than {MAX_VALUES:,} JSON values.")
    try:
        # Only UTF-8 is counted right, and JSON is nothing else (RFC 8259, 8.1).
        return json.loads(data.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RequestRefused(400, "The request body is not valid JSON.") from error


def _has_too_many_values(data: bytearray) -> bool:
    """Return whether JSON has more than `MAX_VALUES` values: count the commas and opening brackets
    outside its strings.
    """
    count, in_string, rest = 0, False, b""
    for first in range(0, len(data), COUNTED_AT_ONCE):
        piece = rest + data[first : first + COUNTED_AT_ONCE]
        piece = piece.replace(rb"\\", b"").replace(rb"\"", b"")
        # Half of an escape; the other half is in the next piece.
        rest = piece[-1:] if piece.endswith(b"\\") else b""
        parts = piece.split(b'"')
        outside = b"".join(parts[in_string::2])
        count += sum(map(outside.count, (b",", b"[", b"{")))
        if count > MAX_VALUES:
            return True
        in_string ^= len(parts) % 2 == 0
    return False


async def read_run_to_stop(request: Request, limit: int) -> str | None:
    """Return the run id that the body of a stop request names, or None: the body is optional."""
    try:
        data = await read_body(request, limit)
        return await _aside(data, lambda: _run_in(_decode(data)))
    except RequestRefused:
        return None


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
    if not isinstance(chat_id, str) or chat_id in NO_CHAT_IDS:
        raise RequestRefused(400, "The request has no valid chat id.")
    return chat_id


def _messages_in(body: Body, *, may_be_empty: bool = False) -> list[UIMessage] | None:
    """Return the messages of a body; None if one of them lacks a role or a list of parts, or if
    there are none and they may not be empty.
    """
    messages = body["messages"] if "messages" in body else [body.get("message")]
    if not isinstance(messages, list) or not all(map(_is_message, messages)):
        return None
    if not messages and not may_be_empty:
        return None
    return messages


def _is_message(value: object) -> bool:
    return isinstance(value, dict) and "role" in value and isinstance(value.get("parts"), list)


def _id_of(message: UIMessage) -> str | None:
    message_id = message.get("id")
    return message_id if isinstance(message_id, str) and message_id else None


def _run_in(body: object) -> str | None:
    run_id = body.get("activeStreamId") if isinstance(body, dict) else None
    return run_id if isinstance(run_id, str) else None


def _digest(body: Body, messages: list[UIMessage]) -> str:
    """Return the SHA-256 of a body, whatever the order of its keys and the shape of the body."""
    digest = hashlib.sha256()
    # One at a time, so that other threads run in between.
    for each in (*messages, {key: body[key] for key in body if key not in ("messages", "message")}):
        text = json.dumps(each, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        digest.update(text.encode(errors="surrogatepass"))
    return digest.hexdigest()


def digest_in(version: VersionInfo) -> str | None:
    """Return the digest of the request that a version answers; None if it has none stored."""
    digest = _fact(version, DIGEST)
    return digest if isinstance(digest, str) else None


def question_in(version: VersionInfo) -> int | None:
    """Return the number of the question that a version answers; None if it has not waited."""
    number = _fact(version, QUESTION)
    return number if isinstance(number, int) else None


def _fact(version: VersionInfo, key: str) -> object:
    metadata = None if version.metadata is None else decode_json(version.metadata)
    return metadata.get(key) if isinstance(metadata, dict) else None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")

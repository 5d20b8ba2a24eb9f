"""The files of answers in the chat router: each turn has a hook, and a route serves the files."""

from __future__ import annotations

import mimetypes
import re
from contextlib import suppress
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import NoMatchFound

from monostream_ai.chats.turns.names import chat_stream_id
from monostream_ai.chats.turns.requests import RequestRefused, check_chat_id
from monostream_ai.chats.turns.turn import Assignment
from monostream_ai.files import DatabaseFiles, StoredFile
from monostream_ai.ui_messages.file_hook import FileHook, Files, as_hook

PATH: Final = "/{chat_id:chat_id}/files/{token}"

INLINE: Final = re.compile(r"image/(png|jpeg|gif|webp|avif|bmp)|(audio|video)/[^/]+")
"""Media types that a browser shows and never runs. Files of others are downloaded, and pages show
an SVG image all the same.
"""

_HEADERS: Final = {
    "cache-control": "private, max-age=31536000, immutable",
    "x-content-type-options": "nosniff",
    # A file that a browser opens as a page must not run in the application's origin.
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "accept-ranges": "bytes",
}
_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)


class Span(NamedTuple):
    """Bytes of a file from `first` up to `end`, which is excluded."""

    first: int
    end: int


class ChatFiles:
    """Makes the hook of each turn, and answers requests for stored files.

    Args:
        files: As for `create_chat_router`.
        stream_prefix: As for `create_chat_router`.
    """

    def __init__(self, files: Files | DatabaseFiles | None, stream_prefix: str) -> None:
        self.stored = files if isinstance(files, DatabaseFiles) else None
        self._hook = None if files is None or isinstance(files, DatabaseFiles) else as_hook(files)
        self._stream_prefix = stream_prefix
        self.route_name = f"chat_file {stream_prefix}"
        """The name of the route, which other routers of the application do not have."""
        # A worker has no routes that could tell it.
        self._base = (self.stored and self.stored.url) or ""

    def hook_for(self, assignment: Assignment) -> FileHook | None:
        if self.stored is None:
            return self._hook
        chat_id = quote(assignment.request.chat_id, safe="")
        return self.stored.hook(
            assignment.stream_id,
            lambda token: f"{self._base}/{chat_id}/files/{token}",
            owner=assignment.owner,
        )

    def note_base(self, path: str) -> None:
        """Take note of the path of the router as the server sees it, with its `root_path`."""
        if self.stored is None or self.stored.url is None:
            self._base = path.rstrip("/")

    def find_base(self, app: Any) -> None:
        """Ask the application for the path of the router.

        A turn may be run again before any request has come.
        """
        with suppress(NoMatchFound, AttributeError):
            names = {"chat_id": "c", "token": "t"}
            path = str(app.url_path_for(self.route_name, **names))
            self.note_base(path.removesuffix("/c/files/t"))

    async def serve(self, request: Request) -> Response:
        chat_id, token = check_chat_id(request.path_params["chat_id"]), request.path_params["token"]
        stream_id = chat_stream_id(chat_id, owner=request.state.owner, prefix=self._stream_prefix)
        file = None if self.stored is None else await self.stored.find(stream_id, token)
        if file is None:
            raise RequestRefused(404, "There is no such file.")
        etag = f'"{file.sha256}"'
        headers = {**_HEADERS, "etag": etag, "content-disposition": _disposition(file)}
        if _matches(request.headers.get("if-none-match"), etag):
            return Response(status_code=304, headers=headers)
        span = _span(request, etag, file.size)
        if span is None:
            return Response(status_code=416, headers={"content-range": f"bytes */{file.size}"})
        partial = span != Span(0, file.size)
        if partial:
            headers["content-range"] = f"bytes {span.first}-{span.end - 1}/{file.size}"
        headers["content-length"] = str(span.end - span.first)
        return StreamingResponse(
            file.read(*span),
            206 if partial else 200,
            headers=headers,
            media_type=_content_type(file),
        )


def _content_type(file: StoredFile) -> str:
    return (
        f"{file.media_type}; charset=utf-8" if file.media_type == "text/plain" else file.media_type
    )


def _disposition(file: StoredFile) -> str:
    kind = "inline" if INLINE.fullmatch(file.media_type) else "attachment"
    return f'{kind}; filename="file{mimetypes.guess_extension(file.media_type) or ""}"'


def _matches(given: str | None, etag: str) -> bool:
    if given is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in given.split(",")]
    return etag in tags or "*" in tags


def _span(request: Request, etag: str, size: int) -> Span | None:
    """Return the bytes that the client wants, or None if the file does not have them.

    Source: RFC 9110, section 14. A request for several ranges gets the whole file.
    """
    whole = Span(0, size)
    wanted = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if wanted is None or request.headers.get("if-range", etag) != etag:
        return whole
    first, last = wanted.groups()
    if not first and not last:
        return whole
    if not first:
        # The last bytes of the file.
        return Span(max(size - int(last), 0), size) if int(last) and size else None
    end = min(int(last) + 1, size) if last else size
    if last and int(last) < int(first):
        return whole
    return Span(int(first), end) if int(first) < size else None

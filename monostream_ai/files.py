"""Keeps the files of answers in the database of a service, so that no other storage is needed.

A file is a stream of its own, in pieces. It is written while its answer waits, never changes, and
is pruned like every stream.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

from monostream_ai.errors import UnknownStream
from monostream_ai.service import DurableStreamService
from monostream_ai.types import Cursor, check_count, check_seconds, new_token
from monostream_ai.ui_messages.chunks import Chunk
from monostream_ai.ui_messages.file_hook import DEFAULT_OVER, DEFAULT_TIMEOUT, FileHook

STREAM_PREFIX: Final = "file:"
PIECE_BYTES: Final = 512 * 1024
"""Bytes of a file in one chunk, which holds them as base64."""

PIECES_AT_ONCE: Final = 8
LISTED: Final = 100
"""Streams that are listed at once to find the files to delete."""

OTHER: Final = "application/octet-stream"

_PIECE: Final = "file-piece"
_TOKEN: Final = re.compile("[0-9a-f]{32}")
_MEDIA_TYPE: Final = re.compile(
    r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}"
)


class DatabaseFiles:
    """Stores files in a service's database, and finds them again for the chat router's route.

        router = create_chat_router(service, reply, files=DatabaseFiles(service))

    The files of a chat are the streams `file:<stream of the chat>/<token>`, with a token that
    nobody guesses. `service.prune` removes them by their age, like the versions of the chat, so
    prune later than your history needs them. `service.delete` of a chat does not know them: call
    `delete` too.

    Args:
        service: Of UI message chunks. Files are stored on its event loop.
        over, timeout: As for `FileHook`.
        url: The path of the router as pages see it, such as `/api/chat`, if a proxy changes it. By
            default it is the one that the server sees.

    Raises:
        ValueError: `url` is neither a path nor a URL of a site.
        InvalidNumber: Of `over` or `timeout`.
    """

    def __init__(
        self,
        service: DurableStreamService[Any],
        *,
        over: int = DEFAULT_OVER,
        timeout: float = DEFAULT_TIMEOUT,
        url: str | None = None,
    ) -> None:
        if not isinstance(service, DurableStreamService):
            raise TypeError(f"DatabaseFiles needs a service, not {type(service).__name__}")
        if url is not None and not re.match("https?://|/", url):
            raise ValueError(f"url is {url!r}: use a path such as '/api/chat'")
        self._service = service
        self._over = check_count("over", over)
        self._timeout = check_seconds("timeout", timeout)
        self.url = None if url is None else url.rstrip("/")
        """The path of the router, if it was given."""

    def __repr__(self) -> str:
        return f"<DatabaseFiles of {self._service!r}>"

    def hook(
        self, stream_id: str, url: Callable[[str], str], *, owner: str | None = None
    ) -> FileHook:
        """Return a hook for the captures of one chat. A turn of the chat router has it already.

        Args:
            stream_id: The stream of the chat.
            url: Makes the URL of a file from its token. The route that serves it has to check that
                the user may read the chat.
            owner: Stored with the files, as with the versions of the chat.
        """

        async def store(content: bytes, media_type: str) -> str:
            return url(await self.store(stream_id, content, media_type, owner=owner))

        return FileHook(store, over=self._over, timeout=self._timeout)

    async def store(
        self, stream_id: str, content: bytes, media_type: str, *, owner: str | None = None
    ) -> str:
        """Store a file of a chat and return its token; durable when it returns.

        Raises:
            InvalidStreamId: The id of the chat's stream is too long for that of a file.
            StoreUnavailable: The file could not be stored.
        """
        token = new_token()
        pieces = max(-(-len(content) // PIECE_BYTES), 1)
        metadata = {
            "mediaType": _checked(media_type),
            "size": len(content),
            "pieces": pieces,
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        # A file that is stored in part must not count as closed.
        publisher = self._service.publisher(
            _stream_id(stream_id, token), 0, owner=owner, metadata=metadata, on_cancel="release"
        )
        async with publisher as pub:
            for first in range(0, pieces, PIECES_AT_ONCE):
                await pub.write(
                    *(
                        _piece(content, number)
                        for number in range(first, min(first + PIECES_AT_ONCE, pieces))
                    )
                )
        return token

    async def find(self, stream_id: str, token: str) -> StoredFile | None:
        """Return a file of a chat, or None if there is none, or it is not stored whole.

        Raises:
            StoreUnavailable: The store did not answer.
        """
        if not _TOKEN.fullmatch(token):
            return None
        try:
            info = await self._service.status(_stream_id(stream_id, token), 0)
        except UnknownStream:
            return None
        told: dict[str, Any] = json.loads(info.metadata or "{}")
        # The pieces, and the chunk that ends them.
        if info.state != "closed" or info.next_id != told.get("pieces", 0) + 1:
            return None
        return StoredFile(
            self._service, info.stream_id, told["mediaType"], told["size"], told["sha256"]
        )

    async def delete(self, stream_id: str) -> int:
        """Delete all files of a chat, and return how many. Call it when you delete the chat."""
        prefix, after, found = _stream_id(stream_id, ""), None, list[str]()
        while listed := await self._service.streams(prefix=prefix, after=after, limit=LISTED):
            after = listed[-1].stream_id
            found += [each.stream_id for each in listed]
        # A chat whose id begins with this one's and a slash has its files behind the prefix too.
        own = [each for each in found if _TOKEN.fullmatch(each.removeprefix(prefix))]
        for file_id in own:
            await self._service.delete(file_id)
        return len(own)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in the database. Its media type has no parameters, and may be a forged one."""

    service: DurableStreamService[Any]
    stream_id: str
    media_type: str
    size: int
    sha256: str

    async def read(self, first: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes from `first` up to `end`, which is excluded, in pieces.

        Raises:
            StreamDeleted: It was deleted meanwhile.
            StoreUnavailable: The store did not answer.
        """
        end = self.size if end is None else end
        if first >= end:
            return
        number = first // PIECE_BYTES
        after = Cursor(0, number - 1)
        async with self.service.subscribe(self.stream_id, after=after) as reader:
            async for chunk in reader:
                start = number * PIECE_BYTES
                content = base64.b64decode(chunk["data"])
                yield content[max(first - start, 0) : end - start]
                number += 1
                if number * PIECE_BYTES >= end:
                    return


def _stream_id(stream_id: str, token: str) -> str:
    return f"{STREAM_PREFIX}{stream_id}/{token}"


def _piece(content: bytes, number: int) -> Chunk:
    data = content[number * PIECE_BYTES : (number + 1) * PIECE_BYTES]
    return {"type": _PIECE, "data": base64.b64encode(data).decode()}


def _checked(media_type: str) -> str:
    """Return the media type without parameters, or that of any bytes if it is none."""
    given = media_type.partition(";")[0].strip().lower()
    return given if _MEDIA_TYPE.fullmatch(given) else OTHER

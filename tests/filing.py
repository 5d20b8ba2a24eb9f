"""A place for the files of answers, and files of any size."""

from __future__ import annotations

import base64
from typing import Final

from monostream_ai.ui_messages.file_hook import DEFAULT_OVER

PNG: Final = b"\x89PNG\r\n\x1a\n"


def image(size: int = 2_000_000, mark: int = 0) -> bytes:
    """Return bytes that begin like an image; `mark` tells two of one size apart."""
    return PNG + bytes([mark]) + bytes(size - len(PNG) - 1)


def as_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


LARGE: Final = image()
LARGE_BASE64: Final = as_base64(LARGE)
SMALL: Final = image(1000)
SMALL_BASE64: Final = as_base64(SMALL)
SMALL_URL: Final = f"data:image/png;base64,{SMALL_BASE64}"
BARELY: Final = image(DEFAULT_OVER * 3 // 4 + 3)
"""One more piece of base64 than stays in a message."""


class Shelf:
    """Stores files in memory."""

    def __init__(self) -> None:
        self.files: list[tuple[bytes, str]] = []

    async def __call__(self, content: bytes, media_type: str) -> str:
        self.files.append((content, media_type))
        return f"https://files.test/{len(self.files)}"


async def refuses(content: bytes, media_type: str) -> str:
    raise ConnectionError("the bucket is gone")

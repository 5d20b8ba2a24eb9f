"""Pushes the chunks of a capture: in sizes that can be stored, and files where they belong.

A large file goes to the application's `FileHook`. A file in the result of a tool is shown as a file
of the message too, since pages show no others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

from monostream_ai.ui_messages.chunks import Chunk
from monostream_ai.ui_messages.file_hook import FileHook, hook_of, state_of
from monostream_ai.ui_messages.held_files import (
    HeldFile,
    file_note,
    file_of_url,
    files_in,
    replace_files,
)
from monostream_ai.ui_messages.sinks import Sink, WaitingSink
from monostream_ai.ui_messages.size_limit import push_fitting, smaller, text_part
from monostream_ai.ui_messages.texts import (
    FILE_NOT_STORED_TEXT,
    file_text,
)

STORED_FILE: Final = "stored-file"
"""The type of the content part that stands for a stored file in the result of a tool."""

_FILES: Final = frozenset({"file", "reasoning-file"})
_RESULT: Final = "tool-output-available"
_MAY_HOLD: Final = _FILES | {_RESULT}


class _Shown(set[tuple[int, int]]):
    """Hash and length of the files that a message shows, since a file may hold megabytes."""

    def is_new(self, file: HeldFile) -> bool:
        key = (hash(file.base64), len(file.base64))
        new = key not in self
        self.add(key)
        return new


def push_chunks(sink: Sink, chunks: list[Chunk], *, refuse: bool = False) -> None:
    """Push chunks as `push_fitting` does; large files wait in their place until they are stored.

    Args:
        refuse: As for `push_fitting`.

    Raises:
        ChunkTooLarge: With `refuse`, a chunk cannot be made smaller.
    """
    # Most chunks are deltas, and a generator would cost as much as a tenth of a push.
    if _MAY_HOLD.isdisjoint([chunk["type"] for chunk in chunks]):
        push_fitting(sink, chunks, refuse=refuse)
        return
    hook, shown = hook_of(sink), state_of(sink).setdefault(_Shown, _Shown())
    ready: list[Chunk] = []
    for chunk in chunks:
        files = list(_files_of(chunk))
        large = [file for file in files if hook is not None and hook.takes(file)]
        new = [file for file in files if shown.is_new(file)]
        if hook is None or not large or not isinstance(sink, WaitingSink):
            ready += [chunk, *(_file_chunk(file, file.url) for file in _to_show(chunk, new))]
            continue
        push_fitting(sink, ready, refuse=refuse)
        ready = []
        sink._push_later(
            partial(_with_urls, chunk, new, hook),
            instead=smaller(_replaced(chunk, new, dict.fromkeys(large))),
            size=sum(len(file.base64) for file in large),
            timeout=hook.timeout,
        )
    push_fitting(sink, ready, refuse=refuse)


def _files_of(chunk: Chunk) -> Iterator[HeldFile]:
    if chunk["type"] == _RESULT:
        yield from files_in(chunk["output"])
    elif chunk["type"] in _FILES and (file := file_of_url(chunk["url"], chunk["mediaType"])):
        yield file


def _to_show(chunk: Chunk, files: list[HeldFile]) -> list[HeldFile]:
    """Return the files to show beside the chunk."""
    return files if chunk["type"] == _RESULT and not chunk.get("preliminary") else []


async def _with_urls(chunk: Chunk, new: list[HeldFile], hook: FileHook) -> list[Chunk]:
    """Store the large files of a chunk, and return it with their URLs."""
    large = [file for file in dict.fromkeys(_files_of(chunk)) if hook.takes(file)]
    found = await asyncio.gather(*map(hook.url_of, large))
    return smaller(_replaced(chunk, new, dict(zip(large, found, strict=True))))


def _replaced(
    chunk: Chunk, new: list[HeldFile], urls: Mapping[HeldFile, str | None]
) -> list[Chunk]:
    """Return a chunk with URLs in place of files; None stands for a file that was not stored."""
    if chunk["type"] in _FILES:
        (url,) = urls.values()
        return [{**chunk, "url": url}] if url is not None else _not_stored(*urls)

    def reference(file: HeldFile) -> dict[str, str] | None:
        url = urls.get(file)
        if url is not None:
            return {"type": STORED_FILE, "mediaType": file.media_type, "url": url}
        return file_note(FILE_NOT_STORED_TEXT, file) if file in urls else None

    chunks: list[Chunk] = [{**chunk, "output": replace_files(chunk["output"], reference)}]
    for file in _to_show(chunk, new):
        url = urls.get(file)
        if file in urls and url is None:
            chunks += _not_stored(file)
        else:
            chunks.append(_file_chunk(file, url or file.url))
    return chunks


def _not_stored(file: HeldFile) -> list[Chunk]:
    return text_part(file_text(FILE_NOT_STORED_TEXT, file.media_type, file.size))


def _file_chunk(file: HeldFile, url: str) -> Chunk:
    return {"type": "file", "url": url, "mediaType": file.media_type}

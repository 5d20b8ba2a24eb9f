"""What chats and their turns are called: streams by owner and chat, runs by chat and version."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import quote, unquote

STREAM_PREFIX: Final = "chat:"


def chat_stream_id(chat_id: str, *, owner: str | None = None, prefix: str = STREAM_PREFIX) -> str:
    """Return the stream of a chat: `prefix`, the percent-encoded owner and a slash if there is an
    owner, and the chat's id.

    No two owners share a stream, whatever they call their chats.
    """
    return prefix + chat_id if owner is None else f"{prefix}{quote(owner, safe='')}/{chat_id}"


class Run(NamedTuple):
    """One turn as clients name it, in the header `x-workflow-run-id` and in URLs."""

    chat_id: str
    version: int

    def __str__(self) -> str:
        return f"{quote(self.chat_id, safe='')}~{self.version}"

    @classmethod
    def parse(cls, name: str) -> Run | None:
        """Read a name; servers may have decoded it."""
        chat_id, _, version = unquote(name).rpartition("~")
        return (
            cls(chat_id, int(version))
            if chat_id and version.isdecimal() and len(version) < 19
            else None
        )

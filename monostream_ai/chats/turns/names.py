"""How chats, runs and turns are named: the stream of a chat, the run that a client names, and the
text by which a queue carries a turn.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Self
from urllib.parse import quote, unquote

STREAM_PREFIX: Final = "chat:"

QUEUE_PREFIX: Final = "queue:"
"""Stands before the stream of a chat, and makes the stream of the questions that wait in it."""


def chat_stream_id(chat_id: str, *, owner: str | None = None, prefix: str = STREAM_PREFIX) -> str:
    """Return the stream of a chat: `prefix + chat_id`, or `prefix + owner + "/" + chat_id`.

    The owner is percent-encoded, so no two owners share a stream, whatever they call their chats.
    """
    return prefix + chat_id if owner is None else f"{prefix}{quote(owner, safe='')}/{chat_id}"


def queue_stream_id(stream_id: str) -> str:
    """Return the stream of the questions that wait in the chat with this stream."""
    return QUEUE_PREFIX + stream_id


class Run(NamedTuple):
    """One turn, as clients name it in the header `x-workflow-run-id` and in URLs."""

    chat_id: str
    version: int

    def __str__(self) -> str:
        return f"{quote(self.chat_id, safe='')}~{self.version}"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Read a run id, percent-encoded or decoded by the server; None if it is not one."""
        chat_id, _, version = unquote(name).rpartition("~")
        if not chat_id or not version.isdecimal() or len(version) >= 19:
            return None
        return cls(chat_id, int(version))


class QuestionRun(NamedTuple):
    """The turn of a question that waits, as clients name it in the same places."""

    chat_id: str
    number: int

    def __str__(self) -> str:
        return f"{quote(self.chat_id, safe='')}~q{self.number}"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Read a run id as `Run.parse` does; None if it is not that of a question."""
        chat_id, _, number = unquote(name).rpartition("~q")
        if not chat_id or not number.isdecimal() or len(number) >= 19:
            return None
        return cls(chat_id, int(number))


class TurnRef(NamedTuple):
    """One turn, as `dispatch` hands it to a queue and `run_turn` gets it back: ASCII text without
    blanks, with three characters for each byte of the stream's id at most.
    """

    stream_id: str
    version: int

    def __str__(self) -> str:
        return f"{quote(self.stream_id, safe=':/')}~{self.version}"

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read the text that `str` made.

        Raises:
            ValueError: `str` did not make it.
        """
        stream_id, _, version = text.rpartition("~") if isinstance(text, str) else ("", "", "")
        if not stream_id or not version.isdecimal() or len(version) >= 20:
            raise ValueError(
                f"{text!r:.80} names no turn: pass on the text that dispatch was given"
            )
        return cls(unquote(stream_id), int(version))

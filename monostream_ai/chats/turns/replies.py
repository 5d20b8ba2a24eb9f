"""`ChatReplies`: how chats are answered, declared once for the router and for workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Final, Literal, TypeAlias, get_args

from monostream_ai.chats.turns.finishing import OnFinish
from monostream_ai.chats.turns.names import STREAM_PREFIX, queue_stream_id
from monostream_ai.chats.turns.turn import ChatTurn
from monostream_ai.files import DatabaseFiles
from monostream_ai.types import check_async
from monostream_ai.ui_messages.file_hook import Files

Reply: TypeAlias = Callable[[ChatTurn], Awaitable[object]]
"""Writes the answer of one turn, through `turn.callback` or `turn.pub`; its result is ignored."""

OnLost: TypeAlias = Literal["error", "retry", "continue"]
"""How to treat a turn whose process died: end it with an error, run it again as a new answer in
place of the lost one, or let the reply go on in the same answer.
"""

MAX_ATTEMPTS: Final = 3

_WRITE_INSTEAD: Final = "use an async function that writes through turn.callback or turn.pub"


@dataclass(frozen=True, slots=True)
class ChatReplies:
    """The answers of some chats: what a router and the workers of a queue must agree on.

    Args:
        reply, on_finish, on_lost, max_attempts, max_silence, files, stream_prefix: As for
            `create_chat_router`.

    Raises:
        ValueError: An option has an unknown value.
        TypeError: `reply` or `on_finish` is not an async function.
    """

    reply: Reply
    _: KW_ONLY
    on_finish: OnFinish | None = None
    on_lost: OnLost = "error"
    max_attempts: int = MAX_ATTEMPTS
    max_silence: float | None = None
    files: Files | DatabaseFiles | None = None
    stream_prefix: str = STREAM_PREFIX

    def __post_init__(self) -> None:
        check_option("on_lost", self.on_lost, get_args(OnLost))
        if self.max_attempts < 1:
            raise ValueError("max_attempts counts the first run too: use 1 or more")
        if self.max_silence is not None:
            check_numbers(or_zero=False, max_silence=self.max_silence)
        check_async("reply", self.reply, _WRITE_INSTEAD)
        if self.on_finish is not None:
            check_async("on_finish", self.on_finish, _WRITE_INSTEAD)

    @property
    def attempts(self) -> int:
        """Runs of one turn, including the first."""
        return 1 if self.on_lost == "error" else self.max_attempts

    @property
    def go_on(self) -> bool:
        """Whether a further run goes on with the version of the lost one."""
        return self.on_lost == "continue"

    def check_away(self) -> None:
        """Check that a process without the router can run these replies.

        Raises:
            ValueError: They would not know the URL of a file.
        """
        if isinstance(self.files, DatabaseFiles) and self.files.url is None:
            raise ValueError(
                "a worker does not know the path of the router: use DatabaseFiles(service, url=…)"
            )


def check_option(name: str, word: str, known: Sequence[str]) -> None:
    """Raise ValueError unless it is one of the words."""
    if word not in known:
        raise ValueError(f"{name} is {word!r}: use one of {', '.join(map(repr, known))}")


def check_queue_prefix(stream_prefix: str) -> None:
    """Raise ValueError if the streams of chats and those of their questions could not be told apart
    by their beginning.
    """
    lists = queue_stream_id(stream_prefix)
    if lists.startswith(stream_prefix):
        raise ValueError(
            f"stream_prefix is {stream_prefix!r}: with on_busy='queue', use one that is not the "
            f"beginning of {lists!r}"
        )


def check_numbers(*, or_zero: bool, **numbers: float) -> None:
    """Raise ValueError unless all numbers are above 0, or 0."""
    for name, number in numbers.items():
        # NaN compares false with everything.
        if not (number > 0 or (or_zero and number == 0)):
            raise ValueError(
                f"{name} is {number!r}: use {'0 or more' if or_zero else 'more than 0'}"
            )


def check_replies(replies: object) -> None:
    """Refuse the reply itself, which a router takes too.

    Raises:
        TypeError
    """
    if not isinstance(replies, ChatReplies):
        raise TypeError(
            "replies is the ChatReplies that the router was given, "
            f"not {type(replies).__name__}: use ChatReplies(reply, …)"
        )

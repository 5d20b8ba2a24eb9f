"""Scripts of the answers that a model or a reply gives in a test, step by step."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from monostream_ai.ui_messages import Chunk, UIMessageBuilder

if TYPE_CHECKING:
    from monostream_ai.fastapi import ChatTurn

GATE_TIMEOUT: Final = 10.0
"""Seconds at most for which a test waits until a script reaches a gate."""

_TOKEN: Final = re.compile(r"\s*\S+|\s+")


class Gate:
    """A place in a script where the answer waits until the test opens it."""

    def __init__(self) -> None:
        self._reached = asyncio.Event()
        self._open = asyncio.Event()

    def __repr__(self) -> str:
        reached = "reached" if self._reached.is_set() else "not reached"
        return f"<Gate {'open' if self._open.is_set() else 'closed'}, {reached}>"

    async def reached(self) -> None:
        """Wait until an answer stands at the gate.

        Raises:
            AssertionError: None came within 10 seconds.
        """
        try:
            async with asyncio.timeout(GATE_TIMEOUT):
                await self._reached.wait()
        except TimeoutError as error:
            raise AssertionError(f"no answer reached the gate in {GATE_TIMEOUT:g} s") from error

    def open(self) -> None:
        """Let all answers pass, now and later."""
        self._open.set()

    async def passed(self) -> None:
        """Wait until the gate is open; a model of your own may call it."""
        self._reached.set()
        await self._open.wait()


@dataclass(frozen=True, slots=True)
class Thought:
    """Reasoning, which is streamed like text."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool. A model only asks for it, and `ScriptedReply` also gives it its result."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    output: Any = None
    """The result that `ScriptedReply` gives the call; None leaves the call open."""
    call_id: str = ""
    """Different for each call of a chat. By default the calls of a script are `call_1`, `call_2`
    and so on.
    """


Step: TypeAlias = str | Thought | ToolCall | Gate | BaseException
"""A text is streamed word by word, an exception is raised, and a gate is waited for."""
ScriptedAnswer: TypeAlias = Step | Sequence[Step]


class Script:
    """The answers of a model or a reply: the first for the first call, and so on.

    Args:
        answers: Each a step, such as a text, or a list of steps.

    Raises:
        TypeError: One of them is neither.
    """

    def __init__(self, answers: Sequence[ScriptedAnswer]) -> None:
        calls = count(1)
        self._answers = [[_with_id(step, calls) for step in _steps(answer)] for answer in answers]
        self._given = 0

    def __repr__(self) -> str:
        return f"<Script {self._given} of {len(self._answers)} answers given>"

    async def next(self) -> AsyncIterator[str | Thought | ToolCall]:
        """Yield the pieces of the next answer, waiting at its gates.

        Raises:
            AssertionError: There were more calls than answers.
            BaseException: As the script says.
        """
        self._given += 1
        if self._given > len(self._answers):
            raise AssertionError(f"the script has {len(self._answers)} answers, and no more")
        for step in self._answers[self._given - 1]:
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, Gate):
                await step.passed()
            elif isinstance(step, ToolCall):
                yield step
            elif isinstance(step, Thought):
                for token in _TOKEN.findall(step.text):
                    yield Thought(token)
            else:
                for token in _TOKEN.findall(step):
                    yield token


def _steps(answer: ScriptedAnswer) -> Sequence[Step]:
    steps = [answer] if isinstance(answer, Step) else [*answer]
    for step in steps:
        if not isinstance(step, Step):
            raise TypeError(f"a step of a script cannot be {step!r:.80}")
    return steps


def _with_id(step: Step, calls: Iterator[int]) -> Step:
    if isinstance(step, ToolCall):
        return replace(step, call_id=step.call_id or f"call_{next(calls)}")
    return step


class ScriptedReply:
    """A reply for `create_chat_router` that needs no model.

        gate = Gate()
        reply = ScriptedReply(["Hello, ", gate, "world"], "The second answer")

    With `on_lost="continue"`, an answer that goes on is the next one of the script, written behind
    the stored part.
    """

    def __init__(self, *answers: ScriptedAnswer) -> None:
        self._script = Script(answers)
        self.turns: list[ChatTurn] = []
        """The turns that it was called with."""

    def __repr__(self) -> str:
        return f"<ScriptedReply {self._script!r}>"

    async def __call__(self, turn: ChatTurn) -> None:
        self.turns.append(turn)
        message = UIMessageBuilder(message_id=turn.message_id, send_start=False)
        message.take_up(turn.written.chunks)
        async for piece in self._script.next():
            await turn.pub.write(*_chunks(message, piece))


def _chunks(message: UIMessageBuilder, piece: str | Thought | ToolCall) -> list[Chunk]:
    if isinstance(piece, str):
        return message.text("text", piece)
    if isinstance(piece, Thought):
        return message.reasoning("thought", piece.text)
    chunks = message.tool_call(piece.call_id, piece.name, dict(piece.arguments))
    if piece.output is not None:
        chunks += message.tool_output(piece.call_id, piece.output)
    return chunks

"""Steps of a message: a model begins one, and takes back what a failed attempt showed in it.

A step is one call of a model together with the results of the tools that it calls.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from monostream_ai.langchain.agent_message import AgentMessage
from monostream_ai.langchain.sources_and_files import SourcesAndFiles
from monostream_ai.ui_messages import Chunk


class Steps:
    """Tracks the runs that have shown something in the open step.

    `reset-step` removes everything since the step began. So a failed attempt is taken back only
    when another model follows in the open step, and no other run has shown anything there. If no
    model follows, the partial answer stays: the user gets nothing else.

    So is the open step of a lost publisher, if it is unfinished when the first model begins: the
    graph runs that model again.

    Args:
        take_back: False if the model goes on after that step instead.
    """

    def __init__(
        self,
        message: AgentMessage,
        sources_and_files: SourcesAndFiles,
        *,
        take_back: bool = True,
    ) -> None:
        self._message = message
        self._sources_and_files = sources_and_files
        self._contributors: set[UUID | None] = set()
        self._failed: UUID | None = None
        self._taken_up = take_back and message.step_open
        self._broke_off: bool | None = None

    def join(self, run_id: UUID | None) -> None:
        """Note that a run shows something in the open step; None for chunks of no run."""
        self._contributors.add(run_id)

    def follow(self, others: Iterable[Chunk]) -> None:
        """Note that others show something in the open step, or have ended it."""
        for chunk in others:
            if chunk["type"] in ("start-step", "finish-step"):
                self._taken_up = False
        self._contributors.add(None)

    def fail(self, run_id: UUID) -> None:
        """Note that a model failed after it had shown something."""
        self._failed = run_id

    def judge_taken_up(self, *, broke_off: bool) -> None:
        """Note whether the open step of a lost publisher has anything that no finished run said."""
        self._broke_off = broke_off

    def replace(self, run_id: UUID) -> list[Chunk]:
        """Take the open step back and begin it anew; nothing if another run shows something there.

        Results of tools would be taken back too, so nothing if there are any.
        """
        calls = (self._message.call(call_id) for call_id in self._message.calls_of_step)
        answered = any(call is not None and call.state in ("failed", "done") for call in calls)
        if not self._message.step_open or answered or self._contributors != {run_id}:
            return []
        self._sources_and_files.forget_step()
        return [*self._message.reset_step(), *self._message.start_step()]

    def begin(self, run_id: UUID) -> list[Chunk]:
        """Begin the step of a model; the open one is taken back or ended first."""
        chunks: list[Chunk] = []
        only_failed = self._failed is not None and self._contributors == {self._failed}
        broke_off = self._message.unfinished if self._broke_off is None else self._broke_off
        broke_off, self._taken_up = broke_off and self._taken_up, False
        if self._message.step_open and (only_failed or broke_off):
            self._sources_and_files.forget_step()
            chunks = self._message.reset_step()
        self._sources_and_files.begin_step()
        self._contributors, self._failed = {run_id}, None
        return [*chunks, *self._message.start_step()]

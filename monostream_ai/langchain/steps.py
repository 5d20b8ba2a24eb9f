"""The steps of a message: when a model begins one, and when it takes back what a failed attempt has
shown.
"""

from __future__ import annotations

from uuid import UUID

from monostream_ai.langchain.attachments import Attachments
from monostream_ai.langchain.message import AgentMessage
from monostream_ai.ui_messages import Chunk


class Steps:
    """Knows who has contributed to the open step.

    A failed attempt is taken back only when another model follows it in the open step, and nobody
    else has shown anything there: `reset-step` removes everything since the step began. With no
    model to follow, what was said is all that the user will get.
    """

    def __init__(self, message: AgentMessage, attachments: Attachments) -> None:
        self._message = message
        self._attachments = attachments
        self._contributors: set[UUID | None] = set()
        self._failed: UUID | None = None

    def join(self, run_id: UUID | None) -> None:
        """Note that a run shows something in the open step; None is what belongs to no run."""
        self._contributors.add(run_id)

    def fail(self, run_id: UUID) -> None:
        """Note that a model failed after it had shown something."""
        self._failed = run_id

    def begin(self, run_id: UUID) -> list[Chunk]:
        """Begin the step of a model; end the open one first."""
        chunks: list[Chunk] = []
        if (
            self._message.step_open
            and self._failed is not None
            and self._contributors == {self._failed}
        ):
            self._attachments.forget_step()
            chunks = self._message.reset_step()
        self._attachments.begin_step()
        self._contributors, self._failed = {run_id}, None
        return [*chunks, *self._message.start_step()]

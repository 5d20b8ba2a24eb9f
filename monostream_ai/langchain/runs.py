"""The open runs that LangChain reports, and the choice of runs that a user may see.

A run is one execution of a chain, a model, a tool or a retriever; runs form a tree.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

HIDDEN_TAGS: Final = frozenset({"nostream", "langsmith:hidden"})
"""Tags by which LangGraph and LangSmith hide a run. Source: langgraph 1.2.22,
langgraph/constants.py.
"""

Kind = Literal["model", "chain", "tool", "retriever"]
Include: TypeAlias = Callable[[Sequence[str], Mapping[str, Any]], bool]


@dataclass(slots=True, eq=False)
class Run:
    """One open run. A `hidden` run is followed but not shown.

    `call_id` is the published id of the tool call that a tool run answers. A `node` is one of
    LangGraph's: the messages that it returns belong to the conversation. `asked` says whether the
    inputs hold a human's message, and `said` has the texts of the answers of this run.
    """

    id: UUID
    parent: Run | None
    kind: Kind
    hidden: bool
    call_id: str | None = None
    node: bool = False
    asked: bool = False
    said: set[str] = field(default_factory=set, repr=False)
    # A dict and not a set, so that runs end in the order in which they began.
    children: dict[UUID, Run] = field(default_factory=dict, repr=False)

    @property
    def root(self) -> Run:
        run = self
        while run.parent is not None:
            run = run.parent
        return run

    def note(self, text: str) -> None:
        """Note an answer, for this run and the runs around it."""
        run: Run | None = self
        while run is not None and text.strip():
            run.said.add(text.strip())
            run = run.parent

    def has_said(self, text: str) -> bool:
        """Whether this run or one inside it has given this answer, up to the space around it."""
        return text.strip() in self.said


class Runs:
    """The open runs.

    A run with an unknown parent counts as a root: fallbacks report no parent, and a handler may be
    attached to an inner run only.

    Args:
        exclude_tags: Hide runs with these tags too, and every run that they start.
        nested: Whether to show runs inside a tool.
        include: Called with the tags and metadata of each model run; False hides it.
    """

    def __init__(
        self,
        *,
        exclude_tags: Collection[str] = (),
        nested: Literal["hide", "show"] = "hide",
        include: Include | None = None,
    ) -> None:
        self._hidden_tags = HIDDEN_TAGS.union(exclude_tags)
        self._hide_nested = nested == "hide"
        self._include = include
        self._open: dict[UUID, Run] = {}

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._open

    def start(
        self,
        kind: Kind,
        run_id: UUID,
        parent_id: UUID | None,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        node: bool = False,
    ) -> Run:
        parent = None if parent_id is None else self._open.get(parent_id)
        hidden = not self._hidden_tags.isdisjoint(tags or ())
        if parent is not None:
            hidden = hidden or parent.hidden or (parent.kind == "tool" and self._hide_nested)
        if kind == "model" and self._include is not None and not hidden:
            hidden = not self._include(tags or [], metadata or {})
        run = self._open[run_id] = Run(run_id, parent, kind, hidden, node=node)
        if parent is not None:
            parent.children[run_id] = run
        return run

    def end(self, run_id: UUID) -> list[Run]:
        """Forget a run and the runs still open below it, and return them with the run last.

        Runs below end too because cancelled ones never report their own end. Returns nothing if the
        run is not open.
        """
        run = self._open.pop(run_id, None)
        if run is None:
            return []
        if run.parent is not None:
            run.parent.children.pop(run_id, None)
        below = [ended for child in tuple(run.children) for ended in self.end(child)]
        return [*below, run]

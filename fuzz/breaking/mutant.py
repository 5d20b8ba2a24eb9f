"""One way to break the core, and who should notice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MEMORY: Final = "fuzz/mem.py"
"""The fuzzer in memory, as a catcher, perhaps with `--only`; other catchers are arguments of
pytest.
"""

MEMORY_STORE: Final = "tests/stores/test_conformance.py -k 'TestMemoryStore and not RealClock'"


@dataclass(frozen=True)
class Change:
    """A text of a module that is replaced; it must be there exactly once."""

    module: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A broken core.

    Args:
        breaks: What goes wrong, as a user would see it.
        catcher: The command line of a fuzzer, or arguments of pytest.
    """

    name: str
    breaks: str
    changes: Sequence[Change]
    catcher: str = MEMORY

    def apply(self, package: Path) -> dict[Path, str]:
        """Change the modules of a copy of the package; return what they were.

        Raises:
            ValueError: A text is not there, or more than once.
        """
        before: dict[Path, str] = {}
        for change in self.changes:
            path = package / change.module
            source = path.read_text()
            if source.count(change.old) != 1:
                raise ValueError(
                    f"{self.name}: {change.module} has {source.count(change.old)} times: {change.old!r}"
                )
            before.setdefault(path, source)
            path.write_text(source.replace(change.old, change.new))
        return before


def mutant(
    name: str, breaks: str, module: str, old: str, new: str, catcher: str = MEMORY
) -> Mutant:
    """Return a mutant with one change."""
    return Mutant(name, breaks, [Change(module, old, new)], catcher)

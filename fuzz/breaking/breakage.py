"""Breaking the core at run time: a method or function, found by its name, gets another body.

Nothing depends on the source text of the core, so the core can be rewritten freely. A breakage
whose name is gone fails its quick test.
"""

from __future__ import annotations

import functools
import inspect
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

PACKAGE: Final = "monostream_ai"

MEMORY: Final = "fuzz/mem.py"
"""The fuzzer in memory, which notices most breakages."""


@dataclass(frozen=True)
class Breakage:
    """One way to break the core.

    Args:
        guarantee: The guarantee that is lost, as the README numbers them.
        target: Dotted name of the thing to replace, below the package.
        replacement: Called in place of a method or function, with the original before the
            arguments. If the target is a constant, called once with it, to return the new value.
            Its docstring says how users would see the damage.
        noticed_by: The command line of a fuzzer, or arguments of pytest.
    """

    guarantee: str
    target: str
    replacement: Callable[..., Any]
    noticed_by: str = MEMORY

    @property
    def name(self) -> str:
        return self.replacement.__name__.replace("_", "-")

    @property
    def damage(self) -> str:
        return inspect.getdoc(self.replacement) or ""

    def resolve(self) -> tuple[Any, str, Any]:
        """Return the owner of the target, the target's name there, and the target itself.

        Raises:
            AttributeError, ImportError: There is no such owner.
            KeyError: The owner does not define the target itself.
        """
        owner_name, _, name = f"{PACKAGE}.{self.target}".rpartition(".")
        owner = pkgutil.resolve_name(owner_name)
        return owner, name, vars(owner)[name]

    def broken(self) -> Any:
        """Return the broken target, without putting it in place."""
        _, _, original = self.resolve()
        if not callable(original):
            return self.replacement(original)

        @functools.wraps(original)
        def broken(*args: Any, **kwargs: Any) -> Any:
            return self.replacement(original, *args, **kwargs)

        return broken

    def apply(self) -> None:
        """Break this process, for good."""
        owner, name, original = self.resolve()
        broken = self.broken()
        setattr(owner, name, broken)
        if isinstance(owner, ModuleType) and callable(original):
            # Modules that have imported the function hold it under a name of their own.
            for module in [*sys.modules.values()]:
                if module.__name__.startswith(PACKAGE) and vars(module).get(name) is original:
                    setattr(module, name, broken)

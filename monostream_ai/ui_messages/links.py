"""Links that a page may offer to its user."""

from __future__ import annotations

from typing import Final

_FOLLOWED: Final = ("http://", "https://")


def is_link(url: str) -> bool:
    """Whether a browser may be given this URL to follow: a model writes what others made it write,
    such as `javascript:`.
    """
    return url[:8].lower().startswith(_FOLLOWED)

"""Random choices that a seed determines and that can be made smaller one by one.

Each choice has a name and is computed from the seed, the actor that makes it, its name, and how
often the actor has made it before. So one choice can change without moving any other, and no
actor's choices depend on how the actors were scheduled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Final, TypeVar
from zlib import crc32

T = TypeVar("T")

MASK: Final = 2**64 - 1


class Draws:
    """The choices of one actor.

    Args:
        caps: The largest value of each choice, by its name, for all actors. Shrinking a failure
            lowers them.
        used: Filled with the largest value each choice had; shared by all actors of a scenario.
    """

    def __init__(
        self,
        seed: int,
        caps: Mapping[str, int],
        *,
        actor: str = "",
        used: dict[str, int] | None = None,
    ) -> None:
        self._seed = seed
        self._caps = caps
        self._actor = actor
        self._key = hashed(f"{seed}/{actor}")
        self._made: dict[str, int] = {}
        self.used: dict[str, int] = {} if used is None else used
        """How far each choice went above its least value, over all actors."""

    def actor(self, name: str) -> Draws:
        """Return the choices of another actor of the same scenario."""
        return Draws(self._seed, self._caps, actor=f"{self._actor}.{name}", used=self.used)

    def number(self, name: str, low: int, high: int) -> int:
        """Return a number from low to high, both included.

        A cap counts from `low` on; the cap named "*" holds for all names not given.
        """
        times = self._made[name] = self._made.get(name, 0) + 1
        above = _mixed(self._key ^ crc32(name.encode()) ^ times << 32) % (high - low + 1)
        if self._caps:
            above = min(above, self._caps.get(name, self._caps.get("*", above)))
        if above > self.used.get(name, -1):
            self.used[name] = above
        return low + above

    def few(self, name: str, low: int, high: int) -> int:
        """As `number`, but small numbers come more often: the smaller one of two draws."""
        return min(self.number(name, low, high), self.number(name, low, high))

    def chance(self, name: str, percent: int) -> bool:
        """Return True in this percentage of cases; a cap of 0 makes it False."""
        return self.number(name, 0, 99) >= 100 - percent

    def choice(self, name: str, options: Sequence[T]) -> T:
        """Return one of the options. The first should be the simplest: a cap of 0 leaves only that
        one.
        """
        return options[self.number(name, 0, len(options) - 1)]


def hashed(text: str) -> int:
    """Return 48 bits that depend on nothing but the text."""
    return int.from_bytes(blake2b(text.encode(), digest_size=6).digest(), "big")


def _mixed(number: int) -> int:
    # The last step of splitmix64: every bit of the number counts, at a fraction of the cost of a
    # hash.
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB & MASK
    return number ^ (number >> 31)

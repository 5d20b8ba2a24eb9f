"""All mutants by name."""

from __future__ import annotations

from typing import Final

from fuzz.breaking.databases import DATABASES
from fuzz.breaking.leases import LEASES
from fuzz.breaking.mutant import Mutant
from fuzz.breaking.readers import READERS
from fuzz.breaking.writers import WRITERS

MUTANTS: Final[dict[str, Mutant]] = {
    each.name: each for each in [*READERS, *WRITERS, *LEASES, *DATABASES]
}

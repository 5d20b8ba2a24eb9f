"""What each thing costs that happens to a chunk: measured once, and kept in unit_costs.json."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

PATH = Path(__file__).with_name("unit_costs.json")


@dataclass(frozen=True)
class Cost:
    """Of one statement: `fixed` for itself, `stream` for each stream that it names, `chunk` for
    each chunk in it.
    """

    fixed: float
    stream: float
    chunk: float

    def of(self, streams: int, chunks: int) -> float:
        return self.fixed + self.stream * streams + self.chunk * chunks


@dataclass(frozen=True)
class Side:
    """The CPU seconds of a statement: here, and in the server."""

    client: Cost
    server: Cost


@dataclass(frozen=True)
class Costs:
    """CPU in seconds, sizes in bytes.

    Args:
        push: To encode and queue a chunk in the process that writes it.
        take: To hand a chunk to a reader.
        wake: In the server, for each process that listens and each notification.
        hear: The same in that process.
        flush: Seconds, of no CPU, that a commit waits for the disk: some that are equally likely.
        wal: Of one append.
        table, index: For each stored chunk.
    """

    append: Side
    notify: Side
    read: Side
    push: float
    take: float
    wake: float
    hear: float
    flush: list[float]
    wal: Cost
    table: float
    index: float

    @classmethod
    def load(cls, path: Path = PATH) -> Self:
        values = json.loads(path.read_text())
        for name in ("append", "notify", "read"):
            values[name] = Side(*(Cost(**cost) for cost in values[name].values()))
        return cls(**{**values, "wal": Cost(**values["wal"])})

    def save(self, path: Path = PATH) -> None:
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

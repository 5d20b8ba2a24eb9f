"""Break a copy of the core in many ways, and see that a fuzzer or the suite notices each: `python
fuzz/mutants.py`.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.breaking.catalogue import MUTANTS
from fuzz.breaking.hunt import LIMIT, Hunt, Verdict


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Break the core in named ways and see that each is noticed."
    )
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=[],
        help="names of mutants, with commas",
    )
    parser.add_argument("--list", action="store_true", help="print the mutants and leave")
    options = parser.parse_args()
    if unknown := {*options.only} - {*MUTANTS}:
        parser.error(f"unknown mutants {sorted(unknown)}")
    chosen = [MUTANTS[name] for name in options.only or MUTANTS]
    if options.list:
        print(*(f"{each.name}: {each.breaks}" for each in chosen), sep="\n")
        return 0
    # What runs is ended before we end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    counts: Counter[Verdict] = Counter()
    with Hunt() as hunt:
        for mutant in chosen:
            found = hunt.hunt(mutant)
            counts[found.verdict] += 1
            print(
                f"{found.verdict:8} {found.seconds:5.1f}s  {mutant.name:32} {mutant.catcher}",
                flush=True,
            )
            if found.verdict != "caught":
                print(found.output, flush=True)
    print(
        f"caught={counts['caught']} survived={counts['survived']} broken={counts['broken']} limit={LIMIT:.0f}s"
    )
    return 0 if counts["caught"] == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())

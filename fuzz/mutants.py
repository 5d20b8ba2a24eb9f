"""Break the core in many ways, and see that a fuzzer or a test notices each: `python
fuzz/mutants.py`.
"""

from __future__ import annotations

import argparse
import runpy
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.breaking.breakage import Breakage
from fuzz.breaking.table import BREAKAGES, HARMLESS


def main() -> int:
    parser = argparse.ArgumentParser(description="Break the core; see that each time is noticed.")
    parser.add_argument("--only", type=_named, default=[], help="names of breakages, with commas")
    parser.add_argument("--list", action="store_true", help="print the breakages and leave")
    parser.add_argument(
        "--under", metavar="NAME", help="run a fuzzer, or pytest, on a core broken in this way"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help="of --under, with its arguments")
    options = parser.parse_args()
    if options.under:
        (broken,) = _named(options.under)
        return run_under(broken, options.command)
    chosen = options.only or [*BREAKAGES.values()]
    if options.list:
        for each in chosen:
            print(f"{each.guarantee:3} {each.name}: {' '.join(each.damage.split())}")
        return 0
    return hunt(chosen)


def run_under(breakage: Breakage, command: Sequence[str]) -> int:
    """Break this process, then run a script or pytest in it; return the exit code."""
    breakage.apply()
    program, *arguments = command
    if program == "pytest":
        import pytest

        return int(pytest.main(arguments))
    sys.argv = [program, *arguments]
    runpy.run_path(program, run_name="__main__")
    return 0


def hunt(chosen: Sequence[Breakage]) -> int:
    """Hunt one after another and print the verdicts; return 0 if each is caught."""
    from fuzz.breaking.hunt import LIMIT, Hunt, Verdict

    # Lets the child be killed before this process ends.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    counts: Counter[Verdict] = Counter()
    hunting = Hunt()
    for each in chosen:
        found = hunting.hunt(each)
        counts[found.verdict] += 1
        print(
            f"{found.verdict:8} {found.seconds:5.1f}s  {each.name:40} {each.noticed_by}",
            flush=True,
        )
        if found.verdict != "caught":
            print(found.output, flush=True)
    print(*(f"{verdict}={count}" for verdict, count in counts.items()), f"limit={LIMIT:.0f}s")
    return 0 if counts["caught"] == len(chosen) else 1


def _named(names: str) -> list[Breakage]:
    known = {**BREAKAGES, HARMLESS.name: HARMLESS}
    try:
        return [known[name] for name in names.split(",")]
    except KeyError as unknown:
        raise argparse.ArgumentTypeError(f"there is no breakage {unknown}") from None


if __name__ == "__main__":
    sys.exit(main())

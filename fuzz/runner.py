"""The command line of all fuzzers."""

from __future__ import annotations

import argparse
import itertools
import logging
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence

from fuzz.draws import hashed
from fuzz.players import Player, Result, Task
from fuzz.progress import Progress
from fuzz.scenarios.catalogue import ON_MEMORY, pick
from fuzz.shrinking import shrink

MakePlayer = Callable[[argparse.Namespace], Player]


def main(
    name: str,
    make_player: MakePlayer,
    *,
    jobs: int,
    repeats: int,
    names: Sequence[str],
    unit: str = "scenarios",
    arguments: Sequence[str] | None = None,
) -> int:
    """Run a fuzzer; return the exit code.

    Args:
        name: The script, as replay commands name it.
        jobs: The default of `--jobs`.
        repeats: Runs of one scenario within which a failure should show again.
        names: The scenarios to pick from; a name listed twice is picked twice as often. `--only`
            picks all of its names equally often.
        unit: The fuzzer's word for its scenarios.
    """
    options = _parse(name, jobs, names, unit, arguments)
    # Scenarios cause background errors on purpose; each would be a line.
    logging.disable(logging.CRITICAL)
    player = make_player(options)
    try:
        fuzzer = Fuzzer(name, player, repeats, names, unit)
        return fuzzer.replay(options) if options.replay else fuzzer.run(options)
    finally:
        player.close()


def tasks(seed: int, names: Sequence[str] = ON_MEMORY) -> Iterator[Task]:
    """Yield the scenarios of a seed, without end."""
    for place in itertools.count():
        number = hashed(f"{seed}/{place}")
        yield Task(pick(number, names), number)


class Fuzzer:
    """Runs scenarios, and explains those that fail."""

    def __init__(
        self, name: str, player: Player, repeats: int, names: Sequence[str], unit: str
    ) -> None:
        self._name = name
        self._player = player
        self._repeats = repeats
        self._names = names
        self._unit = unit

    def run(self, options: argparse.Namespace) -> int:
        """Run until told to stop, or until enough scenarios failed; return the exit code."""
        seed = secrets.randbelow(2**32) if options.seed is None else options.seed
        names = options.only or self._names
        print(
            f"{self._name} seed={seed} {self._unit}={len({*names})} jobs={options.jobs}", flush=True
        )
        progress = Progress()
        failures: list[Result] = []

        def report(result: Result) -> bool:
            progress.count(result.counted, failed=result.error is not None, seconds=result.seconds)
            if result.error is not None:
                failures.append(result)
                print(f"FAIL {result.task.name}:{result.task.seed} {result.error}", flush=True)
            enough = len(failures) >= options.failures or progress.seconds >= options.seconds
            return not enough and progress.ok + progress.failed < options.scenarios

        try:
            self._player.play(tasks(seed, names), report)
        except KeyboardInterrupt:
            print()
        progress.print_kinds()
        progress.print()
        for failure in failures[: 0 if options.brief else 1]:
            self._explain(failure)
        return 1 if failures else 0

    def replay(self, options: argparse.Namespace) -> int:
        """Run one scenario and print its trace; return the exit code."""
        name, _, seed = options.replay.partition(":")
        caps = {key: int(value) for key, _, value in (cap.rpartition("=") for cap in options.caps)}
        for _ in range(self._repeats):
            result = self._player.attempt(Task(name, int(seed)), caps, tracing=True)
            if result.error is not None:
                break
        print(*result.trace, sep="\n")
        print(f"{'ok' if result.error is None else 'FAIL'} {options.replay} {result.error or ''}")
        return 0 if result.error is None else 1

    def _explain(self, failure: Result) -> None:
        task = failure.task
        print(f"\nreplay:  python {self._name} --replay {task.name}:{task.seed}", flush=True)
        caps, smaller = shrink(
            failure,
            lambda caps: self._player.attempt(task, caps, tracing=True),
            repeats=self._repeats,
        )
        if not caps:
            print("it did not fail again with smaller choices")
            return
        print(*smaller.trace[-100:], sep="\n")
        print(f"FAIL {task.name}:{task.seed} {smaller.error}")
        joined = ",".join(f"{key}={value}" for key, value in sorted(caps.items()))
        print(
            f"smaller: python {self._name} --replay {task.name}:{task.seed} --caps '{joined}'",
            flush=True,
        )


def _parse(
    name: str, jobs: int, names: Sequence[str], unit: str, arguments: Sequence[str] | None
) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=name, description=f"Run random {unit} until Ctrl+C.")
    parser.add_argument("--seed", type=int, help="replay a run; printed at its start")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument(
        f"--{unit}", dest="scenarios", type=float, default=float("inf"), help="how many"
    )
    parser.add_argument(
        "--jobs", type=int, default=jobs, help=f"scenarios at once (default {jobs})"
    )
    parser.add_argument("--only", type=_words, default=[], help="names of scenarios, with commas")
    parser.add_argument(
        "--failures", type=int, default=1, help="failures after which to stop (default 1)"
    )
    parser.add_argument("--brief", action="store_true", help="do not look for a smaller failure")
    parser.add_argument(
        "--replay", metavar="NAME:SEED", help="run one scenario alone and print its trace"
    )
    parser.add_argument(
        "--caps",
        type=_words,
        default=[],
        metavar="CHOICE=N,…",
        help="largest choices of a replay; * is all others",
    )
    parser.add_argument("--url", help="of the database, where the fuzzer has one")
    options = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    if unknown := {
        *options.only,
        *([options.replay.partition(":")[0]] if options.replay else []),
    } - {*names}:
        parser.error(
            f"unknown {unit} {sorted(unknown)}; there are {', '.join(dict.fromkeys(names))}"
        )
    return options


def _words(text: str) -> list[str]:
    return text.split(",")

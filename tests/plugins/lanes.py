"""How much of the suite a run takes: every case, a drawn sample of the sweeps, or the quick lane.

A test that tries every case of something, like every chunk boundary with every release, is a sweep:

    @pytest.mark.sweep(3, each="release")
    @pytest.mark.parametrize("release", RELEASES)
    @pytest.mark.parametrize("cut", CUTS)

pytest runs all of its cases. With `--sample` it draws three of them for each release and
deselects the others. The tests of a file that go many ways through one application are a sweep
together: `pytestmark = pytest.mark.sweep(4, of="file")`. Of each other test that drives a browser
or starts programs a sample has a quarter, and at least one case. The seed is printed; `--seed`
draws the same cases again. `--quick` draws a quarter of every other test with parameters, and
leaves out the tests that drive a browser or start programs or servers. Random tests try a quarter
of their `examples` in a sample.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

SLOW_TO_START: Final = (
    "tests/browser/",
    "tests/clients/",
    "tests/cli/test_program.py",
    "tests/doors/test_openapi.py",
    "tests/examples/",
    "tests/failover/",
    "tests/fastapi_processes/",
    "tests/fuzz/",
    "tests/packages/",
    "tests/plugins/",
    "tests/processes/",
    "tests/release/",
    "tests/testing/",
    "tests/tutorial/",
    "tests/workers/",
    "tests/test_dashboard.py",
    "tests/test_docs.py",
    "tests/test_notebooks.py",
    "tests/test_page_blocks.py",
    "tests/test_readme.py",
)
"""Tests that need Chromium, Node.js, processes of their own or packages which no other test needs;
the quick lane leaves them out.
"""

SERVERS: Final = {"postgres_server", "redis_server"}
"""Fixtures that start a server; the quick lane leaves their tests out too."""

SHIPPED_SWEEPS: Final = {
    "test_a_payload_comes_back_as_it_was": 6,
    "test_a_page_ends_with_the_payload_that_reaches_the_size": 4,
    "test_any_stream_id_works": 4,
    "test_any_stream_id_travels": 4,
    "test_similar_stream_ids_are_different_streams": 3,
}
"""Sweeps of `monostream_ai.testing`, which other projects run too and which knows no marker of
ours."""

_DRAWN: Final = pytest.StashKey[tuple[int, int]]()
"""How many cases of sweeps were drawn, and of how many."""


SHARE_OF_A_SAMPLE: Final = 4
"""Divisor of the number of cases and of random examples, where a test names none."""

_share = 1


def examples(count: int) -> int:
    """Return how many random examples to try, if `count` are tried where every case runs."""
    return max(1, count // _share)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("lanes")
    group.addoption("--sample", action="store_true", help="run a drawn sample of the sweeps")
    group.addoption(
        "--quick",
        action="store_true",
        help="a smaller sample, without tests that drive a browser or start programs or servers",
    )
    group.addoption(
        "--seed", type=int, metavar="N", help="draw the same sample as the run that printed it"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "sweep(count, each=None, of='test'): a sample has so many of the cases, drawn by chance, or"
        " a quarter if the count is None; with `each`, so many for each value of the parameter of"
        " that name; with `of='file'`, so many of all such cases in the file",
    )
    config.option.sample = config.option.sample or config.option.quick
    if config.option.sample:
        global _share
        _share = SHARE_OF_A_SAMPLE
    if config.option.seed is None:
        # Processes that share the tests must draw alike.
        given = getattr(config, "workerinput", {}).get("seed")
        config.option.seed = random.randrange(10**6) if given is None else given


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["seed"] = node.config.option.seed


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    # Not even imported, which takes long too.
    place = collection_path.relative_to(config.rootpath).as_posix()
    return config.option.quick and f"{place}/".startswith(SLOW_TO_START) or None


def pytest_itemcollected(item: pytest.Item) -> None:
    if count := SHIPPED_SWEEPS.get(item.nodeid.rpartition("::")[2].partition("[")[0]):
        item.add_marker(pytest.mark.sweep(count))
    elif (
        (item.config.option.quick or item.nodeid.startswith(SLOW_TO_START))
        and hasattr(item, "callspec")
        and item.get_closest_marker("sweep") is None
    ):
        item.add_marker(pytest.mark.sweep(None))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.quick:
        _keep(config, items, {item for item in items if not _needs_a_server(item)})
    if config.option.sample:
        swept = [item for item in items if item.get_closest_marker("sweep")]
        drawn = set(_draw(swept, config.option.seed))
        _keep(config, items, set(items) - (set(swept) - drawn))
        config.stash[_DRAWN] = len(drawn), len(swept)


def _needs_a_server(item: pytest.Item) -> bool:
    if not isinstance(item, pytest.Function):
        return False
    # A test of several backends asks for the server when it runs, by the id of its backend.
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    ids = [value for value in values if isinstance(value, str)]
    return not SERVERS.isdisjoint(item.fixturenames) or "postgresql" in ids


def _draw(swept: Sequence[pytest.Item], seed: int) -> Iterator[pytest.Item]:
    for sweep, cases in _grouped(swept, _sweep_of).items():
        # Each sweep has a source of chance of its own, so that a test added elsewhere changes
        # nothing here.
        chance = random.Random(f"{seed} {sweep}")
        for group in _grouped(cases, _value_drawn_for).values():
            count = _marker_of(group[0]).args[0] or max(1, len(group) // SHARE_OF_A_SAMPLE)
            yield from chance.sample(group, k=min(count, len(group)))


def _grouped(
    items: Sequence[pytest.Item], key: Callable[[pytest.Item], Any]
) -> dict[Any, list[pytest.Item]]:
    groups: dict[Any, list[pytest.Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _sweep_of(item: pytest.Item) -> str:
    test = item.nodeid.partition("[")[0]
    return test.partition("::")[0] if _marker_of(item).kwargs.get("of") == "file" else test


def _value_drawn_for(item: pytest.Item) -> Any:
    each = _marker_of(item).kwargs.get("each")
    return item.callspec.params[each] if each and isinstance(item, pytest.Function) else None


def _marker_of(item: pytest.Item) -> pytest.Mark:
    marker = item.get_closest_marker("sweep")
    assert marker is not None
    return marker


def _keep(config: pytest.Config, items: list[pytest.Item], kept: set[pytest.Item]) -> None:
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


def pytest_sessionfinish(session: pytest.Session) -> None:
    # A process that runs a share of the tests tells the one that reports.
    if hasattr(session.config, "workeroutput") and _DRAWN in session.config.stash:
        session.config.workeroutput["drawn"] = session.config.stash[_DRAWN]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    if drawn := getattr(node, "workeroutput", {}).get("drawn"):
        node.config.stash[_DRAWN] = drawn


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if _DRAWN in config.stash:
        drawn, swept = config.stash[_DRAWN]
        terminalreporter.write_line(
            f"Drew {drawn} of {swept} cases of the sweeps; draw them again with --seed"
            f" {config.option.seed}."
        )

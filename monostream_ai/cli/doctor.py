"""`doctor`: check a database, and say how to repair each fault."""

from __future__ import annotations

from typing import Final

import click
from rich.text import Text

from monostream_ai.cli.database import FAILED, Database, database_options, run
from monostream_ai.cli.formatting import console, json_option, print_json
from monostream_ai.diagnosis import diagnose
from monostream_ai.types import Finding

SIGNS: Final = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "bold red")}


@click.command()
@database_options
@json_option
def doctor(database: Database, as_json: bool) -> None:
    """Check the database, its notifications, and the packages here.

    Checks packages, connection, tables, privileges, pooler, locks, clock, how soon a death is
    noticed, wake-ups and the chunks in them, and gives advice for each fault. Exits with 1 if a
    check fails.
    """
    database.require_file()

    async def work() -> int:
        failed = False
        async for finding in diagnose(
            database.url, listen_url=database.listen_url, notifier=database.notifier
        ):
            failed |= finding.level == "fail"
            if as_json:
                print_json(finding._asdict())
            else:
                show(finding)
        return FAILED if failed else 0

    run(work())


def show(finding: Finding) -> None:
    """Print a finding, and its advice on a line below."""
    sign, style = SIGNS[finding.level]
    console().print(Text.assemble((sign, style), f" {finding.check:<14} {finding.found}"))
    if finding.advice:
        console().print(Text(f"  {'':<14} {finding.advice}", "italic"))

"""`import`: moves an application from SQLite to Postgres."""

from __future__ import annotations

import time
from pathlib import Path

import click

from monostream_ai.cli.database import WRONG_USAGE, Database, database_options, fail, run
from monostream_ai.cli.formatting import console, json_option, print_json, short_duration


@click.command("import")
@database_options
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def import_file(database: Database, file: Path, as_json: bool) -> None:
    """Copy the streams, histories and waiting questions of the SQLite FILE to an empty Postgres.

    All of it is copied, or nothing. End the application first. Its own tables are not copied.
    """
    if not database.url.startswith("postgres"):
        fail("name the Postgres database with --url", WRONG_USAGE)
    # The other commands need no driver of Postgres for SQLite.
    from monostream_ai.stores.postgres.importing import file_schema_version, import_sqlite

    async def work() -> None:
        started = time.monotonic()
        if file_schema_version(file) != await database.upgrade():
            fail(f"{file} is not of this release: run `migrate --url sqlite:///{file}` first")
        with console(err=True).status("copying"):
            copied = await import_sqlite(file, database.url)
        if as_json:
            print_json(copied)
        else:
            took = short_duration(time.monotonic() - started)
            numbers = ", ".join(f"{count} rows of {table}" for table, count in copied.items())
            click.echo(f"copied {numbers} in {took}")

    run(work())

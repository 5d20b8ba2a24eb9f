"""The group of commands."""

from __future__ import annotations

import click

from monostream_ai.cli.diagnosing import doctor
from monostream_ai.cli.inspecting import inspect
from monostream_ai.cli.listing import ls
from monostream_ai.cli.maintaining import migrate, prune, stop
from monostream_ai.cli.tailing import tail

EPILOG = """\b
Exit codes:
  0  done
  1  failed; the reason is on stderr
  2  wrong usage
  3  there is no such stream, or nothing to stop
  4  the publisher of the stream was lost
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="monostream-ai", prog_name="monostream-ai")
def app() -> None:
    """Look at durable streams in Postgres or SQLite, and look after them.

    The database is named by --url or by the environment variable MONOSTREAM_URL, as for
    create_service.
    """


for command in (ls, tail, inspect, stop, prune, migrate, doctor):
    app.add_command(command)

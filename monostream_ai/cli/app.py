"""The group of all commands."""

from __future__ import annotations

import click

from monostream_ai import __version__
from monostream_ai.cli.doctor import doctor
from monostream_ai.cli.importing import import_file
from monostream_ai.cli.inspect import inspect
from monostream_ai.cli.ls import ls
from monostream_ai.cli.maintenance import migrate, prune, stop
from monostream_ai.cli.tail import tail

EPILOG = """\b
Exit codes:
  0  done
  1  failed; the reason is on stderr
  2  wrong usage
  3  the stream does not exist, or there is nothing to stop
  4  the publisher of the stream was lost
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="monostream-ai")
def app() -> None:
    """Inspect and maintain durable streams in Postgres or SQLite.

    Name the database with --url after the command, or with the environment variable MONOSTREAM_URL,
    with a URL as for create_service.
    """


for command in (ls, tail, inspect, stop, prune, migrate, import_file, doctor):
    app.add_command(command)

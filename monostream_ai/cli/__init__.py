"""The command `monostream-ai`: list, follow, inspect, stop and prune streams, and check a database.

One module for each command, named after it; `maintenance` has `stop`, `prune` and `migrate`.
"""

from __future__ import annotations

import sys

from monostream_ai._extras import needs
from monostream_ai.errors import MissingExtra

__all__ = ["main"]


def main() -> None:
    """Run the command; if it needs an extra that is not installed, say which."""
    try:
        with needs("click and rich", "cli", by="monostream-ai"):
            import click as click
            import rich as rich
        from monostream_ai.cli.app import app

        app(prog_name="monostream-ai")
    except MissingExtra as error:
        sys.exit(f"Error: {error}")

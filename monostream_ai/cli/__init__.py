"""The command `monostream-ai`: list, follow, inspect, stop and prune streams, and check a database.

One module for each command, named after it; `maintenance` has `stop`, `prune` and `migrate`.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command; without the extra `cli`, say how to install it."""
    try:
        from monostream_ai.cli.app import app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("click", "rich"):
            raise
        sys.exit("monostream-ai needs click and rich: pip install 'monostream-ai[cli]'")
    app(prog_name="monostream-ai")

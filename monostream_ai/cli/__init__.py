"""The command `monostream-ai`: look at streams, follow one, stop it, prune, upgrade the tables, and
find out what is wrong.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command."""
    try:
        from monostream_ai.cli.app import app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("click", "rich"):
            raise
        sys.exit("monostream-ai needs click and rich: pip install 'monostream-ai[cli]'")
    app(prog_name="monostream-ai")

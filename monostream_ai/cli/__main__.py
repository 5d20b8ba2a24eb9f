"""`python -m monostream_ai.cli` is `monostream-ai`."""

from monostream_ai.cli import main

main()

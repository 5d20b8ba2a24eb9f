"""Lets `python -m monostream_ai.cli` run `monostream-ai`."""

from monostream_ai.cli import main

main()

"""Writer tokens."""

from __future__ import annotations

import secrets


def new_token() -> str:
    """Return 128 random bits, so that nobody writes by guessing."""
    return secrets.token_hex(16)

"""TLS for asyncpg, from the parameters of libpq that asyncpg reads only out of a DSN."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from monostream_ai.errors import InvalidURL

SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

TLS_KEYS: Final = (
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslcrl",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "sslnegotiation",
)

SYSTEM: Final = "system"
"""Stands for the roots of the operating system, in place of a file."""

_VERSIONS: Final = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


def tls_arguments(values: Mapping[str, str], *, binding: bool, sockets: bool) -> dict[str, Any]:
    """Return the arguments of `asyncpg.connect` for these parameters of libpq.

    Args:
        values: `sslmode` and `TLS_KEYS`, those that the URL has.
        binding: The URL has `channel_binding=require`. It protects from a server in the middle;
            verifying the certificate and the name of the server does too.
        sockets: All hosts are Unix sockets, which have no TLS.

    Raises:
        InvalidURL: The parameters contradict each other, or a file cannot be used.
    """
    values = dict(values)
    direct = values.pop("sslnegotiation", "postgres")
    if direct not in ("postgres", "direct"):
        raise invalid("sslnegotiation", "is not postgres or direct")
    mode, roots = _verified(values, binding=binding, sockets=sockets)
    if direct == "direct" and mode not in ("require", "verify-ca", "verify-full"):
        raise invalid("sslnegotiation", "is direct, which needs sslmode=require or stronger")
    for key in ("ssl_min_protocol_version", "ssl_max_protocol_version"):
        if key in values and values[key] not in _VERSIONS:
            raise invalid(key, f"is not {', '.join(_VERSIONS)}")
    arguments: dict[str, Any] = {"direct_tls": True} if direct == "direct" else {}
    if mode is not None:
        values["sslmode"] = mode
    if roots is not None:
        values["sslrootcert"] = roots
    context = _context(values)
    if roots == SYSTEM:
        return arguments | {"ssl": context}
    # asyncpg takes these from nowhere else.
    return arguments | ({"dsn": f"postgresql://?{urlencode(values)}"} if values else {})


def invalid(key: str, reason: str) -> InvalidURL:
    """Return the error for a parameter."""
    return InvalidURL(f"{key} in the Postgres URL {reason}", "correct it or leave it out", key=key)


def _verified(
    values: Mapping[str, str], *, binding: bool, sockets: bool
) -> tuple[str | None, str | None]:
    """Return the mode and the roots to use."""
    mode, roots = values.get("sslmode"), values.get("sslrootcert")
    if binding:
        if mode == "disable" or sockets:
            raise invalid("channel_binding", "is require, but the connection has no TLS")
        mode, roots = "verify-full", roots or _default_roots() or SYSTEM
    if roots == SYSTEM:
        mode = mode or "verify-full"
        if mode != "verify-full":
            raise invalid("sslrootcert", "is system, which needs sslmode=verify-full")
    elif mode in ("verify-ca", "verify-full") and roots is None and _default_roots() is None:
        raise invalid("sslmode", f"is {mode}, which needs sslrootcert=FILE or sslrootcert=system")
    return mode, roots


def _default_roots() -> str | None:
    if given := os.environ.get("PGSSLROOTCERT"):
        return given
    path = Path("~/.postgresql/root.crt").expanduser()
    return str(path) if path.exists() else None


def _context(values: Mapping[str, str]) -> ssl.SSLContext:
    """Load the files, so that a fault is found before the first connection."""
    roots = values.get("sslrootcert")
    context = (
        ssl.create_default_context() if roots == SYSTEM else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )
    if roots not in (None, SYSTEM):
        _load("sslrootcert", lambda: context.load_verify_locations(cafile=roots))
    if "sslcrl" in values:
        _load("sslcrl", lambda: context.load_verify_locations(cafile=values["sslcrl"]))
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    if "sslkey" in values and "sslcert" not in values:
        raise invalid("sslkey", "is given without sslcert")
    if "sslcert" in values:
        password = values.get("sslpassword", "")
        _load(
            "sslcert",
            lambda: context.load_cert_chain(
                values["sslcert"], values.get("sslkey"), password=lambda: password
            ),
        )
    if "ssl_min_protocol_version" in values:
        context.minimum_version = _VERSIONS[values["ssl_min_protocol_version"]]
    if "ssl_max_protocol_version" in values:
        context.maximum_version = _VERSIONS[values["ssl_max_protocol_version"]]
    if ssl.HAS_ALPN:
        context.set_alpn_protocols(["postgresql"])
    return context


def _load(key: str, load: Callable[[], None]) -> None:
    try:
        load()
    # The texts of OpenSSL name no reason that helps, and may name a password's file.
    except (OSError, ValueError) as error:
        raise invalid(key, "or a file beside it cannot be read") from error

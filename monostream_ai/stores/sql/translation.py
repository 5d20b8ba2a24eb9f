"""Translates between this package and the drivers: parameters one way, errors the other.

Errors are told apart by code and class, never by text.
"""

from __future__ import annotations

import sqlite3
import ssl
from typing import Any, Final

from sqlalchemy import exc

from monostream_ai.errors import ReadOnlyDatabase, StoreUnavailable
from monostream_ai.types import Lease, Opening

# https://www.postgresql.org/docs/18/errcodes-appendix.html
_UNAVAILABLE: Final = {
    "08": "the connection broke",
    "25": "the transaction was left in a wrong state",
    "26": "a prepared statement was lost",
    "28": "the login was refused: check the user and password in the URL, and that the role has "
    "LOGIN",
    "3D": "there is no database of this name: create it, or check the URL",
    "40": "a deadlock or serialization failure",
    "53": "the server lacks resources",
    "53300": "too many connections for the server, the database or the role",
    "55": "a lock was not granted in time",
    "55000": "the database accepts no connections now",
    "57": "the server is shutting down, or it cancelled the statement",
    "57P03": "the server is starting up or recovering, and accepts no connections yet",
    "58": "the server has a system error",
    "XX": "the server has an internal error",
}
"""Reasons by class; by state where that of its class would be wrong."""

UNDEFINED_TABLE: Final = "42P01"
UNDEFINED_COLUMN: Final = "42703"
READ_ONLY: Final = "25006"
PROTOCOL_VIOLATION: Final = "08P01"
INSUFFICIENT_PRIVILEGE: Final = "42501"
UNFIT_PARAMETERS: Final = ("22023", "42704")
"""A parameter of the session has a value that it cannot have, or does not exist."""

LOST_STATEMENTS: Final = ("26000", "42P05")
"""A prepared statement is not there, or one of its name is."""

UNIQUE_VIOLATION: Final = "23505"
DATA_ERROR_CLASS: Final = "22"

# https://www.sqlite.org/rescode.html
_UNAVAILABLE_CODES: Final = {
    sqlite3.SQLITE_BUSY: "another process holds the database locked",
    sqlite3.SQLITE_LOCKED: "another connection holds the table locked",
    sqlite3.SQLITE_IOERR: "the disk reported an error",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_CANTOPEN: "the database file cannot be opened: does its folder exist, "
    "and may this process write there?",
    sqlite3.SQLITE_PROTOCOL: "the locking protocol failed",
    sqlite3.SQLITE_CORRUPT: "the database file is damaged",
    sqlite3.SQLITE_NOTADB: "the file is not a SQLite database",
}


def opening_parameters(stream_id: str, opening: Opening) -> dict[str, Any]:
    """Return the columns of a new version; the opener is its first writer."""
    return {
        "stream": stream_id,
        "writer": opening.token,
        "lease": opening.lease,
        "message_id": opening.message_id,
        "owner": opening.owner,
        "attempt": opening.attempt,
        "handovers": opening.handovers,
        "repeats": opening.repeats,
        "request": opening.request,
        "metadata": opening.metadata,
        "watched": opening.watched,
    }


def held_by(lease: Lease) -> dict[str, Any]:
    """Return the version and the token of one lease."""
    return {"stream": lease.stream_id, "version": lease.version, "writer": lease.token}


def sqlstate(error: BaseException) -> str | None:
    """Return the five-character SQLSTATE of a driver error, or None."""
    original: Any = getattr(error, "orig", error)
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    return state if isinstance(state, str) else None


def as_unavailable(error: BaseException, server: str | None = None) -> StoreUnavailable | None:
    """Return the error as StoreUnavailable if a retry may help, else None.

    Args:
        server: Its address, without secrets.
    """
    if isinstance(error, exc.TimeoutError):
        return StoreUnavailable("no connection became free in time")
    where = "" if server is None else f" ({server})"
    if isinstance(error, ssl.SSLCertVerificationError):
        return StoreUnavailable(
            f"the server's certificate was not verified: {error.verify_message}{where}"
        )
    if isinstance(error, OSError | TimeoutError):
        return StoreUnavailable(f"{type(error).__name__} while connecting or waiting{where}")
    state = sqlstate(error)
    if state == READ_ONLY:
        return ReadOnlyDatabase(
            "the server takes no writes: it is a standby, or the session is read-only; "
            f"name the primary, or add target_session_attrs=read-write{where}"
        )
    if PROTOCOL_VIOLATION in (state, _state_before(error)):
        return StoreUnavailable(
            "the server or a pooler before it refused the connection: a pooler must be in "
            "transaction or session mode, not in statement mode, and accept the parameters of "
            f"the URL{where}"
        )
    if state is not None and (reason := _UNAVAILABLE.get(state, _UNAVAILABLE.get(state[:2]))):
        return StoreUnavailable(f"{reason} (SQLSTATE {state})")
    code = sqlite_code(error)
    if code == sqlite3.SQLITE_READONLY:
        return ReadOnlyDatabase("the file, or the folder around it, is write-protected")
    if code is not None and code in _UNAVAILABLE_CODES:
        return StoreUnavailable(_UNAVAILABLE_CODES[code])
    if isinstance(error, exc.DBAPIError) and (
        error.connection_invalidated or isinstance(error, exc.InterfaceError)
    ):
        return StoreUnavailable("the connection broke")
    return None


def _state_before(error: BaseException) -> str | None:
    """Return the SQLSTATE of the error with which the server closed the connection, if it did."""
    broken = driver_error(error) if isinstance(error, Exception) else error
    return None if broken.__cause__ is None else sqlstate(broken.__cause__)


def driver_error(error: Exception) -> Exception:
    """Return the driver's own error: that of SQLAlchemy shows statements and their values."""
    original = getattr(error, "orig", None)
    if isinstance(original, Exception):
        cause = original.__cause__
        return cause if isinstance(cause, Exception) else original
    return error


def sqlite_code(error: BaseException) -> int | None:
    """Return the primary result code of a SQLite error, or None."""
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None

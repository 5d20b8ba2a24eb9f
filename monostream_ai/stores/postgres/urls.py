"""Postgres URLs as databases and their hosts hand them out, translated for asyncpg.

Names and meanings of the parameters: https://www.postgresql.org/docs/18/libpq-connect.html, 32.1.2.
"""

from __future__ import annotations

import configparser
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from monostream_ai.errors import InvalidURL
from monostream_ai.stores.postgres.tls import SSL_MODES, TLS_KEYS, invalid, tls_arguments

logger = logging.getLogger(__name__)

DRIVERS: Final = ("postgresql", "postgres", "postgresql+asyncpg")

SESSION_ATTRIBUTES: Final = (
    "any",
    "read-write",
    "read-only",
    "primary",
    "standby",
    "prefer-standby",
)

HARMLESS: Final[Mapping[str, frozenset[str]]] = {
    "channel_binding": frozenset({"disable", "prefer", "require"}),
    "gssencmode": frozenset({"disable", "prefer"}),
    "gssdelegation": frozenset({"0"}),
    "sslcompression": frozenset({"0", "1"}),
    "sslsni": frozenset({"1"}),
    "sslcertmode": frozenset({"allow"}),
    "client_encoding": frozenset({"auto", "utf8", "utf-8", "unicode"}),
    "replication": frozenset({"false", "off", "no", "0"}),
    "min_protocol_version": frozenset({"3.0"}),
    "max_protocol_version": frozenset({"3.0", "3.2", "latest"}),
    "load_balance_hosts": frozenset({"disable", "random"}),
    "uselibpqcompat": frozenset({"true", "false"}),
}
"""Values without a meaning for asyncpg, or that ask for its own behaviour. Any other value of these
would weaken the connection that the user asked for. `tls` serves `channel_binding=require`.
"""

FOREIGN: Final = frozenset(
    {
        "connection_limit",
        "pool_timeout",
        "socket_timeout",
        "supa",
        "workaround",
    }
)
"""Settings of other programs' pools, as Prisma, Supabase and Vercel write them into URLs."""

KEEPALIVES: Final = (
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
)

# SQLAlchemy's own pattern takes a list of hosts for one host and a bad port.
_HOSTS: Final = re.compile(r"(?P<head>[\w+]+://(?:[^:/]*(?::[^@]*)?@)?)(?P<hosts>[^/?@]+)")
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,40}")


@dataclass(frozen=True, slots=True)
class PostgresURL:
    """A URL, read.

    Args:
        url: For SQLAlchemy: user, password, database and the first address.
        arguments: For `asyncpg.connect`, beyond those in `url`.
        keepalives: Of the socket, by their names in libpq, in seconds and counts;
            `tcp_user_timeout` in milliseconds.
        pooler: The URL says that it leads through a pooler in transaction mode.
        schema: Of the tables.
        servers: The addresses, for messages.
    """

    url: URL
    arguments: Mapping[str, Any] = field(repr=False)
    keepalives: Mapping[str, int]
    pooler: bool
    schema: str | None
    servers: str


def read_url(url: str | PostgresURL) -> PostgresURL:
    """Read a URL for asyncpg; `postgresql://` and `postgres://` mean the same.

    Raises:
        InvalidURL: It cannot be read, names another driver, or has a parameter that asyncpg cannot
            serve.
    """
    if isinstance(url, PostgresURL):
        return url
    parsed, hosts = _split(url)
    query = _Query(parsed)
    query.add_service()
    return _Reader(parsed, hosts, query).read()


def _split(url: str) -> tuple[URL, str | None]:
    """Return the URL and its list of hosts, if it has several."""
    if not isinstance(url, str):
        raise InvalidURL(f"a URL is a text, not {type(url).__name__}")
    hosts: str | None = None
    match = _HOSTS.match(url)
    if match is not None and "," in match["hosts"]:
        hosts = match["hosts"]
        url = match["head"] + url[match.end() :]
    try:
        parsed = make_url(url)
    # None of these may be the cause: some name the URL, and its password.
    except (ArgumentError, ValueError):
        raise InvalidURL("the URL cannot be read") from None
    if parsed.drivername not in DRIVERS:
        raise InvalidURL(f"the driver {parsed.drivername!r} is not asyncpg")
    if "@" in (parsed.host or ""):
        raise InvalidURL("'@' in a user or a password is written %40 in a URL", "write it so")
    return parsed, hosts


class _Query:
    """The parameters of a URL, taken one after another; the last value of a key wins."""

    def __init__(self, parsed: URL) -> None:
        self.hosts = parsed.query.get("host")
        self._values = {
            key: value if isinstance(value, str) else value[-1]
            for key, value in parsed.query.items()
        }

    def take(self, key: str) -> str | None:
        """Return a value and forget it; None if there is none, or an empty one."""
        return self._values.pop(key, None) or None

    def take_one_of(self, key: str, words: tuple[str, ...]) -> str | None:
        value = self.take(key)
        if value is not None and value not in words:
            raise invalid(key, f"is not {', '.join(words[:-1])} or {words[-1]}")
        return value

    def take_number(self, key: str, kind: Callable[[str], Any] = int) -> Any:
        """Return a number that is not negative, or None."""
        value = self.take(key)
        if value is None:
            return None
        try:
            number = kind(value)
        except ValueError:
            number = -1
        if not 0 <= number < 2**31:
            raise invalid(key, "is not a number")
        return number

    def take_flag(self, key: str) -> bool | None:
        value = self.take_one_of(key, ("true", "false", "1", "0", "on", "off", "yes", "no"))
        return None if value is None else value in ("true", "1", "on", "yes")

    def take_known(self, keys: Mapping[str, frozenset[str]] | frozenset[str]) -> dict[str, str]:
        return {key: value for key in sorted(keys) if (value := self.take(key)) is not None}

    def add_service(self) -> None:
        """Add the parameters of a service file, which those of the URL override."""
        name, file = self.take("service"), self.take("servicefile")
        if name is None:
            return
        path = file or os.environ.get("PGSERVICEFILE") or str(Path.home() / ".pg_service.conf")
        services = configparser.ConfigParser(interpolation=None)
        try:
            found = services.read(path)
        except configparser.Error:
            found = []
        if not found or name not in services:
            raise invalid("service", f"is in no section of {path!r}")
        self._values = {**services[name], **self._values}
        self.hosts = self.hosts or self._values.get("host")

    def require_none(self) -> None:
        """Refuse a key that nobody has taken."""
        for key, value in self._values.items():
            if value:
                name = key if _NAME.fullmatch(key) else "a parameter"
                raise invalid(name, "is not one that asyncpg can serve")


class _Reader:
    """Translates the parameters of one URL."""

    def __init__(self, parsed: URL, hosts: str | None, query: _Query) -> None:
        self._parsed = parsed
        self._hosts = hosts
        self._query = query
        self._arguments: dict[str, Any] = {}

    def read(self) -> PostgresURL:
        query = self._query
        url = self._login()
        addresses = self._addresses()
        self._session()
        cache_sizes = [
            query.take_number(key)
            for key in ("statement_cache_size", "prepared_statement_cache_size")
        ]
        prisma = query.take_flag("pgbouncer")
        schema = query.take("schema")
        keepalives = {
            key: number for key in KEEPALIVES if (number := query.take_number(key)) is not None
        }
        self._tls(addresses)
        query.require_none()
        return PostgresURL(
            _with_addresses(url, addresses),
            self._arguments,
            keepalives if keepalives.pop("keepalives", 1) else {},
            pooler=bool(prisma) or 0 in cache_sizes,
            schema=schema,
            servers=", ".join(map(_address_text, addresses)) or "the default address",
        )

    def _login(self) -> URL:
        query, parsed = self._query, self._parsed
        url = parsed.set(
            drivername="postgresql+asyncpg",
            username=query.take("user") or parsed.username,
            password=query.take("password") or parsed.password,
            database=query.take("dbname") or query.take("database") or parsed.database,
            query={},
        )
        if (passfile := query.take("passfile")) is not None:
            self._arguments["passfile"] = readable("passfile", passfile)
        for key in ("krbsrvname", "gsslib"):
            if (value := query.take(key)) is not None:
                self._arguments[key] = value
        return url

    def _addresses(self) -> list[tuple[str, int | None]]:
        """Return hosts and ports; empty if the URL leaves them to asyncpg."""
        query, parsed = self._query, self._parsed
        ports = (query.take("port") or "").split(",")
        query.take("host")
        hosts: list[str] = []
        if isinstance(query.hosts, tuple):
            hosts = [host for each in query.hosts for host in each.split(",")]
        elif query.hosts:
            hosts = query.hosts.split(",")
        elif self._hosts is not None:
            hosts = self._hosts.split(",")
        elif parsed.host is not None:
            hosts = [f"[{parsed.host}]" if ":" in parsed.host else parsed.host]
        if ports == [""] and parsed.port is not None:
            ports = [str(parsed.port)]
        if (numeric := query.take("hostaddr")) is not None:
            if hosts:
                raise invalid("hostaddr", "cannot be used together with a host")
            hosts = [f"[{each}]" if ":" in each else each for each in numeric.split(",")]
        if len(ports) not in (1, len(hosts) or 1):
            raise invalid("port", "names more or fewer ports than there are hosts")
        addresses = [
            _address(host, ports[place if len(ports) > 1 else 0])
            for place, host in enumerate(hosts)
        ]
        if not addresses and ports != [""]:
            self._arguments["port"] = _port(ports[0])
        return addresses

    def _session(self) -> None:
        query = self._query
        settings = {
            "application_name": query.take("application_name"),
            "options": query.take("options"),
        }
        fallback = query.take("fallback_application_name")
        settings["application_name"] = settings["application_name"] or fallback
        self._arguments["server_settings"] = {
            key: value for key, value in settings.items() if value
        }
        attributes = query.take_one_of("target_session_attrs", SESSION_ATTRIBUTES)
        if attributes is not None:
            self._arguments["target_session_attrs"] = attributes
        # 0 asks libpq to wait for ever; here it asks for our own limit.
        timeout = query.take_number("connect_timeout", float) or query.take_number("timeout", float)
        if timeout:
            self._arguments["timeout"] = float(timeout)
        if command_timeout := query.take_number("command_timeout", float):
            self._arguments["command_timeout"] = command_timeout

    def _tls(self, addresses: list[tuple[str, int | None]]) -> None:
        query = self._query
        ignored = query.take_known(HARMLESS)
        for key, value in ignored.items():
            if value.lower() not in HARMLESS[key]:
                raise invalid(key, f"cannot be {value[:20]!r} with asyncpg")
        binding = ignored.get("channel_binding") == "require"
        ssl = query.take("ssl")
        # As libpq reads the URLs of JDBC.
        mode = query.take("sslmode") or ("require" if ssl in ("true", "1") else ssl)
        if mode is not None and mode not in SSL_MODES:
            raise invalid("sslmode", f"is not {', '.join(SSL_MODES[:-1])} or {SSL_MODES[-1]}")
        values = {key: found for key in TLS_KEYS if (found := query.take(key)) is not None}
        if mode is not None:
            values["sslmode"] = mode
        sockets = bool(addresses) and all(host.startswith("/") for host, _ in addresses)
        self._arguments.update(tls_arguments(values, binding=binding, sockets=sockets))
        if binding:
            del ignored["channel_binding"]
            logger.info(
                "asyncpg cannot bind channels: for channel_binding=require, "
                "the server's certificate and name are verified instead"
            )
        ignored.update(query.take_known(FOREIGN))
        if ignored:
            logger.info("parameters of the Postgres URL that are ignored: %s", ", ".join(ignored))


def _with_addresses(url: URL, addresses: list[tuple[str, int | None]]) -> URL:
    if not addresses:
        return url.set(query={})
    if len(addresses) == 1 and not addresses[0][0].startswith("/"):
        host, port = addresses[0]
        return url.set(host=host, port=port)
    query = {
        "host": ",".join(host for host, _ in addresses),
        "port": ",".join(str(port or _default_port()) for _, port in addresses),
    }
    # Not with `set`, which keeps a host that is replaced by None.
    return URL.create(
        url.drivername, url.username, url.password, database=url.database, query=query
    )


def readable(key: str, path: str) -> str:
    """Return the path of a file, which can be opened. Raises InvalidURL."""
    try:
        Path(path).open("rb").close()
    except (OSError, ValueError) as error:
        raise invalid(key, f"names a file that cannot be read: {path!r}") from error
    return path


def _address(text: str, port: str) -> tuple[str, int | None]:
    """Split `host`, `host:5432`, `[::1]:5432`, `::1` or a socket's folder."""
    host, own = text, ""
    if text.startswith("["):
        host, _, own = text[1:].partition("]")
        own = own.removeprefix(":")
    elif not text.startswith("/") and text.count(":") < 2:
        host, _, own = text.partition(":")
    if not host:
        raise invalid("host", "is empty")
    return host, _port(own or port) if own or port else None


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise invalid("port", "is not a number from 1 to 65535")
    return int(text)


def _default_port() -> int:
    default = os.environ.get("PGPORT", "")
    return _port(default) if default else 5432


def _address_text(address: tuple[str, int | None]) -> str:
    host, port = address
    if host.startswith("/"):
        return host
    return f"{f'[{host}]' if ':' in host else host}:{port or _default_port()}"

"""Turns database URIs, as written for SQLAlchemy, into the arguments of our drivers.

Source of the grammar: SQLAlchemy's `make_url` (user, password and name may be percent-encoded) and
libpq's connection options in the query.
"""

from __future__ import annotations

import os
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlencode

from headrace.contract.file_names import native
from headrace.settings.kinds import SettingError
from headrace.settings.masking import masked as without_password

if TYPE_CHECKING:
    from headrace.db.base import Dialect

__all__ = ["Target", "UriError", "parse", "without_password"]

FORMS: Final = "headrace serves sqlite:///FILE and postgresql://USER:PASSWORD@HOST:PORT/NAME"
APPLICATION_NAME: Final = "headrace"  # shown in pg_stat_activity
OTHER_DATABASES: Final = frozenset({"mysql", "mariadb", "mssql", "oracle", "cockroachdb"})
FILE_STORES: Final = frozenset({"", "file"})
FILE_SUFFIXES: Final = frozenset({".db", ".db3", ".sqlite", ".sqlite3"})
IN_MEMORY: Final = frozenset({"", ":memory:"})
MIN_CONNECT_TIMEOUT_S: Final = 2.0  # libpq rounds shorter ones up to this

_TRUE: Final = frozenset({"1", "on", "t", "true", "y", "yes"})  # as SQLAlchemy reads a bool
_FALSE: Final = frozenset({"0", "false", "no", "off"})
_FILE_URI = re.compile(r"file:(?://(?:localhost)?(?=/))?(?P<path>(?!//)[^#]*)(?:#.*)?", re.DOTALL)
_URI = re.compile(
    r"""(?P<scheme>[A-Za-z][\w+.-]*)://
    (?:(?P<user>[^:/?]*)(?::(?P<password>[^@]*))?@)?
    (?P<hosts>[^/?]*)
    (?:/(?P<database>[^?]*))?
    (?:\?(?P<query>.*))?""",
    re.VERBOSE | re.DOTALL,
)
_HOST_PORT = re.compile(r"(?P<host>\[[^\]]+\]|[^:\[\]]*)(?::(?P<port>\d*))?")


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Passed to the driver unchanged, in a separate DSN.
_DRIVER_OPTIONS: Final = _names(
    "krbsrvname gsslib passfile service ssl_max_protocol_version ssl_min_protocol_version sslcert"
    " sslcrl sslkey sslmode sslnegotiation sslpassword sslrootcert"
)
# Of a URI with several hosts: a writer needs the primary. libpq's own default is `any`.
DEFAULT_SESSION_ATTRS: Final = "read-write"
_SESSION_ATTRS: Final = _names("any primary prefer-standby read-only read-write standby")
_SERVER_SETTINGS: Final = frozenset({"application_name", "options"})
# libpq options without effect here: the pool replaces broken connections, text is always UTF-8.
_WITHOUT_EFFECT: Final = _names(
    "client_encoding fallback_application_name gssdelegation keepalives keepalives_count keepalives_idle"
    " keepalives_interval load_balance_hosts sslcompression sslsni tcp_user_timeout"
)
# libpq options that require something the driver cannot guarantee, and their values that require
# nothing.
_NOT_PROMISED: Final = {
    "channel_binding": ("disable", "prefer"),
    "gssencmode": ("disable", "prefer"),
    "require_auth": ("",),
    "requirepeer": ("",),
    "sslcertmode": ("allow", "disable"),
    "sslcrldir": ("",),
}


class UriError(SettingError):
    """The URI does not name a database that headrace serves. The text says how to correct it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A database to open: `path` for SQLite, `connect_args` of asyncpg for PostgreSQL."""

    dialect: Dialect
    shown: str  # the URI without its password
    path: str = ""
    connect_args: dict[str, Any] = field(default_factory=dict, repr=False)  # asyncpg's own types
    max_statements: int | None = None  # prepared statements kept per connection; 0: never prepare
    notes: tuple[str, ...] = ()  # sentences about options that were accepted and have no effect


def parse(uri: str) -> Target:
    """The database that a URI names. Raises UriError, without the password in its text."""
    shown = without_password(uri)
    match = _URI.fullmatch(uri)
    scheme = (match["scheme"] if match else uri.partition(":")[0] if ":" in uri else "").lower()
    dialect = scheme.partition("+")[0]
    if match and dialect == "sqlite":
        return _sqlite(match, shown)
    if match and dialect in ("postgresql", "postgres"):
        return _postgres(match, shown)
    if dialect in OTHER_DATABASES:
        raise UriError(f"'{shown}': headrace does not serve {dialect}. {FORMS}.")
    if not uri.strip():
        raise UriError(f"The URI of the database is empty. {FORMS}.")
    if ":" not in uri and (Path(uri).suffix in FILE_SUFFIXES or Path(uri).is_file()):
        raise UriError(
            f"'{shown}' looks like the name of a file. The URI of a SQLite file is sqlite:///{shown}"
        )
    if dialect in FILE_STORES or len(dialect) == 1:  # one letter is a Windows drive
        raise UriError(
            f"'{shown}' is a directory (a file store), not a database. {FORMS}. To move a file "
            "store into a database: mlflow migrate-filestore --source DIRECTORY --target sqlite:///FILE"
        )
    raise UriError(f"'{shown}' is not the URI of a database. {FORMS}.")


def hosts_in_query(uri: str) -> str:
    """The URI of a PostgreSQL database with several hosts as SQLAlchemy and libpq need it; others unchanged.

    SQLAlchemy reads several hosts in the query only, and libpq would use a standby. Raises UriError.
    """
    match = _URI.fullmatch(uri)
    arguments = parse(uri).connect_args
    hosts, ports = arguments.get("host", []), arguments.get("port", [])
    if match is None or len(hosts) < 2:
        return uri
    query = [
        (name, value)
        for name, value in parse_qsl(match["query"] or "", keep_blank_values=True)
        if name not in ("host", "hostaddr", "port")
    ]
    query += [("host", ",".join(hosts)), ("port", ",".join(map(str, ports)))]
    if "target_session_attrs" not in arguments and "PGTARGETSESSIONATTRS" not in os.environ:
        query.append(("target_session_attrs", DEFAULT_SESSION_ATTRS))
    user = match["user"] or ""
    login = user if match["password"] is None else f"{user}:{match['password']}"
    login += "@" if login else ""
    return f"{match['scheme']}://{login}/{match['database'] or ''}?{urlencode(query)}"


def _sqlite(match: re.Match[str], shown: str) -> Target:
    scheme, database = match["scheme"], match["database"] or ""
    if "+" in scheme and not scheme.lower().endswith("+pysqlite"):
        raise UriError(f"'{shown}': headrace opens plain SQLite files only: sqlite:///FILE")
    if match["hosts"] or match["user"] is not None:
        raise UriError(
            f"'{shown}' has two slashes where SQLite files need three or four: "
            "sqlite:///relative.db, sqlite:////absolute/file.db"
        )
    if database in IN_MEMORY:
        raise UriError(
            f"'{shown}' is a database in memory, gone when the server stops. Name a file: "
            "sqlite:///mlflow.db"
        )
    given = dict(parse_qsl(match["query"] or "", keep_blank_values=True))
    if given.pop("uri", "").lower() in _TRUE:
        return _sqlite_uri(database, given, shown)
    if database.startswith("file:"):
        raise UriError(
            f"'{shown}': name the file without 'file:', as in sqlite:///mlflow.db, or add ?uri=true"
        )
    # SQLAlchemy's SQLite options (timeout, check_same_thread, ...) affect its own connections only.
    path = Path(native(database))
    if not path.exists():  # SQLAlchemy 2.0 uses the name unchanged, 2.1 decodes it
        path = Path(_decoded(database))
    return Target("sqlite", shown, path=str(path.absolute()), notes=_notes(given))


def _sqlite_uri(database: str, given: dict[str, str], shown: str) -> Target:
    """`file:PATH?OPTION=VALUE&uri=true`, as SQLite itself reads it (https://www.sqlite.org/uri.html)."""
    match = _FILE_URI.fullmatch(database)
    if match is None or not match["path"] or match["path"] == ":memory:":
        raise UriError(
            f"'{shown}': with uri=true a file is named file:PATH or file:///PATH, on this host"
        )
    path = Path(_decoded(match["path"]))
    mode = given.pop("mode", "rwc")
    if mode == "rw" and not path.exists():
        raise UriError(f"'{shown}': the file {path} does not exist, and mode=rw does not create it")
    if mode not in ("rw", "rwc"):
        raise UriError(f"'{shown}': mode={mode} names no database that is permanent and writable")
    if given.get("immutable", "0") not in _FALSE:
        raise UriError(
            f"'{shown}': immutable means that no process writes to the file, but the server does"
        )
    if given.pop("vfs", "unix") != "unix":
        raise UriError(
            f"'{shown}': headrace opens files through SQLite's usual file system only; take vfs out"
        )
    # nolock is among the ignored options: readers and the writer need the locks.
    return Target("sqlite", shown, path=str(path.absolute()), notes=_notes(given))


def _notes(given: dict[str, str]) -> tuple[str, ...]:
    return (f"options of the URI without effect: {', '.join(given)}",) if given else ()


def _decoded(name: str) -> str:
    """The file name, percent-decoded."""
    return native(unquote(name, errors="surrogateescape"))


def _postgres(match: re.Match[str], shown: str) -> Target:
    options = _Options(match["query"] or "", shown)
    hosts, ports = _hosts(match["hosts"], options, shown)
    arguments: dict[str, Any] = {
        "host": hosts or None,
        "port": ports or None,
        "user": options.last("user", unquote(match["user"] or "")) or None,
        "password": options.last("password", unquote(match["password"] or "")) or None,
        "database": options.last("dbname", unquote(match["database"] or "")) or None,
    }
    timeout_s = options.number("connect_timeout")
    if timeout_s > 0:
        arguments["timeout"] = max(timeout_s, MIN_CONNECT_TIMEOUT_S)
    arguments["server_settings"] = {
        "application_name": APPLICATION_NAME,
        **options.take(_SERVER_SETTINGS),
    }
    if attrs := options.last("target_session_attrs", ""):
        if attrs not in _SESSION_ATTRS:
            allowed = ", ".join(sorted(_SESSION_ATTRS))
            raise UriError(f"'{shown}': target_session_attrs is one of {allowed}")
        arguments["target_session_attrs"] = attrs
    driver = options.take(_DRIVER_OPTIONS)
    if driver.get("sslrootcert") == "system":
        # The driver accepts files only; in libpq this value means the certificates of the system.
        arguments["ssl"] = ssl.create_default_context()
        driver.pop("sslrootcert")
        driver.pop("sslmode", None)
    if driver:
        arguments["dsn"] = f"postgresql://?{urlencode(driver)}"
    options.take(_WITHOUT_EFFECT)
    max_statements = _max_statements(options)
    for name, harmless in _NOT_PROMISED.items():
        if options.last(name, harmless[0]) not in harmless:
            raise UriError(
                f"'{shown}': {name} cannot be promised here; take it out of the URI. With "
                "sslmode=verify-full the server is known by its certificate."
            )
    options.refuse_rest()
    arguments = {name: value for name, value in arguments.items() if value is not None}
    return Target("postgres", shown, connect_args=arguments, max_statements=max_statements)


def _max_statements(options: _Options) -> int | None:
    """The number of prepared statements, from options of asyncpg, SQLAlchemy and psycopg; None without any."""
    threshold = options.last(
        "prepare_threshold", "5"
    ).lower()  # prepare after so many uses; None: never
    sizes = [
        int(options.number(name))
        for name in ("statement_cache_size", "prepared_statement_cache_size")
        if options.has(name)
    ]
    if threshold in ("none", ""):
        return 0
    return max(min(sizes), 0) if sizes else None


class _Options:
    """The options of a URI. Each read removes the option; those that remain at the end are unknown."""

    def __init__(self, query: str, shown: str) -> None:
        self._shown = shown
        self._values: dict[str, list[str]] = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            self._values.setdefault(name, []).append(value)

    def all(self, name: str) -> list[str]:
        """Every value of an option; values separated by commas count singly."""
        return [part for value in self._values.pop(name, []) for part in value.split(",")]

    def last(self, name: str, default: str) -> str:
        """The last value of an option, or `default`."""
        return self._values.pop(name, [default])[-1]

    def has(self, name: str) -> bool:
        """Whether an option exists and has not been read."""
        return name in self._values

    def number(self, name: str) -> float:
        """The number in an option, or 0."""
        text = self.last(name, "0")
        try:
            return float(text)
        except ValueError:
            raise UriError(f"'{self._shown}': {name} is not a number: '{text}'") from None

    def take(self, names: frozenset[str]) -> dict[str, str]:
        """The options that exist among those named."""
        return {name: self.last(name, "") for name in sorted(names & self._values.keys())}

    def refuse_rest(self) -> None:
        """Raise UriError for any option that has not been read."""
        if self._values:
            raise UriError(
                f"'{self._shown}': PostgreSQL knows no connection option "
                f"'{min(self._values)}'. Settings of the session go into options=-cNAME=VALUE"
            )


def _hosts(spec: str, options: _Options, shown: str) -> tuple[list[str], list[int]]:
    """Hosts and ports side by side: of the query if it names hosts, else of the URI's middle."""
    in_query = options.all("host") or options.all("hostaddr")
    options.all("hostaddr")
    texts = in_query or (spec.split(",") if spec else [])
    hosts: list[str] = []
    ports: list[str] = []
    for text in texts:
        if text.startswith("/"):  # the directory of a Unix socket
            hosts.append(text)
            ports.append("")
            continue
        match = _HOST_PORT.fullmatch(unquote(text))
        if not match or "@" in text:
            # Not shown: the text may be a part of a password.
            raise UriError(
                "the database URI is not of the form postgresql://USER:PASSWORD@HOST:PORT/NAME; in "
                "a password, write @ as %40, : as %3A and / as %2F"
            )
        hosts.append(match["host"].strip("[]"))
        ports.append(match["port"] or "")
    listed = options.all("port")
    if listed:
        if len(listed) not in (1, len(hosts) or 1):
            raise UriError(f"'{shown}': {len(listed)} ports for {len(hosts)} hosts")
        ports = listed if len(listed) == max(len(hosts), 1) else listed * len(hosts)
    if not hosts or hosts == [""]:
        hosts = []
        ports = [port for port in ports if port]
    if not all(port.isdigit() or not port for port in ports):
        raise UriError(f"'{shown}': a port is a number")
    return hosts, [int(port or 5432) for port in ports]

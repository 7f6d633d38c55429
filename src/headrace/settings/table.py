"""SETTINGS: one row per setting: name with unit, default, kind of value, flags, variables, help.

The command line, `headrace config` and docs/reference/settings.md are made from these rows. `load`
turns flags and environment into a `Settings`; a flag wins over a variable, a variable over the
default.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from headrace.contract.file_names import from_native
from headrace.settings import defaults as stores
from headrace.settings import validate as checks
from headrace.settings.kinds import (
    SWITCH,
    TEXT,
    URI,
    Kind,
    Setting,
    choice,
    directories,
    integer,
    prefix,
    row,
    seconds,
    shown,
    size,
)
from headrace.settings.rules import RULES, RuleSettings
from headrace.settings.unsupported import ACCEPTED
from headrace.settings.webhooks import WEBHOOKS

if TYPE_CHECKING:
    from collections.abc import Mapping

STORAGE: Final = "Storage"
NETWORK: Final = "Network"
SECURITY: Final = "Security"
RUNNING: Final = "Running"


@dataclasses.dataclass(frozen=True, repr=False)
class Settings(RuleSettings):
    """Every setting of one server, resolved and checked; never changes after it is made.

    `registry_store_uri` and `default_artifact_root` are filled in when they are empty.
    """

    # what is stored where
    backend_store_uri: str = row(
        STORAGE,
        stores.DEFAULT_URI,
        URI,
        "--backend-store-uri MLFLOW_BACKEND_STORE_URI",
        "The database: sqlite:///FILE (relative to the working directory; four slashes for an "
        "absolute path) or postgresql://USER:PASSWORD@HOST/NAME. SQLAlchemy's spellings with a "
        "driver (postgresql+psycopg2://) mean the same.",
        handed_over="_MLFLOW_SERVER_FILE_STORE",
    )
    registry_store_uri: str = row(
        STORAGE,
        "",
        URI,
        "--registry-store-uri MLFLOW_REGISTRY_STORE_URI",
        "The database of the model registry. If it is not the tracking database, MLflow serves "
        "the registry across the bridge.",
        default_text="the value of --backend-store-uri",
        handed_over="_MLFLOW_SERVER_REGISTRY_STORE",
    )
    default_artifact_root: str = row(
        STORAGE,
        "",
        URI,
        "--default-artifact-root MLFLOW_DEFAULT_ARTIFACT_ROOT",
        "The artifact location of new experiments; existing experiments keep theirs.",
        default_text="mlflow-artifacts:/ with --serve-artifacts, else ./mlruns as an absolute path",
        handed_over="_MLFLOW_SERVER_ARTIFACT_ROOT",
    )
    serve_artifacts: bool = row(
        STORAGE,
        True,
        SWITCH,
        "--serve-artifacts/--no-serve-artifacts MLFLOW_SERVE_ARTIFACTS",
        "Transfer artifacts between clients and --artifacts-destination, so that clients need no "
        "access to the store.",
        handed_over="_MLFLOW_SERVER_SERVE_ARTIFACTS",
    )
    artifacts_only: bool = row(
        STORAGE,
        False,
        SWITCH,
        "--artifacts-only MLFLOW_ARTIFACTS_ONLY",
        "Only transfer artifacts; no database is opened.",
        handed_over="_MLFLOW_SERVER_ARTIFACTS_ONLY",
    )
    artifacts_destination: str = row(
        STORAGE,
        "./mlartifacts",
        URI,
        "--artifacts-destination MLFLOW_ARTIFACTS_DESTINATION",
        "The artifact store of this server: a directory, or a URI such as s3://, gs:// or "
        "wasbs://.",
        handed_over="_MLFLOW_SERVER_ARTIFACT_DESTINATION",
    )
    local_artifact_roots: str | None = row(
        STORAGE,
        None,
        Kind("DIRECTORIES", directories),
        "--local-artifact-roots HEADRACE_LOCAL_ARTIFACT_ROOTS",
        "More directories, separated by commas, below which the server itself reads and writes "
        "artifacts. Clients choose the artifact location of an experiment, so other local paths "
        "are for clients only. / allows every path, as MLflow does.",
        default_text="--artifacts-destination, --default-artifact-root and ./mlruns",
    )
    sqlite_synchronous: str = row(
        STORAGE,
        "full",
        choice("normal", "full"),
        "--sqlite-synchronous HEADRACE_SQLITE_SYNCHRONOUS",
        "Durability of acknowledged writes on SQLite. full: they survive a crash of the server or "
        "the machine, and a power cut. normal: they survive a crash of the server; after a crash "
        "of the machine or a power cut the last writes may be lost, but the file is consistent.",
    )
    artifact_synchronous: str = row(
        STORAGE,
        "normal",
        choice("normal", "full"),
        "--artifact-synchronous HEADRACE_ARTIFACT_SYNCHRONOUS",
        "Durability of uploaded artifacts on a local disk. normal: they survive a crash of the "
        "server; after a crash of the machine or a power cut the last seconds may be lost, as "
        "with stock MLflow. full: they survive these too, at the cost of two disk syncs per file.",
    )
    sqlite_readers: int = row(
        STORAGE,
        4,
        integer(1, 64),
        "--sqlite-readers HEADRACE_SQLITE_READERS",
        "Read connections to a SQLite file, each with its own thread. Writes have one more.",
    )
    postgres_connections: int = row(
        STORAGE,
        10,
        integer(1, 500),
        "--postgres-connections HEADRACE_POSTGRES_CONNECTIONS",
        "Maximum number of PostgreSQL connections for searches in one process, which uses up to 9 "
        "more for other purposes. The total of all processes of all servers must stay below "
        "max_connections of the database.",
    )
    postgres_pooler: str = row(
        STORAGE,
        "auto",
        choice("auto", "none", "session", "transaction"),
        "--postgres-pooler HEADRACE_POSTGRES_POOLER",
        "The pooler between headrace and PostgreSQL, such as PgBouncer: none, or one that pools "
        "sessions or transactions. auto detects a pooler and treats it as a transaction pooler, "
        "which works with both kinds and costs three more round trips for each read and write.",
    )
    write_queue_operations: int = row(
        STORAGE,
        10_000,
        integer(1, 10_000_000),
        "--write-queue-operations HEADRACE_WRITE_QUEUE_OPERATIONS",
        "Maximum number of writes that wait for their commit in one process. Beyond it the answer "
        "is 429 with Retry-After, and clients retry.",
    )
    write_queue_bytes: int = row(
        STORAGE,
        64 << 20,
        size(1 << 20, 16 << 30),
        "--write-queue-bytes HEADRACE_WRITE_QUEUE_BYTES",
        "Maximum number of request bytes that wait for their commit in one process. Beyond it the "
        "answer is 429 with Retry-After.",
    )

    # who is served, and where
    host: str = row(
        NETWORK,
        "127.0.0.1",
        TEXT,
        "--host -h MLFLOW_HOST",
        "The address to listen on; 0.0.0.0 or :: means all addresses of this machine. "
        "--allowed-hosts selects the accepted Host headers.",
    )
    port: int = row(
        NETWORK,
        5000,
        integer(0, 65535),
        "--port -p MLFLOW_PORT",
        "The TCP port to listen on; 0 chooses a free port and prints it.",
    )
    workers: int = row(
        NETWORK,
        1,
        integer(1, 256),
        "--workers -w MLFLOW_WORKERS",
        "Server processes on PostgreSQL. A SQLite file is always served by one process.",
    )
    static_prefix: str | None = row(
        NETWORK,
        None,
        Kind("PATH", prefix),
        "--static-prefix MLFLOW_STATIC_PREFIX",
        "A path prefix of every URL, such as /mlflow.",
        handed_over="_MLFLOW_STATIC_PREFIX",
    )
    max_body_bytes: int = row(
        NETWORK,
        64 << 20,
        size(1 << 20, 4 << 30),
        "--max-body-bytes HEADRACE_MAX_BODY_BYTES",
        "Maximum size of a request body that is held in memory. Artifacts are streamed and have "
        "no such limit; JSON for headrace's own routes is limited to 20 MiB.",
    )
    max_requests_in_flight: int = row(
        NETWORK,
        512,
        integer(1, 1_000_000),
        "--max-requests-in-flight HEADRACE_MAX_REQUESTS_IN_FLIGHT",
        "Maximum number of requests in progress in one process, not counting artifacts and web "
        "pages. Beyond it the answer is 429 with Retry-After, immediately, so that the requests "
        "in progress stay fast.",
    )
    keep_alive_timeout_s: float = row(
        NETWORK,
        75.0,
        seconds(0, 86_400),
        "--keep-alive-timeout-s HEADRACE_KEEP_ALIVE_TIMEOUT_S",
        "Time after which an idle connection is closed. It must be longer than the idle timeout "
        "of a load balancer in front (60 s is a common default).",
    )
    drain_timeout_s: float = row(
        NETWORK,
        25.0,
        seconds(0, 3_600),
        "--drain-timeout-s HEADRACE_DRAIN_TIMEOUT_S",
        "Maximum time that a stopping server waits for requests in progress. It must be shorter "
        "than the time after which the process is killed (Kubernetes: 30 s).",
    )

    # who is let in
    allowed_hosts: str | None = row(
        SECURITY,
        None,
        TEXT,
        "--allowed-hosts MLFLOW_SERVER_ALLOWED_HOSTS",
        "Accepted Host headers, separated by commas, with * as a wildcard: protection against DNS "
        "rebinding. If clients use a port in the URL, the entry needs the port too. An entry of "
        "digits, such as 10.*, matches only addresses.",
        default_text="localhost and private addresses, with any port",
    )
    cors_allowed_origins: str | None = row(
        SECURITY,
        None,
        TEXT,
        "--cors-allowed-origins MLFLOW_SERVER_CORS_ALLOWED_ORIGINS",
        "Origins of web pages that may call the API from a browser, separated by commas, with * "
        "as a wildcard.",
        default_text="localhost, with any port",
    )
    x_frame_options: str = row(
        SECURITY,
        "SAMEORIGIN",
        choice("SAMEORIGIN", "DENY", "NONE", upper=True),
        "--x-frame-options MLFLOW_SERVER_X_FRAME_OPTIONS",
        "Pages that may show the web page in a frame. NONE sends no such header.",
    )
    disable_security_middleware: bool = row(
        SECURITY,
        False,
        SWITCH,
        "--disable-security-middleware MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE",
        "Do not check Host and Origin, and send no protective headers. For tests only.",
    )

    # how it runs
    log_level: str = row(
        RUNNING,
        "info",
        choice("debug", "info", "warning", "error"),
        "--log-level HEADRACE_LOG_LEVEL",
        "Minimum severity of log messages, on stderr.",
    )
    log_format: str = row(
        RUNNING,
        "text",
        choice("text", "json"),
        "--log-format HEADRACE_LOG_FORMAT",
        "Format of log lines: text for people, json (one object per line) for machines.",
    )

    log_requests: bool = row(
        RUNNING,
        False,
        SWITCH,
        "--log-requests/--no-log-requests HEADRACE_LOG_REQUESTS",
        "Log a line for every request, with its id, method, route, status and times, but never "
        "its contents: no ids of runs, no names, no values.",
    )
    slow_request_ms: int = row(
        RUNNING,
        0,
        integer(0, 3_600_000),
        "--slow-request-ms HEADRACE_SLOW_REQUEST_MS",
        "Log requests that take longer than this, with the time spent in the write queue, the "
        "database and the encoding of the answer.",
        default_text="0: disabled",
    )
    metrics: bool = row(
        RUNNING,
        True,
        SWITCH,
        "--metrics/--no-metrics HEADRACE_METRICS",
        "Answer GET /metrics for Prometheus, with the totals of all processes of this server. "
        "--expose-prometheus also enables it.",
    )

    bridge: bool = row(
        RUNNING,
        True,
        SWITCH,
        "--bridge/--no-bridge HEADRACE_BRIDGE",
        "Let MLflow, if it is installed beside headrace, serve the routes that headrace does not "
        "implement (`headrace routes` lists them). It starts on the first request for one of "
        "them, and needs 5 s and 0.3 GB, or up to 3 GB with its background jobs.",
    )
    bridge_idle_timeout_s: float = row(
        RUNNING,
        600.0,
        seconds(1, 86_400),
        "--bridge-idle-timeout-s HEADRACE_BRIDGE_IDLE_TIMEOUT_S",
        "Time without bridged requests after which MLflow is stopped.",
    )

    def __post_init__(self) -> None:
        registry = self.registry_store_uri or self.backend_store_uri
        root = self.default_artifact_root or stores.default_artifact_root(self.serve_artifacts)
        object.__setattr__(self, "registry_store_uri", registry)
        object.__setattr__(self, "default_artifact_root", stores.absolute(root))

    def __repr__(self) -> str:
        """What differs from the defaults, free of passwords: this may end in a log."""
        fields = dataclasses.fields(self)
        pairs = [(f.name, getattr(self, f.name), f.default) for f in fields]
        given = ", ".join(f"{name}={shown(now)}" for name, now, usual in pairs if now != usual)
        return f"Settings({given})"


_LATE: Final = (RULES, WEBHOOKS, ACCEPTED)  # rows that are inherited come first otherwise


def _comes_late(field: dataclasses.Field[Any]) -> int:
    topic = field.metadata["topic"]
    return _LATE.index(topic) + 1 if topic in _LATE else 0


SETTINGS: Final = tuple(
    Setting(name=field.name, default=field.default, **field.metadata)
    for field in sorted(dataclasses.fields(Settings), key=_comes_late)
)


@dataclasses.dataclass(frozen=True)
class Resolution:
    """Settings with where each came from and what is to be said about them before the start.

    A source is `--flag`, the name of a variable, or `default`. Notes are lines for stderr.
    """

    settings: Settings
    sources: Mapping[str, str]
    notes: tuple[str, ...]


def load(flags: Mapping[str, str | bool | None], environ: Mapping[str, str]) -> Settings:
    """The settings that flags (by setting name, None when not given) and environment ask for.

    Errors: SettingError for a wrong value and for what headrace cannot do.
    """
    return resolve(flags, environ).settings


def resolve(flags: Mapping[str, str | bool | None], environ: Mapping[str, str]) -> Resolution:
    """As `load`, with sources and notes."""
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for setting in SETTINGS:
        flag = flags.get(setting.name)
        # As for click, a variable that is set to nothing is not set.
        variable = next((name for name in setting.env if environ.get(name)), None)
        if isinstance(flag, bool):
            sources[setting.name] = setting.switch_title(flag)
            values[setting.name] = flag
        elif flag is not None:
            sources[setting.name] = setting.title
            values[setting.name] = setting.parse(from_native(flag), f"'{setting.title}'")
        elif variable is not None:
            sources[setting.name] = variable
            values[setting.name] = setting.parse(from_native(environ[variable]), f"'{variable}'")
        else:
            sources[setting.name] = "default"
    if sources["backend_store_uri"] == "default" and not values.get("artifacts_only"):
        values["backend_store_uri"] = stores.default_uri()
    settings = Settings(**values)
    checks.check(settings, environ)
    lines = tuple(checks.notes(settings, SETTINGS, sources, environ))
    return Resolution(settings, sources, lines)


def load_handed_over(environ: Mapping[str, str]) -> Settings:
    """The settings of an application that another server runs.

    `mlflow server --app-name headrace` hands its resolved options over in variables of its own; a
    switch that is off it does not set. Under any other server this is `load` without flags.
    """
    if "_MLFLOW_SERVER_FILE_STORE" not in environ:
        return load({}, environ)
    flags: dict[str, str | bool | None] = {}
    for setting in SETTINGS:
        if setting.handed_over:
            text = environ.get(setting.handed_over)
            flags[setting.name] = text == "true" if setting.kind.is_switch else text
    return load(flags, environ)

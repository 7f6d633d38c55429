"""SETTINGS: the name, default, kind, flags, variables and help of every setting.

The command line, `headrace config` and docs/reference/settings.md are made from these rows. Names
of settings end in their unit. `load` makes a `Settings` from flags and environment.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from headrace.settings.defaults import DEFAULT_URI, absolute, default_artifact_root
from headrace.settings.gateway import GATEWAY
from headrace.settings.kinds import (
    DIRECTORY,
    SWITCH,
    TEXT,
    URI,
    Kind,
    Setting,
    choice,
    directories,
    hosts,
    integer,
    prefix,
    row,
    seconds,
    shown,
    size,
)
from headrace.settings.rules import RULES, RuleSettings
from headrace.settings.unsupported import UNSUPPORTED
from headrace.settings.users import USERS
from headrace.settings.webhooks import WEBHOOKS

if TYPE_CHECKING:
    from headrace.settings.auth import AuthSettings

STORAGE: Final = "Storage"
NETWORK: Final = "Network"
SECURITY: Final = "Security"
RUNNING: Final = "Running"


@dataclasses.dataclass(frozen=True, repr=False)
class Settings(RuleSettings):
    """Every setting of one server; immutable.

    Empty values of `registry_store_uri` and `default_artifact_root` are replaced by their defaults.
    """

    # The configuration of users; None in a server without users. No row: `load` sets it.
    auth: AuthSettings | None = None

    # Storage
    backend_store_uri: str = row(
        STORAGE,
        DEFAULT_URI,
        URI,
        flags="--backend-store-uri",
        env="MLFLOW_BACKEND_STORE_URI",
        help="The database: sqlite:///FILE (relative to the working directory; four slashes for an "
        "absolute path) or postgresql://USER:PASSWORD@HOST/NAME. SQLAlchemy's spellings with a "
        "driver (postgresql+psycopg2://) mean the same.",
        handed_over="_MLFLOW_SERVER_FILE_STORE",
    )
    read_replica_backend_store_uri: str | None = row(
        STORAGE,
        None,
        URI,
        flags="--read-replica-backend-store-uri",
        env="MLFLOW_READ_REPLICA_BACKEND_STORE_URI",
        help="Standbys of a PostgreSQL database that answer searches and histories, as freshly as the "
        "primary: postgresql://USER:PASSWORD@HOST:PORT,HOST:PORT/NAME. Each host is one replica, at most "
        "8. One that is away or too far behind is left out (see Scale in the manual).",
        handed_over="_MLFLOW_SERVER_READ_REPLICA_BACKEND_STORE",
    )
    registry_store_uri: str = row(
        STORAGE,
        "",
        URI,
        flags="--registry-store-uri",
        env="MLFLOW_REGISTRY_STORE_URI",
        help="The database of the model registry. If it is not the tracking database, MLflow serves "
        "the registry across the bridge.",
        default_text="the value of --backend-store-uri",
        handed_over="_MLFLOW_SERVER_REGISTRY_STORE",
    )
    default_artifact_root: str = row(
        STORAGE,
        "",
        URI,
        flags="--default-artifact-root",
        env="MLFLOW_DEFAULT_ARTIFACT_ROOT",
        help="The artifact location of new experiments; existing experiments keep theirs.",
        default_text="mlflow-artifacts:/ with --serve-artifacts, else ./mlruns as an absolute path",
        handed_over="_MLFLOW_SERVER_ARTIFACT_ROOT",
    )
    enable_workspaces: bool = row(
        STORAGE,
        False,
        SWITCH,
        flags="--enable-workspaces/--disable-workspaces",
        env="MLFLOW_ENABLE_WORKSPACES",
        help="Separate tenants: each request belongs to one workspace, whose experiments, models and "
        "settings no other one sees (see Workspaces in the manual).",
    )
    workspace_store_uri: str | None = row(
        STORAGE,
        None,
        URI,
        flags="--workspace-store-uri",
        env="MLFLOW_WORKSPACE_STORE_URI",
        help="The database of workspaces, which must be that of --backend-store-uri.",
    )
    serve_artifacts: bool = row(
        STORAGE,
        True,
        SWITCH,
        flags="--serve-artifacts/--no-serve-artifacts",
        env="MLFLOW_SERVE_ARTIFACTS",
        help="Transfer artifacts between clients and --artifacts-destination, so that clients need no "
        "access to the store.",
        handed_over="_MLFLOW_SERVER_SERVE_ARTIFACTS",
    )
    artifacts_only: bool = row(
        STORAGE,
        False,
        SWITCH,
        flags="--artifacts-only",
        env="MLFLOW_ARTIFACTS_ONLY",
        help="Only transfer artifacts; no database is opened.",
        handed_over="_MLFLOW_SERVER_ARTIFACTS_ONLY",
    )
    artifacts_destination: str = row(
        STORAGE,
        "./mlartifacts",
        URI,
        flags="--artifacts-destination",
        env="MLFLOW_ARTIFACTS_DESTINATION",
        help="The artifact store of this server: a directory, or a URI such as s3://, gs:// or "
        "wasbs://.",
        handed_over="_MLFLOW_SERVER_ARTIFACT_DESTINATION",
    )
    artifacts_presigned_only: bool = row(
        STORAGE,
        False,
        SWITCH,
        flags="--artifacts-presigned-only",
        env="MLFLOW_ARTIFACTS_PRESIGNED_ONLY",
        help="Refuse to transfer the bytes of artifacts: clients from MLflow 3.18 on exchange them "
        "directly with the store, with presigned URLs.",
    )
    local_artifact_roots: str | None = row(
        STORAGE,
        None,
        Kind("DIRECTORIES", directories),
        flags="--local-artifact-roots",
        env="HEADRACE_LOCAL_ARTIFACT_ROOTS",
        help="More directories, separated by commas, below which the server itself reads and writes "
        "artifacts. Clients choose the artifact location of an experiment, so other local paths "
        "are for clients only. / allows every path, as MLflow does.",
        default_text="--artifacts-destination, --default-artifact-root and ./mlruns",
    )
    sqlite_synchronous: str = row(
        STORAGE,
        "full",
        choice("normal", "full"),
        flags="--sqlite-synchronous",
        env="HEADRACE_SQLITE_SYNCHRONOUS",
        help="Durability of acknowledged writes on SQLite. full: they survive a crash of the server or "
        "the machine, and a power cut. normal: they survive a crash of the server; after a crash "
        "of the machine or a power cut the last writes may be lost, but the file is consistent.",
    )
    artifact_synchronous: str = row(
        STORAGE,
        "normal",
        choice("normal", "full"),
        flags="--artifact-synchronous",
        env="HEADRACE_ARTIFACT_SYNCHRONOUS",
        help="Durability of uploaded artifacts on a local disk. normal: they survive a crash of the "
        "server; after a crash of the machine or a power cut the last seconds may be lost, as "
        "with stock MLflow. full: they survive these too, at the cost of two disk syncs per file.",
    )
    sqlite_readers: int = row(
        STORAGE,
        4,
        integer(1, 64),
        flags="--sqlite-readers",
        env="HEADRACE_SQLITE_READERS",
        help="Read connections to a SQLite file, each with its own thread. Writes have one more.",
    )
    postgres_connections: int = row(
        STORAGE,
        10,
        integer(1, 500),
        flags="--postgres-connections",
        env="HEADRACE_POSTGRES_CONNECTIONS",
        help="Maximum number of PostgreSQL connections for searches in one process, which uses up to 12 "
        "more for other purposes. The total of all processes of all servers must stay below "
        "max_connections of the database.",
    )
    postgres_pooler: str = row(
        STORAGE,
        "auto",
        choice("auto", "none", "session", "transaction"),
        flags="--postgres-pooler",
        env="HEADRACE_POSTGRES_POOLER",
        help="The pooler between headrace and PostgreSQL, such as PgBouncer: none, or one that pools "
        "sessions or transactions. auto detects a pooler and treats it as a transaction pooler, "
        "which works with both kinds and costs three more round trips for each read and write.",
    )
    chart_sampling: str = row(
        STORAGE,
        "extremes",
        choice("extremes", "stock"),
        flags="--chart-sampling",
        env="HEADRACE_CHART_SAMPLING",
        help="The points of a long history that the page's charts show. extremes: the first and the "
        "last point, and in between the smallest value, the largest value and the first NaN of "
        "each part, so that no spike is missed in up to 1,000,000 points. stock: the first point "
        "of each part, as MLflow does.",
    )
    tune: bool = row(
        STORAGE,
        False,
        SWITCH,
        flags="--tune/--no-tune",
        env="HEADRACE_TUNE",
        help="Make the indexes that headrace adds to MLflow's tables before the server starts, if they "
        "are missing, as `headrace db tune` does. New databases have them; the start says what an "
        "existing one lacks.",
    )
    write_queue_operations: int = row(
        STORAGE,
        10_000,
        integer(1, 10_000_000),
        flags="--write-queue-operations",
        env="HEADRACE_WRITE_QUEUE_OPERATIONS",
        help="Maximum number of writes that wait for their commit in one process. Beyond it the answer "
        "is 429 with Retry-After, and clients retry.",
    )
    write_queue_bytes: int = row(
        STORAGE,
        64 << 20,
        size(1 << 20, 16 << 30),
        flags="--write-queue-bytes",
        env="HEADRACE_WRITE_QUEUE_BYTES",
        help="Maximum number of request bytes that wait for their commit in one process. Beyond it the "
        "answer is 429 with Retry-After.",
    )

    # Network
    host: str = row(
        NETWORK,
        "127.0.0.1",
        TEXT,
        flags=("--host", "-h"),
        env="MLFLOW_HOST",
        help="The address to listen on; 0.0.0.0 or :: means all addresses of this machine. "
        "--allowed-hosts selects the accepted Host headers.",
    )
    port: int = row(
        NETWORK,
        5000,
        integer(0, 65535),
        flags=("--port", "-p"),
        env="MLFLOW_PORT",
        help="The TCP port to listen on; 0 chooses a free port and prints it.",
    )
    workers: int = row(
        NETWORK,
        1,
        integer(1, 256),
        flags=("--workers", "-w"),
        env="MLFLOW_WORKERS",
        help="Server processes on PostgreSQL. A SQLite file is always served by one process.",
    )
    static_prefix: str | None = row(
        NETWORK,
        None,
        Kind("PATH", prefix),
        flags="--static-prefix",
        env="MLFLOW_STATIC_PREFIX",
        help="A path prefix of every URL, such as /mlflow.",
        handed_over="_MLFLOW_STATIC_PREFIX",
    )
    max_body_bytes: int = row(
        NETWORK,
        64 << 20,
        size(1 << 20, 4 << 30),
        flags="--max-body-bytes",
        env="HEADRACE_MAX_BODY_BYTES",
        help="Maximum size of a request body that is held in memory. Artifacts are streamed and have "
        "no such limit; JSON for headrace's own routes is limited to 20 MiB.",
    )
    max_requests_in_flight: int = row(
        NETWORK,
        512,
        integer(1, 1_000_000),
        flags="--max-requests-in-flight",
        env="HEADRACE_MAX_REQUESTS_IN_FLIGHT",
        help="Maximum number of requests in progress in one process, not counting artifacts and web "
        "pages. Beyond it the answer is 429 with Retry-After, immediately, so that the requests "
        "in progress stay fast.",
    )
    keep_alive_timeout_s: float = row(
        NETWORK,
        75.0,
        seconds(0, 86_400),
        flags="--keep-alive-timeout-s",
        env="HEADRACE_KEEP_ALIVE_TIMEOUT_S",
        help="Time after which an idle connection is closed. It must be longer than the idle timeout "
        "of a load balancer in front (60 s is a common default).",
    )
    drain_timeout_s: float = row(
        NETWORK,
        25.0,
        seconds(0, 3_600),
        flags="--drain-timeout-s",
        env="HEADRACE_DRAIN_TIMEOUT_S",
        help="Maximum time that a stopping server waits for requests in progress. It must be shorter "
        "than the time after which the process is killed (Kubernetes: 30 s).",
    )

    # Security
    allowed_hosts: str | None = row(
        SECURITY,
        None,
        Kind("HOSTS", hosts),
        flags="--allowed-hosts",
        env="MLFLOW_SERVER_ALLOWED_HOSTS",
        help="Accepted Host headers, separated by commas, with * as a wildcard: protection against DNS "
        "rebinding. If clients use a port in the URL, the entry needs the port too. An entry of "
        "digits, such as 10.*, matches only addresses.",
        default_text="localhost and private addresses, with any port",
    )
    cors_allowed_origins: str | None = row(
        SECURITY,
        None,
        TEXT,
        flags="--cors-allowed-origins",
        env="MLFLOW_SERVER_CORS_ALLOWED_ORIGINS",
        help="Origins of web pages that may call the API from a browser, separated by commas, with * "
        "as a wildcard.",
        default_text="localhost, with any port",
    )
    x_frame_options: str = row(
        SECURITY,
        "SAMEORIGIN",
        choice("SAMEORIGIN", "DENY", "NONE", upper=True),
        flags="--x-frame-options",
        env="MLFLOW_SERVER_X_FRAME_OPTIONS",
        help="Pages that may show the web page in a frame. NONE sends no such header.",
    )
    disable_security_middleware: bool = row(
        SECURITY,
        False,
        SWITCH,
        flags="--disable-security-middleware",
        env="MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE",
        help="Do not check Host and Origin, and send no protective headers. For tests only.",
    )

    # Running
    log_level: str = row(
        RUNNING,
        "info",
        choice("debug", "info", "warning", "error"),
        flags="--log-level",
        env="HEADRACE_LOG_LEVEL",
        help="Minimum severity of log messages, on stderr.",
    )
    log_format: str = row(
        RUNNING,
        "text",
        choice("text", "json"),
        flags="--log-format",
        env="HEADRACE_LOG_FORMAT",
        help="Format of log lines: text for people, json (one object per line) for machines.",
    )

    log_requests: bool = row(
        RUNNING,
        False,
        SWITCH,
        flags="--log-requests/--no-log-requests",
        env="HEADRACE_LOG_REQUESTS",
        help="Log a line for every request, with its id, method, route, status and times, but never "
        "its contents: no ids of runs, no names, no values.",
    )
    slow_request_ms: int = row(
        RUNNING,
        0,
        integer(0, 3_600_000),
        flags="--slow-request-ms",
        env="HEADRACE_SLOW_REQUEST_MS",
        help="Log requests that take longer than this, with the time spent in the write queue, the "
        "database and the encoding of the answer.",
        default_text="0: disabled",
    )
    metrics: bool = row(
        RUNNING,
        True,
        SWITCH,
        flags="--metrics/--no-metrics",
        env="HEADRACE_METRICS",
        help="Answer GET /metrics for Prometheus, with the totals of all processes of this server. "
        "--expose-prometheus also enables it.",
    )

    expose_prometheus: str | None = row(
        RUNNING,
        None,
        DIRECTORY,
        flags="--expose-prometheus",
        env="MLFLOW_EXPOSE_PROMETHEUS",
        help="Answer GET /metrics, report the number of requests under MLflow's name too, and keep the "
        "counters in this directory across restarts. --metrics needs no directory.",
        handed_over="prometheus_multiproc_dir",
    )
    bridge: bool = row(
        RUNNING,
        True,
        SWITCH,
        flags="--bridge/--no-bridge",
        env="HEADRACE_BRIDGE",
        help="Let MLflow, if it is installed, serve the routes that headrace does not "
        "implement (`headrace routes` lists them). It starts on the first request for one of "
        "them, and needs 5 s and 0.3 GB, or up to 3 GB with its background jobs.",
    )
    bridge_idle_timeout_s: float = row(
        RUNNING,
        600.0,
        seconds(1, 86_400),
        flags="--bridge-idle-timeout-s",
        env="HEADRACE_BRIDGE_IDLE_TIMEOUT_S",
        help="Time without bridged requests after which MLflow is stopped.",
    )

    secrets_cache_ttl_s: int = row(
        RUNNING,
        60,
        integer(10, 300),
        flags="--secrets-cache-ttl",
        help="Time for which MLflow's AI gateway, across the bridge, caches a decrypted secret.",
        handed_over="MLFLOW_SERVER_SECRETS_CACHE_TTL",
    )
    secrets_cache_max_entries: int = row(
        RUNNING,
        1000,
        integer(1, 10_000),
        flags="--secrets-cache-max-size",
        help="Number of decrypted secrets that MLflow's AI gateway, across the bridge, caches.",
        handed_over="MLFLOW_SERVER_SECRETS_CACHE_MAX_SIZE",
    )

    def __post_init__(self) -> None:
        registry = self.registry_store_uri or self.backend_store_uri
        root = self.default_artifact_root or default_artifact_root(self.serve_artifacts)
        object.__setattr__(self, "registry_store_uri", registry)
        object.__setattr__(self, "default_artifact_root", absolute(root))

    def __repr__(self) -> str:
        """List the values that differ from the defaults. Secrets are masked, because logs may show this."""
        fields = dataclasses.fields(self)
        pairs = [(f.name, getattr(self, f.name), f.default) for f in fields]
        given = ", ".join(
            f"{name}={shown(value)}" for name, value, default in pairs if value != default
        )
        return f"Settings({given})"


# Inherited fields come first in a dataclass, but these topics belong at the end of every list.
_LAST_TOPICS: Final = (USERS, RULES, WEBHOOKS, GATEWAY, UNSUPPORTED)


def _rank(field: dataclasses.Field[Any]) -> int:
    topic = field.metadata["topic"]
    return _LAST_TOPICS.index(topic) + 1 if topic in _LAST_TOPICS else 0


SETTINGS: Final = tuple(
    Setting(name=field.name, default=field.default, **field.metadata)
    for field in sorted((f for f in dataclasses.fields(Settings) if f.metadata), key=_rank)
)

"""Validation of settings that belong together, and warnings that do not prevent a start.

headrace rejects a setting that it does not support if ignoring it would show data to the wrong
people or store data in the wrong place. Otherwise it prints a warning.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from headrace.auth.origins import parse_networks
from headrace.contract.workspaces import DIRECTORY
from headrace.db.base import MAX_REPLICAS
from headrace.db.uri import UriError, parse
from headrace.settings.auth import CONFIG_PATH
from headrace.settings.defaults import DEFAULT_URI, FILE_STORE, dialect_of, same_database
from headrace.settings.kinds import SettingError
from headrace.settings.masking import masked
from headrace.settings.oidc import check_oidc
from headrace.settings.table import SETTINGS, Settings
from headrace.settings.unsupported import go_options_without_effect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TLS_OPTIONS: Final = ("--ssl", "--certfile", "--keyfile")  # of uvicorn and gunicorn
TEST_VARIABLES: Final = "HEADRACE_TEST_"  # read by the test suite, not by the server

UPLOADS_IN_PARTS: Final = ("s3", "wasbs", "abfss")  # schemes of stores with URLs for parts of files

BASIC_AUTH_APP: Final = "basic-auth"
ANY_PAGE: Final = "any web page that a user opens can read and change this server's data"


def validate(settings: Settings, environ: Mapping[str, str]) -> None:
    """Raise SettingError if headrace must not start with these settings."""
    if environ.get("MLFLOW_WORKSPACE"):
        raise SettingError(
            "MLFLOW_WORKSPACE is a setting of clients. Unset it before starting the server."
        )
    if settings.enable_workspaces:
        _check_workspaces(settings)
    if settings.sql_trace_rollups_enabled:
        raise SettingError(
            "headrace does not support daily sums of trace metrics: MLflow would show old sums. Unset "
            "MLFLOW_SQL_TRACE_ROLLUPS_ENABLED, here and for every MLflow server of this database."
        )
    for options in (settings.uvicorn_opts, settings.gunicorn_opts):
        if options and any(name in options for name in TLS_OPTIONS):
            raise SettingError(
                f"'{masked(options)}' asks for TLS, which headrace does not support: it would serve "
                "unencrypted HTTP. Put a proxy that terminates TLS in front of it."
            )
    check_oidc(settings, has_users=settings.auth is not None)
    if not settings.artifacts_only:
        dialect_of(settings.backend_store_uri)
        dialect_of(settings.registry_store_uri)
        _check_replicas(settings)
    elif settings.backend_store_uri not in (DEFAULT_URI, FILE_STORE):
        raise SettingError(
            "--artifacts-only opens no database, so it excludes --backend-store-uri."
        )


def _check_workspaces(settings: Settings) -> None:
    if settings.artifacts_only:
        raise SettingError(
            "--artifacts-only opens no database, so it excludes --enable-workspaces "
            "(MLFLOW_ENABLE_WORKSPACES)."
        )
    store = settings.workspace_store_uri
    if store is not None and not _is_tracking(store, settings):
        raise SettingError(
            "--workspace-store-uri (MLFLOW_WORKSPACE_STORE_URI) names another store than "
            "--backend-store-uri. headrace reads workspaces from the tracking database only; for other "
            "stores use `mlflow server`."
        )
    if not same_database(settings.backend_store_uri, settings.registry_store_uri):
        raise SettingError(
            "A server with workspaces has one database: --registry-store-uri must be that of "
            "--backend-store-uri."
        )
    last = PurePosixPath(urlsplit(settings.default_artifact_root).path).parts[-2:]
    if DIRECTORY in last:
        raise SettingError(
            "--default-artifact-root ends in 'workspaces' or 'workspaces/NAME'. Below it, the server "
            "makes a directory of this name for the artifacts of each workspace: choose another root."
        )


def _is_tracking(uri: str, settings: Settings) -> bool:
    try:
        return same_database(settings.backend_store_uri, uri)
    except UriError:
        return False


def _check_direct_transfers(settings: Settings) -> None:
    if not settings.artifacts_presigned_only:
        return
    if not settings.serve_artifacts:
        raise SettingError(
            "--artifacts-presigned-only requires artifact serving to be enabled; --no-serve-artifacts is "
            "not supported."
        )
    if urlsplit(settings.artifacts_destination).scheme not in UPLOADS_IN_PARTS:
        raise SettingError(
            "--artifacts-presigned-only requires an --artifacts-destination that supports presigned "
            f"uploads and downloads: {', '.join(UPLOADS_IN_PARTS)}."
        )


def _check_replicas(settings: Settings) -> None:
    uri = settings.read_replica_backend_store_uri
    if uri is None or dialect_of(settings.backend_store_uri) != "postgres":
        return
    target = parse(uri)
    if dialect_of(uri) != "postgres" or len(target.connect_args.get("host", ())) > MAX_REPLICAS:
        raise SettingError(
            "'--read-replica-backend-store-uri' names standbys of the PostgreSQL database, at most "
            f"{MAX_REPLICAS} hosts: postgresql://USER:PASSWORD@HOST,HOST/NAME."
        )


def validate_server(settings: Settings) -> None:
    """Raise SettingError if a server with these settings must not start. Other commands may run."""
    _check_direct_transfers(settings)
    if settings.app_name is not None and settings.dev:
        raise SettingError("'--dev' cannot be used with '--app-name'.")
    if settings.auth is None:
        if settings.auth_proxy_header is not None:
            raise SettingError(
                "'--auth-proxy-header' needs users, because otherwise everyone has access. Start with "
                "--app-name basic-auth."
            )
        return
    if not settings.secret_key:
        raise SettingError(
            "A server with users needs a secret key, which signs its forms, cookies and tokens. Set "
            "MLFLOW_FLASK_SERVER_SECRET_KEY to a long random text, the same for all servers of "
            "the database."
        )
    parse(settings.auth.database_uri)
    if settings.auth_proxy_header is not None and settings.auth_proxy_networks is None:
        raise SettingError(
            "'--auth-proxy-header' needs --auth-proxy-networks with the addresses of the proxy: "
            "otherwise every client could name any user in this header."
        )
    if settings.auth_proxy_groups_header is not None and settings.auth_proxy_header is None:
        raise SettingError("'--auth-proxy-groups-header' needs --auth-proxy-header.")


def warnings(
    settings: Settings, sources: Mapping[str, str], environ: Mapping[str, str]
) -> Iterator[str]:
    """Yield one line for each setting that is ignored or dangerous."""
    for setting in SETTINGS:
        value = getattr(settings, setting.name)
        if setting.note and sources[setting.name] != "default" and value is not False:
            yield f"{sources[setting.name]} has no effect: {setting.note}."
    ignored = go_options_without_effect(settings.experimental_go_opts)
    if ignored:
        yield f"options of --experimental-go-opts without effect: {', '.join(ignored)}."
    yield from uri_warnings(settings)
    yield from _proxy_warnings(settings, sources["auth_proxy_networks"])
    if not settings.artifacts_only and not same_database(
        settings.backend_store_uri, settings.registry_store_uri
    ):
        yield (
            "the model registry is in another database, so MLflow serves it: it must be installed, and "
            "it is slower than headrace."
        )
    yield from _replica_warnings(settings, sources["read_replica_backend_store_uri"])
    if (
        settings.workers > 1
        and not settings.artifacts_only
        and dialect_of(settings.backend_store_uri) == "sqlite"
    ):
        yield (
            f"{sources['workers']} {settings.workers} has no effect: one process serves a SQLite "
            "file. It takes effect on PostgreSQL."
        )
    yield from _user_warnings(settings)
    if settings.disable_security_middleware:
        yield f"security checks are off: {ANY_PAGE}."
    elif _lists_all(settings.allowed_hosts):
        yield "every Host header is accepted: the server is not protected against DNS rebinding."
    if _lists_all(settings.cors_allowed_origins):
        yield f"every Origin is allowed: {ANY_PAGE}."
    if settings.webhook_allow_private_ips:
        yield "webhooks may send to private networks: anyone who may create a webhook can reach them."
    known = {name for setting in SETTINGS for name in setting.env}
    for name in sorted(environ):
        if (
            name.startswith("HEADRACE_")
            and name not in known
            and not name.startswith(TEST_VARIABLES)
        ):
            yield f"{name} is not a setting; `headrace config` lists the settings."


def _replica_warnings(settings: Settings, source: str) -> Iterator[str]:
    uri = settings.read_replica_backend_store_uri
    if uri is None or settings.artifacts_only:
        return
    if dialect_of(settings.backend_store_uri) == "sqlite":
        yield f"{source} has no effect: a SQLite file has no replicas, so reads use the file itself."
    elif same_database(settings.backend_store_uri, uri):
        yield f"{source} has no effect: it names the same server as --backend-store-uri."


def _user_warnings(settings: Settings) -> Iterator[str]:
    if settings.auth is not None:
        yield from settings.auth.notes
    elif settings.auth_config_path is not None:
        yield (
            f"{CONFIG_PATH} has no effect without --app-name basic-auth: anyone can do anything."
        )


def _proxy_warnings(settings: Settings, source: str) -> Iterator[str]:
    networks = settings.auth_proxy_networks
    for network in parse_networks(networks) if networks is not None else ():
        if network.prefixlen == 0:
            yield f"{source} {network} trusts every address: every client can name any user."


def uri_warnings(settings: Settings) -> Iterator[str]:
    """Yield one line for each option of the database's URI that has no effect."""
    if not settings.artifacts_only:
        yield from (f"{note}." for note in parse(settings.backend_store_uri).notes)


def _lists_all(text: str | None) -> bool:
    return "*" in [part.strip() for part in (text or "").split(",")]

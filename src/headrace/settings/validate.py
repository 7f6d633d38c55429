"""What is said about settings before a start: refusals that end it, and notes that do not.

A setting that headrace cannot honour is refused when ignoring it would show data to the wrong
people or put data in the wrong place; otherwise it is a note.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.settings import defaults as stores
from headrace.settings.kinds import Setting, SettingError, masked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from headrace.settings.table import Settings

TLS_OPTIONS: Final = ("--ssl", "--certfile", "--keyfile")  # uvicorn's and gunicorn's
OWN_VARIABLES: Final = ("HEADRACE_TEST_",)  # read by the test suite, not by the server
ANY_PAGE: Final = "any web page that a user opens can read and change this server's data"


def check(settings: Settings, environ: Mapping[str, str]) -> None:
    """Raise SettingError when these settings, together, are not to be served."""
    if environ.get("MLFLOW_WORKSPACE"):
        raise SettingError(
            "MLFLOW_WORKSPACE is a setting of clients. Unset it before starting the server."
        )
    if settings.enable_workspaces:
        raise SettingError(
            "headrace has no workspaces: every tenant would see the data of all. Use `mlflow "
            "server` for this database, or start without --enable-workspaces "
            "(MLFLOW_ENABLE_WORKSPACES)."
        )
    for options in (settings.uvicorn_opts, settings.gunicorn_opts):
        if options and any(name in options for name in TLS_OPTIONS):
            raise SettingError(
                f"'{masked(options)}' asks for TLS, which headrace does not speak: it would serve in the "
                "clear. Put a proxy that speaks TLS in front of it."
            )
    if not settings.artifacts_only:
        stores.dialect_of(settings.backend_store_uri)
        stores.dialect_of(settings.registry_store_uri)
    elif settings.backend_store_uri not in (stores.DEFAULT_URI, stores.FILE_STORE):
        raise SettingError(
            "--artifacts-only opens no database, so --backend-store-uri must not be given with it."
        )


def notes(
    settings: Settings,
    table: Sequence[Setting],
    sources: Mapping[str, str],
    environ: Mapping[str, str],
) -> Iterator[str]:
    """One line for each thing that will not be as asked, or that is dangerous."""
    for setting in table:
        value = getattr(settings, setting.name)
        if setting.note and sources[setting.name] != "default" and value is not False:
            yield f"{sources[setting.name]} has no effect: {setting.note}."
    yield from database_notes(settings)
    if not settings.artifacts_only and not stores.same_database(
        settings.backend_store_uri, settings.registry_store_uri
    ):
        yield (
            "the model registry is in a database of its own, so MLflow answers for it, which is slower "
            "than headrace and must be installed."
        )
    if (
        settings.workers > 1
        and not settings.artifacts_only
        and stores.dialect_of(settings.backend_store_uri) == "sqlite"
    ):
        yield (
            f"{sources['workers']} {settings.workers} has no effect: a SQLite file is served by "
            "one process. On PostgreSQL it starts as many as asked."
        )
    if settings.disable_security_middleware:
        yield f"security checks are off: {ANY_PAGE}."
    elif _lists_all(settings.allowed_hosts):
        yield "every Host header is answered: there is no protection against DNS rebinding."
    if _lists_all(settings.cors_allowed_origins):
        yield f"every Origin is allowed: {ANY_PAGE}."
    if settings.webhook_allow_private_ips:
        yield "webhooks may lead to private networks: whoever may create one reaches them too."
    known = {name for setting in table for name in setting.env}
    for name in sorted(environ):
        if (
            name.startswith("HEADRACE_")
            and name not in known
            and not name.startswith(OWN_VARIABLES)
        ):
            yield f"{name} is not a setting; `headrace config` lists those there are."


def database_notes(settings: Settings) -> Iterator[str]:
    """Options of the database's URI that change nothing."""
    if not settings.artifacts_only:
        from headrace.db.uri import parse

        yield from (f"{note}." for note in parse(settings.backend_store_uri).notes)


def _lists_all(text: str | None) -> bool:
    return "*" in [part.strip() for part in (text or "").split(",")]

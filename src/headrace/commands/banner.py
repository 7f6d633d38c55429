"""The message of a server that is ready: a few lines for people, or one log line for machines."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace import __version__
from headrace.api.enabled import served
from headrace.api.routes import routes_of
from headrace.bridge.package import absence, installed, obstacle
from headrace.bridge.routes import listing
from headrace.db.schema import indexes
from headrace.extras import own_install_command
from headrace.settings.defaults import PROXY_ROOT, dialect_of, same_database, scheme_of
from headrace.settings.masking import masked
from headrace.web.bundle import has_page

if TYPE_CHECKING:
    from headrace.bridge.package import Obstacle
    from headrace.db.schema.facts import Facts
    from headrace.settings.table import Settings

log = logging.getLogger("headrace")


def announce(
    settings: Settings, url: str, facts: Facts | None, processes: int, after_s: float | None
) -> None:
    """Report that the server is ready. `facts` is None if no database is open."""
    ready = "ready" if after_s is None else f"ready in {after_s * 1000:.0f} ms"
    lines = describe(settings, url, facts, processes)
    if settings.log_format == "json":
        log.info("%s at %s; %s", ready, url, "; ".join(f"{name}: {text}" for name, text in lines))
        return
    click.echo(f"headrace {__version__} at {url}\n")
    for name, text in lines:
        click.echo(f"  {name:<10} {text}")
    click.echo(f"\n{ready}; stop with Ctrl+C\n")


def describe(
    settings: Settings, url: str, facts: Facts | None, processes: int
) -> list[tuple[str, str]]:
    """Describe the data and routes of the server, as (name, text)."""
    lines = []
    if facts is not None:
        release = facts.release or "of an unknown release"
        made = ", just created" if facts.created else ""
        lines.append(("tracking", f"MLFLOW_TRACKING_URI={url}"))
        lines.append(("web page", page(url)))
        lines.append(("routes", routes(settings, facts)))
        lines.append(("database", masked(settings.backend_store_uri)))
        replica = settings.read_replica_backend_store_uri
        if replica is not None and not same_database(settings.backend_store_uri, replica):
            lines.append(("replicas", masked(replica)))
        lines.append(("schema", f"{facts.head} ({release}){made}"))
        offer = indexes.offer(
            facts, dialect_of(settings.backend_store_uri), masked(settings.backend_store_uri)
        )
        if offer:
            lines.append(("indexes", offer))
        if facts.lost:
            lines.append(("without", f"{', '.join(facts.lost)} (see: headrace db upgrade)"))
        lines.append(("durability", durability(settings)))
    if settings.auth is not None:
        lines.append(("users", masked(settings.auth.database_uri)))
    lines.append(("artifacts", artifacts(settings)))
    if processes > 1:
        lines.append(("processes", str(processes)))
    return lines


def page(url: str) -> str:
    """Return the URL of MLflow's web page, or how to install it."""
    if has_page():
        return f"{url}/"
    return f"MLflow's page is not installed; install it with: {own_install_command('mlflow')}"


def routes(settings: Settings, facts: Facts) -> str:
    """Say how many routes headrace serves and how MLflow serves the others."""
    native = [is_native for _, _, is_native in listing(served(routes_of(settings), settings))]
    rest = f"{len(native) - sum(native)} by MLflow, started on demand"
    if not settings.bridge:
        rest = "the others disabled (--no-bridge)"
    elif (missing := absence()) is not None:
        rest = f"the others not: {missing}. To add them: {own_install_command('mlflow')}"
    elif (reason := _obstacle(settings, facts)) is not None:
        rest = f"the others not: {reason}"
    return f"{sum(native)} served by headrace, {rest}"


def _obstacle(settings: Settings, facts: Facts) -> Obstacle | None:
    return obstacle(installed(), facts.head, uri=masked(settings.backend_store_uri))


def durability(settings: Settings) -> str:
    """Say which failures an acknowledged write survives."""
    if dialect_of(settings.backend_store_uri) == "postgres":
        return "writes are acknowledged after PostgreSQL's COMMIT"
    if settings.sqlite_synchronous == "full":
        return "acknowledged writes survive a crash and a power cut (synchronous FULL)"
    return "acknowledged writes survive a crash of the server (synchronous NORMAL)"


def artifacts(settings: Settings) -> str:
    """Say where artifacts are stored, and how clients reach them."""
    root = masked(settings.default_artifact_root)
    if not settings.serve_artifacts:
        return f"{root}, which clients access directly"
    destination = settings.artifacts_destination
    if scheme_of(destination) == "":
        destination = str(Path(destination).absolute())
    if root == PROXY_ROOT:
        return f"through this server, stored in {masked(destination)}"
    return f"{root}; through this server: {masked(destination)}"

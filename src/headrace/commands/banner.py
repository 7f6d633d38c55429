"""What a start says: a few lines for people, or one log line for machines."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from headrace import __version__
from headrace.settings import defaults
from headrace.settings.kinds import masked

if TYPE_CHECKING:
    from headrace.db.schema.facts import Facts
    from headrace.settings.table import Settings

log = logging.getLogger("headrace")
INSTALL: Final = "pip install 'headrace[mlflow]'"


def announce(
    settings: Settings, url: str, facts: Facts | None, processes: int, after_s: float | None
) -> None:
    """Say that requests are answered. `facts`: None when no database is open."""
    ready = "ready" if after_s is None else f"ready in {after_s * 1000:.0f} ms"
    lines = describe(settings, url, facts, processes)
    if settings.log_format == "json":
        log.info("%s at %s; %s", ready, url, "; ".join(f"{name}: {text}" for name, text in lines))
        return
    click.echo(f"headrace {__version__} at {url}\n")
    for name, text in lines:
        click.echo(f"  {name:<10} {text}")
    click.echo(f"\n{ready}; Ctrl+C stops it\n")


def describe(
    settings: Settings, url: str, facts: Facts | None, processes: int
) -> list[tuple[str, str]]:
    """What is served, from where, as (name, text)."""
    lines = []
    if facts is not None:
        release = facts.release or "of an unknown release"
        made = ", made just now" if facts.created else ""
        lines.append(("tracking", f"MLFLOW_TRACKING_URI={url}"))
        lines.append(("web page", page(url)))
        lines.append(("routes", routes(settings)))
        lines.append(("database", masked(settings.backend_store_uri)))
        lines.append(("schema", f"{facts.head} ({release}){made}"))
        if facts.lost:
            lines.append(("without", f"{', '.join(facts.lost)} (see: headrace db upgrade)"))
        lines.append(("durability", durability(settings)))
    lines.append(("artifacts", artifacts(settings)))
    if processes > 1:
        lines.append(("processes", str(processes)))
    return lines


def page(url: str) -> str:
    """Where MLflow's web page is, or how to get it."""
    return f"{url}/" if find_spec("mlflow") else f"not installed; get it with: {INSTALL}"


def routes(settings: Settings) -> str:
    """Who answers how many of them."""
    from headrace.api.modes import served
    from headrace.api.routes import ROUTES
    from headrace.bridge.routes import listing

    native = [is_native for _, _, is_native in listing(served(ROUTES, settings))]
    rest = f"{len(native) - sum(native)} by MLflow, started when one is asked for"
    if not settings.bridge:
        rest = "the rest by nobody (--no-bridge)"
    elif not find_spec("mlflow"):
        rest = f"the rest by MLflow, which is not installed: {INSTALL}"
    return f"{sum(native)} answered by headrace, {rest}"


def durability(settings: Settings) -> str:
    """What an answered write survives."""
    if defaults.dialect_of(settings.backend_store_uri) == "postgres":
        return "an answer leaves after PostgreSQL's COMMIT"
    if settings.sqlite_synchronous == "full":
        return "an answered write survives a crash and a power cut (synchronous FULL)"
    return "an answered write survives a crash of the server (synchronous NORMAL)"


def artifacts(settings: Settings) -> str:
    """Where artifacts go."""
    root = masked(settings.default_artifact_root)
    if not settings.serve_artifacts:
        return f"{root}, reached by the clients themselves"
    place = settings.artifacts_destination
    if defaults.scheme_of(place) == "":
        place = str(Path(place).absolute())
    if root == defaults.PROXY_ROOT:
        return f"through this server, kept in {masked(place)}"
    return f"{root}; through this server: {masked(place)}"

"""`headrace import` and `headrace export`: experiments from other places, and into a directory and back.

Imports inside functions keep the other commands, such as `headrace --version`, fast.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.commands.options import option, resolve
from headrace.commands.output import ProgressBar
from headrace.error import Error
from headrace.settings.table import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.settings.table import Settings
    from headrace.transfer.report import Report

_SHARED = ("backend_store_uri", "default_artifact_root", "artifacts_destination")


class _Command(click.Command):
    """A command with the options of `server` that say where experiments are stored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for setting in SETTINGS:
            if setting.name in _SHARED:
                found = option(setting)
                found.help = setting.help
                self.params.append(found)


def _settings(options: dict[str, Any]) -> Settings:
    return resolve({name: options[name] for name in _SHARED}).settings


@click.command(name="import", cls=_Command)
@click.argument("source")
@click.option(
    "--from",
    "kind",
    type=click.Choice(["mlruns", "server", "export", "tensorboard", "wandb"]),
    help="The kind of SOURCE. It is recognised without this option.",
)
@click.option(
    "--experiment", "names", multiple=True, metavar="NAME", help="Only this one; repeat it."
)
@click.option(
    "--artifacts",
    type=click.Choice(["copy", "keep", "none"]),
    default="copy",
    show_default=True,
    help="copy: into the artifact store. keep: runs name the location that they have in SOURCE. none: neither.",
)
@click.option(
    "--artifact-root",
    "artifact_roots",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Also read artifacts of an mlruns directory below DIR; repeat it.",
)
@click.option("--again", is_flag=True, help="Also write runs that the database has already.")
@click.option("--dry-run", is_flag=True, help="Read everything and count it; write nothing.")
def import_(source: str, kind: str | None, names: tuple[str, ...], **options: Any) -> None:
    """Import experiments with their runs, artifacts, models and traces.

    SOURCE is an `mlruns` directory, the address of a tracking server, a directory that `headrace export`
    wrote, or one with event files of TensorBoard or runs of W&B. Runs keep their ids, times, users and tags,
    so nested runs stay nested. Experiments keep their names, and their ids unless the database uses them.
    Logged models, traces and registered models are those of an `mlruns` directory or a server;
    with --experiment, registered models are left out.

    Stop the command at any time: when it runs again, it skips the runs that are complete. Servers may use the
    database meanwhile. A server as SOURCE gets the credentials that MLflow's client would send.
    """
    from headrace.transfer import importing, sources
    from headrace.transfer.target import Target

    def run(progress: Callable[[Report], None]) -> Report:
        opened = sources.open_source(source, kind, options["artifact_roots"])
        request = importing.Request(
            names, options["artifacts"], again=options["again"], dry_run=options["dry_run"]
        )
        target = None
        try:
            settings = _settings(options)
            if not request.dry_run or _has_tables(settings.backend_store_uri):
                target = Target(settings)
            return importing.Import(opened, target, request, progress).run()
        finally:
            opened.close()
            if target is not None:
                target.close()

    report = _explained(run)
    for line in report.lines(dry_run=options["dry_run"]):
        click.echo(line)
    sys.exit(1 if report.failures else 0)


@click.command(cls=_Command)
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--experiment", "names", multiple=True, metavar="NAME", help="Only this one; repeat it."
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["jsonl", "parquet"]),
    default="jsonl",
    show_default=True,
    help="parquet needs the package pyarrow.",
)
@click.option("--no-artifacts", is_flag=True, help="Leave the artifacts out.")
def export(directory: Path, names: tuple[str, ...], **options: Any) -> None:
    """Write experiments into a new DIRECTORY, from which `headrace import` reads them.

    It gets tables of runs, params, tags, metrics (every point) and datasets, and the artifacts. Servers may
    use the database meanwhile.
    """
    from headrace.transfer.export import Exporter

    def run(progress: Callable[[Report], None]) -> Report:
        artifacts = not options["no_artifacts"]
        settings = _settings(options)
        _check_tables(settings.backend_store_uri)
        exporter = Exporter(settings, options["kind"], artifacts, progress)
        return exporter.run(directory, names)

    report = _explained(run)
    click.echo(f"Exported {report.counts()}.")


def _check_tables(uri: str) -> None:
    from headrace.db.schema.facts import UnusableDatabase
    from headrace.db.upkeep import schema

    try:
        report = schema.check(uri)
    except UnusableDatabase as error:
        raise click.ClickException(str(error)) from error
    if not report.head:
        raise click.ClickException(f"{report.uri} has none of MLflow's tables.")


def _has_tables(uri: str) -> bool:
    from headrace.db.schema.facts import UnusableDatabase
    from headrace.db.upkeep import schema

    try:
        return bool(schema.check(uri).head)
    except UnusableDatabase:  # a file that does not exist; another problem shows when it is opened
        return False


def _explained(run: Callable[[Callable[[Report], None]], Report]) -> Report:
    """Call `run` with a function that draws progress; turn its error into click's."""
    progress = ProgressBar()

    def show(report: Report) -> None:
        done = report.runs + report.present
        progress.show(done, report.total_runs or 2 * done, report.line())

    try:
        return run(show)
    except (Error, OSError) as error:
        raise click.ClickException(str(error)) from error
    finally:
        progress.end()

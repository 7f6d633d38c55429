"""The commands that look after what is stored: `doctor`, `gc`, `backup`, `restore`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import click

from headrace.settings import defaults
from headrace.settings.kinds import SettingError
from headrace.settings.load import load
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.upkeep.garbage import Removed, Wanted

DATABASE = click.argument("uri", envvar="MLFLOW_BACKEND_STORE_URI", required=False)
PROGRESS_S: Final = 0.2
BAR_CELLS: Final = 24


class Progress:
    """A bar on a terminal, written over; nothing where nobody watches."""

    def __init__(self) -> None:
        self._shown_s = 0.0
        self._is_watched = sys.stderr.isatty()

    def show(self, done: int, total: int, text: str) -> None:
        """Draw how far it is, not too often. `total` may be an estimate, and `done` exceed it."""
        if self._is_watched and monotonic() - self._shown_s > PROGRESS_S:
            self._shown_s = monotonic()
            share = min(1.0, done / total) if total else 1.0
            full = round(share * BAR_CELLS)
            bar = "#" * full + "-" * (BAR_CELLS - full)
            click.echo(f"\r\x1b[K[{bar}] {share:4.0%}  {text}", err=True, nl=False)

    def end(self) -> None:
        """Clear the line."""
        if self._shown_s:
            click.echo("\r\x1b[K", err=True, nl=False)


def told(command: Callable[[], list[str]]) -> None:
    """Print the lines of a command, or why there are none."""
    from headrace.db.errors import DatabaseError
    from headrace.db.schema.facts import UnusableDatabase

    try:
        for line in command():
            click.echo(line)
    except SettingError as exc:
        raise click.UsageError(str(exc)) from exc
    except (UnusableDatabase, DatabaseError) as exc:
        raise click.ClickException(str(exc)) from exc


@click.command()
@DATABASE
def doctor(uri: str | None) -> None:
    """Say what is wrong with a database, and the command that mends it. Changes nothing.

    Schema, indexes, sizes, latest metrics against a sample of their history, journal mode, clock.
    Exit code 1 when something is wrong.
    """
    from headrace.upkeep.doctor import examine

    wrong = False

    def look() -> list[str]:
        nonlocal wrong
        diagnosis = asyncio.run(examine(uri or defaults.default_uri()))
        wrong = bool(diagnosis.wrong)
        return diagnosis.lines()

    told(look)
    sys.exit(1 if wrong else 0)


@click.command()
@DATABASE
@click.option(
    "--backend-store-uri", metavar="URI", help="Another way to name URI, as in `mlflow gc`."
)
@click.option(
    "--older-than",
    metavar="AGE",
    help="Only what was deleted at least this long ago: 30d, 8h, 2d8h5m20s.",
)
@click.option("--run-ids", metavar="IDS", help="These runs only, separated by commas.")
@click.option("--experiment-ids", metavar="IDS", help="These experiments only, with their runs.")
@click.option("--logged-model-ids", metavar="IDS", help="These logged models only.")
@click.option("--jobs", is_flag=True, help="Remove jobs that have ended, too.")
@click.option("--job-ids", metavar="IDS", help="These jobs only, if they have ended.")
@click.option("--dry-run", is_flag=True, help="Count what would go, and change nothing.")
@click.option(
    "--artifacts-destination",
    metavar="URI",
    envvar="MLFLOW_ARTIFACTS_DESTINATION",
    help="Where the server keeps the artifacts that it carries, as for `headrace server`.",
)
@click.option("--keep-artifacts", is_flag=True, help="Leave the artifacts where they are.")
@click.option(
    "--inputs",
    is_flag=True,
    help="Remove what says which datasets and models the runs used, too. `mlflow gc` leaves it behind.",
)
@click.option(
    "--tracking-uri",
    metavar="URI",
    help="Has no effect: no server is asked for artifacts, see --artifacts-destination.",
)
def gc(**options: Any) -> None:
    """Remove for good the runs, logged models and experiments that users have deleted.

    With their metrics, params, tags and artifacts. Servers may go on meanwhile. What cannot be removed stays
    and is named; exit code 1, then. There is no way back: make a backup first.

    Ids narrow down their own kind only, as in `mlflow gc`: with --run-ids, all logged models and experiments
    that were deleted are removed still.
    """
    from headrace.upkeep import garbage

    outcome = None

    def run() -> list[str]:
        nonlocal outcome
        age, jobs = options["older_than"], garbage.ids(options["job_ids"])
        wanted = garbage.Wanted(
            older_than_ms=None if age is None else garbage.age_ms(age),
            run_ids=garbage.ids(options["run_ids"]),
            experiment_ids=garbage.experiment_ids(options["experiment_ids"]),
            logged_model_ids=garbage.ids(options["logged_model_ids"]),
            jobs=options["jobs"],
            job_ids=jobs,
            inputs=options["inputs"],
        )
        flags = {
            "backend_store_uri": options["backend_store_uri"] or options["uri"],
            "artifacts_destination": options["artifacts_destination"],
        }
        settings = load(flags, os.environ)
        dry_run, artifacts = options["dry_run"], not options["keep_artifacts"]
        outcome = asyncio.run(_collect(settings, wanted, dry_run, artifacts))
        verb = "Would remove" if dry_run else "Removed"
        return [f"{verb} {outcome.line()}.", *outcome.lines()]

    told(run)
    sys.exit(1 if outcome is not None and outcome.kept else 0)


async def _collect(settings: Settings, wanted: Wanted, dry_run: bool, artifacts: bool) -> Removed:
    from headrace.db.upkeep.access import opened
    from headrace.storage.locations import Locations
    from headrace.upkeep.garbage import Garbage

    progress = Progress()

    def show(so_far: Removed) -> None:
        progress.show(so_far.done, so_far.total, so_far.line())

    async with opened(settings.backend_store_uri) as db:
        locations = Locations(settings, anywhere=True)
        try:
            return await Garbage(
                db,
                locations if artifacts else None,
                wanted,
                dry_run=dry_run,
                may_lack_store=_is_home(settings),
                progress=show,
            ).collect()
        finally:
            progress.end()
            locations.close()


def _is_home(settings: Settings) -> bool:
    """Whether we stand where a server keeps its database and, beside it, its artifacts."""
    from headrace.db.uri import parse

    target = parse(settings.backend_store_uri)
    is_default = settings.artifacts_destination == Settings().artifacts_destination
    return is_default and bool(target.path) and Path(target.path).parent == Path.cwd()


@click.command()
@click.argument("uri")
@click.argument("file", type=click.Path(path_type=Path))
def backup(uri: str, file: Path) -> None:
    """Copy the SQLite database URI to FILE, as of one moment, while servers read and write it.

    Artifacts are not in it.
    """
    from headrace.db.upkeep.backup import backup as copy

    progress = Progress()

    def show(done: int, total: int) -> None:
        progress.show(done, total, f"{done:,} of {total:,} pages")

    told(lambda: copy(uri, file, show))
    progress.end()


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("uri")
@click.option(
    "--force", is_flag=True, help="Move a file that is there aside. Stop its servers first."
)
def restore(file: Path, uri: str, force: bool) -> None:
    """Make a SQLite database at URI from FILE, which `headrace backup` wrote.

    FILE is checked, and so is the database before the command ends. A log that was left behind at URI goes aside.
    """
    from headrace.db.upkeep.backup import restore as copy_back

    told(lambda: copy_back(file, uri, force=force))


COMMANDS: Final = (doctor, gc, backup, restore)

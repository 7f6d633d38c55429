"""The maintenance commands: `doctor`, `gc`, `backup`, `restore`.

Imports inside functions keep the other commands, such as `headrace --version`, fast.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from headrace.commands.options import DATABASE
from headrace.commands.output import ProgressBar, print_or_explain
from headrace.contract.workspaces import DEFAULT, is_workspace_name
from headrace.db.uri import parse
from headrace.settings.defaults import default_uri
from headrace.settings.kinds import SettingError
from headrace.settings.load import load
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from headrace.upkeep.garbage import GcReport, GcRequest

WORKSPACE_VARIABLE: Final = "MLFLOW_WORKSPACE"


@click.command()
@DATABASE
def doctor(uri: str | None) -> None:
    """Report problems of a database, and the commands that solve them. Changes nothing.

    Examines the schema, indexes, sizes, a sample of the latest metrics, the journal mode and the clock.
    Exit code 1 if there is a problem.
    """
    from headrace.upkeep.doctor import examine

    has_problems = False

    def lines() -> list[str]:
        nonlocal has_problems
        diagnosis = asyncio.run(examine(uri or default_uri()))
        has_problems = bool(diagnosis.problems)
        return diagnosis.lines()

    print_or_explain(lines)
    sys.exit(1 if has_problems else 0)


@click.command()
@DATABASE
@click.option(
    "--backend-store-uri", metavar="URI", help="Another way to give URI, as in `mlflow gc`."
)
@click.option(
    "--older-than",
    metavar="AGE",
    help="Only what was deleted at least this long ago: 30d, 8h, 2d8h5m20s.",
)
@click.option("--run-ids", metavar="IDS", help="Only these runs, separated by commas.")
@click.option("--experiment-ids", metavar="IDS", help="Only these experiments, with their runs.")
@click.option("--logged-model-ids", metavar="IDS", help="Only these logged models.")
@click.option("--jobs", is_flag=True, help="Also remove finished jobs.")
@click.option("--job-ids", metavar="IDS", help="Also remove these jobs, if they are finished.")
@click.option("--dry-run", is_flag=True, help="Count what would be removed; change nothing.")
@click.option(
    "--artifacts-destination",
    metavar="URI",
    envvar="MLFLOW_ARTIFACTS_DESTINATION",
    help="The artifact store of the server, as for `headrace server`.",
)
@click.option("--keep-artifacts", is_flag=True, help="Do not remove artifacts.")
@click.option(
    "--inputs",
    is_flag=True,
    help="Also remove the links from runs to their datasets and models, which `mlflow gc` keeps.",
)
@click.option(
    "--tracking-uri",
    metavar="URI",
    help="Has no effect: headrace removes artifacts without a server, see --artifacts-destination.",
)
@click.option(
    "--workspace",
    metavar="NAME",
    envvar=WORKSPACE_VARIABLE,
    help="Only what is in this workspace.",
    show_envvar=True,
)
@click.option("--all-workspaces", is_flag=True, help="The contents of all workspaces.")
def gc(**options: Any) -> None:
    """Permanently remove the runs, logged models and experiments that users have deleted.

    Also removes their metrics, params, tags and artifacts. Servers may keep running. Lists everything that
    cannot be removed, and then exits with code 1. Nothing can be restored afterwards: make a backup first.

    Ids restrict only their own kind, as in `mlflow gc`: with --run-ids, all deleted logged models and
    experiments are still removed.

    With MLFLOW_ENABLE_WORKSPACES, only what is in the workspace `default` is removed, unless
    --workspace or --all-workspaces says otherwise.
    """
    from headrace.upkeep import garbage

    outcome = None

    def run() -> list[str]:
        nonlocal outcome
        age = options["older_than"]
        flags = {
            "backend_store_uri": options["backend_store_uri"] or options["uri"],
            "artifacts_destination": options["artifacts_destination"],
        }
        # The variable of clients names the workspace here; a server would not start with it.
        environ = {k: v for k, v in os.environ.items() if k != WORKSPACE_VARIABLE}
        settings = load(flags, environ)
        request = garbage.GcRequest(
            workspace=_workspace(settings, options["workspace"], options["all_workspaces"]),
            older_than_ms=None if age is None else garbage.age_ms(age),
            run_ids=garbage.ids(options["run_ids"]),
            experiment_ids=garbage.experiment_ids(options["experiment_ids"]),
            logged_model_ids=garbage.ids(options["logged_model_ids"]),
            jobs=options["jobs"],
            job_ids=garbage.ids(options["job_ids"]),
            inputs=options["inputs"],
        )
        dry_run, artifacts = options["dry_run"], not options["keep_artifacts"]
        outcome = asyncio.run(_collect(settings, request, dry_run, artifacts))
        verb = "Would remove" if dry_run else "Removed"
        return [f"{verb} {outcome.line()}.", *outcome.lines()]

    print_or_explain(run)
    sys.exit(1 if outcome is not None and outcome.kept else 0)


def _workspace(settings: Settings, named: str | None, everywhere: bool) -> str | None:
    """The workspace of a collection; None for all. Raises SettingError."""
    source = click.get_current_context().get_parameter_source("workspace")
    if everywhere and source is ParameterSource.COMMANDLINE:
        raise SettingError("Cannot use --workspace and --all-workspaces together.")
    if everywhere:
        return None
    if named:
        if not is_workspace_name(named):
            raise SettingError(f"'{named}' is not the name of a workspace.")
        return named
    return DEFAULT if settings.enable_workspaces else None


async def _collect(
    settings: Settings, request: GcRequest, dry_run: bool, artifacts: bool
) -> GcReport:
    from headrace.db.upkeep.access import opened
    from headrace.storage.locations import Locations
    from headrace.upkeep.garbage import GarbageCollection

    progress = ProgressBar()

    def show(report: GcReport) -> None:
        progress.show(report.done, report.total, report.line())

    async with opened(settings.backend_store_uri) as db:
        locations = Locations(settings, anywhere=True)
        try:
            return await GarbageCollection(
                db,
                locations if artifacts else None,
                request,
                dry_run=dry_run,
                may_lack_store=_is_server_directory(settings),
                progress=show,
            ).collect()
        finally:
            progress.end()
            locations.close()


def _is_server_directory(settings: Settings) -> bool:
    """Whether a server with these settings would keep database and artifacts in this directory."""
    target = parse(settings.backend_store_uri)
    is_default = settings.artifacts_destination == Settings().artifacts_destination
    return is_default and bool(target.path) and Path(target.path).parent == Path.cwd()


@click.command()
@click.argument("uri")
@click.argument("file", type=click.Path(path_type=Path))
def backup(uri: str, file: Path) -> None:
    """Copy a consistent snapshot of the SQLite database URI to FILE.

    Servers may read and write the database meanwhile. The copy does not include artifacts.
    """
    from headrace.db.upkeep.backup import backup as copy

    progress = ProgressBar()

    def show(done: int, total: int) -> None:
        progress.show(done, total, f"{done:,} of {total:,} pages")

    print_or_explain(lambda: copy(uri, file, show))
    progress.end()


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("uri")
@click.option(
    "--force",
    is_flag=True,
    help="If the database exists, move its file aside. First stop its servers.",
)
def restore(file: Path, uri: str, force: bool) -> None:
    """Create the SQLite database URI from FILE, which `headrace backup` wrote.

    Checks FILE before the copy and the database after it. Moves aside a log left over at URI.
    """
    from headrace.db.upkeep.backup import restore as copy_back

    print_or_explain(lambda: copy_back(file, uri, force=force))

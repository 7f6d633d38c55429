"""`headrace gc`: permanently remove what users have deleted, while servers keep running.

Rows are removed before artifacts, so a run that is restored in time keeps both. A page of ids bounds the
memory, and a chunk of rows bounds each transaction. An interrupted collection continues in the next one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

from headrace.contract.clock import now_ms
from headrace.contract.errors import ApiError
from headrace.contract.scalars import INT32_MAX
from headrace.db.errors import ForeignKeyViolation
from headrace.db.upkeep import garbage as sql
from headrace.db.workspace import DatabaseIn
from headrace.plural import counted
from headrace.settings.kinds import SettingError
from headrace.storage.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from headrace.db.base import Database, Row
    from headrace.db.sql import Sql
    from headrace.storage.locations import ArtifactPath, Locations

_AGE: Final = re.compile(r"(?:([\d.]+)d)?(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s)?")
MAX_LISTED: Final = 1000  # reasons for keeping something; further ones are only counted
ANY_TIME: Final = 1 << 62


def age_ms(text: str) -> int:
    """Parse an age such as 30d, 1.5h or 2d8h5m20s; return milliseconds. Raises SettingError."""
    match = _AGE.fullmatch(text)
    try:
        if not text or match is None:
            raise ValueError
        days, hours, minutes, seconds = (float(n or 0) for n in match.groups())
        age = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except (ValueError, OverflowError):
        raise SettingError(f"'{text}' is not an age such as 30d, 8h or 2d8h5m20s.") from None
    return int(age.total_seconds() * 1000)


@dataclass(frozen=True)
class GcRequest:
    """The options of a collection.

    Ids that are None stand for everything of the kind that is deleted, as with `mlflow gc`. An
    `older_than_ms` of None means any age. `jobs` includes finished jobs. `workspace` None means all.
    """

    older_than_ms: int | None = None
    run_ids: list[str] | None = None
    logged_model_ids: list[str] | None = None
    experiment_ids: list[int] | None = None
    jobs: bool = False
    job_ids: list[str] | None = None
    inputs: bool = False
    workspace: str | None = None


def ids(text: str | None) -> list[str] | None:
    """Parse ids separated by commas; drop duplicates."""
    return list(dict.fromkeys(text.split(","))) if text else None


def experiment_ids(text: str | None) -> list[int] | None:
    """Parse experiment ids separated by commas; drop duplicates. Raises SettingError."""
    found = ids(text)
    for word in found or []:
        if not (word.isascii() and word.isdigit() and int(word) <= INT32_MAX):
            raise SettingError(f"'{word}' is not the id of an experiment.")
    return None if found is None else list(dict.fromkeys(map(int, found)))


@dataclass
class GcReport:
    """Counts of removed things (in a dry run: to remove), and the reasons for keeping others.

    `total` estimates the number of runs, models and experiments before the collection.
    """

    runs: int = 0
    logged_models: int = 0
    experiments: int = 0
    jobs: int = 0
    rows: int = 0
    total: int = 0
    kept_count: int = 0
    kept: list[str] = field(default_factory=list)

    def keep(self, text: str) -> None:
        """Add the reason for keeping something."""
        self.kept_count += 1
        if len(self.kept) < MAX_LISTED:
            self.kept.append(text)

    @property
    def done(self) -> int:
        """How many of `total` are processed."""
        return self.runs + self.logged_models + self.experiments + self.kept_count

    def line(self) -> str:
        """Format the counts for people."""
        counts = [
            counted(self.runs, "run"),
            counted(self.logged_models, "logged model"),
            counted(self.experiments, "experiment"),
            counted(self.rows, "row") + " of their contents",
        ]
        return ", ".join([*counts, counted(self.jobs, "job")] if self.jobs else counts)

    def lines(self) -> list[str]:
        """Format the reasons for people."""
        more = self.kept_count - len(self.kept)
        return [f"kept: {line}" for line in self.kept] + ([f"kept: {more} more"] if more else [])


class GarbageCollection:
    """One collection. It removes no artifacts if `locations` is None.

    With `may_lack_store` the artifact directory need not exist, as before the first upload.
    """

    def __init__(
        self,
        db: Database,
        locations: Locations | None,
        request: GcRequest,
        *,
        dry_run: bool = False,
        may_lack_store: bool = False,
        progress: Callable[[GcReport], None] = lambda _: None,
    ) -> None:
        workspace = request.workspace
        self._db = db if workspace is None else DatabaseIn(db, workspace)
        self._which = sql.EVERYWHERE if workspace is None else sql.IN_WORKSPACE
        self._locations = locations
        self._request = request
        self._any_age = request.older_than_ms is None
        self._before_ms = now_ms() - (request.older_than_ms or 0)
        # Checked again in the transaction that removes a row. Without a minimum age no time is
        # compared, because the clock of the machine that deleted the row may be ahead.
        self._still_ms = ANY_TIME if self._any_age else self._before_ms
        self._dry_run = dry_run
        self._may_lack_store = may_lack_store
        self._progress = progress
        self.report = GcReport()

    async def collect(self) -> GcReport:
        """Remove runs, then models, then experiments without runs.

        Raises SettingError, before removing anything, if an id in the request does not exist (in the
        workspace), is not deleted, or was deleted too recently, or if the workspace does not exist.
        """
        request, which = self._request, self._which
        if request.workspace is not None and not await self._db.read(sql.workspace_exists):
            raise SettingError(f"The database has no workspace '{request.workspace}'.")
        with_models = self._db.schema.has("logged_models")
        await self._check("run", which.runs_named, request.run_ids)
        if with_models:
            await self._check("logged model", which.models_named, request.logged_model_ids)
        await self._check("experiment", which.experiments_named, request.experiment_ids)
        await self._count(with_models)
        await self._finish_earlier()
        async for rows in self._selected(which.runs, which.runs_named, request.run_ids, ""):
            await self._runs([row[:2] for row in rows])
        if with_models:
            named = request.logged_model_ids
            async for rows in self._selected(which.models, which.models_named, named, ""):
                await self._models([row[:2] for row in rows])
        every = which.all_experiments if self._any_age else which.experiments
        named_ids = request.experiment_ids
        async for rows in self._selected(every, which.experiments_named, named_ids, -1):
            for experiment_id, name, *_ in rows:
                await self._experiment(experiment_id, name)
        if self._db.schema.has("jobs") and (request.jobs or request.job_ids):
            await self._jobs(request.job_ids)
        return self.report

    async def _check(self, kind: str, which: Sql, named: list[Any] | None) -> None:
        for page in chunks(named or []):
            found = {row[0]: row for row in await self._db.read(sql.named, which, page)}
            for name in page:
                if name not in found:
                    raise SettingError(
                        f"{kind.capitalize()} {name} does not exist. Nothing was removed."
                    )
                _, _, stage, time_ms = found[name]
                if stage != "deleted":
                    raise SettingError(
                        f"{kind.capitalize()} {name} is {stage}: it must be deleted before it can "
                        "be removed. Nothing was removed."
                    )
                # As in stock MLflow, an experiment of exactly this age is too young.
                youngest_ms = self._before_ms - (kind == "experiment")
                if not self._any_age and (time_ms is None or time_ms > youngest_ms):
                    raise SettingError(
                        f"{kind.capitalize()} {name} was deleted too recently. Nothing was removed."
                    )

    async def _count(self, with_models: bool) -> None:
        request, before_ms = self._request, self._before_ms
        counts = self._which
        kinds = [
            (request.run_ids, counts.count_runs),
            (request.experiment_ids, counts.count_experiments),
        ]
        kinds += [(request.logged_model_ids, counts.count_models)] if with_models else []
        for named, which in kinds:
            self.report.total += (
                await self._db.read(sql.count, which, before_ms) if named is None else len(named)
            )

    async def _selected(
        self, every: Sql, these: Sql, named: list[Any] | None, first: Any
    ) -> AsyncIterator[list[Row]]:
        if named is None:
            async for rows in self._pages(every, first):
                yield rows
            return
        for page in chunks(named):
            yield await self._db.read(sql.named, these, page)

    async def _pages(self, which: Sql, after: Any, *args: Any) -> AsyncIterator[list[Row]]:
        while True:
            rows = await self._db.read(
                sql.page, which, self._before_ms, after, sql.PAGE_ROWS, *args
            )
            if not rows:
                return
            yield rows
            after = rows[-1][0]

    async def _runs(self, rows: list[Row]) -> None:
        if self._dry_run:
            self.report.runs += len(rows)
            self.report.rows += await self._db.read(sql.count_points, [row[0] for row in rows])
            self._progress(self.report)
            return
        reachable = [name for name, uri in rows if self._is_reachable("run", name, uri)]
        points = await self._db.read(sql.metrics_by_run, reachable)
        for group in packed(reachable, points):
            args = self._still_ms, self._request.inputs, self._locations is not None
            self.report.runs += await self._take(sql.delete_runs, group, *args)

    async def _models(self, rows: list[Row]) -> None:
        if self._dry_run:
            self.report.logged_models += len(rows)
            return
        reachable = [name for name, uri in rows if self._is_reachable("logged model", name, uri)]
        args = self._still_ms, self._locations is not None
        self.report.logged_models += await self._take(sql.delete_models, reachable, *args)

    async def _take(
        self, take: Callable[..., Awaitable[sql.Deletion]], ids: list[str], *args: object
    ) -> int:
        """Remove runs or models and then their artifacts, in several transactions; return how many."""
        gone = 0
        while ids:
            taken = await self._db.write(take, ids, *args)
            ids = taken.left
            gone += len(taken.gone)
            self.report.rows += taken.rows
            self._progress(self.report)
            await self._remove_artifacts(taken.orphans)
        return gone

    async def _experiment(self, experiment_id: int, name: str) -> None:
        # Count runs that `collect` has not: those outside the request, and those without a time of
        # deletion, which older releases do not store.
        named, seen = set(self._request.run_ids or []), 0
        async for rows in self._pages(self._which.runs_of_experiment, "", experiment_id):
            seen += len(rows)
            all_counted = self._request.run_ids is None
            new = [row for row in rows if (row[2] is None if all_counted else row[0] not in named)]
            await self._runs([row[:2] for row in (new if self._dry_run else rows)])
        left = await self._db.read(sql.runs_left, experiment_id)
        if left > (seen if self._dry_run else 0):
            self.report.keep(
                f"experiment {experiment_id} ({name}): {left} of its runs are active, were deleted too "
                "recently, or are kept"
            )
            return
        try:
            if not (self._dry_run or await self._remove_experiment(experiment_id)):
                return  # restored in the meantime
        except ForeignKeyViolation as error:
            self.report.keep(f"experiment {experiment_id} ({name}): {error.text}")
            return
        self.report.experiments += 1
        self._progress(self.report)

    async def _remove_experiment(self, experiment_id: int) -> bool:
        """Remove an experiment without runs; return whether it was still deleted."""
        for table in sql.OF_EXPERIMENT:
            while deleted := await self._db.write(sql.chunk_of_experiment, experiment_id, table):
                self.report.rows += deleted
                self._progress(self.report)
        return bool(await self._db.write(sql.last_of_experiment, experiment_id))

    async def _jobs(self, named: list[str] | None) -> None:
        before_ms = self._before_ms if self._request.older_than_ms else ANY_TIME
        if self._dry_run:
            counts = self._which
            which = counts.count_jobs if named is None else counts.count_jobs_named
            more = [] if named is None else [named]
            self.report.jobs = await self._db.read(sql.count, which, before_ms, *more)
            return
        for page in chunks(named) if named else [None]:
            deleted = sql.CHUNK_ROWS
            while deleted >= sql.CHUNK_ROWS:
                deleted = await self._db.write(sql.chunk_of_jobs, self._which, before_ms, page)
                self.report.jobs += deleted

    async def _finish_earlier(self) -> None:
        """Remove artifacts that an interrupted collection or an error of the store left behind."""
        if self._locations is None or self._dry_run:
            return
        last = ""
        while orphans := await self._db.read(sql.orphans_after, last):
            await self._remove_artifacts(orphans)
            last = orphans[-1].orphan_id

    async def _remove_artifacts(self, orphans: Sequence[sql.Orphan]) -> None:
        assert self._locations is not None or not orphans, (
            "without locations no artifacts are orphaned"
        )
        removed = []
        for orphan in orphans:
            try:
                location = self._location(orphan.uri)
                await location.store.delete(location.path)
            except (ApiError, OSError) as error:
                self.report.keep(f"{orphan.of}: its artifacts stay until the next gc: {error}")
            else:
                removed.append(orphan)
        if removed:
            await self._db.write(sql.forget, removed)

    def _is_reachable(self, kind: str, name: str, uri: str | None) -> bool:
        """Whether the artifact store can be opened; otherwise report that the row is kept."""
        if self._locations is None or not uri:
            return True
        try:
            self._location(uri)
        except (ApiError, OSError) as error:
            self.report.keep(f"{kind} {name}: its artifacts stay: {error}")
            return False
        return True

    def _location(self, uri: str) -> ArtifactPath:
        """Find the directory of an artifact URI in its store. Raises ApiError, FileNotFoundError."""
        assert self._locations is not None, "only a collection with locations removes artifacts"
        parts = urlsplit(uri)
        parent, _, last = parts.path.rstrip("/").rpartition("/")
        location = self._locations.resolve(urlunsplit(parts._replace(path=parent or "/")), last)
        self._check_destination(location)
        return location

    def _check_destination(self, location: ArtifactPath) -> None:
        """Raise FileNotFoundError if the store's directory does not exist on this machine.

        Its files may be on another machine, and removing the rows would orphan them there.
        """
        store = location.store
        if self._may_lack_store or not (location.proxied and isinstance(store, LocalStore)):
            return
        if not Path(store.root).is_dir():
            raise FileNotFoundError(
                f"the directory {store.root} does not exist: set it with --artifacts-destination"
            )


def packed(run_ids: list[str], points: dict[str, int]) -> list[list[str]]:
    """Group runs for transactions of at most CHUNK_ROWS points; a larger run is a group by itself."""
    groups: list[list[str]] = []
    room = 0
    for run_id in run_ids:
        size = points.get(run_id, 0)
        if not groups or size > room:
            groups.append([])
            room = sql.CHUNK_ROWS
        groups[-1].append(run_id)
        room -= size
    return groups


def chunks(named: list[Any]) -> list[list[Any]]:
    """Split ids into pages."""
    return [named[n : n + sql.PAGE_ROWS] for n in range(0, len(named), sql.PAGE_ROWS)]

"""`headrace gc`: removes for good what users deleted long ago, rows first, while others work.

Memory is bounded by a page of ids, every transaction by a chunk of rows. A run that is restored before its row is
gone keeps its artifacts. Stopped half-way, it goes on where it stopped when it is run again.
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
from headrace.settings.kinds import SettingError
from headrace.storage.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from headrace.db.base import Database, Row, Sql
    from headrace.storage.locations import ArtifactPath, Locations

_AGE: Final = re.compile(r"(?:([\d.]+)d)?(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s)?")
MAX_TOLD: Final = 1000  # things that stay and are named; more are counted
ANY_TIME: Final = 1 << 62


def age_ms(text: str) -> int:
    """Milliseconds of an age such as 30d, 1.5h or 2d8h5m20s. Raises SettingError."""
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
class Wanted:
    """What a collection takes. Ids that are None: all of the kind that were deleted, as with `mlflow gc`.

    `older_than_ms` None: whenever that was. `jobs`: those that have ended, too.
    """

    older_than_ms: int | None = None
    run_ids: list[str] | None = None
    logged_model_ids: list[str] | None = None
    experiment_ids: list[int] | None = None
    jobs: bool = False
    job_ids: list[str] | None = None
    inputs: bool = False


def ids(text: str | None) -> list[str] | None:
    """The ids of an option, which commas separate; each once."""
    return list(dict.fromkeys(text.split(","))) if text else None


def experiment_ids(text: str | None) -> list[int] | None:
    """The same, as numbers. Raises SettingError."""
    found = ids(text)
    for word in found or []:
        if not (word.isascii() and word.isdigit() and int(word) <= INT32_MAX):
            raise SettingError(f"'{word}' is not the id of an experiment.")
    return None if found is None else list(dict.fromkeys(map(int, found)))


@dataclass
class Removed:
    """What went, or would go; `kept` says, a line each, what stays although it was deleted.

    `total`: the runs, models and experiments that there were to begin with, about.
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
        """Note something that stays."""
        self.kept_count += 1
        if len(self.kept) < MAX_TOLD:
            self.kept.append(text)

    @property
    def done(self) -> int:
        """How many of `total` were looked at."""
        return self.runs + self.logged_models + self.experiments + self.kept_count

    def line(self) -> str:
        """In words."""
        jobs = f", {self.jobs} jobs" if self.jobs else ""
        return (
            f"{self.runs} runs, {self.logged_models} logged models, {self.experiments} experiments, "
            f"{self.rows} rows of what was logged to them{jobs}"
        )

    def lines(self) -> list[str]:
        """What stays, in words."""
        more = self.kept_count - len(self.kept)
        return [f"kept: {line}" for line in self.kept] + ([f"kept: {more} more"] if more else [])


class Garbage:
    """One collection. `locations` None leaves artifacts where they are.

    `may_lack_store`: the directory of artifacts need not be there, since nothing was uploaded yet.
    """

    def __init__(
        self,
        db: Database,
        locations: Locations | None,
        wanted: Wanted,
        *,
        dry_run: bool = False,
        may_lack_store: bool = False,
        progress: Callable[[Removed], None] = lambda _: None,
    ) -> None:
        self._db = db
        self._locations = locations
        self._wanted = wanted
        self._any_age = wanted.older_than_ms is None
        self._before_ms = now_ms() - (wanted.older_than_ms or 0)
        # Asked again when it goes. Named ids of any age may come from a machine whose clock is ahead.
        self._still_ms = ANY_TIME if self._any_age else self._before_ms
        self._dry_run = dry_run
        self._may_lack_store = may_lack_store
        self._progress = progress
        self.removed = Removed()

    async def collect(self) -> Removed:
        """Runs first, then models, then the experiments that have no run left.

        Raises SettingError, before anything is removed, when an id was named that is not deleted, not old
        enough or not there.
        """
        wanted = self._wanted
        with_models = self._db.schema.has("logged_models")
        await self._check("run", sql.RUNS_NAMED, wanted.run_ids)
        if with_models:
            await self._check("logged model", sql.MODELS_NAMED, wanted.logged_model_ids)
        await self._check("experiment", sql.EXPERIMENTS_NAMED, wanted.experiment_ids)
        await self._count(with_models)
        await self._finish_earlier()
        async for rows in self._some(sql.RUNS, sql.RUNS_NAMED, wanted.run_ids, ""):
            await self._runs([row[:2] for row in rows])
        if with_models:
            named = wanted.logged_model_ids
            async for rows in self._some(sql.MODELS, sql.MODELS_NAMED, named, ""):
                await self._models([row[:2] for row in rows])
        which = sql.ALL_EXPERIMENTS if self._any_age else sql.EXPERIMENTS
        named_ids = wanted.experiment_ids
        async for rows in self._some(which, sql.EXPERIMENTS_NAMED, named_ids, -1):
            for experiment_id, name, *_ in rows:
                await self._experiment(experiment_id, name)
        if self._db.schema.has("jobs") and (wanted.jobs or wanted.job_ids):
            await self._jobs(wanted.job_ids)
        return self.removed

    async def _check(self, kind: str, which: Sql, named: list[Any] | None) -> None:
        for page in chunks(named or []):
            found = {row[0]: row for row in await self._db.read(sql.named, which, page)}
            for name in page:
                if name not in found:
                    raise SettingError(f"There is no {kind} {name}. Nothing was removed.")
                _, _, stage, time_ms = found[name]
                if stage != "deleted":
                    raise SettingError(
                        f"{kind.capitalize()} {name} is {stage}: only what was deleted can be removed "
                        "for good. Nothing was removed."
                    )
                # To the millisecond as stock has it: an experiment of just that age is too young.
                youngest_ms = self._before_ms - (kind == "experiment")
                if not self._any_age and (time_ms is None or time_ms > youngest_ms):
                    raise SettingError(
                        f"{kind.capitalize()} {name} was not deleted so long ago. Nothing was removed."
                    )

    async def _count(self, with_models: bool) -> None:
        wanted, before_ms = self._wanted, self._before_ms
        kinds = [(wanted.run_ids, sql.COUNT_RUNS), (wanted.experiment_ids, sql.COUNT_EXPERIMENTS)]
        kinds += [(wanted.logged_model_ids, sql.COUNT_MODELS)] if with_models else []
        for named, which in kinds:
            self.removed.total += (
                await self._db.read(sql.count, which, before_ms) if named is None else len(named)
            )

    async def _some(
        self, all_of_them: Sql, those: Sql, named: list[Any] | None, first: Any
    ) -> AsyncIterator[list[Row]]:
        if named is None:
            async for rows in self._pages(all_of_them, first):
                yield rows
            return
        for page in chunks(named):
            yield await self._db.read(sql.named, those, page)

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
            self.removed.runs += len(rows)
            self.removed.rows += await self._db.read(sql.count_points, [row[0] for row in rows])
            self._progress(self.removed)
            return
        reachable = [name for name, uri in rows if self._is_reachable("run", name, uri)]
        points = await self._db.read(sql.metrics_by_run, reachable)
        for group in packed(reachable, points):
            args = self._still_ms, self._wanted.inputs, self._locations is not None
            self.removed.runs += await self._take(sql.delete_runs, group, *args)

    async def _models(self, rows: list[Row]) -> None:
        if self._dry_run:
            self.removed.logged_models += len(rows)
            return
        reachable = [name for name, uri in rows if self._is_reachable("logged model", name, uri)]
        args = self._still_ms, self._locations is not None
        self.removed.logged_models += await self._take(sql.delete_models, reachable, *args)

    async def _take(
        self, take: Callable[..., Awaitable[sql.Deletion]], ids: list[str], *args: object
    ) -> int:
        """Remove rows of runs or models, transaction by transaction, then their artifacts; how many went."""
        gone = 0
        while ids:
            taken = await self._db.write(take, ids, *args)
            ids = taken.left
            gone += len(taken.gone)
            self.removed.rows += taken.rows
            self._progress(self.removed)
            await self._remove_artifacts(taken.orphans)
        return gone

    async def _experiment(self, experiment_id: int, name: str) -> None:
        # Runs that were not asked for by themselves, or that no time was noted for, by older releases.
        named, seen = set(self._wanted.run_ids or []), 0
        async for rows in self._pages(sql.RUNS_OF_EXPERIMENT, "", experiment_id):
            seen += len(rows)
            all_counted = self._wanted.run_ids is None
            new = [row for row in rows if (row[2] is None if all_counted else row[0] not in named)]
            await self._runs([row[:2] for row in (new if self._dry_run else rows)])
        left = await self._db.read(sql.runs_left, experiment_id)
        if left > (seen if self._dry_run else 0):
            self.removed.keep(
                f"experiment {experiment_id} ({name}): {left} of its runs are active, or were deleted "
                "too lately, or are kept"
            )
            return
        try:
            if not (self._dry_run or await self._without_runs(experiment_id)):
                return  # restored a moment ago
        except ForeignKeyViolation as error:
            self.removed.keep(f"experiment {experiment_id} ({name}): {error.text}")
            return
        self.removed.experiments += 1
        self._progress(self.removed)

    async def _without_runs(self, experiment_id: int) -> bool:
        """Remove an experiment that has no runs; whether it was still there and deleted."""
        for table in sql.OF_EXPERIMENT:
            while deleted := await self._db.write(sql.chunk_of_experiment, experiment_id, table):
                self.removed.rows += deleted
                self._progress(self.removed)
        return bool(await self._db.write(sql.last_of_experiment, experiment_id))

    async def _jobs(self, named: list[str] | None) -> None:
        before_ms = self._before_ms if self._wanted.older_than_ms else ANY_TIME
        if self._dry_run:
            which = sql.COUNT_JOBS if named is None else sql.COUNT_JOBS_NAMED
            more = [] if named is None else [named]
            self.removed.jobs = await self._db.read(sql.count, which, before_ms, *more)
            return
        for page in chunks(named) if named else [None]:
            deleted = sql.CHUNK_ROWS
            while deleted >= sql.CHUNK_ROWS:
                deleted = await self._db.write(sql.chunk_of_jobs, before_ms, page)
                self.removed.jobs += deleted

    async def _finish_earlier(self) -> None:
        """Remove artifacts that an earlier collection left behind: it was stopped, or the store refused."""
        if self._locations is None or self._dry_run:
            return
        last = ""
        while orphans := await self._db.read(sql.orphans_after, last):
            await self._remove_artifacts(orphans)
            last = orphans[-1].orphan_id

    async def _remove_artifacts(self, orphans: Sequence[sql.Orphan]) -> None:
        assert self._locations is not None or not orphans, "without locations there are no orphans"
        removed = []
        for orphan in orphans:
            try:
                location = self._location(orphan.uri)
                await location.store.delete(location.path)
            except (ApiError, OSError) as error:
                self.removed.keep(f"{orphan.of}: its artifacts stay until the next gc: {error}")
            else:
                removed.append(orphan)
        if removed:
            await self._db.write(sql.forget, removed)

    def _is_reachable(self, kind: str, name: str, uri: str | None) -> bool:
        """Whether the store of the artifacts is one that we can open; else the row is kept."""
        if self._locations is None or not uri:
            return True
        try:
            self._location(uri)
        except (ApiError, OSError) as error:
            self.removed.keep(f"{kind} {name}: its artifacts stay: {error}")
            return False
        return True

    def _location(self, uri: str) -> ArtifactPath:
        """The directory of an artifact URI in its store. Raises ApiError, FileNotFoundError."""
        assert self._locations is not None, "asked for with locations only"
        parts = urlsplit(uri)
        parent, _, last = parts.path.rstrip("/").rpartition("/")
        location = self._locations.resolve(urlunsplit(parts._replace(path=parent or "/")), last)
        self._check_destination(location)
        return location

    def _check_destination(self, location: ArtifactPath) -> None:
        """A directory that is not here is elsewhere: its files must not lose the rows that name them."""
        store = location.store
        if self._may_lack_store or not (location.proxied and isinstance(store, LocalStore)):
            return
        if not Path(store.root).is_dir():
            raise FileNotFoundError(
                f"there is no directory {store.root}: name the place with --artifacts-destination"
            )


def packed(run_ids: list[str], points: dict[str, int]) -> list[list[str]]:
    """Runs in groups that one transaction can delete; a run that is too large for one is alone."""
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
    """Pages of ids."""
    return [named[n : n + sql.PAGE_ROWS] for n in range(0, len(named), sql.PAGE_ROWS)]

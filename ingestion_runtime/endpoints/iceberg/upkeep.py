"""One Iceberg table on a local disk kept in shape, in this process: pyiceberg for its metadata, Arrow for its rows.

    {table}/data/upkeep-{id}/a00000-00000.parquet    what a rewrite wrote
    {table}/metadata/upkeep-{id}-m0.avro             its manifests, and snap-{snapshot}-0-upkeep-{id}.avro

Imported only when a table is looked after: pyiceberg costs 1.2 s.
"""

import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from ingestion_runtime.endpoints.iceberg.attempts import Attempt
from ingestion_runtime.endpoints.iceberg.catalog import IcebergCatalog
from ingestion_runtime.endpoints.iceberg.commits import check_format
from ingestion_runtime.endpoints.iceberg.compacting import Compaction
from ingestion_runtime.endpoints.iceberg.expiring import expired_snapshots
from ingestion_runtime.endpoints.iceberg.leftovers import remove_empty
from ingestion_runtime.endpoints.iceberg.local_tools import LocalTools
from ingestion_runtime.endpoints.iceberg.needed_files import files_of
from ingestion_runtime.endpoints.iceberg.orphans import Strays, find_strays, is_own, owns_files
from ingestion_runtime.endpoints.iceberg.rewrite_plan import RewritePlan, planned
from ingestion_runtime.endpoints.iceberg.snapshot_files import UnfitSnapshot, local_path
from ingestion_runtime.endpoints.iceberg.snapshots import stage_snapshot
from ingestion_runtime.endpoints.iceberg.surveying import Found, count_files, describe, file_sum, require_whole
from ingestion_runtime.endpoints.iceberg.upkeep_commits import announce_sweep, commit_expiry, commit_rewritten, drop_stale
from ingestion_runtime.model.errors import LostFileError, OutcomeUnknownError, PublishRaceError, TerminalError
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.upkeep import Expired, FileSum, Orphan, Removed, Rewritten, Survey, TargetUpkeep
from ingestion_runtime.tools.failpoints import Failpoints

_TRIES = 5
_HOUR_SECONDS = 3600.0


class IcebergUpkeep:
    """Keeps one table of an IcebergCatalog in shape. Implements ``TargetUpkeep``."""

    def __init__(
        self,
        catalog: IcebergCatalog,
        spec: TableSpec,
        tools: LocalTools,
        far: TargetUpkeep,
        failpoints: Failpoints,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``far`` rewrites tables of which this process cannot read everything."""
        self._catalog = catalog
        self._spec = spec
        self._identifier = catalog.identifier(spec)
        self._tools = tools
        self._far = far
        self._failpoints = failpoints
        self._clock = clock

    def survey(self) -> Survey | None:
        """Look at metadata, manifests, footers and folders; see ``TargetUpkeep.survey``."""
        table = self._load()
        if table is None or table.current_snapshot() is None:
            return None
        # What does not fit into memory goes to a place of the system's: the configured ones stay as they are.
        local = replace(self._tools.sql, directory=tempfile.gettempdir())
        now = self._clock()
        strays = self._strays(table)
        old = self._old_enough(strays.files)
        found = Found(strays, old, expired_snapshots(table.metadata, self._spec.maintenance, now))
        return describe(table, self._spec, count_files(table, self._spec, local), found)

    def rewrite(self) -> Rewritten | None:
        """Write files anew and commit once; see ``TargetUpkeep.rewrite``."""
        table = self._load()
        if table is None:
            return None
        check_format(table)
        require_whole(table, self._spec.name)
        try:
            with planned(table, self._spec, self._tools.sql) as plan:
                return self._carry_out(table, plan)
        except UnfitSnapshot:
            return self._far.rewrite()
        except (PublishRaceError, OutcomeUnknownError):
            raise
        except Exception as error:
            after = self._load()
            if after is not None and after.metadata.current_snapshot_id != table.metadata.current_snapshot_id:
                # Files may have been missing because nobody needed them any more.
                raise PublishRaceError(
                    f"{self._spec.name}: the table moved while its files were written anew.", remedy="Run again."
                ) from error
            raise

    def expire(self, fence: int) -> Expired:
        """Take snapshots out of the metadata, then remove what only they named; see ``TargetUpkeep.expire``."""
        for attempt in range(1, _TRIES + 1):
            table = self._load()
            gone = () if table is None else expired_snapshots(table.metadata, self._spec.maintenance, self._clock())
            if table is None or not gone:
                return Expired()
            check_format(table)
            try:
                freed = self._freed_by(table, gone)
            except Exception as error:  # noqa: BLE001 - what stays must be known as a whole, whatever hides it
                return Expired(kept=f"not all of its snapshots can be read ({type(error).__name__}: {error})")
            try:
                commit_expiry(self._catalog.pyiceberg(), table, [snapshot.snapshot_id for snapshot in gone], fence)
            except PublishRaceError:
                if attempt == _TRIES:
                    raise
                continue
            self._failpoints.hit("expire-committed", self._spec.name)
            kept = owns_files(table)
            return Expired(len(gone), FileSum() if kept else self._remove(freed, "expire-removing"), kept)
        raise AssertionError  # every turn of the loop ends it or goes on

    def drop_stale(self, keep: Collection[str], fence: int) -> tuple[str, ...]:
        """Drop branches of attempts; see ``TargetUpkeep.drop_stale``."""
        return drop_stale(self._catalog, self._load(), keep, fence)

    def remove_orphans(self, fence: int) -> Removed:
        """Remove what nothing names; see ``TargetUpkeep.remove_orphans``.

        What is old enough is chosen first. Then a commit refuses everything that was begun before it, by the fence whoever
        holds no lease any more, by the mark whoever never needed one; and what is needed is read once more.
        """
        table = self._load()
        if table is None:
            return Removed()
        strays = self._strays(table)
        old = {file.path for file in self._old_enough(strays.files)}
        if not old or strays.unclear is not None:
            return Removed(kept=strays.unclear)
        check_format(table)
        announce_sweep(self._catalog.pyiceberg(), table, fence)
        self._failpoints.hit("orphans-fenced", self._spec.name)
        table = self._load()
        if table is None:
            return Removed()
        again = self._strays(table)
        if again.unclear is not None:
            return Removed(kept=again.unclear)
        return Removed(self._remove((f.path for f in again.files if f.path in old), "orphans-removing"))

    def _carry_out(self, table: Table, plan: RewritePlan) -> Rewritten | None:
        if not plan.respecified and not plan.removed:
            return None
        if not plan.removed:
            location = commit_rewritten(self._catalog.pyiceberg(), table, None, plan.respecified)
            return Rewritten(FileSum(), FileSum(), 0, 0, repartitioned=True, location=location)
        with self._attempt(table) as attempt:
            work = Compaction(plan.table, self._spec, self._tools.settings, attempt, plan.judge)
            added = work.write(plan.bundles, plan.dead)
            self._failpoints.hit("rewrite-written", self._spec.name)
            self._require_all(plan, added)
            base = table.metadata.current_snapshot_id
            pending = stage_snapshot(plan.table, base, attempt.name, added, plan.removed, same_rows=True)
            self._failpoints.hit("rewrite-staged", self._spec.name)
        location = self._commit(table, attempt, pending.snapshot, plan)
        self._failpoints.hit("rewrite-committed", self._spec.name)
        return Rewritten(
            removed=file_sum(plan.removed),
            added=file_sum(added),
            rows=plan.rows,
            dead_rows=plan.dead_rows,
            repartitioned=bool(plan.respecified),
            location=location,
        )

    def _require_all(self, plan: RewritePlan, added: Sequence[DataFile]) -> None:
        written = sum(file.record_count for file in added)
        if written != plan.rows:
            raise TerminalError(
                f"{self._spec.name}: {written} rows were written anew, and {plan.rows} should have been.",
                remedy="Nothing was committed. Let `ingestion verify` look at the table's files.",
                table=self._spec.name,
            )

    def _commit(self, table: Table, attempt: Attempt, snapshot: Snapshot, plan: RewritePlan) -> str:
        try:
            return commit_rewritten(self._catalog.pyiceberg(), table, snapshot, plan.respecified)
        except PublishRaceError:
            _clear(table, attempt)
            raise
        except Exception as error:
            # Whatever it was, the table knows whether the commit happened; where nobody knows, the files stay.
            after = None
            with suppress(Exception):
                after = self._load()
            if after is not None and after.snapshot_by_id(snapshot.snapshot_id) is not None:
                return after.metadata_location
            raise OutcomeUnknownError(
                f"{self._spec.name}: the commit of files written anew was not answered ({type(error).__name__}).",
                remedy="Run again: what nobody came to need is removed as an orphan.",
                table=self._spec.name,
            ) from error

    @contextmanager
    def _attempt(self, table: Table) -> Iterator[Attempt]:
        """Lend the place for a rewrite; what was made in it goes if the block fails."""
        name = f"upkeep-{uuid.uuid4().hex[:12]}"
        location = f"{table.location_provider().data_path}/{name}"
        attempt = Attempt(name, name, local_path(location), location)
        try:
            yield attempt
        except BaseException:
            _clear(table, attempt)
            raise

    def _freed_by(self, table: Table, gone: Sequence[Snapshot]) -> list[str]:
        """Return the files that nothing names once these snapshots are gone, those of the table's folders alone."""
        numbers = {snapshot.snapshot_id for snapshot in gone}
        kept = files_of(table, (s for s in table.metadata.snapshots if s.snapshot_id not in numbers))
        try:
            named = files_of(table, gone, removed=True, but=kept.manifests)
        except LostFileError:
            return []  # what they named otherwise is found as orphans
        return sorted(path for path in named.all - kept.all if is_own(table, path))

    def _remove(self, paths: Iterable[str], failpoint: str) -> FileSum:
        """Remove files, and their folders where nothing else is left in them."""
        files = size = 0
        folders = set()
        for path in map(Path, paths):
            with suppress(FileNotFoundError):
                size += path.lstat().st_size
                path.unlink()
                files += 1
            path.with_name(f".{path.name}.crc").unlink(missing_ok=True)
            folders.add(path.parent)
            self._failpoints.hit(failpoint, self._spec.name)
        for folder in folders:
            with suppress(OSError):  # somebody has put something into it
                remove_empty(folder)
        return FileSum(files, size)

    def _strays(self, table: Table) -> Strays:
        try:
            return find_strays(table, self._catalog.metadata_of_others(self._identifier), self._clock())
        except UnfitSnapshot as unfit:
            return Strays((), unfit.reason)

    def _old_enough(self, files: Sequence[Orphan]) -> tuple[Orphan, ...]:
        hours = self._spec.maintenance.orphan_hours
        return () if hours is None else tuple(file for file in files if file.age_seconds >= hours * _HOUR_SECONDS)

    def _load(self) -> Table | None:
        return self._catalog.load(self._identifier)


def _clear(table: Table, attempt: Attempt) -> None:
    """Remove what an attempt made."""
    shutil.rmtree(attempt.folder, ignore_errors=True)
    for path in Path(local_path(table.location_provider().metadata_path)).glob(f"*{attempt.name}*"):
        path.unlink(missing_ok=True)

"""Iceberg tables that this process cannot write by itself, kept in shape by Spark: those on HDFS.

What may go is decided as for tables on a local disk; how it goes is Iceberg's own procedures. Imported only when a table is
looked after: pyiceberg costs 1.2 s.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pyiceberg.table import Table

from ingestion_runtime.endpoints.iceberg.catalog import IcebergCatalog
from ingestion_runtime.endpoints.iceberg.commits import guard, read_head
from ingestion_runtime.endpoints.iceberg.creation import partition_difference, respecified
from ingestion_runtime.endpoints.iceberg.expiring import expired_snapshots
from ingestion_runtime.endpoints.iceberg.orphans import Strays, owns_files
from ingestion_runtime.endpoints.iceberg.surveying import Counted, Found, describe, require_whole
from ingestion_runtime.endpoints.iceberg.upkeep_commits import announce_sweep, commit_rewritten, drop_stale
from ingestion_runtime.endpoints.iceberg.writer import quote
from ingestion_runtime.model.errors import PublishRaceError, TransientError
from ingestion_runtime.model.maintenance import SpecMode
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.upkeep import Expired, FileSum, Orphan, Removed, Rewritten, Survey
from ingestion_runtime.tools.failpoints import Failpoints
from ingestion_runtime.tools.files import Files
from ingestion_runtime.tools.hdfs import storage_fault
from ingestion_runtime.tools.spark import TableSession

_MIB = 2**20
_NEVER, _NO_LIMIT = 2**31 - 1, 2**50
# Iceberg's procedure takes younger files for somebody's who is at work.
_LEAST_HOURS = 24
_HOUR_SECONDS = 3600.0


class SparkUpkeep:
    """Keeps one table in shape through a Spark session. Implements ``TargetUpkeep``.

    A partition is changed by a commit of its own, before the files are written anew; orphans are at least a day old.
    """

    def __init__(
        self,
        catalog: IcebergCatalog,
        spec: TableSpec,
        session: TableSession,
        files: Files,
        failpoints: Failpoints,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._catalog = catalog
        self._spec = spec
        self._identifier = catalog.identifier(spec)
        self._name = ".".join(map(quote, (catalog.name, *self._identifier)))
        self._session = session
        self._files = files
        self._failpoints = failpoints
        self._clock = clock

    def survey(self) -> Survey | None:
        """Ask Iceberg's metadata tables; see ``TargetUpkeep.survey``. Of orphans those are found that are a day old."""
        table = self._load()
        if table is None or table.current_snapshot() is None:
            return None
        orphans = tuple(self._orphan(path) for path in self._call_orphans(table, dry=True))
        found = Found(
            strays=Strays(orphans, owns_files(table)),
            removable=orphans if self._hours is not None else (),
            expirable=expired_snapshots(table.metadata, self._spec.maintenance, self._clock()),
        )
        return describe(table, self._spec, self._count(table, partition_difference(table, self._spec.partition)), found)

    def rewrite(self) -> Rewritten | None:
        """Call ``rewrite_data_files``; see ``TargetUpkeep.rewrite``."""
        table = self._load()
        if table is None:
            return None
        require_whole(table, self._spec.name)
        difference = partition_difference(table, self._spec.partition)
        if difference is not None:
            updates = respecified(table.metadata, self._spec.partition)
            commit_rewritten(self._catalog.pyiceberg(), table, None, updates)
            table = self._existing()
        rewritten = FileSum() if table.current_snapshot() is None else self._call_rewrite(table)
        after = self._existing()
        if not rewritten.files and difference is None:
            return None
        return self._told(table, after, rewritten, repartitioned=difference is not None)

    def expire(self, fence: int) -> Expired:
        """Raise the fence, then call ``expire_snapshots``; see ``TargetUpkeep.expire``."""
        table = self._load()
        gone = () if table is None else expired_snapshots(table.metadata, self._spec.maintenance, self._clock())
        if table is None or not gone:
            return Expired()
        kept = owns_files(table)
        if kept is not None:
            return Expired(kept=kept)
        guard(self._catalog.pyiceberg(), table, fence, ())
        numbers = ", ".join(f"{snapshot.snapshot_id}L" for snapshot in gone)
        # The moment keeps the procedure from choosing by itself; what a reference names it refuses to let go.
        chosen = f"snapshot_ids => array({numbers}), older_than => TIMESTAMP '1970-01-01 00:00:00 UTC'"
        (row,) = self._call("expire_snapshots", chosen)
        return Expired(len(gone), FileSum(sum(int(value or 0) for value in row.values())))

    def drop_stale(self, keep: Collection[str], fence: int) -> tuple[str, ...]:
        """Drop branches of attempts; see ``TargetUpkeep.drop_stale``."""
        return drop_stale(self._catalog, self._load(), keep, fence)

    def remove_orphans(self, fence: int) -> Removed:
        """Refuse what is under way, then call ``remove_orphan_files``; see ``TargetUpkeep.remove_orphans``."""
        table = self._load()
        if table is None or self._hours is None:
            return Removed()
        found = self._call_orphans(table, dry=True)
        kept = owns_files(table)
        if not found or kept is not None:
            return Removed(kept=kept)
        sizes = {path: self._orphan(path).size for path in found}
        announce_sweep(self._catalog.pyiceberg(), table, fence)
        self._failpoints.hit("orphans-fenced", self._spec.name)
        removed = self._call_orphans(self._existing(), dry=False)
        return Removed(FileSum(len(removed), sum(sizes.get(path, 0) for path in removed)))

    @property
    def _hours(self) -> int | None:
        hours = self._spec.maintenance.orphan_hours
        return None if hours is None else max(_LEAST_HOURS + 1, hours)

    def _count(self, table: Table, difference: str | None) -> Counted:
        settings, spec, damage = self._spec.maintenance, table.metadata.default_spec_id, read_head(table).damage
        limit = min(settings.small_file_mb, settings.target_file_mb) * _MIB
        rows = self._rows(
            f"SELECT content, spec_id, file_size_in_bytes < {limit} AS small, count(*) AS files,"
            f" sum(file_size_in_bytes) AS size, sum(record_count) AS rows FROM {self._name}.files GROUP BY 1, 2, 3"
        )
        data = [row for row in rows if not row["content"]]
        small = [row for row in data if row["small"]]
        former = [row for row in data if difference is not None or row["spec_id"] != spec]
        deletes = [row for row in rows if row["content"]]
        # The procedure judges each partition by itself: this is what it will take at most.
        taken = small if 0 < settings.min_small_files <= _sum(small).files else []
        every = self._spec.spec_mode is SpecMode.REPLACE and former
        return Counted(
            data=_sum(data),
            small=_sum(small),
            former=_sum(former),
            deletes=_sum(deletes),
            dead_rows=sum(row["rows"] for row in deletes),
            rewritable=FileSum() if damage else _sum(data if every else [*taken, *deletes]),
            unfit=damage,
        )

    def _call_rewrite(self, table: Table) -> FileSum:
        settings = self._spec.maintenance
        moves = self._spec.spec_mode is SpecMode.REPLACE and self._count(table, None).former.files > 0
        target = settings.target_file_mb * _MIB
        options: Mapping[str, Any] = {
            "target-file-size-bytes": target,
            "min-file-size-bytes": min(settings.small_file_mb * _MIB, target - 1),
            "max-file-size-bytes": _NO_LIMIT,
            "min-input-files": settings.min_small_files or _NEVER,
            "delete-file-threshold": 1,
            # With the number of the snapshot that they are read from, delete files would seem to be needed still.
            "use-starting-sequence-number": "false",
            "remove-dangling-deletes": "true",
            "rewrite-all": str(moves).lower(),
        }
        listed = ", ".join(f"'{name}', '{value}'" for name, value in options.items())
        try:
            (row,) = self._call("rewrite_data_files", f"options => map({listed})")
        except Exception as error:
            after = self._load()
            if after is None or after.metadata.current_snapshot_id != table.metadata.current_snapshot_id:
                raise PublishRaceError(
                    f"{self._spec.name}: the table moved while its files were written anew.", remedy="Run again."
                ) from error
            raise
        deletes = int(row.get("removed_delete_files_count") or 0)
        return FileSum(int(row["rewritten_data_files_count"]) + deletes, int(row["rewritten_bytes_count"]))

    def _told(self, before: Table, after: Table, rewritten: FileSum, *, repartitioned: bool) -> Rewritten:
        """Return what the snapshots that came say of themselves."""
        known = {snapshot.snapshot_id for snapshot in before.metadata.snapshots}
        came = [s.summary for s in after.metadata.snapshots if s.snapshot_id not in known and s.summary is not None]

        def total(name: str) -> int:
            return sum(int(summary[name] or 0) for summary in came)

        return Rewritten(
            removed=rewritten,
            added=FileSum(total("added-data-files"), total("added-files-size")),
            rows=total("added-records"),
            dead_rows=total("removed-position-deletes"),
            repartitioned=repartitioned,
            location=after.metadata_location,
        )

    def _call_orphans(self, table: Table, *, dry: bool) -> list[str]:
        limit = datetime.fromtimestamp(self._clock() - (self._hours or _LEAST_HOURS + 1) * _HOUR_SECONDS, UTC)
        provider = table.location_provider()
        found: list[str] = []
        # Only where Iceberg itself puts files: what else lies below the table's location is not its own.
        for folder in (provider.data_path, provider.metadata_path):
            if not self._files.exists(folder):
                continue
            asked = f"older_than => TIMESTAMP '{limit:%Y-%m-%d %H:%M:%S} UTC', location => {_text(folder)}, dry_run => {dry}"
            found += [str(row["orphan_file_location"]) for row in self._call("remove_orphan_files", asked)]
        return found

    def _orphan(self, path: str) -> Orphan:
        return Orphan(path, self._files.size(path), self._files.age_seconds(path, self._clock()))

    def _call(self, procedure: str, arguments: str) -> Sequence[Mapping[str, Any]]:
        table = _text(".".join(map(quote, self._identifier)))
        return self._rows(f"CALL {quote(self._catalog.name)}.system.{procedure}(table => {table}, {arguments})")

    def _rows(self, statement: str) -> list[dict[str, Any]]:
        from py4j.protocol import Py4JJavaError
        from pyspark.errors import PySparkException

        try:
            return [row.asDict() for row in self._session.session().sql(statement).collect()]
        except (Py4JJavaError, PySparkException) as error:
            said = str(error).strip().split("\n", 1)[0]
            raise storage_fault(error) or TransientError(
                f"{self._spec.name}: Spark could not look after the table ({said}).",
                remedy="Run again; if it stays like this, look into Spark's log.",
                table=self._spec.name,
            ) from error

    def _existing(self) -> Table:
        table = self._load()
        if table is None:
            raise TransientError(
                f"{self._spec.name}: the table was dropped while it was looked after.", remedy="Find out who drops it."
            )
        return table

    def _load(self) -> Table | None:
        return self._catalog.load(self._identifier)


def _sum(rows: Sequence[Mapping[str, Any]]) -> FileSum:
    return FileSum(sum(row["files"] for row in rows), sum(row["size"] for row in rows))


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"

"""What is found when a table is looked at. Imported only when metadata is read: pyiceberg costs 1.2 s."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pyiceberg.manifest import DataFile, DataFileContent
from pyiceberg.table import Table
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.snapshots import Snapshot

from ingestion_runtime.endpoints.iceberg.commits import read_head
from ingestion_runtime.endpoints.iceberg.compacting import BundlePlan
from ingestion_runtime.endpoints.iceberg.creation import partition_difference
from ingestion_runtime.endpoints.iceberg.manifests import entries_of, manifests_of
from ingestion_runtime.endpoints.iceberg.orphans import Strays
from ingestion_runtime.endpoints.iceberg.rewrite_plan import planned
from ingestion_runtime.endpoints.iceberg.snapshot_files import UnfitSnapshot
from ingestion_runtime.model.errors import IngestionError, LostFileError, StaleMainError
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.upkeep import FileSum, Orphan, Reference, Survey
from ingestion_runtime.tools.local_sql import LocalSql

_NO_FILES = FileSum()
# Of later formats pyiceberg reads metadata and writes none.
_NEWEST_FORMAT = 2


@dataclass(frozen=True, slots=True)
class Counted:
    """The files of the current snapshot: with rows, small ones among them, those of another partition, and delete files.

    ``dead_rows`` None: nobody counted them. ``rewritable`` is what a rewrite would take; ``unfit`` why there can be none.
    """

    data: FileSum
    small: FileSum
    former: FileSum
    deletes: FileSum
    dead_rows: int | None
    rewritable: FileSum
    unfit: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """What looking around brought: files that nothing names, those old enough to go, and snapshots that may go."""

    strays: Strays
    removable: Sequence[Orphan]
    expirable: Sequence[Snapshot]


@dataclass(frozen=True, slots=True)
class _Rewriting:
    """What a rewrite would take, and the rows that it would leave behind (None: nobody counted); or why it cannot."""

    files: FileSum = _NO_FILES
    dead_rows: int | None = None
    unfit: str | None = None


def count_files(table: Table, spec: TableSpec, local: LocalSql) -> Counted:
    """Count the files of a table by manifests, footers and position deletes, which are read."""
    damage = read_head(table).damage
    judge = BundlePlan(spec, table.metadata.default_spec_id, {})
    files = list(_live_files(table))
    data = [file for file in files if file.content == DataFileContent.DATA]
    moves = partition_difference(table, spec.partition) is not None
    work = _foresee(table, spec, local, files) if damage is None else _Rewriting(unfit=damage)
    return Counted(
        data=file_sum(data),
        small=file_sum(file for file in data if judge.is_small(file)),
        former=file_sum(file for file in data if moves or judge.is_former(file)),
        deletes=file_sum(file for file in files if file.content != DataFileContent.DATA),
        dead_rows=work.dead_rows,
        rewritable=work.files,
        unfit=work.unfit,
    )


def describe(table: Table, spec: TableSpec, counted: Counted, found: Found) -> Survey:
    """Return the survey of a table that has a snapshot."""
    head, metadata = read_head(table), table.metadata
    times = [snapshot.timestamp_ms for snapshot in metadata.snapshots]
    return Survey(
        partition=partition_difference(table, spec.partition),
        data=counted.data,
        small=counted.small,
        former=counted.former,
        deletes=counted.deletes,
        dead_rows=counted.dead_rows,
        rewritable=counted.rewritable,
        unfit=counted.unfit,
        snapshots=len(times),
        expirable=len(found.expirable),
        oldest=_moment(min(times)),
        newest=_moment(max(times)),
        references=_references(table),
        attempts=head.branches,
        orphans=found.strays.files,
        removable=FileSum(len(found.removable), sum(file.size for file in found.removable)),
        unclear=found.strays.unclear,
        damage=head.damage,
    )


def require_whole(table: Table, name: str) -> None:
    """Raise StaleMainError for a table that is not as its last run left it: its files are evidence."""
    damage = read_head(table).damage
    if damage is not None:
        raise StaleMainError(
            f"{name}: the target is not as the last run left it: {damage}.",
            remedy="Its files stay as they are. Bring back the snapshot tagged ingest_last, or replace the table from the"
            f" source with --reload {name}.",
            table=name,
            damage=damage,
        )


def file_sum(files: Iterable[DataFile]) -> FileSum:
    """Count files and their bytes."""
    sizes = [file.file_size_in_bytes for file in files]
    return FileSum(len(sizes), sum(sizes))


def _live_files(table: Table) -> Iterable[DataFile]:
    snapshot = table.current_snapshot()
    for manifest in manifests_of(table, snapshot) if snapshot else ():
        for entry in entries_of(table, manifest):
            yield entry.data_file


def _foresee(table: Table, spec: TableSpec, local: LocalSql, files: Sequence[DataFile]) -> _Rewriting:
    try:
        with planned(table, spec, local) as plan:
            return _Rewriting(file_sum(plan.removed), sum(plan.dead.by_file.values()))
    except UnfitSnapshot as unfit:
        if table.metadata.format_version > _NEWEST_FORMAT:
            return _Rewriting(unfit=unfit.reason)
        return _Rewriting(_foresee_spark(files, spec))
    except LostFileError:
        raise  # a reader meets it too
    except IngestionError as error:
        return _Rewriting(unfit=error.message.rstrip("."))


def _foresee_spark(files: Sequence[DataFile], spec: TableSpec) -> FileSum:
    """Return what Spark would take at most: it judges each partition by itself."""
    judge, least = BundlePlan(spec, 0, {}), spec.maintenance.min_small_files
    deletes = [file for file in files if file.content != DataFileContent.DATA]
    small = [file for file in files if file.content == DataFileContent.DATA and judge.is_small(file)]
    return file_sum([*deletes, *(small if 0 < least <= len(small) else ())])


def _references(table: Table) -> tuple[Reference, ...]:
    """Return the table's branches and tags."""
    kinds = {SnapshotRefType.BRANCH: "branch", SnapshotRefType.TAG: "tag"}
    refs = sorted(table.metadata.refs.items())
    return tuple(Reference(name, kinds[ref.snapshot_ref_type], str(ref.snapshot_id)) for name, ref in refs)


def _moment(milliseconds: int) -> datetime:
    """Return a moment that metadata tells in milliseconds."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)

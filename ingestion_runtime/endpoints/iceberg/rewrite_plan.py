"""What of a table's files is worth writing anew. Imported only when metadata is read: pyiceberg costs 1.2 s."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.update import TableUpdate, update_table_metadata

from ingestion_runtime.endpoints.iceberg.compacting import Bundle, BundlePlan
from ingestion_runtime.endpoints.iceberg.creation import partition_difference, respecified
from ingestion_runtime.endpoints.iceberg.dead_rows import DeadRows
from ingestion_runtime.endpoints.iceberg.snapshot_files import SnapshotFiles, list_files
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.tools.local_sql import LocalSql


@dataclass(frozen=True, slots=True)
class RewritePlan:
    """What is written anew: ``bundles`` of files, without their ``dead`` rows; ``deletes`` are delete files that hide
    nothing afterwards. ``table`` is as it will be, ``respecified`` what makes it so, ``judge`` who put the bundles together.
    """

    table: Table
    respecified: Sequence[TableUpdate]
    judge: BundlePlan
    bundles: Sequence[Bundle]
    deletes: Sequence[DataFile]
    dead: DeadRows

    @property
    def removed(self) -> list[DataFile]:
        """The files that are not in the new snapshot."""
        return [*(file.entry for bundle in self.bundles for file in bundle.files), *self.deletes]

    @property
    def dead_rows(self) -> int:
        """The rows that are left behind."""
        return sum(self.dead.by_file.get(file.path, 0) for bundle in self.bundles for file in bundle.files)

    @property
    def rows(self) -> int:
        """The rows that are written."""
        return sum(file.entry.record_count for bundle in self.bundles for file in bundle.files) - self.dead_rows


@contextmanager
def planned(table: Table, spec: TableSpec, local: LocalSql) -> Iterator[RewritePlan]:
    """Lend the plan for a table; reads manifests, footers and position deletes.

    Raises UnfitSnapshot for a table that only Spark can read, TerminalError for a file that is not there or a partition
    column that the table does not have.
    """
    updates: Sequence[TableUpdate] = ()
    wanted = table
    if partition_difference(table, spec.partition) is not None:
        updates = respecified(table.metadata, spec.partition)
        metadata = update_table_metadata(table.metadata, tuple(updates))
        wanted = Table(table.name(), metadata, table.metadata_location, table.io, table.catalog)
    main = table.metadata.current_snapshot_id
    listed = SnapshotFiles((), ()) if main is None else list_files(table, main)
    marked = [file for file in listed.files if file.deletes]
    with local.session() if marked else nullcontext() as sql:
        dead = DeadRows(sql, marked)
        judge = BundlePlan(spec, wanted.metadata.default_spec_id, dead.by_file)
        # Every file with a dead row is written anew: what delete files are left for hides nothing any more.
        yield RewritePlan(wanted, updates, judge, judge.bundles(listed.files), listed.position_deletes, dead)

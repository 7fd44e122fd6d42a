"""One Iceberg table as a target: pyiceberg for its head and its commits, this process or Spark for the rows."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa

from ingestion_runtime.endpoints.engine import EngineChoice, EngineSwitch
from ingestion_runtime.endpoints.iceberg.branching import BranchedWriting, live_rows
from ingestion_runtime.endpoints.iceberg.catalog import IcebergCatalog
from ingestion_runtime.endpoints.iceberg.local_tools import LocalTools
from ingestion_runtime.endpoints.iceberg.writer import BranchWriter
from ingestion_runtime.model.batch import Batch, Receipt, TableKey, WriteMode
from ingestion_runtime.model.columns import DELETED_AT
from ingestion_runtime.model.errors import LostFileError, OutgrownError, PublishRaceError, TerminalError
from ingestion_runtime.model.spec import Engine, TableSpec
from ingestion_runtime.model.target import Payload, TargetHead, Written
from ingestion_runtime.tools.files import is_hdfs

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

    from ingestion_runtime.endpoints.iceberg.attempts import Pending
    from ingestion_runtime.endpoints.iceberg.creation import Creation

# What one process writes anew in a minute.
_MOST_REWRITTEN = 4 * 2**30
_DISCARD_TRIES = 5
_ADDING = (WriteMode.APPEND, WriteMode.OVERWRITE)


class IcebergTarget:
    """A table in an IcebergCatalog. Implements ``TargetTable``.

    What this process writes is on no branch: it waits here, under the name of its attempt, until it is published or
    discarded. A table that is not there yet is created by the commit that publishes its first batch.
    """

    def __init__(
        self,
        catalog: IcebergCatalog,
        table: TableSpec,
        writer: BranchWriter,
        switch: EngineSwitch,
        tools: LocalTools,
        most_rewritten: int = _MOST_REWRITTEN,
    ) -> None:
        """``most_rewritten`` bytes this process writes anew for a batch that is far smaller, unless it was asked for."""
        self._catalog = catalog
        self._table = table
        self._identifier = catalog.identifier(table)
        self._branches = BranchedWriting(table, writer, self._existing)
        self._switch = switch
        self._tools = tools
        self._most_rewritten = most_rewritten
        self._known: Table | None = None
        self._creation: Creation | None = None
        self._pending: dict[str, Pending] = {}
        self._littered = False

    @property
    def key(self) -> TableKey:
        """Catalog, namespace and table."""
        return TableKey(self._catalog.name, ".".join(self._identifier[:-1]), self._identifier[-1])

    def location(self) -> str | None:
        """The metadata location, by one query."""
        return self._catalog.location(self._identifier)

    def head(self) -> TargetHead | None:
        """The head as the metadata file has it."""
        from ingestion_runtime.endpoints.iceberg.commits import read_head

        table = self._load()
        return None if table is None else read_head(table)

    def live_rows(self) -> int | None:
        """The rows of the current snapshot, by its metadata; marks of deleted rows are read, where this process can."""
        table = self._load()
        snapshot = None if table is None else table.current_snapshot()
        if table is None or snapshot is None:
            return None
        if self._catalog.local:
            with suppress(LostFileError):  # what its summary says of it is left
                return self._count_live(table, snapshot)
        return None if snapshot.summary is None else live_rows(snapshot.summary)

    def _count_live(self, table: "Table", snapshot: "Snapshot") -> int:
        from pyiceberg.expressions import IsNull, Reference

        from ingestion_runtime.endpoints.iceberg.growth import has_marks
        from ingestion_runtime.endpoints.iceberg.manifests import reading
        from ingestion_runtime.endpoints.iceberg.snapshots import count_rows

        if has_marks(table):
            with reading(table, snapshot.manifest_list):
                return int(table.scan(row_filter=IsNull(term=Reference(DELETED_AT)), selected_fields=(DELETED_AT,)).count())
        return count_rows(table, snapshot)

    def columns(self) -> pa.Schema | None:
        """The table's columns in the types in which they land; see ``TargetTable.columns``."""
        from ingestion_runtime.endpoints.iceberg.growth import landed_columns

        table = self._load()
        return None if table is None else landed_columns(table)

    def field_ids(self, schema: pa.Schema, renamed: Mapping[str, str]) -> Mapping[str, int]:
        """Return the ids of columns; see ``TargetTable.field_ids``. None where files cannot become the table's own."""
        from ingestion_runtime.endpoints.iceberg.growth import marks_deletes, predicted_ids

        if not self._catalog.local:
            return {}
        table = self._load()
        return predicted_ids(table, schema, renamed, marks=marks_deletes(table, self._table))

    def guard(self, token: int, drop: Sequence[str]) -> TargetHead:
        """Commit the fence and drop stale branches; see ``TargetTable.guard``."""
        from ingestion_runtime.endpoints.iceberg.commits import guard, read_head

        return read_head(guard(self._catalog.pyiceberg(), self._existing(), token, drop))

    def is_littered(self, batch_id: str) -> bool:
        """Whether the batch's folder is there; see ``TargetTable.is_littered``."""
        from ingestion_runtime.endpoints.iceberg.leftovers import has_folder
        from ingestion_runtime.endpoints.iceberg.snapshot_files import UnfitSnapshot

        if self._catalog.local:
            with suppress(UnfitSnapshot):  # it lies elsewhere: nothing was written by this process
                return has_folder(self._existing(), batch_id)
        return False

    def sweep(self, batch_id: str) -> None:
        """Remove files that no snapshot came to name; see ``TargetTable.sweep``."""
        from ingestion_runtime.endpoints.iceberg.leftovers import sweep
        from ingestion_runtime.endpoints.iceberg.snapshot_files import UnfitSnapshot

        if self._catalog.local:
            with suppress(UnfitSnapshot):  # it lies elsewhere: nothing was written by this process
                sweep(self._existing(), batch_id)
        self._littered = False

    def prepare(self, payload: Payload) -> TargetHead:
        """Create the table or grow it to hold the payload; see ``TargetTable.prepare``."""
        from ingestion_runtime.endpoints.iceberg.commits import read_head
        from ingestion_runtime.endpoints.iceberg.creation import require_partition, require_partition_columns
        from ingestion_runtime.endpoints.iceberg.growth import apply_growth, grown_columns, plan_growth

        self._creation = None
        table = self._load()
        schema = grown_columns(table, payload, self._table)
        require_partition_columns(schema, self._table)
        if table is None:
            table = self._begin(schema)
            if table is None:
                return TargetHead("", None, 0, None, None, ())
        policy, replaces = self._table.policy, payload.replaces
        growth = plan_growth(table, schema, policy, payload.renamed, replaces=replaces)
        require_partition(table, self._table, growth.renamed)
        apply_growth(table, growth)
        return read_head(self._existing())

    def write(self, batch: Batch, attempt: str, payload: Payload, head: TargetHead) -> Written:
        """Write in this process or on a new branch, and count; see ``TargetTable.write``."""
        far = any(map(is_hdfs, (*payload.files, *payload.tombstones)))
        written = self._write_here(batch, attempt, payload, head) if self._catalog.local and not far else None
        return written or self._write_with_spark(batch, attempt, payload, head)

    def _write_here(self, batch: Batch, attempt: str, payload: Payload, head: TargetHead) -> Written | None:
        """Write in this process; None where Spark has to do it."""
        from ingestion_runtime.endpoints.iceberg.inprocess import ProcessWriter
        from ingestion_runtime.endpoints.iceberg.snapshot_files import UnfitSnapshot

        arrow = self._switch.engine is Engine.ARROW
        base = None if head.snapshot is None else int(head.snapshot)
        # A merge into nothing is an insert, and a third of the work.
        merges = batch.write is WriteMode.MERGE and base is not None
        adds = batch.write in _ADDING and base is not None
        if merges and not arrow:
            return None
        try:
            if self._littered:
                self.sweep(batch.id)
            work = ProcessWriter(self._table, self._tools, self._target())
            pending: Pending | None
            if merges and base is not None:
                most = None if self._switch.insists else self._most_rewritten
                pending = work.merge(batch, attempt, payload, base, most=most)
            elif adds and base is not None:
                pending = work.add(batch, attempt, payload, base, rewrites=arrow)
            else:
                pending = work.replace(batch, attempt, payload, base, rewrites=arrow)
        except OutgrownError as outgrown:
            if arrow and self._switch.insists:
                raise
            unfit = outgrown.message.rstrip(".")
        except UnfitSnapshot as found:
            unfit = found.reason
        else:
            if pending is None:
                return None
            self._pending[pending.written.branch] = pending
            return pending.written
        if arrow:
            self._switch.step("write", EngineChoice(Engine.SPARK, unfit))
        return None

    def _write_with_spark(self, batch: Batch, attempt: str, payload: Payload, head: TargetHead) -> Written:
        from ingestion_runtime.endpoints.iceberg.creation import create

        if self._creation is not None:
            create(self._catalog.pyiceberg(), self._creation)
            self._creation = None
        return self._branches.write(batch, f"ingest_{batch.id}_{attempt}", payload, head.snapshot)

    def discard(self, branch: str) -> None:
        """Drop a branch or what waits; see ``TargetTable.discard``. What cannot be dropped now the next run finds."""
        from ingestion_runtime.endpoints.iceberg.commits import drop_branch

        if self._forget(branch):
            return
        for _ in range(_DISCARD_TRIES):
            table = self._load()
            if table is None or branch not in table.metadata.refs:
                return
            with suppress(PublishRaceError):
                drop_branch(self._catalog.pyiceberg(), table, branch)

    def publish(self, expected: str | None, written: Written, receipt: Receipt) -> str:
        """One compare-and-set commit; see ``TargetTable.publish``."""
        from ingestion_runtime.endpoints.iceberg.commits import publish, publish_new
        from ingestion_runtime.endpoints.iceberg.leftovers import remove_files

        # Out of reach of ``discard`` at once: of a commit that is not answered nobody knows whether it needs the files.
        catalog, pending = self._catalog.pyiceberg(), self._pending.pop(written.branch, None)
        # What was written may turn out to be nothing new: then a receipt is published, on the snapshot that was there.
        ours = pending is not None and pending.written.snapshot == written.snapshot
        snapshot = pending.snapshot.snapshot if pending is not None and pending.snapshot is not None and ours else None
        try:
            if self._creation is not None:
                location = publish_new(catalog, self._creation, written, receipt, snapshot)
                self._creation = None
            else:
                location = publish(catalog, self._existing(), expected, written, receipt, snapshot)
        except PublishRaceError:
            if pending is not None:
                self._pending[written.branch] = pending
            raise
        if pending is not None and not ours:
            remove_files(pending.files)
        return location

    def keep_backup(self, batch_id: str) -> str | None:
        """Tag what readers see; see ``TargetTable.keep_backup``. A compaction that is quicker is followed."""
        from ingestion_runtime.endpoints.iceberg.backups import keep_backup

        for _ in range(_DISCARD_TRIES - 1):
            with suppress(PublishRaceError):
                table = self._load()
                return None if table is None else keep_backup(self._catalog.pyiceberg(), table, batch_id)
        return keep_backup(self._catalog.pyiceberg(), self._existing(), batch_id)

    def drop_backups(self, chosen: Callable[[str], bool]) -> None:
        """Drop the tags of rebuilds; see ``TargetTable.drop_backups``."""
        from ingestion_runtime.endpoints.iceberg.backups import drop_backups

        for _ in range(_DISCARD_TRIES):
            table = self._load()
            if table is None:
                return
            with suppress(PublishRaceError):
                drop_backups(self._catalog.pyiceberg(), table, chosen)
                return

    def _begin(self, schema: pa.Schema) -> "Table | None":
        """Create the table; or only plan to, and return None, where the first publish can do it in its own commit."""
        from ingestion_runtime.endpoints.iceberg.creation import create, plan_creation

        location = self._catalog.create_namespace(self._identifier)
        catalog = self._catalog.pyiceberg()
        creation = plan_creation(catalog, self._identifier, location, schema, self._table.partition, self._tools.codec)
        if not self._catalog.local:
            return create(catalog, creation)
        if self._has_leftovers(creation):
            table = create(catalog, creation)
            self._littered = True
            return table
        self._creation = creation
        return None

    def _has_leftovers(self, creation: "Creation") -> bool:
        """Whether something lies where the table will. An earlier run, which may be alive, then finds the table there when
        it wants to create it, and is refused before what it wrote is swept away."""
        from ingestion_runtime.endpoints.iceberg.snapshot_files import local_path

        return self._tools.files.exists(local_path(creation.table.location_provider().data_path))

    def _forget(self, branch: str) -> bool:
        """Remove what waits under a name and was not published; False when nothing does."""
        from ingestion_runtime.endpoints.iceberg.leftovers import remove_files

        pending = self._pending.pop(branch, None)
        if pending is not None:
            remove_files(pending.files)
        return pending is not None

    def _load(self) -> "Table | None":
        """Return the table as the catalog has it now; its metadata is read again only when it has changed."""
        location = self.location()
        if location is None:
            return None
        if self._known is None or self._known.metadata_location != location:
            from ingestion_runtime.endpoints.iceberg.commits import check_format, load

            found = load(self._catalog.pyiceberg(), self._identifier)
            if found is not None and self._catalog.local:  # elsewhere Iceberg's own library writes the metadata
                check_format(found)
            self._known = found
        return self._known

    def _target(self) -> "Table":
        """Return the table that is written: as it is, or as it is going to be created."""
        return self._existing() if self._creation is None else self._creation.table

    def _existing(self) -> "Table":
        table = self._load()
        if table is None:
            raise TerminalError(
                f"{self._table.name}: the table was dropped while a run was working on it.",
                remedy="Find out who drops it, then run the table with --reload.",
                table=self._table.name,
            )
        return table

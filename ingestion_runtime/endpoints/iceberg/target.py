"""One Iceberg table as a target: pyiceberg for its head and its commits, Spark for the rows."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa

from ingestion_runtime.endpoints.engine import EngineSwitch
from ingestion_runtime.endpoints.iceberg.catalog import IcebergCatalog
from ingestion_runtime.endpoints.iceberg.writer import BranchWriter
from ingestion_runtime.model.batch import Batch, Receipt, TableKey, WriteMode
from ingestion_runtime.model.columns import CURSOR_RANK, DELETED_AT, NEXT_PREFIX
from ingestion_runtime.model.errors import PublishRaceError, TerminalError
from ingestion_runtime.model.spec import Deletes, TableSpec
from ingestion_runtime.model.target import Payload, TargetHead, Written
from ingestion_runtime.tools.parquet_writer import ParquetSettings

if TYPE_CHECKING:
    from pyiceberg.table import Table


class IcebergTarget:
    """A table in an IcebergCatalog. Implements ``TargetTable``."""

    def __init__(
        self,
        catalog: IcebergCatalog,
        table: TableSpec,
        writer: BranchWriter,
        switch: EngineSwitch,
        settings: ParquetSettings,
    ) -> None:
        self._catalog = catalog
        self._table = table
        self._identifier = catalog.identifier(table)
        self._writer = writer
        self._switch = switch
        self._settings = settings
        self._codec = "uncompressed" if settings.codec == "none" else settings.codec

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

        table = self._load() if self.location() else None
        return None if table is None else read_head(table)

    def columns(self) -> pa.Schema | None:
        """The table's columns in the types in which they land; see ``TargetTable.columns``."""
        from ingestion_runtime.endpoints.iceberg.growth import landed_columns

        table = self._load() if self.location() else None
        return None if table is None else landed_columns(table)

    def field_ids(self, schema: pa.Schema, renamed: Mapping[str, str]) -> Mapping[str, int]:
        """Return the ids of columns; see ``TargetTable.field_ids``."""
        return {}

    def guard(self, token: int, drop: Sequence[str]) -> TargetHead:
        """Commit the fence and drop stale branches; see ``TargetTable.guard``."""
        from ingestion_runtime.endpoints.iceberg.commits import guard, read_head

        return read_head(guard(self._catalog.pyiceberg(), self._existing(), token, drop))

    def prepare(self, payload: Payload) -> TargetHead:
        """Create the table or grow it to hold the payload; see ``TargetTable.prepare``."""
        from ingestion_runtime.endpoints.iceberg.commits import create, partition_difference, read_head
        from ingestion_runtime.endpoints.iceberg.growth import apply_growth, plan_growth

        table = self._load()
        schema = self._published(payload, table)
        self._check_partition(schema)
        if table is None:
            self._catalog.create_namespace(self._identifier)
            table = create(self._catalog.pyiceberg(), self._identifier, schema, self._table.partition, self._codec)
        self._refuse_other_partition(partition_difference(table, self._table.partition))
        policy, replaces = self._table.policy, payload.replaces
        apply_growth(table, plan_growth(table, schema, policy, payload.renamed, replaces=replaces))
        return read_head(self._existing())

    def write(self, batch: Batch, attempt: str, payload: Payload, head: TargetHead) -> Written:
        """Write on a new branch and count; see ``TargetTable.write``."""
        branch = f"ingest_{batch.id}_{attempt}"
        self._writer.create_branch(branch, head.snapshot)
        columns = tuple(field.name for field in self._existing().schema().fields)
        # A merge into nothing is an insert, and a third of the work.
        merge = batch.write is WriteMode.MERGE and head.snapshot is not None
        counts = self._writer.write(batch, branch, payload, columns, merge=merge)
        table = self._existing()
        snapshot = table.snapshot_by_name(branch)
        if snapshot is None or snapshot.summary is None:
            raise TerminalError(
                f"{self._table.name}: the branch {branch} disappeared while it was written.",
                remedy="Something else removes branches of this table; stop it and run again.",
                branch=branch,
            )
        summary = snapshot.summary
        moved = sum(int(summary[name] or 0) for name in _CHANGES)
        total = _live_rows(summary["total-records"], summary["total-position-deletes"])
        found = total if batch.write is WriteMode.MERGE else counts.keys
        buries = merge and payload.deleted > 0 and head.snapshot is not None
        return Written(
            branch=branch,
            base=head.snapshot,
            snapshot=str(snapshot.snapshot_id),
            rows=counts.rows,
            keys=counts.keys,
            found=self._writer.count_touched(branch) if merge else found,
            null_keys=counts.null_keys,
            total=total,
            # A row that is marked as deleted is written anew, but nobody would call it a row that was brought.
            added=int(summary["added-records"] or 0) - (payload.deleted if self._table.deletes is Deletes.SOFT else 0),
            changed=batch.write is WriteMode.REPLACE or moved > 0,
            buried=self._writer.count_buried(branch, payload) if buries else None,
            replaced=tuple(c.removeprefix(NEXT_PREFIX) for c in columns if c.startswith(NEXT_PREFIX)),
        )

    def discard(self, branch: str) -> None:
        """Drop a branch; see ``TargetTable.discard``. What cannot be dropped now the next run finds."""
        from ingestion_runtime.endpoints.iceberg.commits import drop_branch

        for _ in range(_DISCARD_TRIES):
            table = self._load()
            if table is None or branch not in table.metadata.refs:
                return
            with suppress(PublishRaceError):
                drop_branch(self._catalog.pyiceberg(), table, branch)

    def publish(self, expected: str | None, written: Written, receipt: Receipt) -> str:
        """One compare-and-set commit; see ``TargetTable.publish``."""
        from ingestion_runtime.endpoints.iceberg.commits import publish

        return publish(self._catalog.pyiceberg(), self._existing(), expected, written, receipt)

    def _published(self, payload: Payload, table: "Table | None") -> pa.Schema:
        """The columns of the table after this payload: tombstones alone change none."""
        if payload.files or table is None:
            schema = pa.schema([field for field in payload.schema if field.name != CURSOR_RANK])
        else:
            schema = table.schema().as_arrow()
        marked = table is not None and any(field.name == DELETED_AT for field in table.schema().fields)
        if (marked or self._table.deletes is Deletes.SOFT) and DELETED_AT not in schema.names:
            schema = schema.append(pa.field(DELETED_AT, pa.timestamp("us", tz="UTC")))
        return schema

    def _load(self) -> "Table | None":
        from ingestion_runtime.endpoints.iceberg.commits import load

        return load(self._catalog.pyiceberg(), self._identifier)

    def _existing(self) -> "Table":
        table = self._load()
        if table is None:
            raise TerminalError(
                f"{self._table.name}: the table was dropped while a run was working on it.",
                remedy="Find out who drops it, then run the table with --reload.",
                table=self._table.name,
            )
        return table

    def _refuse_other_partition(self, difference: str | None) -> None:
        if difference is not None:
            raise TerminalError(
                f"{self._table.name}: the partition spec differs: {difference}.",
                remedy="Restore intermediate.partition, or drop the table and run with --reload"
                " (repartitioning in place comes with maintenance).",
                table=self._table.name,
            )

    def _check_partition(self, schema: pa.Schema) -> None:
        for field in self._table.partition:
            if field.column not in schema.names:
                raise TerminalError(
                    f"{self._table.name}: the partition column {field.column} is not a column of the source.",
                    remedy=f"Choose one of {', '.join(schema.names)} in intermediate.partition.",
                    table=self._table.name,
                )


_DISCARD_TRIES = 5
_CHANGES = ("added-records", "deleted-records", "added-position-deletes", "removed-position-deletes")


def _live_rows(records: str | None, deletes: str | None) -> int:
    return int(records or 0) - int(deletes or 0)

"""A batch on a branch of an Iceberg table: written by Spark, measured by what the snapshots say of themselves."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ingestion_runtime.endpoints.iceberg.writer import BranchWriter
from ingestion_runtime.model.batch import Batch, WriteMode
from ingestion_runtime.model.columns import NEXT_PREFIX
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.spec import Deletes, TableSpec
from ingestion_runtime.model.target import Payload, Written

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Summary

_ADDING = (WriteMode.APPEND, WriteMode.OVERWRITE)
_CHANGES = ("added-records", "deleted-records", "added-position-deletes", "removed-position-deletes")


class BranchedWriting:
    """Puts batches of one table on branches that no reader looks at. ``existing`` returns the table as it is now."""

    def __init__(self, table: TableSpec, writer: BranchWriter, existing: "Callable[[], Table]") -> None:
        self._table = table
        self._writer = writer
        self._existing = existing

    def write(self, batch: Batch, branch: str, payload: Payload, base: str | None) -> Written:
        """Write a payload on a new branch at the snapshot ``base`` and measure it; see ``TargetTable.write``."""
        self._writer.create_branch(branch, base)
        columns = tuple(field.name for field in self._existing().schema().fields)
        if batch.write in _ADDING and base is not None:
            return self._add(batch, branch, payload, columns, base)
        merge = batch.write is WriteMode.MERGE and base is not None
        counts = self._writer.write(batch, branch, payload, columns, merge=merge)
        snapshot, summary = self._written_snapshot(branch)
        moved = sum(int(summary[name] or 0) for name in _CHANGES)
        total = live_rows(summary)
        found = total if batch.write is WriteMode.MERGE else counts.keys
        buries = merge and payload.deleted > 0 and base is not None
        return Written(
            branch=branch,
            base=base,
            snapshot=snapshot,
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

    def _add(self, batch: Batch, branch: str, payload: Payload, columns: tuple[str, ...], base: str) -> Written:
        from ingestion_runtime.endpoints.iceberg.cursor_span import CursorSpan

        inside = None
        if batch.write is WriteMode.OVERWRITE:
            schema, cursor = self._existing().schema(), self._table.incremental_column or ""
            inside = CursorSpan(batch.plan.span, schema, cursor).condition()
        added = self._writer.add(branch, payload, columns, inside)
        snapshot, summary = self._written_snapshot(branch)
        _, stood = self._snapshot_of(int(base))
        return Written(
            branch=branch,
            base=base,
            snapshot=snapshot,
            rows=added.rows,
            keys=added.rows,
            found=added.found,
            null_keys=0,
            total=live_rows(summary) if inside is None else added.total,
            added=int(summary["added-records"] or 0),
            changed=bool(added.rows or added.removed),
            before=live_rows(stood) if inside is None else added.before,
            removed=added.removed,
        )

    def _written_snapshot(self, branch: str) -> "tuple[str, Summary]":
        """Return the snapshot at which a branch stands, and what its summary says."""
        ref = self._existing().metadata.refs.get(branch)
        if ref is None:
            raise TerminalError(
                f"{self._table.name}: the branch {branch} disappeared while it was written.",
                remedy="Something else removes branches of this table; stop it and run again.",
                branch=branch,
            )
        return self._snapshot_of(ref.snapshot_id)

    def _snapshot_of(self, number: int) -> "tuple[str, Summary]":
        snapshot = self._existing().snapshot_by_id(number)
        if snapshot is None or snapshot.summary is None:
            raise TerminalError(
                f"{self._table.name}: snapshot {number} disappeared while the table was written.",
                remedy="Something else expires snapshots of this table; stop it and run again.",
                snapshot=number,
            )
        return str(number), snapshot.summary


def live_rows(summary: "Summary") -> int:
    """Return the rows of a snapshot that readers see, by its summary."""
    return int(summary["total-records"] or 0) - int(summary["total-position-deletes"] or 0)

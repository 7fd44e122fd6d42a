"""One key in the target: what readers see now, and the snapshots in which it came and went."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from ingestion_runtime.model.columns import DELETED_AT, is_ingest_column
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.target import TargetHead
from ingestion_runtime.tools.local_sql import file_list, quote
from ingestion_runtime.tracing.evidence import Era, TargetFinding, Values
from ingestion_runtime.tracing.wanted import Part, Wanted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.table import FileScanTask, Table
    from pyiceberg.table.snapshots import Snapshot

_MOST_SNAPSHOTS: Final = 500
_MOST_ROWS: Final = 1000
_Rows = tuple[tuple[Values, datetime | None], ...]


def look_at_iceberg(sql: "DuckDBPyConnection", table: "Table", head: TargetHead, wanted: Wanted) -> TargetFinding:
    """Return what an Iceberg table on a local disk holds of a key, now and in its history."""
    return _IcebergLook(sql, table, wanted, head).look()


def look_at_parquet(sql: "DuckDBPyConnection", link: Path, head: TargetHead, wanted: Wanted) -> TargetFinding:
    """Return what a directory of Parquet files holds of a key; it has no history."""
    found = TargetFinding(True, head.receipt, head.damage, head.snapshot)
    files = sorted(str(path) for path in link.resolve().glob("*.parquet"))
    if not files:
        return found
    read = f"SELECT * FROM read_parquet({file_list(files)}, hive_partitioning = false)"
    try:
        shape = sql.sql(f"{read} LIMIT 0").to_arrow_table().schema
        lacking = _lacking(wanted, shape)
        if lacking is not None:
            return replace(found, lacking=lacking)
        condition = _condition(wanted.key, shape)
        rows = sql.sql(f"{read} WHERE {condition or 'false'} LIMIT {_MOST_ROWS}").to_arrow_table()
    except Exception as error:  # whatever a file that is gone or damaged makes of it
        raise TerminalError(f"{link} cannot be read: {_first_line(error)}.", remedy="Load the table anew.") from error
    return replace(found, rows=tuple(values for values, _ in _split(rows)))


class _IcebergLook:
    def __init__(self, sql: "DuckDBPyConnection", table: "Table", wanted: Wanted, head: TargetHead) -> None:
        from ingestion_runtime.endpoints.iceberg.commits import TAG
        from ingestion_runtime.endpoints.iceberg.growth import landed_columns

        self._sql = sql
        self._table = table
        self._wanted = wanted
        self._head = head
        tag = table.metadata.refs.get(TAG)
        self._ours = frozenset(one.snapshot_id for one in self._line(tag.snapshot_id if tag else None))
        self._shape = landed_columns(table)
        self._known: dict[tuple[str, tuple[str, ...]], _Rows] = {}
        self._filter = _filter(wanted, self._shape)

    def look(self) -> TargetFinding:
        metadata, head = self._table.metadata, self._head
        lacking = _lacking(self._wanted, self._shape)
        if lacking is not None:
            return TargetFinding(True, head.receipt, head.damage, head.snapshot, lacking=lacking)
        now = None if metadata.current_snapshot_id is None else self._rows_at(metadata.current_snapshot_id)
        published, rewound = self._published()
        eras, cut = self._eras()
        return TargetFinding(
            exists=True,
            receipt=head.receipt,
            damage=head.damage,
            snapshot=head.snapshot,
            rows=tuple(values for values, gone in now or () if gone is None),
            marked=next((gone for _, gone in now or () if gone is not None), None),
            eras=eras,
            cut=cut,
            published=published,
            rewound=rewound,
        )

    def _published(self) -> tuple[bool | None, bool]:
        """Whether the last publish of this runtime held the key, where readers see something else than that; and whether
        what they see is older than it."""
        from ingestion_runtime.endpoints.iceberg.commits import TAG

        metadata, tag = self._table.metadata, self._table.metadata.refs.get(TAG)
        current = metadata.current_snapshot_id
        if tag is None or current is None or tag.snapshot_id == current:
            return None, False
        older = current in self._ours
        try:
            return any(gone is None for _, gone in self._rows_at(tag.snapshot_id)), older
        except TerminalError:
            return None, older

    def _eras(self) -> tuple[tuple[Era, ...], bool]:
        """Walk back from what readers see, and keep the snapshots in which the key came, went or changed."""
        eras: list[Era] = []
        later: tuple[Snapshot, _Rows] | None = None
        looked, cut = 0, False
        start = self._table.metadata.current_snapshot_id
        for snapshot in self._line(start):
            if looked == _MOST_SNAPSHOTS:
                cut = True
                break
            try:
                rows = self._rows_at(snapshot.snapshot_id)
            except TerminalError:
                cut = True
                break
            if later is not None and _spelled(rows) != _spelled(later[1]):
                eras.append(self._era(*later))
            later, looked = (snapshot, rows), looked + 1
        if later is not None:
            oldest, rows = later
            cut = cut or oldest.parent_snapshot_id is not None
            if rows and not cut:
                eras.append(self._era(oldest, rows))
        return tuple(eras), cut

    def _era(self, snapshot: "Snapshot", rows: _Rows) -> Era:
        from ingestion_runtime.endpoints.iceberg.snapshots import ATTEMPT

        summary = snapshot.summary
        attempt = None if summary is None else summary[ATTEMPT]
        return Era(
            snapshot=str(snapshot.snapshot_id),
            at=datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC),
            operation=summary.operation.value if summary else "unknown",
            batch=None if attempt is None else attempt.rpartition("_")[0].removeprefix("ingest_"),
            ours=snapshot.snapshot_id in self._ours,
            there=any(gone is None for _, gone in rows),
        )

    def _line(self, snapshot_id: int | None) -> "Iterator[Snapshot]":
        """Yield a snapshot and those before it, as far as the metadata knows them."""
        while snapshot_id is not None:
            snapshot = self._table.metadata.snapshot_by_id(snapshot_id)
            if snapshot is None:
                return
            yield snapshot
            snapshot_id = snapshot.parent_snapshot_id

    def _rows_at(self, snapshot_id: int) -> _Rows:
        """Return the rows of the key at a snapshot, each with the time at which it was marked as deleted. Of a file that
        several snapshots share the rows are looked for once. Raises TerminalError for files that cannot be read."""
        from ingestion_runtime.endpoints.iceberg.snapshot_files import UnfitSnapshot

        try:
            tasks = self._table.scan(row_filter=self._filter, snapshot_id=snapshot_id).plan_files()
            return tuple(row for task in tasks for row in self._rows_of(task))
        except UnfitSnapshot as unfit:
            raise _unreadable(self._table, f"only Spark can read it, because {unfit.reason}") from None
        except Exception as error:  # whatever a file that is gone or damaged makes of it
            raise _unreadable(self._table, f"snapshot {snapshot_id} cannot be read: {_first_line(error)}") from error

    def _rows_of(self, task: "FileScanTask") -> _Rows:
        from ingestion_runtime.endpoints.iceberg.snapshot_files import SnapshotFile, local_path, relation

        deletes = tuple(sorted(local_path(file.file_path) for file in task.delete_files))
        file = SnapshotFile(local_path(task.file.file_path), task.file, deletes)
        key = (file.path, deletes)
        if key not in self._known:
            schema = self._table.schema()
            marks = [DELETED_AT] if any(field.name == DELETED_AT for field in schema.fields) else []
            condition = _condition(self._wanted.key, self._shape)
            columns = [*self._shape.names, *marks]
            listed = ", ".join(map(quote, columns))
            found: pa.Table | None = None
            if condition is not None:
                query = f"SELECT {listed} FROM {relation(schema, [file], columns)} WHERE {condition} LIMIT {_MOST_ROWS}"
                found = self._sql.sql(query).to_arrow_table()
            self._known[key] = () if found is None else tuple(_split(found))
        return self._known[key]


def _spelled(rows: _Rows) -> list[str]:
    """Return rows as what tells them apart: in any order, and a NaN equals itself."""
    return sorted(map(repr, rows))


def _unreadable(table: "Table", reason: str) -> TerminalError:
    return TerminalError(f"{'.'.join(table.name())}: {reason}.", remedy="Restore the file, or load the table anew.")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")


def _split(rows: pa.Table) -> Iterator[tuple[Values, datetime | None]]:
    """Yield a row's own values, and the time at which it was marked as deleted."""
    for row in rows.to_pylist():
        yield {name: value for name, value in row.items() if not is_ingest_column(name)}, row.get(DELETED_AT)


def _condition(parts: Sequence[Part], shape: pa.Schema) -> str | None:
    """Return the condition for rows that hold these values in columns of these types; None where none can."""
    conditions = [part.condition(shape.field(part.column).type) for part in parts]
    return None if None in conditions else " AND ".join(filter(None, conditions))


def _lacking(wanted: Wanted, shape: pa.Schema) -> str | None:
    """Return the first column that is asked for and that there is not."""
    return next((part.column for part in wanted.key if part.column not in shape.names), None)


def _filter(wanted: Wanted, shape: pa.Schema) -> "BooleanExpression":
    """Return what Iceberg's own statistics are asked by, so that most files need not be opened; at worst it asks nothing."""
    from pyiceberg.expressions import AlwaysTrue, And, EqualTo, Reference

    found: BooleanExpression = AlwaysTrue()
    for part in wanted.key:
        known = part.column in shape.names and shape.field(part.column).type == part.kind
        if part.value is None or not known or not _has_bounds(part.value):
            continue
        with suppress(Exception):  # a literal that Iceberg has no word for: then more files are opened
            found = And(found, EqualTo(term=Reference(part.column), value=part.value))
    return found


def _has_bounds(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)

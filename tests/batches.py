"""Batches made by hand, for tests of what comes after the source: plans, receipts, and payloads of Parquet files."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ingestion_runtime.model.batch import Batch, IngestionPlan, PlannerMetadata, Receipt, TableKey, WriteMode
from ingestion_runtime.model.cursor import Slice, Watermark
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.target import Payload, TargetTable, Written
from ingestion_runtime.tools.parquet_writer import numbered

DAY = date(2026, 7, 1)
WHY = PlannerMetadata(None, None, None, probed=False, reason="made by a test")


def make_batch(
    table: TableSpec,
    number: int,
    *,
    base: str | None = None,
    write: WriteMode = WriteMode.MERGE,
    watermark: Watermark | None = None,
    day: date = DAY,
    slices: Sequence[Slice] = (Slice(0),),
    reload: bool = False,
) -> Batch:
    """Return an open batch of ``table``; ``base`` is the id of the batch it was frozen on."""
    return Batch(
        id=f"{day:%Y%m%d}_{number:06d}_0badcafe",
        sequence=number,
        key=TableKey("lake", table.schema, table.table),
        mode=table.mode,
        write=write,
        load_date=day,
        run_id="test-run",
        base=base,
        plan=IngestionPlan(tuple(slices), watermark, None, WHY),
        reload=reload,
    )


def make_receipt(batch: Batch, *, fence: int = 1, rows: int = 0) -> Receipt:
    """Return the receipt that a publish of ``batch`` leaves."""
    return Receipt(
        batch_id=batch.id,
        sequence=batch.sequence,
        previous=batch.base,
        mode=batch.mode,
        write=batch.write,
        load_date=batch.load_date,
        watermark=batch.plan.watermark,
        fingerprint=None,
        fence=fence,
        owner="tests",
        rows=rows,
    )


def make_payload(
    directory: Path,
    batch: Batch,
    *parts: pa.Table,
    one_slice: bool = False,
    target: TargetTable | None = None,
    renamed: Mapping[str, str] = MappingProxyType({}),
    replaces: bool = False,
) -> Payload:
    """Write each part as a file with the ingest columns; each is a slice of its own, unless all are of one slice.

    The columns have the field ids that the ``target`` gives them, none without one.
    """
    directory.mkdir(parents=True)
    paths = []
    for number, part in enumerate(parts):
        path = directory / f"part-{number}.parquet"
        rows = with_ingest_columns(part, batch, 0 if one_slice else number)
        if target is not None:
            rows = rows.cast(numbered(rows.schema, target.field_ids(rows.schema, renamed)))
        pq.write_table(rows, path, store_schema=False, store_decimal_as_integer=True)
        paths.append(path)
    schema = pq.read_schema(paths[0]).remove_metadata()
    named = tuple(renamed.items())
    return Payload(tuple(map(str, paths)), schema, sum(map(len, parts)), renamed=named, replaces=replaces)


def with_ingest_columns(rows: pa.Table, batch: Batch, ordinal: int = 0) -> pa.Table:
    """Return the rows as a slice of ``batch`` stages them."""
    values: dict[str, pa.Scalar] = {
        "_ingest_run_id": pa.scalar(batch.run_id),
        "_ingest_load_date": pa.scalar(batch.load_date),
        "_ingest_loaded_at": pa.scalar(datetime(2026, 7, 1, 4, tzinfo=UTC), pa.timestamp("us", "UTC")),
        "_ingest_source": pa.scalar("source"),
        "_ingest_slice": pa.scalar(f"{batch.id}/{ordinal:05d}"),
    }
    for name, value in values.items():
        rows = rows.append_column(name, pa.array([value] * len(rows), value.type))
    return rows


def data_of(rows: pa.Table) -> list[dict[str, Any]]:
    """Return the rows without the ingest columns, ordered by their first column."""
    data = rows.select([name for name in rows.column_names if not name.startswith("_ingest_")])
    listed: list[dict[str, Any]] = data.sort_by(data.column_names[0]).to_pylist()
    return listed


def sound(**changes: Any) -> Written:
    """Return what a target says of a branch of 3 rows that an audit accepts, with some values changed."""
    values: dict[str, Any] = {
        "branch": "ingest_x",
        "base": "1",
        "snapshot": "2",
        "rows": 3,
        "keys": 3,
        "found": 3,
        "null_keys": 0,
        "total": 3,
        "added": 3,
        "changed": True,
    }
    return Written(**{**values, **changes})

"""The metadata gateway's records in the state database: added once a run and table, and never changed."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table, insert, select

from ingestion_runtime.model.metrics import RuntimeRecord, VolumeRecord
from ingestion_runtime.state.rows import key_columns
from ingestion_runtime.state.tables import RUNTIME, VOLUME
from ingestion_runtime.state.times import to_text


def add_records(connection: Connection, volumes: Sequence[VolumeRecord], runtimes: Sequence[RuntimeRecord]) -> None:
    """Add the records that are not there yet; a write whose answer was lost may be sent again."""
    _add(connection, VOLUME, [_volume_row(record) for record in volumes])
    _add(connection, RUNTIME, [_runtime_row(record) for record in runtimes])


def _add(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    runs = {row["run_id"] for row in rows}
    names = [column.name for column in table.primary_key.columns]
    known = {
        tuple(found)
        for run in runs
        for found in connection.execute(select(*table.primary_key.columns).where(table.c.run_id == run))
    }
    new = {tuple(row[name] for name in names): row for row in rows}
    missing = [row for place, row in new.items() if place not in known]
    if missing:
        connection.execute(insert(table), missing)


def _volume_row(record: VolumeRecord) -> dict[str, Any]:
    return {
        **key_columns(record.key),
        "run_id": record.run_id,
        "source_table": record.table,
        "source_id": record.source_id,
        "load_date": record.load_date,
        "recorded_at": to_text(record.recorded_at),
        "status": record.status,
        "rows_read": record.rows_read,
        "rows_written": record.rows_written,
        "rows_deleted": record.rows_deleted,
        "bytes": record.bytes,
        "duplicates": record.duplicates,
        "quarantined": record.quarantined,
        "slices": record.slices,
        "watermark": record.watermark,
        "batch_id": record.batch_id,
        "location": record.location,
    }


def _runtime_row(record: RuntimeRecord) -> dict[str, Any]:
    return {
        **key_columns(record.key),
        "run_id": record.run_id,
        "job_name": record.job_name,
        "source_table": record.table,
        "source_id": record.source_id,
        "mode": record.mode,
        "load_date": record.load_date,
        "started_at": to_text(record.started_at),
        "ended_at": to_text(record.ended_at),
        "seconds": record.seconds,
        "status": record.status,
        "exit_code": record.exit_code,
        "error_type": record.error_type,
        "stack_hash": record.stack_hash,
        "engine": record.engine,
    }

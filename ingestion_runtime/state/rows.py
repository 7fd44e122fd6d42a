"""Domain objects as rows of the state database and back."""

import json
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from ingestion_runtime.documents import dump_document, load_document
from ingestion_runtime.model.batch import Batch, Receipt, TableKey
from ingestion_runtime.model.cursor import Fingerprint
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.options import RunOptions
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.state import (
    BatchEnd,
    Holder,
    LeaseHeld,
    PhaseStatus,
    RunRecord,
    StateRecord,
    TableEnd,
    TableHead,
)
from ingestion_runtime.state.times import from_text, to_text

_STOPPED = (130, 143)  # exit codes of a failure that is no failure of the table


def key_columns(key: TableKey) -> dict[str, Any]:
    """Return the columns that name a table."""
    return {"catalog": key.catalog, "schema_name": key.schema, "table_name": key.table}


def key_of(row: Row[Any]) -> TableKey:
    """Return the table that a row is about."""
    return TableKey(row.catalog, row.schema_name, row.table_name)


def record_row(record: StateRecord, event_seq: int, now: datetime) -> dict[str, Any]:
    """Return a record as a row of the events table. ``event_seq`` is its place in the run."""
    return {
        **key_columns(record.key),
        "load_date": record.load_date,
        "mode": record.mode,
        "phase": record.phase.value,
        "status": record.status.value,
        "rows_written": record.rows_written,
        "watermark": record.watermark,
        "location": record.location,
        "strategy": record.strategy,
        "error": record.error,
        "metadata_json": record.metadata_json,
        "ts": to_text(now),
        "source_id": record.source_id,
        "run_id": record.run_id,
        "event_seq": event_seq,
        "event_at": to_text(record.at),
        "batch_id": record.batch_id,
        "sequence": record.sequence,
    }


def head_row(head: TableHead, now: datetime) -> dict[str, Any]:
    """Return a head as a row of the watermarks table."""
    receipt = head.receipt
    return {
        **key_columns(head.key),
        "watermark": receipt.watermark.literal if receipt.watermark else None,
        "updated_at": to_text(now),
        "source_id": head.source_id,
        "last_loaded_date": receipt.load_date,
        "sequence": receipt.sequence,
        "receipt_json": dump_document(receipt),
        "metadata_location": head.location,
        "verified_json": dump_document(head.verified) if head.verified else None,
    }


def head_of(row: Row[Any], origin: str) -> TableHead:
    """Return the head in a row; raises TerminalError when it cannot be read whole."""
    key = key_of(row)
    place = f"{origin}, head of {key},"
    receipt = load_document(Receipt, row.receipt_json, place)
    if receipt.sequence != row.sequence:
        raise TerminalError(
            f"{place} says sequence {row.sequence} and holds a receipt of sequence {receipt.sequence}.",
            remedy="Restore it from a backup, or rerun the table with --reload.",
            origin=origin,
        )
    verified = None if row.verified_json is None else load_document(Fingerprint, row.verified_json, place)
    return TableHead(key, row.source_id, receipt, row.metadata_location, verified)


def batch_row(batch: Batch, now: datetime) -> dict[str, Any]:
    """Return an open batch as a row of the batches table."""
    return {
        "batch_id": batch.id,
        **key_columns(batch.key),
        "sequence": batch.sequence,
        "load_date": batch.load_date,
        "run_id": batch.run_id,
        "outcome": "open",
        "document": dump_document(batch),
        "opened_at": to_text(now),
        "closed_at": None,
    }


def batch_of(row: Row[Any], origin: str) -> Batch:
    """Return the batch in a row; raises TerminalError when it cannot be read whole."""
    return load_document(Batch, row.document, f"{origin}, open batch {row.batch_id} of {key_of(row)},")


def batch_end_of(row: Row[Any], error: str | None, origin: str) -> BatchEnd | None:
    """Return how the batch in a row ended; None where the batch cannot be read, which is for looking at only."""
    try:
        batch = batch_of(row, origin)
    except TerminalError:
        return None
    closed = None if row.closed_at is None else from_text(row.closed_at)
    return BatchEnd(batch, row.outcome, from_text(row.opened_at), closed, error)


def run_row(record: RunRecord) -> dict[str, Any]:
    """Return a run that begins as a row of the runs table."""
    return {
        "run_id": record.options.run_id,
        "job_name": record.job_name,
        "load_date": record.options.load_date,
        "tables_json": json.dumps(record.tables),
        "whole": record.whole,
        "options_json": dump_document(record.options),
        "host": record.holder.host,
        "pid": record.holder.pid,
        "started": record.holder.started,
        "started_at": to_text(record.started_at),
        "ended_at": None,
        "exit_code": None,
    }


def run_of(row: Row[Any], origin: str) -> RunRecord:
    """Return the run in a row; raises TerminalError when it cannot be read whole."""
    place = f"{origin}, run {row.run_id},"
    return RunRecord(
        job_name=row.job_name,
        tables=load_document(tuple[str, ...], row.tables_json, place),
        options=load_document(RunOptions, row.options_json, place),
        holder=Holder(row.run_id, row.host, row.pid, row.started),
        started_at=from_text(row.started_at),
        whole=row.whole,
        ended_at=None if row.ended_at is None else from_text(row.ended_at),
        exit_code=row.exit_code,
    )


def end_of(row: Row[Any]) -> TableEnd:
    """Return how a table ended, from the event that says so.

    An event that another version wrote may lack a figure: events are for looking at.
    """
    told = _fields(row.metadata_json)
    code, failed = int(told.get("exit_code") or 0), row.status == PhaseStatus.FAILED.value
    status = TableStatus.INTERRUPTED if code in _STOPPED else TableStatus.FAILED
    return TableEnd(
        run_id=row.run_id,
        load_date=row.load_date,
        at=from_text(row.event_at),
        status=status if failed else TableStatus(told.get("status") or TableStatus.DONE),
        rows_read=int(told.get("rows_read") or 0),
        rows_written=int(row.rows_written or 0),
        rows_deleted=int(told.get("rows_deleted") or 0),
        seconds=float(told.get("seconds") or 0.0),
        watermark=row.watermark,
        error=row.error,
        exit_code=code,
    )


def _fields(text: str | None) -> dict[str, Any]:
    try:
        told = json.loads(text or "{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def lease_of(row: Row[Any]) -> LeaseHeld:
    """Return the lease in a row."""
    return LeaseHeld(Holder(row.holder, row.host, row.pid, row.started), row.token, from_text(row.expires_at))

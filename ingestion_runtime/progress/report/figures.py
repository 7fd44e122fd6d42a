"""The figures of a run for programs: the document that stands on the page beside what people read.

Its fields bear the names that ``documents`` gives them, and it has fewer: messages, slices and warnings of five hundred
tables would make the page as large as the log.
"""

from datetime import datetime
from typing import Any

from ingestion_runtime.progress.report.throughput import Throughput
from ingestion_runtime.progress.view import FailureView, RunView, TableState, TableView


def figures_of(run: RunView, throughput: Throughput) -> dict[str, Any]:
    """Return the figures as JSON values, version 1: fields may be added, none is removed or changes its meaning."""
    return {
        "version": 1,
        "run_id": run.run_id,
        "job_name": run.job_name,
        "load_date": run.load_date,
        "started": run.started.isoformat(),
        "ended": _moment(run.ended),
        "last_line_at": run.last_line_at.isoformat(),
        "exit_code": run.exit_code,
        "seconds": round(((run.ended or run.last_line_at) - run.started).total_seconds(), 3),
        "max_parallel": run.max_parallel,
        "total": run.total,
        "counts": {state.value: run.count(state) for state in TableState},
        "rows_read": run.rows_read,
        "rows_written": sum(table.rows_written for table in run.tables),
        "rows_deleted": sum(table.rows_deleted for table in run.tables),
        "bytes": sum(table.bytes for table in run.tables),
        "garbage": run.garbage,
        "tables": [_table(table, run) for table in run.tables],
        "throughput": {
            "bin_seconds": throughput.bin_seconds,
            "rows_per_second": [round(rate, 1) for rate in throughput.rates],
        },
    }


def _table(table: TableView, run: RunView) -> dict[str, Any]:
    failure = table.failure
    steps = ((step.name, step.started, step.seconds) for step in table.steps)
    return {
        "table": table.name,
        "mode": table.mode,
        "state": table.state.value,
        "engine": table.engine,
        "started": _moment(table.started),
        "seconds": table.seconds,
        "rows_read": table.rows_read,
        "rows_written": table.rows_written,
        "rows_deleted": table.rows_deleted,
        "duplicates": table.duplicates,
        "quarantined": table.quarantined,
        "bytes": table.bytes,
        "slices": table.slices_read,
        "watermark": table.watermark,
        "warnings": len(table.warnings),
        "failure": None if failure is None else _failure(failure),
        # Name, seconds after the run's start, and seconds that it took (null: it goes on).
        "timeline": [
            [name, round((start - run.started).total_seconds(), 3), None if seconds is None else round(seconds, 3)]
            for name, start, seconds in steps
        ],
    }


def _failure(failure: FailureView) -> dict[str, Any]:
    return {"type": failure.error_type, "stack_hash": failure.stack_hash, "exit_code": failure.exit_code}


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()

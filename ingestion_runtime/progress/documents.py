"""Pictures of runs as JSON values, for programs. Fields are only ever added within a version."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from ingestion_runtime.progress.estimate import estimate
from ingestion_runtime.progress.health import Moment, judge_health
from ingestion_runtime.progress.lines import Line
from ingestion_runtime.progress.view import RunView, SliceView, TableState, TableView
from ingestion_runtime.progress.wording import recent_rate

VERSION: Final = 1


def run_document(run: RunView) -> dict[str, Any]:
    """Return a run with its tables, slices and steps."""
    return {
        "run_id": run.run_id,
        "job_name": run.job_name,
        "load_date": run.load_date,
        "started": run.started.isoformat(),
        "ended": _iso(run.ended),
        "exit_code": run.exit_code,
        "host": run.host,
        "pid": run.pid,
        "max_parallel": run.max_parallel,
        "last_line_at": run.last_line_at.isoformat(),
        "garbage": run.garbage,
        "total": run.total,
        "counts": {state.value: run.count(state) for state in TableState},
        "rows_read": run.rows_read,
        "heartbeat": None if run.heartbeat is None else {"at": _iso(run.heartbeat.at), "spark": dict(run.heartbeat.spark)},
        "warnings": [_line(line) for line in run.warnings],
        "tables": [_table(table) for table in run.tables],
    }


def watch_document(run: RunView | None, moment: Moment) -> dict[str, Any]:
    """Return what a dashboard shows; ``run`` is null until there is one."""
    found: dict[str, Any] = {
        "version": VERSION,
        "at": moment.now.isoformat(),
        "place": moment.place,
        "problem": moment.problem,
        "run": None,
    }
    if run is not None:
        left, health = estimate(run, moment.now), judge_health(run, moment)
        found["run"] = run_document(run)
        found["health"] = {"mood": health.mood.value, "text": health.text, "gone": moment.gone}
        found["fraction"] = round(left.fraction, 4)
        found["seconds_left"] = None if left.seconds is None else round(left.seconds, 1)
        found["rows_per_second"] = {
            table.name: round(rate)
            for table in run.tables
            if table.state is TableState.RUNNING and (rate := recent_rate(table, moment.now)) is not None
        }
    return found


def _table(table: TableView) -> dict[str, Any]:
    failure = table.failure
    return {
        "table": table.name,
        "mode": table.mode,
        "source": table.source,
        "state": table.state.value,
        "phase": table.phase,
        "engine": table.engine,
        "engine_reason": table.engine_reason,
        "started": _iso(table.started),
        "ended": _iso(table.ended),
        "seconds": table.seconds,
        "slices_total": table.slices_total,
        "estimated_rows": table.estimated_rows,
        "rows_read": table.rows_read,
        "rows_written": table.rows_written,
        "rows_deleted": table.rows_deleted,
        "duplicates": table.duplicates,
        "quarantined": table.quarantined,
        "bytes": table.bytes,
        "watermark": table.watermark,
        "slices": [_slice(piece) for piece in table.slices],
        "steps": [{"name": step.name, "started": _iso(step.started), "ended": _iso(step.ended)} for step in table.steps],
        "warnings": [_line(line) for line in table.warnings],
        "failure": None
        if failure is None
        else {
            "type": failure.error_type,
            "message": failure.message,
            "remedy": failure.remedy,
            "stack_hash": failure.stack_hash,
            "exit_code": failure.exit_code,
        },
    }


def _slice(piece: SliceView) -> dict[str, Any]:
    return {
        "slice": piece.label,
        "ordinal": piece.ordinal,
        "started": _iso(piece.started),
        "ended": _iso(piece.ended),
        "rows": piece.rows,
        "bytes": piece.bytes,
        "reused": piece.reused,
        "tombstones": piece.tombstones,
        "connections": piece.connections,
    }


def _line(line: Line) -> Mapping[str, Any]:
    return {"at": _iso(line.at), "event": line.event, **{key: value for key, value in line.fields.items() if key != "at"}}


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()

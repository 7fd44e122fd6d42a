"""A reconciliation as one JSON document for programs."""

from typing import Any, Final

from ingestion_runtime.model.comparison import LeftOut
from ingestion_runtime.reconciliation.report import Bisection, CheckResult, KeyDifference, Report, TableReport, Trouble

#: Fields are only ever added within a version.
VERSION: Final = 1


def report_document(report: Report) -> dict[str, Any]:
    """Return the report as JSON values."""
    return {
        "version": VERSION,
        "run_id": report.run_id,
        "job_name": report.job_name,
        "engine": report.engine,
        "exit_code": report.exit_code,
        "seconds": round(report.seconds, 3),
        "tables": [_table(table) for table in report.tables],
    }


def _table(table: TableReport) -> dict[str, Any]:
    moment = table.moment
    return {
        "table": table.table,
        "mode": table.mode,
        "status": table.status.value,
        "seconds": round(table.seconds, 3),
        "batch_id": moment.batch if moment else None,
        "watermark": moment.watermark if moment else None,
        "load_date": moment.load_date if moment else None,
        "snapshot": moment.snapshot if moment else None,
        "left_out": None if table.left_out is None else _left_out(table.left_out),
        "compared_columns": list(table.compared),
        "not_compared": [{"column": left.column, "reason": left.reason} for left in table.not_compared],
        "remarks": list(table.remarks),
        "checks": [_check(result) for result in table.checks],
        "error": _trouble(table.trouble),
    }


def _left_out(left: LeftOut) -> dict[str, int]:
    return {
        "later": left.later,
        "unsettled": left.unsettled,
        "null_cursors": left.null_cursors,
        "null_keys": left.null_keys,
        "initial": left.initial,
    }


def _check(result: CheckResult) -> dict[str, Any]:
    finding = result.finding
    groups = [{"values": list(g.values), "source": g.source, "target": g.target} for g in finding.groups]
    return {
        "check": result.check.value,
        "status": result.status.value,
        "source": finding.source,
        "target": finding.target,
        "difference": finding.difference,
        "detail": finding.detail,
        "columns": list(finding.columns),
        "grouped_by": list(finding.grouped_by),
        "differing_groups": finding.differing,
        "groups": groups,
        "keys": None if finding.bisection is None else _bisection(finding.bisection),
        "seconds": round(result.seconds, 3),
        "error": _trouble(result.trouble),
    }


def _bisection(found: Bisection) -> dict[str, Any]:
    return {
        "counts": {fault.value: count for fault, count in found.counts},
        "rows": found.rows,
        "rows_moved": found.moved,
        "fraction_moved": round(found.fraction, 6),
        "listed": [_key(key) for key in found.keys],
    }


def _key(key: KeyDifference) -> dict[str, Any]:
    columns = [
        {"column": value.column, "how": value.how, "source": value.source, "target": value.target} for value in key.values
    ]
    return {"key": list(key.key), "difference": key.fault.value, "columns": columns}


def _trouble(trouble: Trouble | None) -> dict[str, Any] | None:
    if trouble is None:
        return None
    return {"type": trouble.type, "message": trouble.message, "exit_code": trouble.exit_code}

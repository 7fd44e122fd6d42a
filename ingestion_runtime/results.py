"""A run's results: as a table for people, and as a versioned document for programs."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ingestion_runtime.model.result import RunResult, TableResult, TableStatus

DOCUMENT_VERSION = 1
_STYLES = {
    TableStatus.DONE: "green",
    TableStatus.UNCHANGED: "cyan",
    TableStatus.SKIPPED: "cyan",
    TableStatus.FAILED: "bold red",
    TableStatus.INTERRUPTED: "yellow",
}


def result_document(result: RunResult) -> dict[str, Any]:
    """Return the run as JSON values. Fields are only ever added within a version."""
    return {
        "version": DOCUMENT_VERSION,
        "run_id": result.run_id,
        "job_name": result.job_name,
        "load_date": result.load_date.isoformat(),
        "exit_code": result.exit_code,
        "seconds": round(result.seconds, 3),
        "tables": [_table_document(table) for table in result.tables],
    }


def print_table(result: RunResult) -> None:
    """Print one table of results on stderr, and under it what failed and what to do about it."""
    console = Console(stderr=True)
    shown = Table(title=f"{escape(result.job_name)}, load date {result.load_date}", title_justify="left")
    for header in ("table", "mode", "status"):
        shown.add_column(header)
    for header in ("read", "written", "slices", "seconds"):
        shown.add_column(header, justify="right")
    shown.add_column("watermark")
    for table in result.tables:
        shown.add_row(
            escape(table.table),
            table.mode,
            f"[{_STYLES[table.status]}]{table.status}[/]",
            f"{table.rows_read:,}",
            f"{table.rows_written:,}",
            str(table.slices),
            f"{table.seconds:.1f}",
            escape(table.watermark or ""),
        )
    console.print(shown)
    for table in result.tables:
        _print_remarks(console, table)
    ended = sum(table.failure is None for table in result.tables)
    console.print(
        f"{ended} of {len(result.tables)} tables complete in {result.seconds:.1f} s, exit code {result.exit_code}"
        f" (run {result.run_id})",
        highlight=False,
    )


def _print_remarks(console: Console, table: TableResult) -> None:
    if table.failure is not None:
        console.print(f"[bold red]{table.failure.type}[/] {escape(table.failure.message)}", highlight=False)
    if table.duplicates:
        console.print(f"{escape(table.table)}: {table.duplicates} older rows of the same key were left out", highlight=False)
    if table.quarantined:
        console.print(f"{escape(table.table)}: {table.quarantined} rows without a key are in quarantine", highlight=False)


def _table_document(table: TableResult) -> dict[str, Any]:
    failure = table.failure
    return {
        "table": table.table,
        "mode": table.mode,
        "status": table.status.value,
        "rows_read": table.rows_read,
        "rows_written": table.rows_written,
        "duplicates": table.duplicates,
        "quarantined": table.quarantined,
        "slices": table.slices,
        "watermark": table.watermark,
        "seconds": round(table.seconds, 3),
        "failure": None
        if failure is None
        else {
            "type": failure.type,
            "message": failure.message,
            "stack_hash": failure.stack_hash,
            "exit_code": failure.exit_code,
        },
    }

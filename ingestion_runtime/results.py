"""A run's results: as a table for people, and as a versioned document for programs."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ingestion_runtime.model.result import RunResult, TableResult, TableStatus
from ingestion_runtime.model.schema import ColumnChange
from ingestion_runtime.telling import open_console, say

DOCUMENT_VERSION = 1
_STYLES = {
    TableStatus.DONE: "green",
    TableStatus.UNCHANGED: "cyan",
    TableStatus.SKIPPED: "cyan",
    TableStatus.FAILED: "bold red",
    TableStatus.INTERRUPTED: "yellow",
}
_GAP = 2
_LONGEST_WHOLE = 26  # a timestamp with microseconds
_NUMBERS = ("read", "written", "slices", "seconds")
_DROPPED_FIRST = ("slices", "mode", "seconds", "written", "read")
_LEAST_ADVICE = 40  # a narrower column would break words; the message says the same
_DIFFERENCE = ("column", "before", "now", "change", "policy", "what to do")
_ZERO_FRACTION = re.compile(r"(?<=:\d\d)\.0+$")


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
    console = open_console()
    say(console, f"[italic]{escape(result.job_name)}, load date {result.load_date}[/]")
    console.print(_build_table(console.width, result.tables))
    _print_remarks(console, result.tables)
    ended = sum(table.failure is None for table in result.tables)
    say(
        console,
        f"{ended} of {len(result.tables)} tables complete in {result.seconds:.1f} s, exit code {result.exit_code}"
        f" (run {result.run_id})",
    )


def _build_table(width: int, tables: Sequence[TableResult]) -> Table:
    """Return the table with as many columns as ``width`` has room for."""
    columns = {header: [cell(table) for table in tables] for header, cell in _CELLS.items()}
    longest = {header: max(len(header), *(cell.cell_len for cell in column)) for header, column in columns.items()}
    shown = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, _GAP - 1, 0, 0))
    dropped = list(_DROPPED_FIRST)
    while dropped and sum(min(longest[header], _LONGEST_WHOLE) + _GAP for header in columns) > width:
        del columns[dropped.pop(0)]
    for header in columns:
        justify: JustifyMethod = "right" if header in _NUMBERS else "left"
        # A long name or a long text watermark is folded, never cut; everything else stays on its line.
        whole = header != "table" and longest[header] <= _LONGEST_WHOLE
        shown.add_column(header, justify=justify, no_wrap=whole, overflow="fold")
    for row in zip(*columns.values(), strict=True):
        shown.add_row(*row)
    return shown


def _watermark(table: TableResult) -> Text:
    return Text(_ZERO_FRACTION.sub("", table.watermark or ""))


_CELLS: Mapping[str, Callable[[TableResult], Text]] = {
    "table": lambda table: Text(table.table),
    "mode": lambda table: Text(table.mode),
    "status": lambda table: Text(table.status, _STYLES[table.status]),
    "read": lambda table: Text(f"{table.rows_read:,}"),
    "written": lambda table: Text(f"{table.rows_written:,}"),
    "slices": lambda table: Text(str(table.slices)),
    "seconds": lambda table: Text(f"{table.seconds:.1f}"),
    "watermark": _watermark,
}


def _print_remarks(console: Console, tables: Sequence[TableResult]) -> None:
    # An unreachable source fails all its tables with one message: it is said once.
    failures: dict[tuple[str, str], list[str]] = {}
    for table in tables:
        if table.failure is not None:
            failures.setdefault((table.failure.type, table.failure.message), []).append(table.table)
    for (kind, message), names in failures.items():
        # What concerns a whole connection does not name the table.
        named = "" if names[0] in message else f"{', '.join(names)}: "
        say(console, f"[bold red]{kind}[/] {escape(named + message)}")
        for table in tables:
            if table.table in names and table.failure and table.failure.changes:
                console.print(_build_difference(console.width, table.table, table.failure.changes))
    for table in tables:
        if table.rows_deleted:
            say(console, f"{escape(table.table)}: {table.rows_deleted} rows that the source no longer has were deleted")
        if table.duplicates:
            say(console, f"{escape(table.table)}: {table.duplicates} older rows of the same key were left out")
        if table.quarantined:
            say(console, f"{escape(table.table)}: {table.quarantined} rows without a key are in quarantine")
        if table.remark:
            say(console, f"{escape(table.table)}: {escape(table.remark)}")


def _build_difference(width: int, name: str, changes: Sequence[ColumnChange]) -> Table:
    """Return the columns that differ, those that stopped the table first; with the advice where ``width`` has room."""
    shown = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, _GAP - 1, 0, 0), title=f"How {name} differs")
    shown.title_justify = "left"
    rows = []
    for change in sorted(changes, key=lambda change: not change.refused):
        style = "bold red" if change.refused else "green"
        told = [Text(cell) for cell in (change.column, change.before, change.after, change.change)]
        rows.append((*told, Text(change.policy, style), Text(change.advice or "nothing: it would pass")))
    facts = len(_DIFFERENCE) - 1
    needed = sum(max(len(_DIFFERENCE[at]), *(row[at].cell_len for row in rows)) + _GAP for at in range(facts))
    kept = facts if needed + _LEAST_ADVICE > width else len(_DIFFERENCE)
    for header in _DIFFERENCE[:kept]:
        shown.add_column(header, overflow="fold")
    for row in rows:
        shown.add_row(*row[:kept])
    return shown


def _table_document(table: TableResult) -> dict[str, Any]:
    failure = table.failure
    return {
        "table": table.table,
        "mode": table.mode,
        "status": table.status.value,
        "rows_read": table.rows_read,
        "rows_written": table.rows_written,
        "rows_deleted": table.rows_deleted,
        "duplicates": table.duplicates,
        "quarantined": table.quarantined,
        "slices": table.slices,
        "watermark": table.watermark,
        "engine": table.engine,
        "seconds": round(table.seconds, 3),
        "remark": table.remark,
        "failure": None
        if failure is None
        else {
            "type": failure.type,
            "message": failure.message,
            "stack_hash": failure.stack_hash,
            "exit_code": failure.exit_code,
            "changes": [asdict(change) for change in failure.changes],
        },
    }

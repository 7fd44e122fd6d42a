"""What maintenance found and did, as one JSON document and as a table for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ingestion_runtime.documents import as_values
from ingestion_runtime.maintenance.report import (
    DOCUMENT_VERSION,
    Figures,
    Finding,
    FindingKind,
    Housekeeping,
    MaintenanceReport,
    Mode,
    Status,
    TableReport,
)
from ingestion_runtime.telling import counted, open_console, say

_STYLES = {
    Status.APPLIED: "green",
    Status.REWRITTEN: "green",
    Status.REPARTITIONED: "green",
    Status.NOOP: "cyan",
    Status.NO_DATA: "cyan",
    Status.ERROR: "bold red",
}
# What is there in the ordinary course of things; anything else that apply leaves is for people to look at.
_HARMLESS = frozenset(
    {
        FindingKind.SMALL_FILES,
        FindingKind.DELETE_FILES,
        FindingKind.OPEN_BATCH,
        FindingKind.ORPHANS,
        FindingKind.RAW_ABANDONED,
        FindingKind.STAGED_OPEN,
        FindingKind.STAGED_OVER,
        FindingKind.STATE_BEHIND,
    }
)
_UNIT = 1024
_HEADERS = ("table", "status", "files", "size", "snapshots", "findings", "done", "bytes", "seconds")


def report_document(report: MaintenanceReport) -> dict[str, Any]:
    """Return the report as JSON values. Fields are only ever added within a version."""
    return {"version": DOCUMENT_VERSION, **as_values(report)}


def print_report(report: MaintenanceReport) -> None:
    """Print a table of tables on stderr, and below it what was found and done at each."""
    console = open_console()
    looked = report.mode is Mode.DRY_RUN
    note = "nothing was changed; the status is what apply would give" if looked else f"run {report.run_id}"
    say(console, f"[italic]{escape(report.job_name)}, maintenance {report.mode} ({note})[/]")
    if report.tables:
        console.print(_overview(report.tables))
    for table in report.tables:
        _tell_table(console, table)
    _tell_housekeeping(console, report.housekeeping, looked=looked)
    ended = sum(table.error is None for table in report.tables)
    whole = len(report.tables)
    say(console, f"{ended} of {whole} tables complete in {report.seconds:.1f} s, exit code {report.exit_code}")


def size_text(size: int | None) -> str:
    """Return bytes as people read them; nothing for None."""
    if size is None:
        return ""
    value, units = float(size), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= _UNIT and len(units) > 1:
        value /= _UNIT
        del units[0]
    return f"{value:.0f} B" if units[0] == "B" else f"{value:.1f} {units[0]}"


def _overview(tables: Sequence[TableReport]) -> Table:
    shown = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for header in _HEADERS:
        shown.add_column(header, justify="left" if header in _HEADERS[:2] else "right", overflow="fold")
    for table in tables:
        status = table.status or table.would or Status.ERROR
        moved = sum(item.bytes or 0 for item in table.actions) or sum(f.bytes or 0 for f in table.findings if f.apply)
        shown.add_row(
            Text(table.table),
            Text(status, _STYLES[status]),
            *map(Text, _lies(table.figures)),
            Text(str(len(table.findings))),
            Text(str(len(table.actions))),
            Text(size_text(moved) if moved else ""),
            Text(f"{table.seconds:.1f}"),
        )
    return shown


def _lies(figures: Figures | None) -> tuple[str, str, str]:
    if figures is None:
        return "", "", ""
    return f"{figures.data_files:,}", size_text(figures.data_bytes), f"{figures.snapshots:,}"


def _tell_table(console: Console, table: TableReport) -> None:
    lines = list(_lines(table))
    if lines:
        say(console, f"[bold]{escape(table.table)}[/]")
    for line in lines:
        say(console, f"  {line}")


def _lines(table: TableReport) -> Iterator[str]:
    if table.error is not None:
        yield f"[bold red]{table.error.type}[/] {escape(f'{table.error.message} {table.error.remedy}')}"
    # After an upkeep what was done is told; what was found and left stands beside it.
    done = table.status is not None
    for finding in table.findings:
        if not (done and finding.apply):
            size = f" ({size_text(finding.bytes)})" if finding.bytes else ""
            yield f"{_mark(finding)} {escape(finding.message + size)}"
    for action in table.actions:
        size = f" ({size_text(action.bytes)})" if action.bytes else ""
        yield f"[green]done[/]  {escape(f'{action.message}{size} in {action.seconds:.1f} s')}"
    if table.rebuild is not None:
        yield _compared(table.rebuild)
    for remark in table.remarks:
        yield f"[yellow]left[/]  {escape(remark)}"


def _compared(rebuild: Mapping[str, Any]) -> str:
    """Return how the rebuilt table compares with the one that stood."""
    found = rebuild.get("differences")
    if found is None:
        return f"[yellow]look[/]  not compared with the former table: {escape(str(rebuild.get('uncompared')))}"
    others = {name: number for name, number in found.items() if name != "equal" and number}
    if not others:
        return f"note  the former table was equal, {counted(found['equal'], 'row')}"
    told = ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in others.items())
    return f"[yellow]look[/]  the former table differed: {told}; {found['equal']:,} equal"


def _mark(finding: Finding) -> str:
    if finding.apply:
        return "[green]apply[/]"
    return "note " if finding.kind in _HARMLESS else "[yellow]look[/] "


def _tell_housekeeping(console: Console, found: Housekeeping, *, looked: bool) -> None:
    if found.error is not None:
        message = f"{found.error.message} {found.error.remedy}"
        say(console, f"[bold red]{found.error.type}[/] besides the tables: {escape(message)}")
    how = "may go" if looked else "removed"
    if found.state_rows:
        say(console, f"{counted(found.state_rows, 'row')} of the state that nobody needs {how}")
    if found.log_files:
        say(console, f"{counted(found.log_files, 'old log file')} ({size_text(found.log_bytes)}) {how}")
    if found.outbox_runs:
        runs = counted(found.outbox_runs, "old run's mirror", "old runs' mirrors")
        say(console, f"{runs} in the outbox ({size_text(found.outbox_bytes)}) {how}")

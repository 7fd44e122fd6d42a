"""A reconciliation for people, on stderr: what is wrong first. Every name and value is shown as it is, whatever it holds."""

import json
from collections.abc import Iterator, Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ingestion_runtime.model.comparison import LeftOut
from ingestion_runtime.model.reconciliation import Check
from ingestion_runtime.reconciliation.report import (
    CheckResult,
    Finding,
    KeyDifference,
    Report,
    Status,
    TableReport,
)
from ingestion_runtime.telling import counted, open_console, say

_SHOWN: Final = 20  # keys and groups of a table; --output json has them all
_LONGEST: Final = 80
_STYLES: Final = {
    Status.ERROR: "bold red",
    Status.DIFFERS: "bold red",
    Status.WITHIN: "yellow",
    Status.SKIPPED: "yellow",
    Status.EQUAL: "green",
}
_WORDS: Final = {
    Status.ERROR: "could not be compared",
    Status.DIFFERS: "differ",
    Status.WITHIN: "differ within their thresholds",
    Status.SKIPPED: "skipped",
    Status.EQUAL: "equal",
}
_INDENT: Final = 16


def print_report(report: Report) -> None:
    """Print a line per table, the gravest first, what is to be said of each, and one line for all of them."""
    console = open_console()
    ordered = sorted(report.tables, key=lambda table: list(_STYLES).index(table.status))
    say(console, Text(f"{report.job_name}: sources and targets compared, targets read by {report.engine}", "italic"))
    console.print(_overview(ordered))
    for table in ordered:
        _print_table(console, table)
    counts = [(status, sum(table.status is status for table in report.tables)) for status in _STYLES]
    told = ", ".join(f"{count} {_WORDS[status]}" for status, count in counts if count)
    say(
        console,
        Text(
            f"{counted(len(report.tables), 'table')}: {told}; in {report.seconds:.1f} s,"
            f" exit code {report.exit_code} (recon {report.run_id}). Nothing was written to sources, targets or state."
        ),
    )


def _overview(tables: Sequence[TableReport]) -> Table:
    shown = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    shown.add_column("table", overflow="fold")
    shown.add_column("status", no_wrap=True)
    for header in ("source rows", "target rows", "left out"):
        shown.add_column(header, justify="right", no_wrap=True)
    shown.add_column("up to", overflow="fold")
    shown.add_column("seconds", justify="right", no_wrap=True)
    for table in tables:
        source, target = _counted(table)
        left = sum(number for number, _ in _left_out(table.left_out))
        shown.add_row(
            Text(table.table),
            Text(table.status, _STYLES[table.status]),
            Text(source),
            Text(target),
            Text(f"{left:,}" if table.left_out else ""),
            Text(((table.moment and table.moment.watermark) or "").removesuffix(".000000")),
            Text(f"{table.seconds:.1f}"),
        )
    return shown


def _counted(table: TableReport) -> tuple[str, str]:
    """Return the rows of both sides, where a check counted them."""
    for result in table.checks:
        finding = result.finding
        if result.check in (Check.PLAIN_COUNT, Check.CHECKSUM) and finding.source is not None:
            return f"{finding.source:,}", f"{finding.target or 0:,}"
    return "", ""


def _print_table(console: Console, table: TableReport) -> None:
    """Print what is to be said of a table; nothing of one that is equal and whole."""
    notes = list(_notes(table))
    if table.status is Status.EQUAL and not notes and all(r.status is Status.EQUAL for r in table.checks):
        return
    head = Text.assemble((table.table, "bold"), "  ", (table.mode, "dim"), "  ")
    head.append(table.status.value, _STYLES[table.status])
    say(console, head)
    if table.trouble is not None:
        _line(console, "stopped", Text.assemble((table.trouble.type, "bold red"), f" {_plain(table.trouble.message)}"))
    for result in table.checks:
        _print_check(console, result)
    for label, text in notes:
        _line(console, label, Text(text))
    console.print()


def _print_check(console: Console, result: CheckResult) -> None:
    told = Text.assemble((result.status.value, _STYLES[result.status]))
    words = result.trouble.message if result.trouble else _spell(result)
    told.append(f"  {words}" if words else "")
    _line(console, result.check.value, told)
    for text in _listed(result.finding):
        say(console, Text(" " * _INDENT + "  ").append_text(text))


def _spell(result: CheckResult) -> str:
    finding = result.finding
    parts = []
    if result.check is Check.PLAIN_COUNT and finding.source is not None:
        parts.append(f"{counted(finding.source, 'row')} at the source, {finding.target:,} in the target")
    if finding.detail:
        parts.append(finding.detail)
    found = finding.bisection
    if found is not None and found.moved:
        parts.append(f"{found.moved:,} of {found.rows:,} rows were moved to find them ({found.fraction:.2%})")
    return "; ".join(parts)


def _listed(finding: Finding) -> Iterator[Text]:
    """Yield a line for each group and key that is shown."""
    if finding.groups:
        yield Text(f"{', '.join(finding.grouped_by)}: source / target", "dim")
    for group in finding.groups[:_SHOWN]:
        yield Text(f"{_key(group.values)}: {group.source:,} / {group.target:,}")
    if finding.differing > _SHOWN:
        yield Text(f"and {finding.differing - _SHOWN:,} more", "dim")
    found = finding.bisection
    if found is None:
        return
    for key in found.keys[:_SHOWN]:
        yield _spell_key(key)
    if found.total > _SHOWN:
        listed = len(found.keys)
        where = f": --output json lists {listed:,}" if listed > _SHOWN else ""
        yield Text(f"and {found.total - min(_SHOWN, listed):,} more{where}", "dim")


def _spell_key(key: KeyDifference) -> Text:
    told = Text.assemble((f"{key.fault:<10}", "bold"), _key(key.key))
    for value in key.values:
        told.append(f"  {value.column}: {value.how}", "")
        if value.source is not None or value.target is not None:
            told.append(f" ({_value(value.source)} -> {_value(value.target)})", "dim")
    return told


def _notes(table: TableReport) -> Iterator[tuple[str, str]]:
    for number, words in _left_out(table.left_out):
        if number:
            yield "left out", f"{counted(number, 'row')} {words}"
    if table.not_compared:
        yield "not compared", "; ".join(f"{left.column} ({left.reason})" for left in table.not_compared)
    for remark in table.remarks:
        yield "note", remark


def _left_out(left: LeftOut | None) -> tuple[tuple[int, str], ...]:
    if left is None:
        return ()
    return (
        (left.later, "above the watermark: new or changed since the last run"),
        (left.unsettled, "looked at again by the next run: not known to be as they were read"),
        (left.null_cursors, "without a cursor: not read"),
        (left.null_keys, "with a NULL in the key: not published"),
        (left.initial, "at or below the initial watermark: not read by ordinary runs"),
    )


def _key(values: Sequence[str | None]) -> str:
    return ", ".join(_value(value) for value in values)


def _value(value: str | None) -> str:
    """Return a value so that its ends, and what does not print, can be seen."""
    if value is None:
        return "NULL"
    short = value if len(value) <= _LONGEST else f"{value[:_LONGEST]}..."
    bare = bool(value) and value == value.strip() and value.isprintable() and not set(value) & set(",\"'")
    return short if bare and value != "NULL" else json.dumps(short, ensure_ascii=not value.isprintable())


def _plain(text: str) -> str:
    return " ".join(text.split())


def _line(console: Console, label: str, text: Text) -> None:
    say(console, Text.assemble((f"  {label:<{_INDENT - 2}}", "dim"), text))

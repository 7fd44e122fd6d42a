"""Failures that come again: those of many runs, the same ones together."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from ingestion_runtime.progress.documents import VERSION
from ingestion_runtime.progress.view import FailureView, RunView, TableState
from ingestion_runtime.progress.wording import printable, show_time

# In this order: what is in quotes may hold all of the others, and ids hold numbers.
_PARTS: Final = (
    (re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`"), "'…'"),
    (re.compile(r"\b\d{8}_\d{6}_[0-9a-f]{8}\b|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}\b"), "<id>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b"), "<id>"),
    (re.compile(r"\d+(?:[.,:]\d+)*"), "<n>"),
)
_MOST_OF_A_MESSAGE: Final = 4_000


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures of one type, one message but for its numbers, ids, quoted words and the table's name, and one stack hash.

    ``tables`` with how often each failed, the most often first. ``reason`` (the message without the remedy) and ``remedy``
    are those of the last one.
    ``current``: it occurred in the last run that ended or is under way.
    """

    error_type: str
    pattern: str
    stack_hash: str
    count: int
    runs: int
    first_seen: datetime
    last_seen: datetime
    tables: tuple[tuple[str, int], ...]
    reason: str
    remedy: str
    current: bool


def group_failures(runs: Sequence[RunView]) -> tuple[FailureGroup, ...]:
    """Return the failures of runs in groups, the largest first; what a signal interrupted did not fail."""
    found: dict[tuple[str, str, str], list[tuple[datetime, str, str, FailureView]]] = {}
    for run in runs:
        for table in run.tables:
            failure = table.failure
            if failure is not None and table.state is TableState.FAILED:
                kind = failure.error_type, message_pattern(failure.reason, table.name), failure.stack_hash
                at = table.ended or run.last_line_at
                found.setdefault(kind, []).append((at, run.run_id, table.name, failure))
    last = max(runs, key=lambda run: run.started).run_id if runs else ""
    groups = [_group(kind, sorted(cases, key=lambda case: case[0]), last) for kind, cases in found.items()]
    return tuple(sorted(groups, key=lambda group: (-group.count, -group.last_seen.timestamp(), group.pattern)))


def message_pattern(message: str, table: str) -> str:
    """Return a message with what differs from case to case taken out: ``Table <table> has <n> rows in '…'``."""
    text = message[:_MOST_OF_A_MESSAGE]
    if table:
        text = text.replace(table, "<table>")
    for part, name in _PARTS:
        text = part.sub(name, text)
    return " ".join(text.split())


def failures_document(runs: Sequence[RunView], groups: Iterable[FailureGroup]) -> dict[str, Any]:
    """Return the groups as JSON values."""
    return {
        "version": VERSION,
        "runs": len(runs),
        "garbage": sum(run.garbage for run in runs),
        "failures": [
            {
                "type": group.error_type,
                "pattern": group.pattern,
                "stack_hash": group.stack_hash,
                "count": group.count,
                "runs": group.runs,
                "first_seen": group.first_seen.isoformat(),
                "last_seen": group.last_seen.isoformat(),
                "current": group.current,
                "tables": dict(group.tables),
                "reason": group.reason,
                "remedy": group.remedy,
            }
            for group in groups
        ],
    }


def print_failures(console: Console, runs: Sequence[RunView], groups: Sequence[FailureGroup], show_tables: bool) -> None:
    """Print the groups on a console, each as a few sentences."""

    def say(text: Text | str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    for group in groups:
        times = f"{group.count:,} {'time' if group.count == 1 else 'times'} in {_count(group.runs, 'run')}"
        still = ("  in the last run too", "bold yellow") if group.current else ("  not in the last run", "green")
        say(Text.assemble((f"✗ {printable(group.error_type)}", "bold red"), (f"  {times}", "bold"), still))
        say(Text(f"  {printable(group.pattern)}"))
        if group.reason != group.pattern:
            say(Text(f"  the last: {printable(group.reason)}", "dim"))
        if group.remedy:
            say(Text(f"  → {printable(group.remedy)}", "green"))
        spans = (
            f"first {show_time(group.first_seen)}, last {show_time(group.last_seen)}, stack {printable(group.stack_hash)}"
        )
        say(Text(f"  {spans}, {_count(len(group.tables), 'table')}", "dim"))
        for name, number in group.tables if show_tables else ():
            say(Text(f"    {printable(name)}  {number:,}"))
        say("")
    failed = sum(group.count for group in groups)
    say(f"{_count(failed, 'failure')} of {_count(len(groups), 'kind')} in {_count(len(runs), 'run')}")
    garbage = sum(run.garbage for run in runs)
    if garbage:
        say(Text(f"{_count(garbage, 'line')} of the logs could not be read and were passed over", "yellow"))


def _group(
    kind: tuple[str, str, str], cases: Sequence[tuple[datetime, str, str, FailureView]], last_run: str
) -> FailureGroup:
    runs = {run for _, run, _, _ in cases}
    newest = cases[-1][3]
    return FailureGroup(
        *kind,
        count=len(cases),
        runs=len(runs),
        first_seen=cases[0][0],
        last_seen=cases[-1][0],
        tables=tuple(Counter(table for _, _, table, _ in cases).most_common()),
        reason=newest.reason,
        remedy=newest.remedy,
        current=last_run in runs,
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun if number == 1 else noun + 's'}"

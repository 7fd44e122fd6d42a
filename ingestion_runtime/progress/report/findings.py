"""What went wrong or is worth a look: failures, warnings, and who moved the rows why. Equal ones stand together."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ingestion_runtime.progress.lines import Line
from ingestion_runtime.progress.report.words import clip, count, moment, visible
from ingestion_runtime.progress.view import FailureView, RunView, TableState, TableView

# A source that is down fails five hundred tables with one message; five hundred different ones nobody reads on a page.
_MOST_KINDS: Final = 40
_MOST_MESSAGES: Final = 8
_MOST_NAMES: Final = 40
_MOST_WARNINGS: Final = 25
_MESSAGE: Final = 2_000
_VALUE: Final = 300
_ITSELF: Final = "\0"  # for a table's name in a message of its own
_STACKS: Final = 150_000  # characters of all stacks together

_MEANINGS: Final = {
    "batch_recovered": "an open batch of an earlier run was found",
    "column_missing": "columns are gone from the source and arrive as NULL",
    "duplicate_keys": "older rows of the same key were left out",
    "horizon_stuck": "rows wait for a transaction that has been open for long",
    "horizon_waived": "rows of open transactions are not waited for",
    "lease_taken_over": "an earlier run never released its lease",
    "null_cursor_rows": "rows have no cursor",
    "precision_judged": "numbers land in another type than was wished",
    "publish_retried": "a publish was refused, and written again",
    "rows_beyond_now": "rows are later than the source's own now, and wait",
    "rows_quarantined": "rows without a key were set aside",
    "schema_drift": "columns differ from those of the target or the snapshot",
    "slice_split": "a read was too large, and went on in halves",
    "state_rebuilt": "the state lagged the table, and was brought up to it",
}


@dataclass(frozen=True, slots=True)
class Names:
    """The tables that something is about: some of them by name, and how many more."""

    shown: tuple[str, ...]
    more: int


@dataclass(frozen=True, slots=True)
class Message:
    """One message and its remedy, and the tables that have it."""

    reason: str
    remedy: str
    tables: Names


@dataclass(frozen=True, slots=True)
class FailureKind:
    """Failures of one type that came about in one way; ``stack`` is that of the first, empty where the page has no room."""

    error_type: str
    stack_hash: str
    exit_code: int
    tables: int
    messages: tuple[Message, ...]
    more_messages: int
    stack: str


@dataclass(frozen=True, slots=True)
class Warnings:
    """The warnings of one kind; ``more`` are not on the page."""

    event: str
    meaning: str
    total: int
    lines: tuple[tuple[str, str, str], ...]
    more: int


@dataclass(frozen=True, slots=True)
class EngineUse:
    """An engine, why it was taken, and for which tables."""

    engine: str
    reason: str
    total: int
    tables: Names


def failure_kinds(run: RunView) -> tuple[tuple[FailureKind, ...], int]:
    """Return the kinds of failures, the most frequent first, and how many more kinds there are."""
    groups: dict[tuple[str, str], list[tuple[TableView, FailureView]]] = {}
    for table in run.tables:
        # A table of an older log may have been both stopped and told of; what it says last stands.
        if table.failure is not None and table.state in (TableState.FAILED, TableState.INTERRUPTED):
            groups.setdefault((table.failure.error_type, table.failure.stack_hash), []).append((table, table.failure))
    ordered = sorted(groups.values(), key=lambda group: -len(group))
    room = _STACKS
    kinds: list[FailureKind] = []
    for group in ordered[:_MOST_KINDS]:
        kind = _kind(group, room)
        room -= len(kind.stack)
        kinds.append(kind)
    return tuple(kinds), max(0, len(ordered) - _MOST_KINDS)


def _kind(group: list[tuple[TableView, FailureView]], room: int) -> FailureKind:
    first = group[0][1]
    told: dict[tuple[str, str], list[str]] = {}
    for table, failure in group:
        alike = (failure.reason.replace(table.name, _ITSELF), failure.remedy.replace(table.name, _ITSELF))
        told.setdefault(alike, []).append(table.name)
    messages = tuple(_message(*alike, tables) for alike, tables in list(told.items())[:_MOST_MESSAGES])
    stack = visible(first.stack, lines=True)
    return FailureKind(
        error_type=visible(first.error_type),
        stack_hash=visible(first.stack_hash),
        exit_code=first.exit_code,
        tables=len(group),
        messages=messages,
        more_messages=max(0, len(told) - _MOST_MESSAGES),
        stack=stack if len(stack) <= room else "",
    )


def _message(reason: str, remedy: str, tables: list[str]) -> Message:
    """Return a message of tables that stands for their names where it names them, if there are several."""
    named = tables[0] if len(tables) == 1 else "{table}"
    return Message(_text(reason.replace(_ITSELF, named)), _text(remedy.replace(_ITSELF, named)), _names(tables))


def warning_kinds(run: RunView) -> tuple[Warnings, ...]:
    """Return the warnings by their kind, in the order of their first."""
    groups: dict[str, list[Line]] = {}
    told = [*run.warnings, *(line for table in run.tables for line in table.warnings)]
    for line in sorted(told, key=lambda line: (line.at, line.seq)):
        groups.setdefault(line.event, []).append(line)
    return tuple(
        Warnings(
            event=visible(event),
            meaning=_MEANINGS.get(event, ""),
            total=len(lines),
            lines=tuple(
                (moment(line.at), visible(line.table or ""), _describe(line.fields)) for line in lines[:_MOST_WARNINGS]
            ),
            more=max(0, len(lines) - _MOST_WARNINGS),
        )
        for event, lines in groups.items()
    )


def engine_uses(run: RunView) -> tuple[EngineUse, ...]:
    """Return the engines with their reasons, the most frequent first."""
    groups: dict[tuple[str, str], list[str]] = {}
    for table in run.tables:
        if table.engine:
            groups.setdefault((table.engine, table.engine_reason), []).append(table.name)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    uses = [EngineUse(visible(e), _text(why), len(names), _names(names)) for (e, why), names in ordered[:_MOST_KINDS]]
    return tuple(uses)


def _names(tables: list[str]) -> Names:
    return Names(tuple(map(visible, tables[:_MOST_NAMES])), max(0, len(tables) - _MOST_NAMES))


def _text(text: str) -> str:
    return visible(clip(text, _MESSAGE), lines=True)


def _describe(fields: Mapping[str, Any]) -> str:
    """Return what a warning says, in one line; changed columns as a sentence each."""
    told = [f"{key.replace('_', ' ')}: {_value(value)}" for key, value in fields.items() if key != "changes"]
    changes = fields.get("changes")
    if isinstance(changes, list):
        told += [_change(change) for change in changes if isinstance(change, dict)]
    return visible(clip("; ".join(told), 3 * _VALUE))


def _change(change: Mapping[str, Any]) -> str:
    before, after = change.get("before") or "nothing", change.get("after") or "nothing"
    refused = ", refused" if change.get("refused") is True else ""
    return f"{change.get('column')} {change.get('change')}: {before} → {after} (policy {change.get('policy')}{refused})"


def _value(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    if isinstance(value, str):
        return clip(value, _VALUE)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return clip(", ".join(value), _VALUE)
    return clip(json.dumps(value, ensure_ascii=False), _VALUE)

"""What the configuration says of one table, and why: key, mode, cursor, partitions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from ingestion_runtime.drafting.cursors import Cursor, CursorJudge, Rejected
from ingestion_runtime.drafting.facts import TableFacts, Unreadable
from ingestion_runtime.drafting.keys import Key, choose_key
from ingestion_runtime.drafting.months import choose_month
from ingestion_runtime.drafting.names import only_grows
from ingestion_runtime.endpoints.jdbc.columns import CLOCK_CURSORS, NUMBER_CURSORS
from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.model.cursor import CursorType

#: Below this many rows a table is read whole rather than by a column that only says when rows came.
SMALL_ROWS = 100_000
#: From this many rows on a partitioned table is read over several connections.
WIDE_ROWS = 1_000_000
_CONNECTIONS = 4


@dataclass(frozen=True, slots=True)
class TableDraft:
    """One table of the configuration. ``settings`` is its entry in the file, without schema and table."""

    name: str
    mode: str
    rows: int | None
    large: bool
    settings: Mapping[str, Any]
    key: Key
    cursor: Cursor | None
    reasons: tuple[str, ...]
    rejected: tuple[Rejected, ...] = ()


@dataclass(frozen=True, slots=True)
class DraftRules:
    """What holds for all tables. ``blind`` says why open transactions cannot be seen (empty: they can, or need not be),
    ``shows``: they have to be; ``shares``: several connections can read one view of the source."""

    blind: str = ""
    shows: bool = True
    shares: bool = False


@dataclass(frozen=True, slots=True)
class _Plan:
    """A mode that fits a table, with what it needs."""

    mode: str
    cursor: Cursor | None
    reasons: tuple[str, ...] = field(default_factory=tuple)


class TableDrafter:
    """Drafts tables, one after the other."""

    def __init__(self, database: Database, judge: CursorJudge, rules: DraftRules) -> None:
        self._database = database
        self._judge = judge
        self._rules = rules

    def draft(self, facts: TableFacts) -> TableDraft | Unreadable:
        """Return the table's entry, or why it cannot be ingested."""
        unfit = _columns_as_text(facts)
        if isinstance(unfit, Unreadable):
            return unfit
        key = choose_key(facts)
        cursors, rejected = self._judge.judge(facts)
        plan = self._plan(facts, key, cursors, rejected)
        cursor = plan.cursor
        settings: dict[str, Any] = {"mode": plan.mode}
        reasons = list(plan.reasons)
        if key.columns:
            settings["primary_keys"] = list(key.columns)
        if cursor is not None:
            settings |= _cursor_settings(cursor)
        line = self._line(facts, key)
        if line is not None:
            settings["partition_read"] = {"partitionColumn": line, "numPartitions": _CONNECTIONS}
            reasons.append(f"partitioned at the source: read over {_CONNECTIONS} connections along {line}")
        month = choose_month(self._database, facts, cursor)
        if month is not None:
            settings["intermediate"] = {"partition": [{"column": month.column, "transform": "month"}]}
            reasons.append(month.reason)
        if unfit:
            settings["columns"] = {name: {"type": "string"} for name in unfit}
            reasons += [f"{name} lands as text: {why}" for name, why in unfit.items()]
        return TableDraft(facts.name, plan.mode, facts.rows, facts.large, settings, key, cursor, tuple(reasons), rejected)

    def _line(self, facts: TableFacts, key: Key) -> str | None:
        """Return the column along which a large table without storage of its own is read over several connections."""
        if not (facts.design.partitioned and self._rules.shares and (facts.rows or 0) >= WIDE_ROWS and key.columns):
            return None
        first = key.columns[0]
        return first if facts.column(first).cursors & (CLOCK_CURSORS | NUMBER_CURSORS) else None

    def _plan(self, facts: TableFacts, key: Key, cursors: tuple[Cursor, ...], rejected: tuple[Rejected, ...]) -> _Plan:
        changing = next((cursor for cursor in cursors if cursor.changes), None)
        arriving = next((cursor for cursor in cursors if not cursor.changes), None)
        hidden = self._rules.blind or (self._rules.shows and facts.raw.elsewhere)
        if hidden and (changing or arriving):
            return _Plan("full", None, (f"open transactions cannot be seen, so no cursor is safe: {hidden}",))
        if key.columns and changing is not None:
            return _Plan("scd1", changing)
        only_added = _only_added(facts)
        if arriving is not None and only_added and changing is None and not _is_small(facts):
            if key.columns:
                return _Plan("scd1", arriving, (only_added,))
            # Without a key nobody could tell which of the rows without a cursor have been read.
            if not facts.column(arriving.column).nullable:
                return _Plan("append", arriving, (only_added,))
        return _Plan("full", None, tuple(_why_full(facts, key, changing, arriving, rejected)))


def without_cursor(draft: TableDraft, reason: str) -> TableDraft:
    """Return the same table read whole, because its cursor cannot be written into a configuration."""
    kept = {name: value for name, value in draft.settings.items() if name in ("primary_keys", "columns", "partition_read")}
    return replace(draft, mode="full", settings={"mode": "full", **kept}, cursor=None, reasons=(*draft.reasons, reason))


def _cursor_settings(cursor: Cursor) -> dict[str, Any]:
    settings: dict[str, Any] = {"incremental_column": cursor.column, "incr_col_type": cursor.kind.value}
    if cursor.zone is not None:
        settings["cursor_timezone"] = cursor.zone
    if cursor.lag:
        settings["lag_seconds"] = cursor.lag
    return settings


def _columns_as_text(facts: TableFacts) -> dict[str, str] | Unreadable:
    """Return the columns whose values only land as text, and why; Unreadable where there are some that do not even so."""
    found: dict[str, str] = {}
    for column in facts.columns:
        sample = facts.sample.column(column.name)
        if not sample.unfit:
            continue
        why = f"{sample.unfit:,} values are {column.reason}"
        # A number that lands as text already, and text that is none, have no other way.
        if sample.unfit_as_text != 0 or pa.types.is_string(column.lands_as):
            return Unreadable(facts.listed, f"{column.name}: {why}; correct them, or convert the column in query_sql")
        found[column.name] = why
    return found


def _only_added(facts: TableFacts) -> str:
    """Return why rows of the table seem to be only ever added; empty where they do not.

    The statistics can only say no: in a database that was restored last night no row of any table was ever updated.
    """
    activity = facts.design.activity
    if not only_grows(facts.listed.table) or (activity is not None and (activity.updated or activity.deleted)):
        return ""
    counted = f", and of {activity.inserted:,} none was changed since the server counts" if activity is not None else ""
    return f"rows are only added, by the table's name{counted}"


def _is_small(facts: TableFacts) -> bool:
    return facts.rows is not None and facts.rows < SMALL_ROWS


def _why_full(
    facts: TableFacts, key: Key, changing: Cursor | None, arriving: Cursor | None, rejected: tuple[Rejected, ...]
) -> Iterator[str]:
    zoneless = next((one for one in rejected if one.zone), None)
    if changing is not None:
        yield f"{changing.column} moves with changes, but there is no key to merge by"
    elif zoneless is not None and key.columns:
        yield f"{zoneless.column} {zoneless.reason}: give --cursor-timezone and it is read incrementally"
    elif arriving is not None and arriving.kind is not CursorType.INT:
        yield f"{arriving.column} only says when a row came: changes would be missed"
    else:
        yield "no column moves with every change"
    if facts.large:
        yield "a large table, read whole in every run"

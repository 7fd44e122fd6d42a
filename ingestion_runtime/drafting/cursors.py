"""The incremental column of a table: which ones there are, which is taken, and why the others are not."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import pyarrow as pa

from ingestion_runtime.drafting.facts import TableFacts
from ingestion_runtime.drafting.names import Role, names_utc, role_of
from ingestion_runtime.drafting.sampling import beyond_now
from ingestion_runtime.endpoints.jdbc.columns import CLOCK_CURSORS, SourceColumn
from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.design import ColumnDesign
from ingestion_runtime.model.cursor import CursorType
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.planning.horizon import fold_seconds

#: Rows without a cursor are looked at in every run: of more than this share of them a cursor spares little.
MOST_NULLS = 0.2
#: How far behind a cursor is looked again that an application writes: its clock, and the time until it commits.
APPLICATION_LAG = 600

_UTC_SQL = re.compile(r"\b(?:utc|gmt)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A column by which a table can be read incrementally: what the configuration says of it, and why it is good.

    ``zone`` is the zone of its wall clock (None: it needs none). ``changes``: it moves with every change of a row, else only
    with new rows.
    """

    column: str
    kind: CursorType
    changes: bool
    zone: str | None
    lag: int
    reasons: tuple[str, ...]
    rank: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """A column that looks like a cursor and is not taken, and why. ``zone``: only its time zone is missing."""

    column: str
    reason: str
    zone: bool = False


@dataclass(frozen=True, slots=True)
class CursorRules:
    """What holds for all tables of a source. ``zone`` is what the operator says of clocks without one (None: nothing);
    ``timeless``: the source needs no zone, for its writers take turns."""

    zone: str | None
    timeless: bool


class CursorJudge:
    """Looks for cursors. Asks the source only for what an index answers at once."""

    def __init__(self, database: Database, rules: CursorRules, today: datetime) -> None:
        self._database = database
        self._rules = rules
        self._today = today.date()

    def judge(self, facts: TableFacts) -> tuple[tuple[Cursor, ...], tuple[Rejected, ...]]:
        """Return the cursors that a table has, the best first, and the columns that only look like one."""
        found: list[Cursor] = []
        rejected: list[Rejected] = []
        for column in facts.columns:
            for answer in self._answers(facts, column):
                if isinstance(answer, Cursor):
                    found.append(answer)
                else:
                    rejected.append(answer)
        return tuple(sorted(found, key=lambda cursor: -cursor.rank)), tuple(rejected)

    def _answers(self, facts: TableFacts, column: SourceColumn) -> Iterator[Cursor | Rejected]:
        design = facts.design.column(column.name)
        role = role_of(column.name, facts.listed.table)
        if design.kept_by:
            role = Role.CHANGE
        kind = _kind_of(facts, column, role)
        if role is Role.PART and kind in CLOCK_CURSORS:
            yield Rejected(column.name, "tells of changes of a part of the row only, by its name")
        elif kind is None and role is Role.CHANGE:
            yield Rejected(column.name, _no_clock(facts, column))
        elif kind is not None and (role in (Role.CHANGE, Role.CREATION) or design.counted):
            problem = self._problem(facts, column, kind)
            yield Rejected(column.name, problem) if problem else self._cursor(facts, column, kind, role)

    def _problem(self, facts: TableFacts, column: SourceColumn, kind: CursorType) -> str:
        """Return why the values of a column make no cursor; empty where they do."""
        sample = facts.sample.column(column.name)
        nulls, future = self._null_share(facts, column), sample.future.get(kind, 0)
        if misfits := sample.misfits.get(kind, 0):
            problem = f"holds {misfits:,} values that are not spelled as a {kind}"
        elif sample.unfit:
            problem = f"holds {sample.unfit:,} values that cannot land: {column.reason}"
        elif facts.sample.rows and nulls > MOST_NULLS:
            problem = f"is NULL in {nulls:.0%} of the rows"
        elif future:
            problem = f"holds {future:,} values in the future, which would not be read until then"
        elif facts.large and facts.design.leads_index(column.name) and self._is_beyond(facts, column, kind):
            problem = "holds values in the future, which would not be read until then"
        else:
            problem = ""
        return problem

    def _is_beyond(self, facts: TableFacts, column: SourceColumn, kind: CursorType) -> bool:
        spec = TableSpec(facts.listed.schema, facts.listed.table, "full", self._database.spec.name)
        return beyond_now(self._database, spec, column, kind)

    def _null_share(self, facts: TableFacts, column: SourceColumn) -> float:
        if not column.nullable or not facts.sample.rows:
            return 0.0
        known = facts.design.column(column.name).null_fraction
        seen = 1 - facts.sample.column(column.name).filled / facts.sample.rows
        return seen if known is None or not facts.large else known

    def _cursor(self, facts: TableFacts, column: SourceColumn, kind: CursorType, role: Role) -> Cursor | Rejected:
        design = facts.design.column(column.name)
        zone = None
        if kind in CLOCK_CURSORS and not self._rules.timeless and getattr(column.lands_as, "tz", None) is None:
            zone = self._rules.zone or _told_zone(column, design)
            if zone is None:
                return Rejected(column.name, "has no time zone, and nothing says which one it shows", zone=True)
        indexed = facts.design.leads_index(column.name)
        own = bool(design.kept_by) or design.counted or (role is Role.CREATION and bool(design.default))
        lag = 0 if own or kind is CursorType.INT else APPLICATION_LAG
        if zone is not None:
            lag = max(lag, fold_seconds(ZoneInfo(zone), kind, self._today))
        changes = role is Role.CHANGE
        rank = 100 * changes + 40 * bool(design.kept_by) + 20 * (kind in _FINE) + 10 * indexed + 5 * (not column.nullable)
        reasons = tuple(self._reasons(facts, column, kind, role, zone, lag))
        return Cursor(column.name, kind, changes, zone, lag, reasons, rank)

    def _reasons(
        self, facts: TableFacts, column: SourceColumn, kind: CursorType, role: Role, zone: str | None, lag: int
    ) -> Iterator[str]:
        design = facts.design.column(column.name)
        if design.kept_by:
            yield f"kept by {design.kept_by}"
        elif role is Role.CHANGE:
            yield "called like a time of change; nothing in the database makes sure of it"
        elif design.counted:
            yield "counted up by the server"
        else:
            yield "called like a time of arrival"
        yield f"{column.native_type or 'no type'}{' NOT NULL' if not column.nullable else ''}, read as {kind}"
        nulls = self._null_share(facts, column)
        if nulls:
            yield f"{nulls:.1%} NULL"
        yield "indexed" if facts.design.leads_index(column.name) else "no index: each run looks through the table"
        if zone is not None:
            yield f"shows {zone}, as you say" if self._rules.zone else f"shows {zone}, by its name or by what sets it"
        if lag:
            yield f"looked at again {lag} s back"


_FINE = frozenset({CursorType.TIMESTAMP, CursorType.EPOCH_SECONDS, CursorType.EPOCH_MILLIS})


def _kind_of(facts: TableFacts, column: SourceColumn, role: Role) -> CursorType | None:
    """Return as what a column can be a cursor; None: not as a clock, nor as a number that the server counts up."""
    sample = facts.sample.column(column.name)
    for kind in (CursorType.TIMESTAMP, CursorType.DATE):
        if kind not in column.cursors:
            continue
        # Text may hold times, and then all of it is spelled so.
        if not pa.types.is_string(column.lands_as) or (sample.filled and not sample.misfits.get(kind)):
            return kind
    if CursorType.INT not in column.cursors:
        return None
    if facts.design.column(column.name).counted:
        return CursorType.INT
    return sample.epoch() if role in (Role.CHANGE, Role.CREATION) else None


def _no_clock(facts: TableFacts, column: SourceColumn) -> str:
    native = column.native_type or "without a type"
    if CursorType.INT in column.cursors:
        empty = not facts.sample.column(column.name).filled
        return f"is {native}, {'and empty: ' if empty else ''}no number of seconds or milliseconds since 1970 by its values"
    return f"is {native}, which the source does not order as time"


def _told_zone(column: SourceColumn, design: ColumnDesign) -> str | None:
    """Return UTC where the column's name says so, or everything that sets it; never a guess."""
    if names_utc(column.name):
        return "UTC"
    setters: Sequence[str] = [sql for sql in (design.kept_as, design.default) if sql]
    return "UTC" if design.kept_by and setters and all(map(_UTC_SQL.search, setters)) else None

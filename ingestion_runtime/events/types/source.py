"""Events that say something about a source: its columns, its cursor, its open transactions."""

from dataclasses import dataclass
from typing import ClassVar

from ingestion_runtime.events.event import Event
from ingestion_runtime.model.schema import ColumnChange


@dataclass(frozen=True, slots=True)
class ColumnMissing(Event):
    """Columns of the snapshot are gone from the source and arrive as NULL."""

    name: ClassVar[str] = "column_missing"
    level: ClassVar[str] = "warning"

    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SchemaDrift(Event):
    """The source's columns differ from the target's, or from the snapshot. Refused ones stopped the table."""

    name: ClassVar[str] = "schema_drift"
    level: ClassVar[str] = "warning"

    changes: tuple[ColumnChange, ...]


@dataclass(frozen=True, slots=True)
class PrecisionJudged(Event):
    """A column does not land in the type that was wished or declared; ``reason`` says why, with the profile."""

    name: ClassVar[str] = "precision_judged"
    level: ClassVar[str] = "warning"

    column: str
    wished: str
    landed: str
    policy: str
    reason: str


@dataclass(frozen=True, slots=True)
class PrecisionNoted(Event):
    """The same, where the policy ``text`` has nothing against it."""

    name: ClassVar[str] = "precision_noted"

    column: str
    wished: str
    landed: str
    policy: str
    reason: str


@dataclass(frozen=True, slots=True)
class RowsBeyondNow(Event):
    """Rows later than the source's own now; they are read once their time has come."""

    name: ClassVar[str] = "rows_beyond_now"
    level: ClassVar[str] = "warning"

    rows: int


@dataclass(frozen=True, slots=True)
class HorizonHeld(Event):
    """Rows above the safe horizon wait for transactions that are still open; ``bound`` is the largest cursor that is
    read, ``behind_seconds`` how far the horizon lies behind the source's now (None: nobody knows)."""

    name: ClassVar[str] = "horizon_held"

    rows: int
    bound: str
    behind_seconds: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class HorizonStuck(Event):
    """The same, for longer than transactions usually last: someone should look after the one that is open."""

    name: ClassVar[str] = "horizon_stuck"
    level: ClassVar[str] = "warning"

    rows: int
    bound: str
    behind_seconds: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class HorizonWaived(Event):
    """By configuration no horizon is taken: rows of open transactions are covered by the lag alone (``lag``), or not at
    all (``off``)."""

    name: ClassVar[str] = "horizon_waived"
    level: ClassVar[str] = "warning"

    policy: str
    lag: int


@dataclass(frozen=True, slots=True)
class NullCursorRows(Event):
    """Rows without a cursor, and the policy that was applied to them."""

    name: ClassVar[str] = "null_cursor_rows"
    level: ClassVar[str] = "warning"

    rows: int
    policy: str

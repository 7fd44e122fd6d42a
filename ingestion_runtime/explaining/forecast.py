"""What a run would do with a table now, as plain values: the document of ``ingestion explain``."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from ingestion_runtime.model.schema import ColumnChange


class Action(StrEnum):
    """``finishes``: an earlier run left a batch open, which comes first; ``fails``: the table would stop, as things are;
    ``unknown``: only an engine could tell."""

    READS = "reads"
    FINISHES = "finishes"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    FAILS = "fails"
    UNKNOWN = "unknown"


class Piece(StrEnum):
    """What a slice covers: cursor values above ``low`` up to ``high``, those from ``low`` to ``high`` once more, all rows,
    or no rows but the keys that the source no longer has."""

    WINDOW = "window"
    REREAD = "reread"
    WHOLE = "whole"
    TOMBSTONES = "tombstones"


@dataclass(frozen=True, slots=True)
class SliceForecast:
    """One slice and the statements that read it, over at most so many connections at a time.

    ``estimated_rows`` was counted at the source, or is its catalog's guess for a whole table; None: nobody knows.
    ``keys`` limits it to a range of the primary key.
    """

    ordinal: int
    covers: Piece
    low: str | None
    high: str | None
    nulls: bool
    keys: str | None
    estimated_rows: int | None
    connections: int
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ColumnForecast:
    """A column with its type in the source's words and in the lake's; ``note`` says what is special about it."""

    name: str
    source_type: str
    lands_as: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a table would fail, and the exit code of a run because of it."""

    type: str
    message: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run would do with one table. What is not known is None or empty, as everything behind the reason to stop.

    ``publish`` is one of ``new table``, ``replace``, ``merge``, ``append``, ``overwrite`` and ``raw only``; ``changes`` are
    the differences of the columns with what the policies make of them; ``notes`` are sentences for people.
    """

    table: str
    mode: str
    connection: str
    target: str
    load_date: date
    action: Action
    reason: str = ""
    reload: bool = False
    phases: tuple[str, ...] = ()
    open_batch: str | None = None
    sequence: int = 0
    watermark: str | None = None
    lower: str | None = None
    upper: str | None = None
    estimated_rows: int | None = None
    slices: tuple[SliceForecast, ...] = ()
    columns: tuple[ColumnForecast, ...] = ()
    changes: tuple[ColumnChange, ...] = ()
    engine: str | None = None
    engine_reason: str = ""
    publish: str | None = None
    deletes: str = ""
    compares_keys: bool = False
    lease: str | None = None
    notes: tuple[str, ...] = ()
    failure: Stop | None = None

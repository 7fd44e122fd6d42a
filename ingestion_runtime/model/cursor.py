"""Cursors: the values by which an incremental table advances."""

from dataclasses import dataclass
from enum import StrEnum


class CursorType(StrEnum):
    """What an incremental column holds."""

    TIMESTAMP = "timestamp"
    DATE = "date"
    EPOCH_SECONDS = "epoch_seconds"
    EPOCH_MILLIS = "epoch_millis"
    INT = "int"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Watermark:
    """A cursor value in canonical spelling.

    ``timestamp`` is ``YYYY-MM-DD HH:MM:SS.ffffff`` (UTC where the column has a zone, the column's own wall clock where
    it has none), ``date`` is ``YYYY-MM-DD``, ``text`` is the value itself, the others are decimal integers.
    Comparing two text watermarks is the source's business (its collation), never Python's.
    """

    type: CursorType
    literal: str


@dataclass(frozen=True, slots=True)
class Interval:
    """The cursor values above ``low`` (exclusive) up to ``high`` (inclusive)."""

    low: Watermark
    high: Watermark


@dataclass(frozen=True, slots=True)
class Span:
    """The cursor values above ``low``, or with ``takes_low`` from it on, up to ``high`` (inclusive)."""

    low: Watermark
    high: Watermark
    takes_low: bool


@dataclass(frozen=True, slots=True)
class ReRead:
    """Rows at or below the watermark that may have changed since they were read.

    The cursor values from ``low`` to ``high``, both inclusive: the ties at the watermark and the lag window. Without
    ``low`` everything up to ``high``, without both none. With ``nulls`` the rows without a cursor belong to the set too.
    """

    low: Watermark | None
    high: Watermark | None
    nulls: bool


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Count and order-independent content hash of a re-read set, taken at the source by one query."""

    subject: ReRead
    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The rows whose column ``column`` lies above ``low`` (exclusive) up to ``high`` (inclusive); None: no bound there.

    The first range of a cover also takes the rows without a value, which a primary key should not have.
    """

    column: str
    low: Watermark | None
    high: Watermark | None


@dataclass(frozen=True, slots=True)
class Slice:
    """One piece of work for a source: a window of the cursor, a re-read set, or (neither given) the whole table.

    A later ordinal holds newer cursor values: where a key occurs in two slices, the later one wins. ``keys`` takes of
    that work only the rows in a range of the primary key's first column. ``tombstones`` is no read of rows: the keys that
    the source no longer has are looked for, once everything else is staged.
    """

    ordinal: int
    window: Interval | None = None
    reread: ReRead | None = None
    keys: KeyRange | None = None
    tombstones: bool = False


@dataclass(frozen=True, slots=True)
class CursorBounds:
    """What the source says of its cursor, in one statement.

    ``low`` and ``high`` are the smallest and the largest cursor above ``after`` and not beyond the source's own now
    (None: there is none); ``beyond`` counts rows later than now, ``nulls`` rows without a cursor. Under a ceiling both
    ends lie at or below it, and ``held`` counts the rows above it that are not beyond now.
    """

    low: Watermark | None
    high: Watermark | None
    beyond: int
    nulls: int
    held: int = 0

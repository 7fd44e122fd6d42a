"""What a source says of its tables."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True)
class ListedTable:
    """A table or view that a reader may see. ``estimated_rows`` is the catalog's guess, None where it has none."""

    schema: str
    table: str
    kind: Literal["table", "view"]
    estimated_rows: int | None


@dataclass(frozen=True, slots=True)
class Listing:
    """What a database lists, and whether letter case does not tell its names apart."""

    tables: tuple[ListedTable, ...]
    ignores_case: bool


@dataclass(frozen=True, slots=True)
class ColumnSnapshot:
    """One column: its type in the source's own words, and the pyarrow type in which it lands (``str(type)``).

    ``identity`` is what stays when the source renames the column, None where the source has no such thing; ``former``
    are names under which it was accepted before, newest first. ``number``: an exact number, whatever it lands as.
    ``gone``: no longer at the source; kept so that it goes on arriving as NULL.
    """

    name: str
    native_type: str
    landed_type: str
    nullable: bool
    identity: str | None = None
    former: tuple[str, ...] = ()
    number: bool = False
    gone: bool = False


@dataclass(frozen=True, slots=True)
class TableSnapshot:
    """A table as its catalog describes it. ``estimated_rows`` and ``estimated_bytes`` (in the source's own storage) are the
    catalog's guess, None where it has none."""

    schema: str
    table: str
    columns: tuple[ColumnSnapshot, ...]
    primary_keys: tuple[str, ...]
    estimated_rows: int | None
    taken_at: datetime
    estimated_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """One difference between the source and what was accepted before, as people are told of it.

    ``change`` and ``policy`` are the configuration's words (a ``ChangeKind`` and what is set for it); ``refused``: it
    stopped the table, and ``advice`` says what to do.
    """

    column: str
    before: str
    after: str
    change: str
    policy: str
    refused: bool = False
    advice: str = ""


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """What one aggregate query at the source said of a column.

    ``unfit`` counts the values that the type asked about does not hold. ``whole`` and ``fraction`` are the digits in
    use before and after the point, ``low`` and ``high`` the smallest and largest finite value as text; None where the
    source could not say.
    """

    column: str
    native_type: str
    asked: str
    reason: str
    rows: int
    nulls: int
    unfit: int
    nans: int | None = None
    infinities: int | None = None
    whole: int | None = None
    fraction: int | None = None
    low: str | None = None
    high: str | None = None

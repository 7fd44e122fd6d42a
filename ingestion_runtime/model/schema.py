"""What a source says of one of its tables."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ColumnSnapshot:
    """One column: its type in the source's own words, and the pyarrow type in which it lands (``str(type)``)."""

    name: str
    native_type: str
    landed_type: str
    nullable: bool


@dataclass(frozen=True, slots=True)
class TableSnapshot:
    """A table as its catalog describes it. ``estimated_rows`` is the catalog's guess, None where it has none."""

    schema: str
    table: str
    columns: tuple[ColumnSnapshot, ...]
    primary_keys: tuple[str, ...]
    estimated_rows: int | None
    taken_at: datetime

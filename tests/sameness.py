"""Does a published table hold what stands in its source: every row, every column, as often as there."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from pyiceberg.table import Table

_MIDNIGHT = " 00:00:00"


def published(table: Table, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the rows of a published table, in the order of these columns."""
    found = table.scan().to_arrow()
    return list(zip(*(found.column(name).to_pylist() for name in columns), strict=True))


def differing(source: Iterable[Sequence[Any]], target: Iterable[Sequence[Any]]) -> int:
    """Return how many rows one side has and the other does not."""
    ours, theirs = Counter(map(_plain_row, source)), Counter(map(_plain_row, target))
    return (ours - theirs).total() + (theirs - ours).total()


def _plain_row(row: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(map(_plain, row))


def _plain(value: Any) -> Any:
    """A value as both sides can be made to spell it: SQLite has neither dates nor decimals nor booleans."""
    match value:
        case bool() | int() | float() | Decimal():
            return Decimal(str(float(value) if isinstance(value, bool) else value)).normalize()
        case datetime():
            moment = value.replace(tzinfo=None).isoformat(sep=" ")
            return moment.removesuffix(_MIDNIGHT)
        case date():
            return value.isoformat()
        case str():
            return value.removesuffix(".000").removesuffix(_MIDNIGHT)
        case bytearray() | memoryview():
            return bytes(value)
    return value

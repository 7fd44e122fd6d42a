"""How a table is built beyond its columns: indexes, defaults, what its server keeps by itself, and what happens to it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class IndexDesign:
    """An ordered index over whole columns and all rows. ``unique``: no two rows have the same values without a NULL."""

    name: str
    columns: tuple[str, ...]
    unique: bool


@dataclass(frozen=True, slots=True)
class ColumnDesign:
    """What the catalog says of a column.

    ``default`` is SQL, empty where there is none. ``counted``: the server hands out its values, one after the other.
    ``kept_by`` names what sets it to the present time at every update, in words (empty: nothing that the catalog knows),
    and ``kept_as`` is the SQL by which that is done. ``null_fraction`` is the share of NULLs by the server's statistics.
    """

    default: str = ""
    counted: bool = False
    kept_by: str = ""
    kept_as: str = ""
    null_fraction: float | None = None


@dataclass(frozen=True, slots=True)
class Activity:
    """Rows that were inserted, updated and deleted since the server began to count."""

    inserted: int
    updated: int
    deleted: int


@dataclass(frozen=True, slots=True)
class TableDesign:
    """The design of one table. ``partitioned``: it has no storage of its own, but parts that have."""

    columns: Mapping[str, ColumnDesign] = field(default_factory=dict)
    indexes: tuple[IndexDesign, ...] = ()
    partitioned: bool = False
    activity: Activity | None = None

    def column(self, name: str) -> ColumnDesign:
        """Return what is known of a column; nothing, where the catalog says nothing."""
        return self.columns.get(name, ColumnDesign())

    def leads_index(self, name: str) -> bool:
        """Return whether an index begins with the column, so that its smallest and largest value are found at once."""
        return any(index.columns[:1] == (name,) for index in self.indexes)


_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_BRANCH = re.compile(r"\b(?:if|case|when|unless)\b", re.IGNORECASE)
_CLOCK = re.compile(
    r"\b(?:now|current_timestamp|clock_timestamp|statement_timestamp|transaction_timestamp|localtimestamp|sysdate"
    r"|utc_timestamp|datetime|strftime|julianday|unixepoch|unix_timestamp)\b",
    re.IGNORECASE,
)
_NAME = r'(?:"([^"]+)"|`([^`]+)`|\[([^\]]+)\]|(\w+))'
_NEW_ROW = re.compile(rf"\bnew\s*\.\s*{_NAME}\s*:?=\s*([^;]+)", re.IGNORECASE)
_SET_LIST = re.compile(rf"(?:\bset|,)\s*{_NAME}\s*=\s*([^;]+?)(?=,\s*\w+\s*=|\bwhere\b|;|$)", re.IGNORECASE)


def clocks_in_new_row(body: str) -> dict[str, str]:
    """Return the columns that a trigger's body sets to the present time in ``NEW``, with the SQL that does.

    None at all where the body branches: then it may not do so at every update.
    """
    return _clocks(_NEW_ROW, body)


def clocks_in_update(body: str) -> dict[str, str]:
    """Return the same for a trigger that updates the row once more with ``UPDATE ... SET``."""
    return _clocks(_SET_LIST, body)


def _clocks(pattern: re.Pattern[str], body: str) -> dict[str, str]:
    plain = _COMMENT.sub(" ", body)
    if _BRANCH.search(plain):
        return {}
    found = {}
    for match in pattern.finditer(plain):
        name = next(part for part in match.groups()[:4] if part is not None)
        if _CLOCK.search(match[5]):
            found[name] = " ".join(match[5].split())
    return found

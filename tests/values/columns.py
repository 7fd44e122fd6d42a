"""Columns of a source table under test: what is put in, where it must land, and how a landed value is spelled.

Nothing here imports the program: literals come from a seeded generator, expected values from the database's client.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

GENERATED = 1_000
_NULL_SHARE = 0.05
_SHOWN = 12  # differences a failure lists

Printed = Mapping[int, Mapping[str, str | None]]


def unchanged(text: str) -> str:
    """Return the text: the client prints it in the very form in which the value is spelled."""
    return text


@dataclass(frozen=True, slots=True)
class Column:
    """One column. ``generate`` and ``edges`` give SQL literals, ``lands`` is Iceberg's name of the type.

    A landed value goes through ``spell``, a printed one through ``normal``; both must then be one text. ``shown`` is
    the expression that the client prints, over the column's name.
    """

    name: str
    declared: str
    lands: str
    generate: Callable[[random.Random], str]
    edges: tuple[str, ...] = ()
    spell: Callable[[Any], str] = str
    normal: Callable[[str], str] = unchanged
    shown: str = "{}"

    @property
    def written(self) -> bool:
        """Whether INSERT names the column: a generated one has a value of its own."""
        return "GENERATED ALWAYS" not in self.declared


@dataclass(frozen=True, slots=True)
class Row:
    """A row to insert: its key and one literal a written column."""

    id: int
    literals: tuple[str, ...]


def rows(columns: Sequence[Column], generation: int) -> list[Row]:
    """Return edges first, a thousand generated rows after them; each generation puts other values under every key."""
    written = [column for column in columns if column.written]
    edges = max(len(column.edges) for column in written) + 1
    made = [_values(column, edges, generation) for column in written]
    return [Row(number, literals) for number, literals in enumerate(zip(*made, strict=True), start=1)]


def _values(column: Column, edges: int, generation: int) -> list[str]:
    source = random.Random(f"{column.name}/{generation}")  # noqa: S311 - a sample, no secret
    known = ["NULL", *column.edges]
    listed = [known[(place + generation) % len(known)] for place in range(len(known))]
    wanted = edges + GENERATED - len(listed)
    more = ["NULL" if source.random() < _NULL_SHARE else column.generate(source) for _ in range(wanted)]
    return listed + more


def differences(columns: Sequence[Column], printed: Printed, landed: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what differs, as ``row, column: expected ..., found ...``; nothing when every row and value is equal."""
    found = {row["id"]: row for row in landed}
    said = []
    if len(found) != len(landed) or found.keys() != printed.keys():
        missing, extra = sorted(printed.keys() - found.keys()), sorted(found.keys() - printed.keys())
        said.append(f"{len(landed)} rows landed, {len(printed)} printed; missing {missing[:9]}, not printed {extra[:9]}")
    for key in sorted(found.keys() & printed.keys()):
        for column in columns:
            shown, value = printed[key][column.name], found[key][column.name]
            expected = None if shown is None else column.normal(shown)
            actual = None if value is None else column.spell(value)
            if expected != actual:
                said.append(f"row {key}, column {column.name} ({column.declared}): expected {expected!r}, found {actual!r}")
    return said


def complaint(said: Sequence[str]) -> str:
    """Return differences as a failing test shows them."""
    return "\n".join([f"{len(said)} differences", *said[:_SHOWN]])

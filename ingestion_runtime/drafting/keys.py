"""The primary key of a table: the catalog's own, or a unique index that serves as one."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from ingestion_runtime.drafting.facts import TableFacts


@dataclass(frozen=True, slots=True)
class Key:
    """Columns that tell rows apart, and how that is known. Without columns the reason says why there is no key."""

    columns: tuple[str, ...]
    reason: str


def choose_key(facts: TableFacts) -> Key:
    """Return the key of a table: one that has neither NULLs nor numbers of which two spellings would be two keys."""
    refused: list[str] = []
    for columns, reason in _candidates(facts):
        problem = _problem(facts, columns)
        if not problem:
            return Key(columns, reason)
        refused.append(f"{reason}: {problem}")
    return Key((), "; ".join(refused) or "no primary key, and no unique index over columns that are NOT NULL")


def _candidates(facts: TableFacts) -> Iterator[tuple[tuple[str, ...], str]]:
    if facts.raw.primary_keys:
        yield facts.raw.primary_keys, "primary key"
    nullable = {column.name for column in facts.columns if column.nullable}
    unique = [index for index in facts.design.indexes if index.unique and not nullable & set(index.columns)]
    # The one that says it with the fewest and shortest values.
    for index in sorted(unique, key=lambda index: (len(index.columns), _width(facts, index.columns), index.name)):
        if index.columns != facts.raw.primary_keys:
            yield index.columns, f"no primary key: unique index {index.name} over NOT NULL columns"


def _width(facts: TableFacts, columns: tuple[str, ...]) -> int:
    return sum(not pa.types.is_integer(facts.column(name).lands_as) for name in columns)


def _problem(facts: TableFacts, columns: tuple[str, ...]) -> str:
    for name in columns:
        column = next((column for column in facts.columns if column.name == name), None)
        if column is None:
            return f"{name} cannot be read"
        if pa.types.is_floating(column.lands_as):
            return f"{name} is {column.native_type}, and keys with a floating point cannot be compared exactly"
        if column.nullable or facts.sample.column(name).filled < facts.sample.rows:
            empty = facts.sample.rows - facts.sample.column(name).filled
            if empty:
                return f"{name} is NULL in {empty:,} rows"
    return ""

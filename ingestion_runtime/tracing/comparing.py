"""The rows of a key at the source against those in the target, column by column."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.tracing.evidence import SourceFinding, SourceRow, TargetFinding, Values
from ingestion_runtime.tracing.values import is_same, show

Difference = tuple[str, str | None, str | None]


def compare(source: SourceFinding, target: TargetFinding, table: TableSpec) -> tuple[Difference, ...]:
    """Return in which columns that both sides have they differ; values of masked columns are not shown.

    Of several rows of one key at the source the newest counts, and the largest where that is not told; without a key all of
    them have to be in the target, as often as they are at the source, and no others.
    """
    if not table.primary_keys:
        return tuple(_in_number(source, target))
    stands = target.rows[0]
    rows = [row for row in source.rows if row.cursor == source.rows[0].cursor]
    # Which of several equally new rows wins is the merge's business: whichever stands there is right.
    found = [tuple(_between(row.values, stands, table)) for row in rows]
    best = min(found, key=len)
    copies = len(target.rows) - 1
    return (*best, ("its rows", "1", str(copies + 1))) if copies else best


def missing_first(source: SourceFinding, target: TargetFinding) -> SourceFinding:
    """Return the rows of a table without a key with those in front that the target does not have."""
    names = [name for name in target.rows[0] if name in source.rows[0].values]
    stands = Counter(tuple(repr(row[name]) for name in names) for row in target.rows)
    missing: list[SourceRow] = []
    found: list[SourceRow] = []
    for row in source.rows:
        spelled = _row(row, names)
        (found if stands[spelled] > 0 else missing).append(row)
        stands[spelled] -= 1
    return replace(source, rows=(*missing, *found))


def _between(at_source: Values, in_target: Values, table: TableSpec) -> Iterator[Difference]:
    for name in (name for name in in_target if name in at_source):
        one, other = at_source[name], in_target[name]
        if not _equal(one, other):
            shown = table.privacy.mask_of(name) is None and not table.privacy.excludes(name)
            yield (name, show(one), show(other)) if shown else (name, None, None)


def _equal(one: Any, other: Any) -> bool:
    if is_same(one, other):
        return True
    # An integer that was widened into a decimal, or a float into a double, is the same number.
    numbers = (int, Decimal, float)
    if isinstance(one, numbers) and isinstance(other, numbers) and not isinstance(one, bool) and not isinstance(other, bool):
        return bool(one == other)
    # A column that was a number when it was read and is text by now, or the other way round: its text is the same one.
    return isinstance(one, str) != isinstance(other, str) and None not in (one, other) and str(one) == str(other)


def _in_number(source: SourceFinding, target: TargetFinding) -> Iterator[Difference]:
    names = [name for name in target.rows[0] if name in source.rows[0].values]
    wanted = Counter(_row(row, names) for row in source.rows)
    stands = Counter(tuple(repr(row[name]) for name in names) for row in target.rows)
    if wanted - stands:
        yield "its rows", str(wanted.total()), str((wanted & stands).total())
    elif stands - wanted:
        yield "its rows", str(wanted.total()), str(stands.total())


def _row(row: SourceRow, names: list[str]) -> tuple[str, ...]:
    return tuple(repr(row.values[name]) for name in names)

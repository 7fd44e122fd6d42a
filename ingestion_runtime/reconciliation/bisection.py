"""Finding the keys that differ without moving the table: buckets of keys' hashes are compared, and only rows of buckets
that differ are moved, as hashes.

A bucket holds the keys whose hashes have the same digits from the 12th on, and is known by the number of its rows and the
sum of 44 bits of the hash of each. Four digits make 65,536 buckets; while a differing one holds more rows than are worth
moving, it is divided.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Final

from ingestion_runtime.model.comparison import Basis, ComparedColumn, ComparedRows, HashedRow, RowBucket
from ingestion_runtime.reconciliation.both import ask_both
from ingestion_runtime.reconciliation.manners import Spelled, compare_rows, readable
from ingestion_runtime.reconciliation.report import Bisection, KeyDifference, KeyFault, ValueDifference

_FIRST: Final = 4
_MOST_DIGITS: Final = 8  # 4 thousand million buckets
# Dividing a bucket once more costs both sides a look at all their keys' hashes; moving 64 rows of 60 bytes does not matter.
_WORTH_MOVING: Final = 64
# How many rows of both sides are held at a time while they are compared by key: some 80 MiB.
_HELD: Final = 200_000
#: Of so many changed keys it is said in which columns they differ, and how.
EXPLAINED: Final = 20

_ByKey = dict[str, list[HashedRow]]


@dataclass(slots=True)
class _Found:
    """Keys that differ, as they are found. Those with the smallest hashes are listed, so that the list does not depend on
    the order in which a side gives its rows."""

    most: int
    counts: dict[KeyFault, int] = field(default_factory=lambda: defaultdict(int))
    listed: list[tuple[str, KeyDifference]] = field(default_factory=list)
    moved: int = 0

    def add(self, key_hash: str, difference: KeyDifference) -> None:
        self.counts[difference.fault] += 1
        self.listed.append((key_hash, difference))
        if len(self.listed) > 2 * self.most + 1:
            self._shorten()

    def _shorten(self) -> None:
        self.listed.sort(key=lambda item: item[0])
        del self.listed[self.most :]

    def settled(self) -> list[tuple[str, KeyDifference]]:
        self._shorten()
        return self.listed


@dataclass(frozen=True, slots=True)
class FirstLook:
    """The largest buckets: of those that differ the rows that both sides have in each, and the rows of all buckets."""

    differing: Mapping[str, int]
    rows: int


def look(source: ComparedRows, target: ComparedRows) -> FirstLook:
    """Compare the largest buckets: one scan of each side, and no row is moved."""
    ours, theirs = ask_both(source, target, lambda side: side.buckets(_FIRST))
    rows = sum(b.rows for b in ours.values()) + sum(b.rows for b in theirs.values())
    return FirstLook(_differing(ours, theirs), rows)


def bisect(
    source: ComparedRows, target: ComparedRows, basis: Basis, most: int, first: FirstLook, *, show_values: bool
) -> Bisection:
    """Return the keys that differ: all of them counted, and at most ``most`` listed. ``first`` is what ``look`` returned.

    For at most ``EXPLAINED`` of the listed ones that changed it is said in which columns, and how; the values themselves
    only with ``show_values``. Rows with a NULL in the key belong to no bucket and take no part.
    """
    sizes = _divide(source, target, first.differing)
    found = _Found(most)
    for within in _rounds(sizes):
        _compare(*ask_both(source, target, partial(_gather, within)), found)
    listed = found.settled()
    explained = _explain(source, target, basis.columns, listed, show_values=show_values)
    keys = tuple(KeyDifference(_readable(basis.keys, d.key), d.fault, explained.get(key_hash, ())) for key_hash, d in listed)
    return Bisection(tuple((fault, found.counts[fault]) for fault in KeyFault), keys, found.moved, first.rows)


def _differing(ours: Mapping[str, RowBucket], theirs: Mapping[str, RowBucket]) -> dict[str, int]:
    """Return the buckets that differ, each with the rows that both sides have in it."""
    found = {}
    for name in ours.keys() | theirs.keys():
        here, there = ours.get(name), theirs.get(name)
        if here != there:
            found[name] = (here.rows if here else 0) + (there.rows if there else 0)
    return found


def _divide(source: ComparedRows, target: ComparedRows, sizes: Mapping[str, int]) -> Mapping[str, int]:
    """Divide the differing buckets until they are small, where that spares more than it costs."""
    digits = _FIRST
    while sizes and digits < _MOST_DIGITS:
        largest = max(sizes.values())
        if largest <= 2 * _WORTH_MOVING:
            break
        # At once as far as is needed, if hashes are spread evenly, but no farther than into some 100,000 buckets.
        wanted = max(1, math.ceil(math.log(largest / (2 * _WORTH_MOVING), 16)))
        room = max(0, int(math.log(100_000 / len(sizes), 16)))
        step = min(wanted, room, _MOST_DIGITS - digits)
        if step < 1:
            break  # so many differ that dividing them would bring as many numbers as there are rows
        digits += step
        divided = _differing(*ask_both(source, target, partial(_buckets, digits, sizes)))
        if sum(divided.values()) == sum(sizes.values()) and max(divided.values()) == largest:
            return divided  # one key borne by many rows, or everything differs: nothing is gained by going on
        sizes = divided
    return sizes


def _buckets(digits: int, within: Collection[str], side: ComparedRows) -> Mapping[str, RowBucket]:
    return side.buckets(digits, within)


def _rounds(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield the buckets in groups whose rows can be held at a time."""
    held, group = 0, list[str]()
    for name in sorted(sizes):
        if group and held + sizes[name] > _HELD:
            yield group
            held, group = 0, []
        held += sizes[name]
        group.append(name)
    if group:
        yield group


def _gather(within: Collection[str], side: ComparedRows) -> _ByKey:
    gathered: _ByKey = defaultdict(list)
    for row in side.hashes(within):
        gathered[row.key_hash].append(row)
    return gathered


def _compare(ours: _ByKey, theirs: _ByKey, found: _Found) -> None:
    """Compare the rows of both sides by the hashes of their keys."""
    found.moved += sum(len(rows) for rows in ours.values()) + sum(len(rows) for rows in theirs.values())
    for key_hash in ours.keys() | theirs.keys():
        left, right = ours.get(key_hash, []), theirs.get(key_hash, [])
        if sorted(row.row_hash for row in left) != sorted(row.row_hash for row in right):
            key = (left or right)[0].key
            found.add(key_hash, KeyDifference(key, _fault(len(left), len(right))))


def _fault(source: int, target: int) -> KeyFault:
    if source == 0:
        return KeyFault.EXTRA
    if target == 0:
        return KeyFault.MISSING
    return KeyFault.CHANGED if source == target == 1 else KeyFault.DUPLICATE


def _readable(columns: tuple[ComparedColumn, ...], key: Spelled) -> tuple[str | None, ...]:
    return tuple(readable(column.kind, value) for column, value in zip(columns, key, strict=True))


def _explain(
    source: ComparedRows,
    target: ComparedRows,
    columns: tuple[ComparedColumn, ...],
    listed: list[tuple[str, KeyDifference]],
    *,
    show_values: bool,
) -> dict[str, tuple[ValueDifference, ...]]:
    """Return by hash of the key in which columns a few changed rows differ."""
    changed = (key_hash for key_hash, difference in listed if difference.fault is KeyFault.CHANGED)
    asked: Collection[str] = list(islice(changed, EXPLAINED))
    if not asked:
        return {}
    ours, theirs = ask_both(source, target, lambda side: dict(side.values(asked)))
    told = {}
    for key_hash in asked:
        if key_hash in ours and key_hash in theirs:
            found = compare_rows(columns, ours[key_hash], theirs[key_hash])
            told[key_hash] = found if show_values else tuple(ValueDifference(v.column, v.how) for v in found)
    return told

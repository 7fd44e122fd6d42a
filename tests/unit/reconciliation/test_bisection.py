"""Keys that differ are found, all and only they, and few rows are moved for it."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion_runtime.model.comparison import Basis, Checksum, ComparedColumn, Grouping, HashedRow, KeyFaults, RowBucket
from ingestion_runtime.reconciliation import bisection
from ingestion_runtime.reconciliation.bisection import EXPLAINED, look
from ingestion_runtime.reconciliation.report import Bisection, KeyFault

COLUMNS = (ComparedColumn("id", "id", pa.string()), ComparedColumn("v", "v", pa.string()))
BASIS = Basis(COLUMNS[:1], COLUMNS)
Row = tuple[str, str | None]


def digest(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


class Rows:
    """The rows of one side in memory, answering as the definition says. ``asked`` are the buckets that rows came from."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = [HashedRow((key,), digest(key), digest(f"{key},{value}")) for key, value in rows]
        self._values = {digest(key): (key, value) for key, value in rows}
        self.looks = 0

    def buckets(self, digits: int, within: Collection[str] | None = None) -> Mapping[str, RowBucket]:
        self.looks += 1
        found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for row in self._rows:
            name = row.key_hash[11 : 11 + digits]
            if within is None or any(name.startswith(outer) for outer in within):
                found[name][0] += 1
                found[name][1] += int(row.row_hash[:11], 16)
        return {name: RowBucket(*numbers) for name, numbers in found.items()}

    def hashes(self, within: Collection[str]) -> Iterator[HashedRow]:
        (digits,) = {len(name) for name in within}
        yield from (row for row in self._rows if row.key_hash[11 : 11 + digits] in within)

    def values(self, keys: Collection[str]) -> Iterator[tuple[str, tuple[str | None, ...]]]:
        yield from ((key, self._values[key]) for key in keys if key in self._values)

    def count(self) -> int:
        raise AssertionError("bisecting asks for buckets, hashes and values only")

    def group_counts(self, groups: Sequence[Grouping]) -> Mapping[tuple[str | None, ...], int]:
        raise AssertionError(groups)

    def key_faults(self, examples: int) -> KeyFaults:
        raise AssertionError(examples)

    def checksum(self) -> Checksum:
        raise AssertionError("see count")

    def column_checksums(self, within: Collection[str] | None = None) -> Mapping[str, Checksum]:
        raise AssertionError(within)


def bisect(source: Rows, target: Rows, most: int, *, show_values: bool) -> Bisection:
    return bisection.bisect(source, target, BASIS, most, look(source, target), show_values=show_values)


def test_each_way_in_which_a_key_can_differ_is_named() -> None:
    source = Rows([("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "1"), ("f", "1"), ("f", "1")])
    target = Rows([("a", "1"), ("c", "2"), ("d", "1"), ("d", "1"), ("x", "1"), ("e", "1"), ("f", "1"), ("f", "1")])
    found = bisect(source, target, 10, show_values=False)
    assert {key.key[0]: key.fault for key in found.keys} == {
        "b": KeyFault.MISSING,
        "c": KeyFault.CHANGED,
        "d": KeyFault.DUPLICATE,
        "x": KeyFault.EXTRA,
    }
    assert dict(found.counts) == dict.fromkeys(KeyFault, 1)
    assert found.total == 4


def test_equal_sides_move_no_row() -> None:
    rows = [(str(n), str(n)) for n in range(1000)]
    found = bisect(Rows(rows), Rows(rows[::-1]), 10, show_values=False)
    assert (found.total, found.moved, found.rows) == (0, 0, 2000)


def test_of_changed_keys_it_says_how_and_shows_values_only_when_asked() -> None:
    source, target = Rows([("k", "Ada")]), Rows([("k", "ada")])
    (key,) = bisect(source, target, 10, show_values=False).keys
    assert [(v.column, v.how, v.source, v.target) for v in key.values] == [("v", "upper and lower case", None, None)]
    (key,) = bisect(source, target, 10, show_values=True).keys
    assert [(v.source, v.target) for v in key.values] == [("Ada", "ada")]


@pytest.mark.parametrize("most", [0, 1, 7, 300])
def test_all_are_counted_and_the_first_by_hash_are_listed(most: int) -> None:
    """Which ones are listed does not depend on the order in which the sides give their rows."""
    keys = [str(n) for n in range(300)]
    source = Rows([(key, "1") for key in keys])
    found = bisect(source, Rows([(key, "2") for key in reversed(keys)]), most, show_values=False)
    assert found.count(KeyFault.CHANGED) == 300
    assert [key.key[0] for key in found.keys] == sorted(keys, key=digest)[:most]
    assert sum(bool(key.values) for key in found.keys) == min(EXPLAINED, most)


def test_a_large_bucket_is_divided_until_few_rows_have_to_be_moved() -> None:
    """300 rows to a bucket of four digits: the one that differs is divided, and not moved."""
    within = [str(n) for n in range(400_000) if digest(str(n))[11:13] == "00"][:1500]
    crowd = [(f"{key}", "1") for key in within]
    source, target = Crowded(crowd), Crowded([*crowd[:-1], (crowd[-1][0], "2")])
    found = bisect(source, target, 10, show_values=False)
    assert [key.key[0] for key in found.keys] == [crowd[-1][0]]
    assert source.looks == 2
    assert found.moved < 0.1 * found.rows


class Crowded(Rows):
    """Rows whose buckets are as full as those of a table that is much larger: two digits for every four."""

    def buckets(self, digits: int, within: Collection[str] | None = None) -> Mapping[str, RowBucket]:
        names = None if within is None else {name[2:] for name in within}
        return {f"00{name}": bucket for name, bucket in super().buckets(digits - 2, names).items()}

    def hashes(self, within: Collection[str]) -> Iterator[HashedRow]:
        yield from super().hashes({name[2:] for name in within})


def test_one_key_on_very_many_rows_ends_the_dividing() -> None:
    """All of them are in one bucket, however often that is divided."""
    source, target = Rows([("k", "1")] * 500), Rows([("k", "1")] * 499)
    (key,) = bisect(source, target, 10, show_values=False).keys
    assert key.fault is KeyFault.DUPLICATE


@given(
    st.dictionaries(st.text(min_size=0, max_size=3), st.text(max_size=2), max_size=40),
    st.dictionaries(st.text(min_size=0, max_size=3), st.text(max_size=2), max_size=40),
)
@settings(max_examples=60, deadline=None)
def test_exactly_the_keys_that_differ_are_found(ours: dict[str, str], theirs: dict[str, str]) -> None:
    found = bisect(Rows(list(ours.items())), Rows(list(theirs.items())), 1000, show_values=False)
    assert {(key.key[0], key.fault) for key in found.keys} == {
        *((key, KeyFault.MISSING) for key in ours.keys() - theirs.keys()),
        *((key, KeyFault.EXTRA) for key in theirs.keys() - ours.keys()),
        *((key, KeyFault.CHANGED) for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]),
    }

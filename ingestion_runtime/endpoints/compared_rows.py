"""The rows of a target that are compared where they are: the questions in SQL, over whichever engine reads them.

What differs between engines is how they spell and hash, which rows live, and how an answer comes back: see ``RowEngine``.
Only what a question needs of a row (hashes, numbers) passes through joins and groups; whole rows never do.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

from ingestion_runtime.endpoints.spelling import Typed, bucket
from ingestion_runtime.model.comparison import (
    Basis,
    Checksum,
    ComparedColumn,
    Grouping,
    HashedRow,
    KeyFaults,
    RowBucket,
)

#: A column of an answer: its name, which no two of one question share, and its SQL over a row.
Item = tuple[str, str]
#: The one text column of the table of the hashes of keys that are left out, and of that of the names that are asked for.
LEFT_OUT_HASH, NAME = "ingest_key_hash", "ingest_name"


class Spelling(Protocol):
    """An engine's SQL for spellings and hashes, as ``endpoints/spelling.py`` defines them."""

    def spelled(self, column: str, kind: pa.DataType) -> str: ...

    def key_hash(self, columns: Sequence[Typed]) -> str: ...

    def row_hash(self, columns: Sequence[Typed]) -> str: ...

    def high(self, digest: str) -> str:
        """Return the number in the first 11 digits of a hash, of a type whose sum over any number of rows is exact."""
        ...

    def low(self, digest: str) -> str:
        """Return the same for the next 11 digits."""
        ...


class RowEngine(Protocol):
    """One engine, which shows the living rows of one snapshot."""

    @property
    def spelling(self) -> Spelling: ...

    def quote(self, name: str) -> str: ...

    def living(self, items: Sequence[Item], condition: str | None) -> str:
        """Return the query for these items of the living rows for which the condition holds (None: all)."""
        ...

    def left_out(self) -> str | None:
        """Return the table of the hashes of keys that take no part, by ``LEFT_OUT_HASH``; None where there are none."""
        ...

    def name(self, names: Collection[str]) -> str:
        """Put names, none of which is NULL, where a query finds them; return the query for them. The last ones hold."""
        ...

    def run(self, query: str) -> Iterator[tuple[Any, ...]]:
        """Yield the answer, row by row: it need not fit into the memory."""
        ...


class SqlRows:
    """Living rows through an engine, without those whose key's hash is left out. Implements ``ComparedRows``.

    Read one stream (``hashes``, ``values``) to its end before the next question.
    """

    def __init__(self, engine: RowEngine, basis: Basis) -> None:
        self._engine = engine
        self._keys = [self._typed(column) for column in basis.keys]
        self._columns = [self._typed(column) for column in basis.columns]
        self._names = [column.target for column in basis.columns]

    def count(self) -> int:
        """Return the number of rows."""
        return int(self._row(f"SELECT count(*) FROM ({self._rows([('one', '1')])}) AS counted")[0])

    def group_counts(self, groups: Sequence[Grouping]) -> Mapping[tuple[str | None, ...], int]:
        """Return the number of rows by the spellings of the grouped columns."""
        if not groups:
            return {(): self.count()}
        items = [(f"g{place}", self._grouped(group)) for place, group in enumerate(groups)]
        names = ", ".join(name for name, _ in items)
        query = f"SELECT {names}, count(*) FROM ({self._rows(items)}) AS grouped GROUP BY {names}"
        return {tuple(row[:-1]): int(row[-1]) for row in self._engine.run(query)}

    def key_faults(self, examples: int) -> KeyFaults:
        """Return what is wrong with the keys, with at most so many examples, the smallest hashes first."""
        digest = self._key_hash
        nulls = self._row(f"SELECT count(*) FROM ({self._rows([('one', '1')], f'NOT ({self._whole})')}) AS incomplete")[0]
        hashed = self._rows([("digest", digest)], self._whole)
        several = f"SELECT digest, count(*) AS bearers FROM ({hashed}) AS hashed GROUP BY digest HAVING count(*) > 1"
        keys, rows = self._row(f"SELECT count(*), coalesce(sum(bearers), 0) FROM ({several}) AS several")
        found = self._examples(f"{several} ORDER BY digest LIMIT {examples}") if keys and examples > 0 else ()
        return KeyFaults(int(keys), int(rows), int(nulls), found)

    def checksum(self) -> Checksum:
        """Return the checksum over the compared columns."""
        (found,) = self._checksums([self._columns])
        return found

    def column_checksums(self, within: Collection[str] | None = None) -> Mapping[str, Checksum]:
        """Return for each compared column the checksum over rows that consist of it alone; see ``ComparedRows``."""
        found = self._checksums([[column] for column in self._columns], within)
        return dict(zip(self._names, found, strict=True))

    def buckets(self, digits: int, within: Collection[str] | None = None) -> Mapping[str, RowBucket]:
        """Return the rows by buckets of so many hex digits of their keys' hashes; see ``ComparedRows``."""
        if within is not None and not within:
            return {}
        digest, spelling = self._key_hash, self._engine.spelling
        condition = self._whole if within is None else self._in_buckets(within)
        items = [("bucket", bucket(digest, digits)), ("digest", spelling.row_hash(self._columns))]
        query = (
            f"SELECT bucket, count(*), sum({spelling.high('digest')}) FROM ({self._rows(items, condition)}) AS hashed "
            "GROUP BY bucket"
        )
        return {name: RowBucket(int(rows), int(total)) for name, rows, total in self._engine.run(query)}

    def hashes(self, within: Collection[str]) -> Iterator[HashedRow]:
        """Yield the rows of these buckets; see ``ComparedRows``."""
        if not within:
            return
        spelling = self._engine.spelling
        key = [(f"k{place}", spelling.spelled(*column)) for place, column in enumerate(self._keys)]
        items = [*key, ("key_digest", self._key_hash), ("row_digest", spelling.row_hash(self._columns))]
        for *texts, key_hash, row_hash in self._engine.run(self._rows(items, self._in_buckets(within))):
            yield HashedRow(tuple(texts), key_hash, row_hash)

    def values(self, keys: Collection[str]) -> Iterator[tuple[str, tuple[str | None, ...]]]:
        """Yield key hashes with the spellings of the compared columns; see ``ComparedRows``."""
        if not keys:
            return
        spelling, digest = self._engine.spelling, self._key_hash
        texts = [(f"c{place}", spelling.spelled(*column)) for place, column in enumerate(self._columns)]
        query = self._rows([("key_digest", digest), *texts], f"{digest} IN ({self._engine.name(keys)})")
        for key_hash, *spelled in self._engine.run(query):
            yield key_hash, tuple(spelled)

    def _rows(self, items: Sequence[Item], condition: str | None = None) -> str:
        """Return the query for these items of the rows that take part."""
        left_out = self._engine.left_out()
        if left_out is None:
            return self._engine.living(items, condition)
        hashed = self._engine.living([*items, (LEFT_OUT_HASH, self._key_hash)], condition)
        names = ", ".join(name for name, _ in items)
        return f"SELECT {names} FROM ({hashed}) AS living ANTI JOIN {left_out} USING ({LEFT_OUT_HASH})"

    def _checksums(self, groups: Sequence[Sequence[Typed]], within: Collection[str] | None = None) -> list[Checksum]:
        """Return a checksum over each group of columns, all by one scan; of rows in these buckets (None: all)."""
        condition = None if within is None else self._in_buckets(within)
        spelling = self._engine.spelling
        items = [(f"h{place}", spelling.row_hash(columns)) for place, columns in enumerate(groups)]
        sums = [f"coalesce(sum({number(name)}), 0)" for name, _ in items for number in (spelling.high, spelling.low)]
        hashed = self._rows(items, condition)
        rows, *totals = map(int, self._row(f"SELECT count(*), {', '.join(sums)} FROM ({hashed}) AS hashed"))
        return [Checksum(rows, high, low) for high, low in zip(totals[::2], totals[1::2], strict=True)]

    def _examples(self, hashes: str) -> tuple[str, ...]:
        spelling, digest = self._engine.spelling, self._key_hash
        found = [row[0] for row in self._engine.run(hashes)]
        key = [(f"k{place}", spelling.spelled(*column)) for place, column in enumerate(self._keys)]
        query = self._rows([("digest", digest), *key], f"{digest} IN ({self._engine.name(found)})")
        spelled = {digest: ", ".join(texts) for digest, *texts in self._engine.run(query)}
        return tuple(spelled[digest] for digest in sorted(spelled))

    def _grouped(self, group: Grouping) -> str:
        text = self._engine.spelling.spelled(*self._typed(group.column))
        return text if group.length is None else f"substr({text}, 1, {group.length})"

    def _in_buckets(self, within: Collection[str]) -> str:
        digits = len(next(iter(within)))
        return f"{bucket(self._key_hash, digits)} IN ({self._engine.name(within)})"

    @property
    def _whole(self) -> str:
        return " AND ".join(f"{column} IS NOT NULL" for column, _ in self._keys)

    @property
    def _key_hash(self) -> str:
        if not self._keys:
            raise ValueError("a table without a key has no hashes of keys")
        return self._engine.spelling.key_hash(self._keys)

    def _typed(self, column: ComparedColumn) -> Typed:
        return self._engine.quote(column.target), column.kind

    def _row(self, query: str) -> tuple[Any, ...]:
        (row,) = self._engine.run(query)
        return row

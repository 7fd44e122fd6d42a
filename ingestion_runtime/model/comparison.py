"""Rows of a source and of a target compared without moving them: by counts, and by hashes of canonical spellings.

Both sides spell a value alike (``endpoints/spelling.py`` says how), so that equal rows have equal hashes on every engine.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from ingestion_runtime.model.batch import Receipt
from ingestion_runtime.model.cursor import Fingerprint, ReRead


@dataclass(frozen=True, slots=True)
class ComparedColumn:
    """A column that both sides have: its name at the source, that in the target, and the type in which both spell it."""

    source: str
    target: str
    kind: pa.DataType


@dataclass(frozen=True, slots=True)
class Basis:
    """What of a row is compared: ``columns`` in the order in which both sides spell them, the primary key among them;
    ``keys`` is that key, empty for a table without one."""

    keys: tuple[ComparedColumn, ...]
    columns: tuple[ComparedColumn, ...]


@dataclass(frozen=True, slots=True)
class Grouping:
    """A column by which rows are counted. ``length``: only so many characters of its spelling; of a day or a moment 4 are
    its year, 7 its month, 10 its day."""

    column: ComparedColumn
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Checksum:
    """Rows, and the sums of two numbers of 44 bits from the hash of each: no order matters, and 88 bits tell."""

    rows: int
    high: int
    low: int


@dataclass(frozen=True, slots=True)
class RowBucket:
    """How many rows fall into a bucket of keys, and the sum of 44 bits of the hash of each row."""

    rows: int
    total: int


@dataclass(frozen=True, slots=True)
class HashedRow:
    """A row's key, spelled (None: NULL), the hash of its key, and that of all its compared columns; 32 hex digits each."""

    key: tuple[str | None, ...]
    key_hash: str
    row_hash: str


@dataclass(frozen=True, slots=True)
class KeyFaults:
    """Keys that several rows bear, how many rows bear one of these, a few of them as people read them; and rows with a NULL
    in the key."""

    keys: int
    rows: int
    nulls: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Rows of the source that take no part, because the target need not have them as they are now.

    ``later`` have a cursor above the watermark; ``unsettled`` belong to a re-read set that is not what was read, so that it
    changed since; ``null_cursors``, ``null_keys`` and ``initial`` (at or below the initial watermark) are not ingested.
    """

    later: int = 0
    unsettled: int = 0
    null_cursors: int = 0
    null_keys: int = 0
    initial: int = 0


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a target stands: what is compared is this very snapshot of it, and the source as far as its receipt goes.

    ``columns`` are those that hold a row's own values, in the types in which they land. ``damage``: see ``TargetHead``.
    """

    receipt: Receipt | None
    snapshot: str | None
    columns: pa.Schema
    damage: str | None = None


class ComparedRows(Protocol):
    """The rows of one side that take part. Every answer is about the same rows. For one thread.

    A row with a NULL in its key belongs to no bucket and has no hash of a key.
    """

    def count(self) -> int:
        """Return the number of rows."""
        ...

    def group_counts(self, groups: Sequence[Grouping]) -> Mapping[tuple[str | None, ...], int]:
        """Return the number of rows by the spellings of the grouped columns."""
        ...

    def key_faults(self, examples: int) -> KeyFaults:
        """Return what is wrong with the keys, with at most so many examples."""
        ...

    def checksum(self) -> Checksum:
        """Return the checksum over the compared columns."""
        ...

    def column_checksums(self, within: Collection[str] | None = None) -> Mapping[str, Checksum]:
        """Return a checksum for each compared column by its name in the target. ``within``: only over the rows in these
        buckets, whose names all have the same number of digits."""
        ...

    def buckets(self, digits: int, within: Collection[str] | None = None) -> Mapping[str, RowBucket]:
        """Return the rows by buckets of so many hex digits of their keys' hashes, from the 12th on.

        ``within``: only those in these buckets, whose names have fewer digits, all the same number.
        """
        ...

    def hashes(self, within: Collection[str]) -> Iterator[HashedRow]:
        """Yield the rows of these buckets, whose names all have the same number of digits. These rows are moved."""
        ...

    def values(self, keys: Collection[str]) -> Iterator[tuple[str, tuple[str | None, ...]]]:
        """Yield for the rows with these hashes of keys: the hash, and the spellings of the compared columns in their order.

        For a few keys, by which people are told what differs.
        """
        ...


class SourceView(Protocol):
    """A source in one view that stays as it is for as long as it is open."""

    @property
    def scope(self) -> "Scope":
        """Up to where the target has read, and what of that is not as it was read: see ``Scope.unsettled``."""
        ...

    @property
    def left_out(self) -> LeftOut:
        """What takes no part."""
        ...

    @property
    def rows(self) -> ComparedRows:
        """The rows that take part."""
        ...

    def left_out_keys(self) -> Iterator[pa.RecordBatch]:
        """Yield the hashes of the keys of ``later`` and ``unsettled`` rows, and of those whose rows without a cursor are not
        ingested, in one text column ``key_hash``: the target has an older row for them, or none. Not asked of tables
        without a key."""
        ...


@dataclass(frozen=True, slots=True)
class Scope:
    """Which rows of a source take part, besides what its table's settings say.

    ``receipt`` None: all of them. ``fingerprint`` is that of the receipt's re-read set as the same view has it now;
    ``reread`` is that set as the settings of now have it.
    """

    receipt: Receipt | None
    fingerprint: Fingerprint | None = None
    reread: ReRead | None = None

    @property
    def unsettled(self) -> ReRead | None:
        """The re-read set, where it is not as it was when the watermark was reached.

        A receipt without a fingerprint (rows were deleted, or a window that held a part of the set was read again) says
        nothing of its rows: the next run looks at them all.
        """
        if self.receipt is None or self.receipt.watermark is None:
            return None
        known = self.receipt.fingerprint
        if known is None:
            return self.reread or ReRead(self.receipt.watermark, self.receipt.watermark, nulls=True)
        return None if self.fingerprint == known else known.subject


class ComparableSource(Protocol):
    """A source whose rows can be compared where they are."""

    def columns(self, target: pa.Schema | None = None) -> pa.Schema:
        """Return the columns as they land now, without those that are kept out of the lake or masked. Those that are texts
        here and numbers or times in ``target``, or the other way round, land as there, where they can."""
        ...

    def view(
        self, basis: Basis, receipt: Receipt | None, reread: ReRead | None = None
    ) -> AbstractContextManager[SourceView]:
        """Open one view of the source, with the rows up to the receipt's watermark (None: all rows).

        ``reread`` is what the next run looks at again (None: the rows at the watermark itself).
        """
        ...


class TargetRows(Protocol):
    """A target whose rows can be compared where they are."""

    def stand(self) -> Stand | None:
        """Return where the target stands now; None where there is no table, or nothing was published."""
        ...

    def view(
        self,
        stand: Stand,
        basis: Basis,
        left_out: Iterator[pa.RecordBatch] | None = None,
        apart: Sequence[ReRead] = (),
    ) -> AbstractContextManager[ComparedRows]:
        """Open the living rows of that snapshot, without those that are marked as deleted, whose key's hash is left out, or
        whose cursor lies in one of the sets ``apart``. Raises TransientError where the snapshot is gone.
        """
        ...

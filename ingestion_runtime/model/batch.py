"""A batch on its way: plan, staged slices, manifests, and the receipt that proves it was published."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from ingestion_runtime.model.cursor import Fingerprint, Interval, Slice, Span, Watermark
from ingestion_runtime.model.keys import KeyComparison, KeyFingerprint
from ingestion_runtime.model.testimony import SliceTestimony, Testimony


class WriteMode(StrEnum):
    """What a batch does to its target: become the whole table, be merged into it by primary key, be added to it, or take the
    place of all rows whose cursor lies in the span that was read."""

    REPLACE = "replace"
    MERGE = "merge"
    APPEND = "append"
    OVERWRITE = "overwrite"


@dataclass(frozen=True, slots=True)
class TableKey:
    """Names one target: the sink's namespace (catalog or root directory) and the table's name in it."""

    catalog: str
    schema: str
    table: str

    def __str__(self) -> str:
        return f"{self.catalog}:{self.schema}.{self.table}"


@dataclass(frozen=True, slots=True)
class PlannerMetadata:
    """Why a plan looks as it does; goes into the events."""

    lower_literal: str | None
    upper_literal: str | None
    estimated_rows: int | None
    probed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class IngestionPlan:
    """The frozen work of one batch: ordered, adjacent slices that cover exactly (lower, upper], then nothing more.

    ``watermark`` is what the receipt will say once the batch is published; ``fingerprint`` describes the re-read set at
    that watermark, taken before it was read. Both are None for a full refresh. ``asked`` is the window that a person wanted
    to have read again; other plans have none.
    """

    slices: tuple[Slice, ...]
    watermark: Watermark | None
    fingerprint: Fingerprint | None
    metadata: PlannerMetadata
    asked: Interval | None = None

    @property
    def reads(self) -> tuple[Slice, ...]:
        """The slices in which rows are read; the one for tombstones, which comes last, is none of them."""
        return tuple(piece for piece in self.slices if not piece.tombstones)

    @property
    def span(self) -> Span:
        """The cursor values that the slices cover together; raises ValueError where these have no low or no high end."""
        first, last = self.reads[0], self.reads[-1]
        low = first.window.low if first.window else first.reread.low if first.reread else None
        high = last.window.high if last.window else last.reread.high if last.reread else None
        if low is None or high is None:
            raise ValueError("a plan without bounds covers no span")
        return Span(low, high, takes_low=first.window is None)


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of one publish. It lives in the target and moves in the same commit as the data.

    ``reading`` is what the rows were read by (see ``spec.reading``): under another reading the watermark would lie.
    ``keys`` are the source's keys when nothing was left to delete; None where they were not compared, or not with certainty.
    ``manifest`` is the SHA-256, in hex, of the batch's manifest in raw, byte by byte; None in receipts of versions that did
    not take it.
    """

    batch_id: str
    sequence: int
    previous: str | None
    mode: str
    write: WriteMode
    load_date: date
    watermark: Watermark | None
    fingerprint: Fingerprint | None
    fence: int
    owner: str
    rows: int
    reading: tuple[tuple[str, str], ...] = ()
    keys: KeyFingerprint | None = None
    manifest: str | None = None

    @property
    def mark(self) -> "PublishedMark":
        """What the raw batch's marker says of it."""
        return PublishedMark(self.batch_id, self.sequence, self.previous, self.load_date)


@dataclass(frozen=True, slots=True)
class Batch:
    """An open batch, persisted before anything is read.

    ``base`` is the batch that the table's receipt named when the work was frozen, ``base_manifest`` the digest by which that
    receipt knows the manifest of that batch (None: it knows none). A ``reload`` replaces whatever stands
    there; any other batch needs the table as its receipt describes it. ``spec`` is the digest of the table's configuration:
    a batch frozen under another one is not gone on with.
    """

    id: str
    sequence: int
    key: TableKey
    mode: str
    write: WriteMode
    load_date: date
    run_id: str
    base: str | None
    plan: IngestionPlan
    reload: bool = False
    spec: str = ""
    base_manifest: str | None = None


@dataclass(frozen=True, slots=True)
class StagedFile:
    """One Parquet file: path relative to the manifest's directory, size in bytes, SHA-256 in hex, rows from its footer."""

    path: str
    size: int
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class SchemaField:
    """One column of a staged file: name and type as pyarrow spells it (``decimal128(10, 2)``).

    ``former`` is the name under which the target knows the column, where it was renamed at the source.
    """

    name: str
    type: str
    former: str | None = None


@dataclass(frozen=True, slots=True)
class SliceManifest:
    """What one attempt staged for one slice. Written last: a slice without a manifest was not staged.

    ``comparison`` says how tombstones were found; other slices have none. ``testimony`` is what the source said of the rows,
    quarantined ones included, where the table demands its word: these files agree with it.
    """

    batch_id: str
    base: str | None
    slice: Slice
    attempt: str
    files: tuple[StagedFile, ...]
    fields: tuple[SchemaField, ...]
    quarantine: tuple[StagedFile, ...] = ()
    comparison: KeyComparison | None = None
    testimony: Testimony | None = None

    @property
    def rows(self) -> int:
        """Rows in all files, quarantined ones not included."""
        return sum(file.rows for file in self.files)

    @property
    def quarantined(self) -> int:
        """Rows set aside for a NULL in the primary key."""
        return sum(file.rows for file in self.quarantine)


@dataclass(frozen=True, slots=True)
class StagedSlice:
    """A manifest and the absolute directory in which its files lie."""

    directory: str
    manifest: SliceManifest


@dataclass(frozen=True, slots=True)
class RawManifest:
    """What a batch landed in raw: the batch itself, its files relative to the manifest's directory, and their columns.

    ``deletes`` says what became of rows whose key is a tombstone (``model.spec.Deletes``); None in manifests of versions
    that did not write it down. ``testimonies`` are those of the slices' manifests, quarantined rows included. ``aside`` is
    the digest of the manifest of the quarantined rows, which lie elsewhere; None where there are none, or as above.
    """

    batch: Batch
    files: tuple[StagedFile, ...]
    fields: tuple[SchemaField, ...]
    quarantined: int = 0
    tombstones: tuple[StagedFile, ...] = ()
    deletes: str | None = None
    testimonies: tuple[SliceTestimony, ...] = ()
    aside: str | None = None

    @property
    def rows(self) -> int:
        """Rows in all files, quarantined ones and tombstones not included."""
        return sum(file.rows for file in self.files)


@dataclass(frozen=True, slots=True)
class PublishedMark:
    """What ``_PUBLISHED`` says: which batch it is, and which one came before it."""

    batch_id: str
    sequence: int
    previous: str | None
    load_date: date


@dataclass(frozen=True, slots=True)
class RawBatch:
    """A batch landed in raw: its absolute directory, its manifest, and the SHA-256 of that, in hex, byte by byte."""

    directory: str
    manifest: RawManifest
    digest: str


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on one target.

    ``token`` is the fencing token; ``taken_over``: the former holder never released it.
    """

    key: TableKey
    holder: str
    token: int
    taken_over: bool


@dataclass(frozen=True, slots=True)
class Publication:
    """How a batch ended: the receipt that now stands, the target's location, rows written, and whether anything became
    visible (``changed``). ``duplicates`` counts rows that lost against a newer row of the same key in the batch, ``deleted``
    rows that were removed or marked because the source no longer has them. ``replaced`` rows gave way to those of the span
    in which they lay; where these are fewer, the difference counts as deleted."""

    receipt: Receipt | None
    location: str | None
    rows: int
    changed: bool
    duplicates: int = 0
    deleted: int = 0
    replaced: int = 0

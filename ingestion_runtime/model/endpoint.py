"""The seam: what is read and what is written, as protocols. Engines and sinks meet here and nowhere else."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from ingestion_runtime.model.batch import Batch, Publication, RawBatch, StagedSlice
from ingestion_runtime.model.columns import LOAD_DATE_COLUMN, LOADED_AT_COLUMN, RUN_COLUMN, SLICE_COLUMN, SOURCE_COLUMN
from ingestion_runtime.model.cursor import (
    CursorBounds,
    CursorType,
    Fingerprint,
    Interval,
    KeyRange,
    ReRead,
    Slice,
    Watermark,
)
from ingestion_runtime.model.density import Cell
from ingestion_runtime.model.horizon import Ceiling, CursorClock, Horizon
from ingestion_runtime.model.keys import KeyBuckets
from ingestion_runtime.model.schema import ColumnProfile, TableSnapshot
from ingestion_runtime.model.testimony import Testimony

if TYPE_CHECKING:
    from ingestion_runtime.model.comparison import ComparableSource


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an endpoint can do, as data. ``literal_formats`` are the cursor types it can compare."""

    incremental: bool
    literal_formats: frozenset[CursorType]
    staging: bool
    commit: bool


@dataclass(frozen=True, slots=True)
class IngestColumns:
    """The values of the housekeeping columns that ``with_ingest_cols`` adds to every row of a slice."""

    run_id: str
    load_date: date
    loaded_at: datetime
    source: str
    slice: str


#: Types and order of the housekeeping columns, which stand behind a row's own.
INGEST_TYPES: Mapping[str, pa.DataType] = {
    RUN_COLUMN: pa.string(),
    LOAD_DATE_COLUMN: pa.date32(),
    LOADED_AT_COLUMN: pa.timestamp("us", tz="UTC"),
    SOURCE_COLUMN: pa.string(),
    SLICE_COLUMN: pa.string(),
}


@dataclass(frozen=True, slots=True)
class ReadSplit:
    """A read failed for its size, and its rows are read in two halves. ``depth`` counts how often they have been halved
    by now, ``reason`` is why the read failed."""

    depth: int
    reason: str


#: Begins the names of the directories in which a read that was divided leaves its files.
READ_PART = "read="
#: Told before the first half is read; what it raises ends the read.
OnSplit = Callable[[ReadSplit], None]
#: Told, at intervals, how many rows of a read have come so far, and their bytes in memory; by any of the threads that read.
OnRead = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Shape:
    """How the rows of a batch differ from what the source would give by itself.

    ``skipped`` columns are not read, ``missing`` ones arrive as NULL, ``landing`` ones arrive in the type given, and a
    value that it does not hold is refused. ``renamed`` are (name now, name in the target); ``replaced`` are the columns
    whose type in the target gives way to the new one. ``hidden`` are columns of the target that are never read: NULL too.
    """

    skipped: tuple[str, ...] = ()
    missing: tuple[pa.Field, ...] = ()
    landing: tuple[pa.Field, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    replaced: tuple[str, ...] = ()
    hidden: tuple[pa.Field, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """How rows are read: the statements that together give each of them once, over so many connections at once."""

    statements: tuple[str, ...]
    connections: int


class Landing(Protocol):
    """Rows that are ready to be staged, wherever they come from."""

    @property
    def schema(self) -> pa.Schema:
        """The columns as they will land; those for housekeeping may be left out."""
        ...

    @property
    def renamed(self) -> Mapping[str, str]:
        """The columns that bear another name in the target: the name there by the name here."""
        ...

    @property
    def testimony(self) -> Testimony | None:
        """What their source said of the rows while ``write_parquet`` read them; None where it was not asked."""
        ...

    def write_parquet(self, directory: str) -> None:
        """Write the rows as Parquet files into ``directory``, which must not exist yet."""
        ...


class Extract(Landing, Protocol):
    """Rows that a source is ready to give. Lazy: nothing is read before ``write_parquet``."""

    @property
    def connections(self) -> int:
        """Over how many connections at once ``write_parquet`` read the rows; 0 before it did."""
        ...

    def foresee(self) -> "Reading":
        """Return how ``write_parquet`` would read the rows now. The source is asked, and nothing is read or written."""
        ...

    def with_missing(self, fields: tuple[pa.Field, ...]) -> "Extract":
        """Return the same rows with these columns added as NULL."""
        ...

    def shaped(self, shape: Shape) -> "Extract":
        """Return the same rows in another shape; raises TerminalError for a type in which a column cannot land."""
        ...

    def with_ingest_cols(self, columns: IngestColumns) -> "Extract":
        """Return the same rows with the housekeeping columns added."""
        ...

    def with_field_ids(self, ids: Mapping[str, int]) -> "Extract":
        """Return the same rows, in files whose columns carry these ids (Parquet's ``field_id``), by column name."""
        ...

    def write_parquet(self, directory: str) -> None:
        """Read the rows and write them as Parquet files into ``directory``, which must not exist yet.

        A read that was too large may leave its files in directories ``read=*`` below it.
        """
        ...


class MetadataCapableEndpoint(Protocol):
    """An endpoint that can describe its table."""

    def describe(self) -> TableSnapshot:
        """Return the live description; raises TerminalError when the table does not exist."""
        ...


class SourceEndpoint(MetadataCapableEndpoint, Protocol):
    """One table of a source. Probes use a direct connection; reads go through an execution tool."""

    @property
    def capabilities(self) -> Capabilities: ...

    def probe_bounds(self, after: Watermark, ceiling: Ceiling | None = None) -> CursorBounds:
        """Return what lies above ``after`` (exclusive), up to the source's own now and to the ceiling, if there is one."""
        ...

    def horizon(self) -> Horizon | None:
        """Look at the source's open transactions; None where no later commit can bring an earlier cursor."""
        ...

    def clock(self) -> CursorClock | None:
        """Return how the cursor tells time; None where it is no clock."""
        ...

    def largest(self, after: Watermark) -> Watermark | None:
        """Return the largest cursor above ``after`` that is visible now; None when there is none."""
        ...

    def count_rows(self, window: Interval) -> int:
        """Return the number of rows whose cursor lies in the window."""
        ...

    def histogram(self, edges: Sequence[int]) -> tuple[Cell, ...]:
        """Return the rows of each cell (e0, e1], (e1, e2] ... of the cursor, by one query; ``edges`` are ascending ticks."""
        ...

    def fingerprint(self, subject: ReRead) -> Fingerprint:
        """Return count and content hash of a re-read set, by one query."""
        ...

    def key_buckets(self) -> KeyBuckets:
        """Return the fingerprints of the primary keys by bucket, by one query. Rows with a NULL in the key take no part."""
        ...

    def read_keys(self, buckets: Collection[str]) -> Extract:
        """Return the primary keys of these buckets, as they land; of more, where the source cannot pick them."""
        ...

    def key_ranges(self, column: str, rows: int, most: int) -> tuple[KeyRange, ...]:
        """Return ranges of a column that together take every row, of about ``rows`` rows each and ``most`` of them at most.

        One range for a column that cannot be cut, such as a text.
        """
        ...

    def described(self) -> TableSnapshot:
        """Return the description by which this endpoint reads; the source is asked for it once."""
        ...

    def profile(self, wanted: Mapping[str, pa.DataType]) -> tuple[ColumnProfile, ...]:
        """Return, by one aggregate query over all rows, whether the values of columns fit these types.

        Columns whose values fit by their own declaration are left out and cost nothing. Raises TerminalError for a type
        that no value of the column could have.
        """
        ...

    def comparable(self) -> "ComparableSource":
        """Return the rows as they are compared with those of the target: where they are, and not moved."""
        ...

    def read_full(self, on_split: OnSplit | None = None, on_read: OnRead | None = None) -> Extract: ...

    def read_slice(self, piece: Slice, on_split: OnSplit | None = None, on_read: OnRead | None = None) -> Extract: ...


class SinkEndpoint(Protocol):
    """Where one table goes."""

    @property
    def capabilities(self) -> Capabilities: ...

    def field_ids(self, extract: Extract) -> Mapping[str, int]:
        """Return the ids that the columns of an extract have, or will have, in the target; empty where it knows none."""
        ...

    def stage_incremental_slice(self, batch: Batch, piece: Slice, extract: Extract) -> StagedSlice:
        """Stage one slice; a full refresh is one slice."""
        ...

    def find_staged(self, batch: Batch, piece: Slice) -> StagedSlice | None:
        """Return the slice if this very batch staged it and its files still have the recorded hashes."""
        ...

    def find_raw(self, batch: Batch) -> RawBatch | None:
        """Return the batch if it has landed in raw."""
        ...

    def write_raw(self, batch: Batch, staged: tuple[StagedSlice, ...]) -> RawBatch:
        """Land the staged files in raw by one rename."""
        ...

    def finalize_full(self, batch: Batch, raw: RawBatch) -> Publication:
        """Publish a landed batch as the whole table."""
        ...


class IncrementalSink(SinkEndpoint, Protocol):
    """A sink into which slices can be merged."""

    def commit_incremental(self, batch: Batch, staged: tuple[StagedSlice, ...]) -> Publication:
        """Branch, write, audit, land raw, publish: the batch becomes visible with its receipt, or not at all."""
        ...


class ExecutionTool(Protocol):
    """An engine that runs extracts. It starts when it is first used."""

    def set_job_group(self, group: str, description: str) -> None: ...

    def cancel_all(self) -> None: ...

    def stop(self) -> None: ...

"""The seam: what is read and what is written, as protocols. Engines and sinks meet here and nowhere else."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

import pyarrow as pa

from ingestion_runtime.model.batch import Batch, Publication, RawBatch, StagedSlice
from ingestion_runtime.model.cursor import CursorBounds, CursorType, Fingerprint, Interval, ReRead, Slice, Watermark
from ingestion_runtime.model.schema import TableSnapshot


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


class Extract(Protocol):
    """Rows that a source is ready to give. Lazy: nothing is read before ``write_parquet``."""

    @property
    def schema(self) -> pa.Schema:
        """The columns as they will land, without the ingest columns."""
        ...

    def with_missing(self, fields: tuple[pa.Field, ...]) -> "Extract":
        """Return the same rows with these columns added as NULL."""
        ...

    def with_ingest_cols(self, columns: IngestColumns) -> "Extract":
        """Return the same rows with the housekeeping columns added."""
        ...

    def write_parquet(self, directory: str) -> None:
        """Read the rows and write them as Parquet files into ``directory``, which must not exist yet."""
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

    def probe_bounds(self, after: Watermark) -> CursorBounds:
        """Return what lies above ``after`` (exclusive), up to the source's own now."""
        ...

    def count_rows(self, window: Interval) -> int:
        """Return the number of rows whose cursor lies in the window."""
        ...

    def fingerprint(self, subject: ReRead) -> Fingerprint:
        """Return count and content hash of a re-read set, by one query."""
        ...

    def read_full(self) -> Extract: ...

    def read_slice(self, piece: Slice) -> Extract: ...


class SinkEndpoint(Protocol):
    """Where one table goes."""

    @property
    def capabilities(self) -> Capabilities: ...

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

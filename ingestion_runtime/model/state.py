"""What a state database keeps, as a protocol. The receipt in the table decides; this is its cache."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

from ingestion_runtime.model.batch import Batch, Lease, Receipt, TableKey
from ingestion_runtime.model.cursor import Fingerprint
from ingestion_runtime.model.horizon import CursorSample
from ingestion_runtime.model.options import RunOptions
from ingestion_runtime.model.result import TableStatus


class Phase(StrEnum):
    """The phases of a table's day, and ``event`` for records that are no phase mark."""

    RAW = "raw"
    FINALIZE = "finalize"
    INTERMEDIATE = "intermediate"
    WATERMARK = "watermark"
    EVENT = "event"


class PhaseStatus(StrEnum):
    STARTED = "started"
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class StateRecord:
    """One row of the events table. ``at`` is aware, in UTC; ``sequence`` is the batch sequence, 0 where there is none."""

    key: TableKey
    source_id: str
    run_id: str
    load_date: date
    mode: str
    phase: Phase
    status: PhaseStatus
    at: datetime
    strategy: str | None = None
    batch_id: str | None = None
    sequence: int = 0
    rows_written: int | None = None
    watermark: str | None = None
    location: str | None = None
    error: str | None = None
    metadata_json: str | None = None


@dataclass(frozen=True, slots=True)
class TableHead:
    """The state's copy of a target's head: receipt, metadata location after the publish (None: look at the table), and the
    fingerprint of the re-read set last seen to bring nothing new."""

    key: TableKey
    source_id: str
    receipt: Receipt
    location: str | None
    verified: Fingerprint | None


@dataclass(frozen=True, slots=True)
class DayStatus:
    """Which phases of a load date succeeded, with the batch that did it."""

    raw: str | None = None
    finalize: str | None = None


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that wants a lease: run id, host, pid and the process's start time in seconds since the epoch."""

    run_id: str
    host: str
    pid: int
    started: float


@dataclass(frozen=True, slots=True)
class LeaseHeld:
    """A lease that was not given back: its holder is at work, or has died. Past ``expires_at`` anybody may take it."""

    holder: Holder
    token: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run: what it was asked to do, by whom it is carried out, and how it ended (None: it has not, or it died).

    ``tables`` are the selected ones, by ``schema.table``; ``whole``: they were all that were configured.
    """

    job_name: str
    tables: tuple[str, ...]
    options: RunOptions
    holder: Holder
    started_at: datetime
    whole: bool = True
    ended_at: datetime | None = None
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class TableEnd:
    """How a table ended in one run. ``error`` is type and message of a failure, ``watermark`` where the table then stood."""

    run_id: str
    load_date: date
    at: datetime
    status: TableStatus
    rows_read: int = 0
    rows_written: int = 0
    rows_deleted: int = 0
    seconds: float = 0.0
    watermark: str | None = None
    error: str | None = None
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class LastResult:
    """How a table ended last, when it ended well for the last time (None: never), and how many ``failures`` came since."""

    end: TableEnd
    succeeded_at: datetime | None
    failures: int


@dataclass(frozen=True, slots=True)
class Pruned:
    """Rows of a state database that nobody needs any more: events, former heads, closed batches, runs that are over, and
    records of the metadata gateway."""

    events: int = 0
    heads: int = 0
    batches: int = 0
    runs: int = 0
    records: int = 0

    @property
    def rows(self) -> int:
        """All of them."""
        return self.events + self.heads + self.batches + self.runs + self.records


@dataclass(frozen=True, slots=True)
class BatchEnd:
    """A batch that was begun, and how it ended (``open``: it has not). ``error`` is the last thing that went wrong with it,
    in the words of the run that was at work on it; None: nothing did."""

    batch: Batch
    outcome: str
    opened_at: datetime
    closed_at: datetime | None
    error: str | None


class StateStore(Protocol):
    """Durable state of one configuration. Every method is one transaction and safe to call from several threads.

    Raises TransientError when the database cannot be reached and TerminalError when what it holds cannot be read.
    """

    def open(self) -> None:
        """Create or migrate the schema; refuses a schema newer than this program."""
        ...

    def close(self) -> None: ...

    def append_records(self, records: Sequence[StateRecord]) -> None: ...

    def load_days(self, keys: Sequence[TableKey], load_date: date) -> Mapping[TableKey, DayStatus]: ...

    def begin_run(self, record: RunRecord) -> None:
        """Record a run that begins."""
        ...

    def end_run(self, run_id: str, exit_code: int) -> None:
        """Record how a run ended, and that it did so now."""
        ...

    def load_run(self, job_name: str, run_id: str | None = None) -> RunRecord | None:
        """The run of that id, or the one that began last, among the runs of a job; None when there is none."""
        ...

    def remembered_tables(self, job_name: str) -> tuple[str, ...]:
        """The tables of the job's last run over all of them, and of those that began since, by ``schema.table``."""
        ...

    def run_results(self, run_id: str) -> Mapping[TableKey, TableEnd]:
        """How the tables of a run ended that have ended."""
        ...

    def last_results(self, keys: Sequence[TableKey]) -> Mapping[TableKey, LastResult]:
        """How each table ended last, whichever run it was; a table that never ended is left out."""
        ...

    def load_leases(self, keys: Sequence[TableKey]) -> Mapping[TableKey, LeaseHeld]:
        """The leases that were not given back."""
        ...

    def known_tables(self, catalog: str) -> tuple[TableKey, ...]:
        """The targets in a catalog that were ever worked on."""
        ...

    def load_heads(self, keys: Sequence[TableKey]) -> Mapping[TableKey, TableHead]:
        """The head with the highest (sequence, insertion) of each table."""
        ...

    def append_head(self, head: TableHead) -> None:
        """Record a head; an older sequence is kept for the record and never wins."""
        ...

    def load_open_batches(self, keys: Sequence[TableKey]) -> Mapping[TableKey, Batch]: ...

    def batch_ends(self, key: TableKey, most: int) -> tuple[BatchEnd, ...]:
        """The batches of a table that were begun last, the newest first, and how they ended; what cannot be read of them is
        left out."""
        ...

    def last_sequence(self, key: TableKey) -> int:
        """The highest sequence that was ever published for the table; 0 before the first."""
        ...

    def open_batch(self, batch: Batch) -> None: ...

    def close_batch(self, batch: Batch, outcome: str) -> None:
        """Mark a batch ``published``, ``unchanged`` or ``abandoned``."""
        ...

    def settle_batch(self, batch: Batch, outcome: str, head: TableHead | None, records: Sequence[StateRecord]) -> None:
        """Record how a batch ended, all or nothing: the head (None: it stays), phase marks, and the batch as closed."""
        ...

    def load_samples(self, key: TableKey) -> tuple[CursorSample, ...]:
        """The cursor samples kept for a table, oldest first."""
        ...

    def keep_samples(self, key: TableKey, samples: Sequence[CursorSample]) -> None:
        """Keep exactly these samples of a table; whoever holds its lease calls it."""
        ...

    def acquire_lease(self, key: TableKey, holder: Holder, floor: int) -> Lease:
        """Take the lease with a token above every earlier one and above ``floor`` (the table's fence).

        Raises LeaseHeldError when its holder lives.
        """
        ...

    def renew_lease(self, lease: Lease) -> bool:
        """Extend a lease by one lifetime; False when it has been lost to someone else."""
        ...

    def release_lease(self, lease: Lease) -> None: ...

    def prunable(self, before: datetime) -> Pruned:
        """Count what ``prune`` would remove now; reads only."""
        ...

    def prune(self, before: datetime) -> Pruned:
        """Remove what happened before that moment and only people would look at, of whichever configuration.

        Kept is what runs and commands go by: each table's head, its open batch and the last that was published, its newest
        phase marks, how it ended last, when it last ended well and every failure since; and for each job its last run, with
        its events, and the runs that say which tables it has. Several small transactions: runs at work are not kept waiting.
        """
        ...

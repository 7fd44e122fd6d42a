"""What a state database keeps, as a protocol. The receipt in the table decides; this is its cache."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

from ingestion_runtime.model.batch import Batch, Lease, Receipt, TableKey
from ingestion_runtime.model.cursor import Fingerprint
from ingestion_runtime.model.horizon import CursorSample


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

    def load_heads(self, keys: Sequence[TableKey]) -> Mapping[TableKey, TableHead]:
        """The head with the highest (sequence, insertion) of each table."""
        ...

    def append_head(self, head: TableHead) -> None:
        """Record a head; an older sequence is kept for the record and never wins."""
        ...

    def load_open_batches(self, keys: Sequence[TableKey]) -> Mapping[TableKey, Batch]: ...

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

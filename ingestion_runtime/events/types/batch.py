"""Events of a batch: its slices, what was written of them, and what became of it."""

from dataclasses import dataclass
from typing import ClassVar

from ingestion_runtime.events.event import Event


@dataclass(frozen=True, slots=True)
class SliceStarted(Event):
    """Reading of a slice begins."""

    name: ClassVar[str] = "slice_start"

    ordinal: int


@dataclass(frozen=True, slots=True)
class SliceProgress(Event):
    """A slice is being read: its rows so far, their bytes in memory, and the seconds since its reading began. A read that
    failed for its size and starts again takes its rows back."""

    name: ClassVar[str] = "slice_progress"

    ordinal: int
    rows: int
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SliceSplit(Event):
    """A read of a slice failed for its size (``reason``) and is tried again in two halves, for the ``depth``-th time."""

    name: ClassVar[str] = "slice_split"
    level: ClassVar[str] = "warning"

    ordinal: int
    depth: int
    reason: str


@dataclass(frozen=True, slots=True)
class SliceStaged(Event):
    """A slice is staged; ``reused``: an earlier attempt of this batch had done it. ``connections`` is over how many at once
    its rows were read, 0 where none were; ``tombstones``: they are keys that the source no longer has, and none was read."""

    name: ClassVar[str] = "slice_staged"

    ordinal: int
    rows: int
    bytes: int
    seconds: float
    reused: bool = False
    connections: int = 0
    tombstones: bool = False


@dataclass(frozen=True, slots=True)
class BatchPublished(Event):
    """A batch is visible, with its receipt; or, not ``changed``, it brought nothing that the target lacked.

    ``rows`` were written and ``deleted`` removed or marked. The seconds are those of the attempt that succeeded:
    preparing the table and writing the rows where no reader looks, the audit of what was written, landing them in raw, and
    the commit.
    """

    name: ClassVar[str] = "batch_published"

    batch_id: str
    rows: int
    deleted: int
    changed: bool
    write_seconds: float
    audit_seconds: float
    land_seconds: float
    commit_seconds: float


@dataclass(frozen=True, slots=True)
class RowsSetAside(Event):
    """Rows without a key went to quarantine."""

    name: ClassVar[str] = "rows_quarantined"
    level: ClassVar[str] = "warning"

    rows: int
    location: str


@dataclass(frozen=True, slots=True)
class DuplicatesResolved(Event):
    """Rows of a batch that lost against a newer row with the same key."""

    name: ClassVar[str] = "duplicate_keys"
    level: ClassVar[str] = "warning"

    rows: int


@dataclass(frozen=True, slots=True)
class DeletesFound(Event):
    """The keys of source and target were compared. ``moved_keys`` were read from the source because ``differing`` of
    ``buckets`` differed; ``missing_in_target`` are at the source only: late rows, which nobody touches. ``fraction`` is
    that of the deleted among the target's live keys."""

    name: ClassVar[str] = "deletes_found"

    deleted: int
    moved_keys: int
    buckets: int
    differing: int
    missing_in_target: int
    fraction: float


@dataclass(frozen=True, slots=True)
class BatchRecovered(Event):
    """A batch of an earlier run was found open; ``how`` says what became of it."""

    name: ClassVar[str] = "batch_recovered"
    level: ClassVar[str] = "warning"

    batch_id: str
    how: str


@dataclass(frozen=True, slots=True)
class PublishRetried(Event):
    """A publish was refused because the table moved, and is tried again from the staged files."""

    name: ClassVar[str] = "publish_retried"
    level: ClassVar[str] = "warning"

    attempt: int
    reason: str

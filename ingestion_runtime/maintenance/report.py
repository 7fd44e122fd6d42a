"""What maintenance found and did: the document for programs, as dataclasses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

DOCUMENT_VERSION = 1
_NAMES_TOLD = 20


class Mode(StrEnum):
    """What is asked for: an audit that changes nothing, upkeep, or new mirrors from raw."""

    DRY_RUN = "dry-run"
    APPLY = "apply"
    REBUILD = "rebuild-from-raw"


class Status(StrEnum):
    """How a table ended, or would end.

    The strongest word for what was done: ``repartitioned``, ``rewritten``, then ``applied`` (anything else was done).
    ``noop``: there was nothing to do; ``no_data``: nothing was ever published. ``error``: it failed; what was done before
    that stands.
    """

    APPLIED = "applied"
    NO_DATA = "no_data"
    NOOP = "noop"
    REWRITTEN = "rewritten"
    REPARTITIONED = "repartitioned"
    ERROR = "error"


class FindingKind(StrEnum):
    """What may be found at a table."""

    PARTITION_DIFFERS = "partition_differs"
    COLUMN_MISSING = "column_missing"
    SMALL_FILES = "small_files"
    DELETE_FILES = "delete_files"
    REWRITE_BLOCKED = "rewrite_blocked"
    SNAPSHOTS = "snapshots"
    ORPHANS = "orphans"
    STALE_BRANCHES = "stale_branches"
    BACKUPS = "backups"
    DAMAGED = "damaged"
    FILE_LOST = "file_lost"
    FOREIGN = "foreign"
    LEASE = "lease"
    OPEN_BATCH = "open_batch"
    STAGED_OPEN = "staged_open"
    STAGED_OVER = "staged_over"
    RAW_ABANDONED = "raw_abandoned"
    RAW_LOOSE = "raw_loose"
    RAW_UNMARKED = "raw_unmarked"
    RAW_GAP = "raw_gap"
    RAW_UNREADABLE = "raw_unreadable"
    RAW_MISPLACED = "raw_misplaced"
    RAW_CHANGED = "raw_changed"
    RAW_LANDINGS = "raw_landings"
    RAW_OLD = "raw_old"
    RAW_AHEAD = "raw_ahead"
    QUARANTINE_OLD = "quarantine_old"
    STATE_BEHIND = "state_behind"
    STATE_AHEAD = "state_ahead"
    STATE_UNREADABLE = "state_unreadable"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found. ``apply``: ``--maintenance-mode apply`` would do something about it now.

    ``count`` things with ``bytes`` on disk (None: they have no size, or nobody knows it); ``names`` are some of them.
    """

    kind: FindingKind
    message: str
    apply: bool = False
    count: int | None = None
    bytes: int | None = None
    names: tuple[str, ...] = ()


def some(names: Sequence[str]) -> tuple[str, ...]:
    """Return as many names as a document should hold."""
    return tuple(names[:_NAMES_TOLD])


class ActionKind(StrEnum):
    """What may be done."""

    REWRITE = "rewrite"
    REPARTITION = "repartition"
    MARK_PUBLISHED = "mark_published"
    DROP_BRANCHES = "drop_branches"
    DROP_BACKUPS = "drop_backups"
    EXPIRE = "expire"
    REMOVE_ORPHANS = "remove_orphans"
    REMOVE_RAW = "remove_raw"
    REMOVE_QUARANTINE = "remove_quarantine"
    REMOVE_LANDINGS = "remove_landings"
    CLEAN_STAGING = "clean_staging"
    REBUILD = "rebuild"
    TAKE_OVER_LEASE = "take_over_lease"
    PRUNE_STATE = "prune_state"
    REMOVE_LOGS = "remove_logs"
    REMOVE_MIRRORS = "remove_mirrors"


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that was done: to ``count`` things, which freed or (rewrite) moved so many ``bytes``."""

    kind: ActionKind
    message: str
    count: int
    bytes: int | None = None
    seconds: float = 0.0
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a table failed, what to do, and how the process should end for it."""

    type: str
    message: str
    remedy: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class Figures:
    """How a table lay there at the beginning, whether there is anything to do or not.

    ``data_files`` with ``data_bytes`` are those that readers read; ``delete_files`` hide ``dead_rows`` of theirs (None:
    nobody counted). ``references`` are branches and tags. ``orphans`` are files that nothing names, young ones included.
    ``raw_batches`` are those of which the table consists, ``raw_earlier`` those that no rebuild needs any more.
    """

    data_files: int
    data_bytes: int
    small_files: int
    delete_files: int
    dead_rows: int | None
    snapshots: int
    oldest_snapshot: datetime | None
    references: int
    orphans: int
    orphan_bytes: int
    raw_batches: int
    raw_earlier: int


@dataclass(frozen=True, slots=True)
class TableReport:
    """One table. ``status`` is how it ended, None in a dry run, which says how it ``would``. ``figures`` None: there was
    nothing to look at.

    ``held_by``: the run whose lease was waited for in vain; what needs the lease was left, and the table ends with an error.
    ``rebuild``: what a rebuild found and did.
    """

    table: str
    target: str
    status: Status | None
    would: Status | None = None
    figures: Figures | None = None
    findings: tuple[Finding, ...] = ()
    actions: tuple[Action, ...] = ()
    remarks: tuple[str, ...] = ()
    held_by: str | None = None
    rebuild: Mapping[str, Any] | None = None
    error: Failure | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Housekeeping:
    """What belongs to no table: rows of the state that nobody needs, old log files, and mirrors of old runs' logs in the
    outbox that may go, or went."""

    state_rows: int = 0
    log_files: int = 0
    log_bytes: int = 0
    outbox_runs: int = 0
    outbox_bytes: int = 0
    actions: tuple[Action, ...] = ()
    error: Failure | None = None


@dataclass(frozen=True, slots=True)
class MaintenanceReport:
    """One run of maintenance."""

    mode: Mode
    run_id: str
    job_name: str
    exit_code: int
    seconds: float
    tables: tuple[TableReport, ...]
    housekeeping: Housekeeping = field(default_factory=Housekeeping)

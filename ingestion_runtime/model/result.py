"""How tables and runs ended."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from ingestion_runtime.model.schema import ColumnChange


class TableStatus(StrEnum):
    """``done``: something was published; ``unchanged``: nothing new; ``skipped``: complete for this load date already."""

    DONE = "done"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a table failed; ``stack_hash`` groups equal failures, ``exit_code`` is what it means for the process.

    ``changes`` is the whole difference of its columns, where that is the reason.
    """

    type: str
    message: str
    stack_hash: str
    exit_code: int
    changes: tuple[ColumnChange, ...] = ()


@dataclass(frozen=True, slots=True)
class TableResult:
    """One table in one run. Rows as read from the source and as published; seconds are wall time; ``remark`` is what
    people should read beside them; ``engine`` moved the rows (``arrow`` or ``spark``; None: there were none to move)."""

    table: str
    mode: str
    status: TableStatus
    rows_read: int = 0
    rows_written: int = 0
    rows_deleted: int = 0
    duplicates: int = 0
    quarantined: int = 0
    slices: int = 0
    watermark: str | None = None
    seconds: float = 0.0
    failure: Failure | None = None
    remark: str = ""
    engine: str | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """One run over all its tables."""

    run_id: str
    job_name: str
    load_date: date
    seconds: float
    exit_code: int
    tables: tuple[TableResult, ...]

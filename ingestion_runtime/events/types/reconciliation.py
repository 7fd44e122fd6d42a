"""Events of comparisons."""

from dataclasses import dataclass
from typing import ClassVar

from ingestion_runtime.events.event import Event


@dataclass(frozen=True, slots=True)
class ReconStarted(Event):
    """A reconciliation begins: which tables are compared, who reads the targets, and by which checks (empty: as configured
    for each table)."""

    name: ClassVar[str] = "recon_start"

    job_name: str
    tables: tuple[str, ...]
    engine: str
    checks: tuple[str, ...] = ()
    max_parallel: int = 1


@dataclass(frozen=True, slots=True)
class ReconChecked(Event):
    """A check of a table ended. ``difference`` counts rows (``bisect``: keys), None where it was not counted."""

    name: ClassVar[str] = "recon_check"

    check: str
    status: str
    source: int | None
    target: int | None
    difference: int | None
    detail: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ReconDiffered(Event):
    """A check found a difference. Of groups and keys the first ones, in words; the report lists more of them."""

    name: ClassVar[str] = "recon_difference"
    level: ClassVar[str] = "warning"

    check: str
    status: str
    difference: int | None
    detail: str
    columns: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReconFailed(Event):
    """A table could not be compared; ``stack`` is the end of the stack."""

    name: ClassVar[str] = "recon_failed"
    level: ClassVar[str] = "error"

    error_type: str
    message: str
    exit_code: int
    stack: str = ""


@dataclass(frozen=True, slots=True)
class ReconDone(Event):
    """A reconciliation ended; numbers of tables by their gravest check."""

    name: ClassVar[str] = "recon_done"

    exit_code: int
    seconds: float
    equal: int = 0
    within: int = 0
    differs: int = 0
    skipped: int = 0
    error: int = 0

"""Events of maintenance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ingestion_runtime.events.event import Event


@dataclass(frozen=True, slots=True)
class MaintenanceStarted(Event):
    """Maintenance begins: ``mode`` is ``apply`` or ``rebuild-from-raw``; a dry run writes nothing, not even this."""

    name: ClassVar[str] = "maintenance_start"

    mode: str
    job_name: str
    tables: int
    host: str = ""
    pid: int = 0
    tables_named: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TableRebuilt(Event):
    """A table was built anew from ``batches`` raw batches and published. Against the one that stood before: rows that are
    ``equal``, ``only_in_raw``, ``only_in_table``, and ``changed`` (None: it could not be compared, ``uncompared`` says why).
    ``backup`` is the tag under which that one stays."""

    name: ClassVar[str] = "table_rebuilt"

    batch_id: str
    batches: int
    rows: int
    equal: int | None = None
    only_in_raw: int | None = None
    only_in_table: int | None = None
    changed: int | None = None
    uncompared: str = ""
    backup: str | None = None


@dataclass(frozen=True, slots=True)
class MaintenanceTable(Event):
    """A table is through. ``findings`` and ``actions`` are as in the document; ``error`` says why it failed, and what to do.
    ``held_by``: the run whose lease was waited for in vain."""

    name: ClassVar[str] = "maintenance_table"

    status: str
    seconds: float
    findings: tuple[object, ...] = ()
    actions: tuple[object, ...] = ()
    remarks: tuple[str, ...] = ()
    held_by: str | None = None
    error_type: str | None = None
    error: str | None = None
    stack: str | None = None


@dataclass(frozen=True, slots=True)
class MaintenanceDone(Event):
    """Maintenance ended; ``statuses`` counts tables by how they ended, the rest is what went."""

    name: ClassVar[str] = "maintenance_done"

    exit_code: int
    seconds: float
    statuses: Mapping[str, int]
    state_rows: int = 0
    log_files: int = 0
    log_bytes: int = 0
    outbox_runs: int = 0
    outbox_bytes: int = 0

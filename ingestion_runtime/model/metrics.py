"""What the metadata gateway records of every table in every run, and where it goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Protocol

from ingestion_runtime.model.batch import TableKey

if TYPE_CHECKING:
    from ingestion_runtime.model.connection import Secret


@dataclass(frozen=True, slots=True)
class OpenLineageSpec:
    """Where OpenLineage events go: a file of JSON lines (absolute path), or a server with ``endpoint`` below ``url``.

    ``wait_seconds`` is how long the end of a run waits for events that are under way.
    """

    namespace: str = "ingestion"
    file: str | None = None
    url: str | None = None
    endpoint: str = "api/v1/lineage"
    api_key: "Secret | None" = None
    timeout_seconds: int = 5
    wait_seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class GatewaySpec:
    """Which records are kept in the state database, and whether lineage is told."""

    ingestion_metrics: bool = False
    ingestion_runtime: bool = False
    openlineage: OpenLineageSpec | None = None


@dataclass(frozen=True, slots=True)
class TableRun:
    """One table in one run: when it began, and, once ``ended``, what came of it.

    ``table`` is its name at the source, ``key`` its target. Counts are of what happened in this run, whether it ended well
    or not; ``bytes`` are those of the staged files. ``status`` is a ``TableStatus``; ``engine`` is None where there was
    nothing to move, ``batch_id`` and ``location`` are those of the last batch that landed or was published.
    """

    run_id: str
    job_name: str
    table: str
    key: TableKey
    source_id: str
    mode: str
    load_date: date
    started: datetime
    ended: datetime | None = None
    status: str = ""
    seconds: float = 0.0
    exit_code: int = 0
    error_type: str | None = None
    message: str | None = None
    stack_hash: str | None = None
    rows_read: int = 0
    rows_written: int = 0
    rows_deleted: int = 0
    bytes: int = 0
    duplicates: int = 0
    quarantined: int = 0
    slices: int = 0
    watermark: str | None = None
    batch_id: str | None = None
    location: str | None = None
    engine: str | None = None


@dataclass(frozen=True, slots=True)
class VolumeRecord:
    """``ingestion_volume``: how much a table moved in a run. The fields are those of ``TableRun``."""

    key: TableKey
    run_id: str
    table: str
    source_id: str
    load_date: date
    recorded_at: datetime
    status: str
    rows_read: int
    rows_written: int
    rows_deleted: int
    bytes: int
    duplicates: int
    quarantined: int
    slices: int
    watermark: str | None
    batch_id: str | None
    location: str | None


@dataclass(frozen=True, slots=True)
class RuntimeRecord:
    """``ingestion_runtime``: how a table's run went. The fields are those of ``TableRun``."""

    key: TableKey
    run_id: str
    job_name: str
    table: str
    source_id: str
    mode: str
    load_date: date
    started_at: datetime
    ended_at: datetime
    seconds: float
    status: str
    exit_code: int
    error_type: str | None
    stack_hash: str | None
    engine: str | None


class MetricsRepository(Protocol):
    """Where the records go. Records are only ever added: one of each kind for a table in a run."""

    def append_metrics(self, volumes: Sequence[VolumeRecord], runtimes: Sequence[RuntimeRecord]) -> None:
        """Add the records, all or nothing; one whose run and table are there already is passed over.

        Raises TransientError when the store cannot be reached.
        """
        ...


class TableRunListener(Protocol):
    """Someone who is told of every table's run. Called one at a time, while others wait: it must be quick."""

    def began(self, run: TableRun) -> None: ...

    def ended(self, run: TableRun) -> None: ...

"""What a run is asked to do: the configuration after validation, frozen."""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from ingestion_runtime.model.cursor import CursorType, Watermark
from ingestion_runtime.model.horizon import HorizonPolicy
from ingestion_runtime.model.maintenance import Maintenance, SpecMode, TableMaintenance
from ingestion_runtime.model.metrics import GatewaySpec
from ingestion_runtime.model.notify import NotifySpec
from ingestion_runtime.model.orchestration import Orchestration
from ingestion_runtime.model.policy import Guardrails, SchemaPolicy
from ingestion_runtime.model.privacy import Privacy
from ingestion_runtime.model.reconciliation import Reconciliation


class Secret(Protocol):
    """A reference to a secret. ``str()`` and ``repr()`` show the reference, never the value."""

    def resolve(self) -> str:
        """Return the value, read at the moment of the call; raises ConfigError when it cannot be read."""
        ...


class SinkFormat(StrEnum):
    """Where a table is published."""

    ICEBERG = "iceberg"
    PARQUET = "parquet"


class Engine(StrEnum):
    """What moves a table's rows: this process (Arrow record batches), Spark, or whichever of them fits."""

    AUTO = "auto"
    ARROW = "arrow"
    SPARK = "spark"


class NullKeys(StrEnum):
    """What happens to rows with a NULL in the primary key."""

    REFUSE = "refuse"
    QUARANTINE = "quarantine"


class Deletes(StrEnum):
    """What happens to rows of an incremental table that the source no longer has."""

    IGNORE = "ignore"
    SOFT = "soft"
    HARD = "hard"


class Unfit(StrEnum):
    """What becomes of tables that lack the key or the cursor of a pattern's mode: nothing is run, or they are loaded whole,
    or left out."""

    REFUSE = "refuse"
    FULL = "full"
    SKIP = "skip"


class NullCursor(StrEnum):
    """What happens to rows without a cursor in an incremental table."""

    READ = "read"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Tls:
    """How a connection is protected. ``mode`` uses PostgreSQL's words: disable, prefer, require, verify-ca, verify-full."""

    mode: str = "prefer"
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class ConnectionSpec:
    """One named source database. ``database`` is a file path for SQLite (absolute after loading).

    ``horizon_wait_seconds``: how long a table whose cursor is no clock waits for open transactions to end.
    ``max_connections``: how many connections one run may have open at a time; None: as many as it needs.
    """

    name: str
    dialect: str
    database: str
    host: str | None = None
    port: int | None = None
    user: str | None = None
    password: Secret | None = None
    tls: Tls = field(default_factory=Tls)
    connect_timeout_seconds: int = 10
    jdbc_properties: tuple[tuple[str, str], ...] = ()
    identity: str | None = None
    horizon_wait_seconds: int = 5
    max_connections: int | None = None

    @property
    def address(self) -> str:
        """Which data this is: the configured ``identity``, else dialect, host, port and database."""
        if self.identity is not None:
            return self.identity
        place = f"{self.host}:{self.port or ''}" if self.host else ""
        return f"{self.dialect}://{place}/{self.database.lstrip('/')}"


@dataclass(frozen=True, slots=True)
class PartitionRead:
    """A read split over several connections by ranges of a numeric, date or timestamp column that follow its rows.

    ``lower`` and ``upper`` are Spark's bounds: accepted, checked to be values of the column, and not needed.
    """

    column: str
    lower: str | None
    upper: str | None
    partitions: int


@dataclass(frozen=True, slots=True)
class PartitionField:
    """One field of an Iceberg partition spec: identity, year, month, day, or bucket / truncate with a ``width``."""

    column: str
    transform: str
    width: int | None = None


@dataclass(frozen=True, slots=True)
class TableSpec:
    """One table of a configuration.

    ``lag`` is the lag of an int cursor, in its own units. ``cursor_timezone`` is the IANA name of the zone whose wall
    clock a cursor without a zone shows. ``engine`` None: as the runtime says.
    """

    schema: str
    table: str
    mode: str
    connection: str
    sink: SinkFormat = SinkFormat.ICEBERG
    primary_keys: tuple[str, ...] = ()
    incremental_column: str | None = None
    incr_col_type: CursorType | None = None
    initial_watermark: Watermark | None = None
    lag_seconds: int | None = None
    source_filter: str | None = None
    query_sql: str | None = None
    partition_read: PartitionRead | None = None
    fetch_size: int = 10_000
    partition: tuple[PartitionField, ...] = ()
    merge_filter: str | None = None
    null_keys: NullKeys = NullKeys.REFUSE
    null_cursor: NullCursor = NullCursor.READ
    horizon: HorizonPolicy = HorizonPolicy.STRICT
    cursor_timezone: str | None = None
    lag: int | None = None
    deletes: Deletes = Deletes.IGNORE
    max_delete_fraction: float = 0.1
    policy: SchemaPolicy = field(default_factory=SchemaPolicy)
    guardrails: Guardrails = field(default_factory=Guardrails)
    engine: Engine | None = None
    # Not in the digest: it decides whether what was staged is published, not what is staged.
    max_shrink_fraction: float | None = field(default=None, repr=False)
    # In the digest by its marks: without any, digests are what they were before there was such a thing.
    privacy: Privacy = field(default_factory=Privacy, repr=False)
    # Not in the digest: what is asked of rows does not change them.
    reconciliation: Reconciliation = field(default_factory=Reconciliation, repr=False)
    # Not in the digest: only maintenance goes by them.
    spec_mode: SpecMode = field(default=SpecMode.REPLACE, repr=False)
    maintenance: TableMaintenance = field(default_factory=TableMaintenance, repr=False)

    @property
    def name(self) -> str:
        """``schema.table``, as people write it."""
        return f"{self.schema}.{self.table}"


@dataclass(frozen=True, slots=True)
class TablePattern:
    """An entry of the configuration that stands for every table of a connection whose name it matches.

    ``like`` is the table that each of them becomes, but for its name, and for its keys where it names none; ``otherwise``
    what one becomes that lacks its key or cursor and is to be loaded whole. ``place``: before which of the configured tables
    they come; ``entry``: the number of the entry in the file. ``matched`` are the names of its tables, None until the source
    was asked; ``skipped`` are those that do not fit.
    """

    entry: int
    place: int
    like: TableSpec
    otherwise: TableSpec | None
    exclude: tuple[str, ...] = ()
    views: bool = False
    allow_empty: bool = False
    unfit: Unfit = Unfit.REFUSE
    matched: tuple[str, ...] | None = None
    skipped: tuple[TableSpec, ...] = ()


def reading(table: TableSpec, connection: ConnectionSpec) -> tuple[tuple[str, str], ...]:
    """Return what decides which rows a table is read from, and by which cursor: (setting, value or its digest).

    A watermark is true only for the reading under which it was reached. How fast or in which pieces rows are read does not
    belong to it. The source is readable, so that people can tell; the other values are digests.
    The marks of columns that are kept out of the lake come last; raises ConfigError for a salt that cannot be read.
    """
    settings = {
        "primary_keys": table.primary_keys,
        "incremental_column": table.incremental_column,
        "incr_col_type": table.incr_col_type,
        "source_filter": table.source_filter,
        "query_sql": table.query_sql,
        "null_cursor": table.null_cursor,
        "null_keys": table.null_keys,
    }
    values = [(name, _short_digest(value)) for name, value in settings.items()]
    return (("source", connection.address), *values, *table.privacy.marks())


def work_digest(table: TableSpec, connection: ConnectionSpec) -> str:
    """Return 16 hex characters that change with every setting of a table and with the place it is read from.

    Not with the engine: what one has staged the other may publish.
    """
    marks = table.privacy.marks()
    return _short_digest((replace(table, engine=None), connection.address, *((marks,) if marks else ())))


def _short_digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class SlicingPolicy:
    """Bounds of the adaptive planner. Durations in hours; counts are rows."""

    enabled: bool = True
    max_duration_hours: int = 168
    max_count: int = 10_000_000
    target_rows_per_slice: int = 1_000_000
    max_partitions: int = 24


@dataclass(frozen=True, slots=True)
class StagingSpec:
    """Where slices are staged, and after how many hours leftovers are removed (``enabled`` switches that off)."""

    root: str
    ttl_hours: int = 72
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class CatalogSpec:
    """The Iceberg catalog. ``name_pattern`` yields ``namespace.table`` from ``{schema}`` and ``{table}``.

    A SQL catalog has either ``database``, the path of an SQLite file, or ``connection``, a PostgreSQL database; a Hadoop
    catalog has neither. ``warehouse`` is a local path or hdfs://.
    """

    name: str
    database: str | None
    warehouse: str
    name_pattern: str = "{schema}.{table}"
    connection: ConnectionSpec | None = None


@dataclass(frozen=True, slots=True)
class SparkSpec:
    """How a Spark session is made when one is needed."""

    master: str = "local[*]"
    driver_memory: str = "2g"
    conf: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class LoggingSpec:
    """Where the event log goes. ``event_sink`` is a directory: one JSON-lines file a run."""

    level: str = "info"
    emit_structured: bool = True
    event_sink: str | None = None


@dataclass(frozen=True, slots=True)
class MetadataSpec:
    """The cache of catalog snapshots. ``ttl_hours`` 0 means: describe at every run.

    ``policy`` and ``guardrails`` are what holds for tables that say nothing else; every table carries its own.
    """

    enabled: bool = True
    cache_path: str = "metadata"
    ttl_hours: int = 24
    policy: SchemaPolicy = field(default_factory=SchemaPolicy)
    guardrails: Guardrails = field(default_factory=Guardrails)


@dataclass(frozen=True, slots=True)
class RuntimeSpec:
    """Everything that holds for a whole run. Paths are absolute after loading.

    ``memory_mb`` is what the in-process engine may use for rows, in MiB, all tables of a run together.
    """

    job_name: str
    raw_root: str
    final_root: str
    timezone: str
    catalog: CatalogSpec | None
    staging: StagingSpec
    state_database: str
    max_parallel_tables: int = 4
    lag_seconds: int = 0
    compression: str = "zstd"
    finalize_full_refresh: bool = True
    slicing: SlicingPolicy = field(default_factory=SlicingPolicy)
    spark: SparkSpec = field(default_factory=SparkSpec)
    logging: LoggingSpec = field(default_factory=LoggingSpec)
    state_flush_every: int = 50
    state_flush_age_seconds: int = 120
    hdfs_outbox_root: str | None = None
    engine: Engine = Engine.AUTO
    memory_mb: int = 512
    notify: NotifySpec = field(default_factory=NotifySpec)
    gateway: GatewaySpec = field(default_factory=GatewaySpec)
    maintenance: Maintenance = field(default_factory=Maintenance)
    reconciliation: Reconciliation = field(default_factory=Reconciliation)


@dataclass(frozen=True, slots=True)
class Configuration:
    """A whole configuration file, validated. Tables of its ``patterns`` are among ``tables`` once the source was asked."""

    path: Path
    connections: tuple[ConnectionSpec, ...]
    runtime: RuntimeSpec
    metadata: MetadataSpec
    tables: tuple[TableSpec, ...]
    orchestration: Orchestration = field(default_factory=Orchestration)
    patterns: tuple[TablePattern, ...] = ()

    def connection(self, name: str) -> ConnectionSpec:
        """Return the connection of that name; validation has made sure that there is one."""
        return next(c for c in self.connections if c.name == name)


@dataclass(frozen=True, slots=True)
class AskedWindow:
    """A window of the cursor as it was asked for: from ``start`` up to ``end``, which does not belong to it (None: up to the
    watermark). Texts, because each table reads them as its cursor is spelled."""

    start: str
    end: str | None = None


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line adds to a configuration, for one run.

    ``backfill``: read what lies at or below the watermark again and merge it; ``backfill_columns`` must be there.
    ``allow_shrink``: tables whose shrink guard is lifted. ``window``: nothing new is read, but the rows of a window again.
    """

    run_id: str
    load_date: date
    wm_lag_seconds: int | None = None
    heartbeat_seconds: int = 120
    notify_interval_seconds: int = 300
    reload: frozenset[str] = frozenset()
    backfill: bool = False
    backfill_columns: tuple[str, ...] = ()
    allow_shrink: frozenset[str] = frozenset()
    window: AskedWindow | None = None

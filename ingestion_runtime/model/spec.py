"""What a run is asked to do: the configuration after validation, frozen."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from ingestion_runtime.model.connection import ConnectionSpec
from ingestion_runtime.model.cursor import CursorType, Watermark
from ingestion_runtime.model.horizon import HorizonPolicy
from ingestion_runtime.model.maintenance import Maintenance, SpecMode, TableMaintenance
from ingestion_runtime.model.metrics import GatewaySpec
from ingestion_runtime.model.notify import NotifySpec
from ingestion_runtime.model.orchestration import Orchestration
from ingestion_runtime.model.policy import Guardrails, SchemaPolicy
from ingestion_runtime.model.privacy import Privacy
from ingestion_runtime.model.reconciliation import Reconciliation


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

    @property
    def log_folder(self) -> Path:
        """Where event logs and Spark's own go: the configured ``event_sink``, else beside the state."""
        return Path(self.logging.event_sink or Path(self.state_database).parent / "logs")


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

    def publishes(self, table: TableSpec) -> bool:
        """Whether batches of a table go into a target, and not into raw alone."""
        return table.mode != "full" or self.runtime.finalize_full_refresh

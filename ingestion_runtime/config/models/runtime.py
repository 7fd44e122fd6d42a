"""The part ``runtime``: what holds for a whole run."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ingestion_runtime.config.models.maintenance import MaintenanceFile
from ingestion_runtime.config.models.notify import MetadataGatewayFile, NotifyFile
from ingestion_runtime.config.models.parts import FilePart, Hours, Rows, Text
from ingestion_runtime.config.models.reconciliation import ReconciliationFile


class IntermediateFile(FilePart):
    """The Iceberg catalog."""

    placeholders: ClassVar[Mapping[str, object]] = {"warehouse": "?"}

    catalog_type: Literal["sql", "hadoop"] = "sql"
    """sql: in an SQLite file or a PostgreSQL database; hadoop: in the warehouse itself, on HDFS only."""
    name: Text = "lake"
    """Name of the catalog in SQL."""
    database: Text | None = None
    """Path of the SQLite file of a sql catalog; or name a connection."""
    connection: Text | None = None
    """Name of the postgresql connection that holds a sql catalog; or name a database."""
    warehouse: Text
    """Directory of the tables: a path, or hdfs://host:port/path."""
    table_pattern: Text = "{schema}.{table}"
    """Iceberg name of a table, as namespace.table."""


class StagingFile(FilePart):
    """Where slices are staged."""

    root: Text | None = None
    """Directory; 'staging' beside raw_root where left out."""
    ttl_hours: Hours = 72
    """Leftovers older than this are removed."""
    enabled: bool = True
    """Whether leftovers are removed."""


class StateFile(FilePart):
    """The state database."""

    database: Text | None = None
    """Path of its SQLite file; 'state/state.db' beside raw_root where left out."""


class SlicingFile(FilePart):
    """When a large range of an scd1 table is read in slices."""

    enabled: bool = True
    max_duration_hours: Hours = 168
    max_count: Rows = 10_000_000
    target_rows_per_slice: Rows = 1_000_000
    max_partitions: Annotated[int, Field(ge=1, le=10_000)] = 24


class LoggingFile(FilePart):
    """The event log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    emit_structured: bool = True
    """Whether events are written as JSON lines."""
    event_sink: Text | None = None
    """Directory: one file a run. Left out: no file."""


class SparkFile(FilePart):
    """How a Spark session is made when one is needed."""

    master: Text = "local[*]"
    """local, local[N], local[*], spark://host:port, yarn or k8s://..."""
    driver_memory: Text = "2g"
    conf: dict[str, str] = Field(default_factory=dict)
    """Further Spark settings; those that the runtime decides itself are refused."""


class RuntimeFile(FilePart):
    """Everything that holds for a whole run."""

    placeholders: ClassVar[Mapping[str, object]] = {"raw_root": "?", "final_root": "?", "timezone": "UTC"}

    job_name: Text | None = None
    """Name of the job; the file's name where left out."""
    raw_root: Text
    """Directory in which every batch is kept as it was read."""
    final_root: Text
    """Directory in which tables with a parquet sink are published."""
    timezone: Text
    """IANA name of the zone in which load dates are counted."""
    max_parallel_tables: Annotated[int, Field(ge=1, le=256)] = 4
    lag_seconds: Annotated[int, Field(ge=0)] = 0
    """Lag of tables that name none; not for int and text cursors."""
    write_format: Literal["parquet"] = "parquet"
    compression: Literal["zstd", "snappy", "gzip", "none"] = "zstd"
    engine: Literal["auto", "arrow", "spark"] = "auto"
    """What moves rows: this process (arrow), Spark, or whichever fits the table."""
    memory_mb: Annotated[int, Field(ge=64, le=1_048_576)] = 512
    """What arrow may use for rows, in MiB, all tables of a run together."""
    finalize_full_refresh: bool = True
    """false: a full refresh ends when the batch is in raw."""
    intermediate: IntermediateFile | None = None
    staging: StagingFile = Field(default_factory=StagingFile)
    state: StateFile = Field(default_factory=StateFile)
    scd1_slicing: SlicingFile = Field(default_factory=SlicingFile)
    state_flush_every: Annotated[int, Field(ge=1, le=1_000_000)] = 50
    """Events that are buffered before they are written."""
    state_flush_age_seconds: Annotated[int, Field(ge=1, le=86_400)] = 120
    """Age at which buffered events are written."""
    hdfs_outbox_root: Text | None = None
    """Where the event log is mirrored: a path, or webhdfs://host:port/path."""
    logging: LoggingFile = Field(default_factory=LoggingFile)
    notify: NotifyFile | None = None
    metadata_gateway: MetadataGatewayFile = Field(default_factory=MetadataGatewayFile)
    reconciliation_defaults: ReconciliationFile | None = None
    """How tables are compared with their sources where they say nothing else."""
    maintenance: MaintenanceFile = Field(default_factory=MaintenanceFile)
    spark: SparkFile = Field(default_factory=SparkFile)

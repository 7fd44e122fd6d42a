"""The part ``tables``, and what they may have in common."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ingestion_runtime.config.models.maintenance import TableMaintenanceFile
from ingestion_runtime.config.models.metadata import ColumnFile, SchemaPolicyFile
from ingestion_runtime.config.models.parts import FilePart, NumberOrText, Seconds, Text, TextOrTexts
from ingestion_runtime.config.models.reconciliation import ReconciliationFile


class PartitionReadFile(FilePart):
    """A read split over several connections by ranges of a numeric, date or timestamp column that follow its rows."""

    column: Text = Field(alias="partitionColumn")
    lower: NumberOrText | None = Field(alias="lowerBound", default=None)
    """Not needed: the cuts follow the rows. A value that the column cannot hold is refused."""
    upper: NumberOrText | None = Field(alias="upperBound", default=None)
    """As lowerBound."""
    partitions: Annotated[int, Field(alias="numPartitions", ge=1, le=1000)]


class PartitionFieldFile(FilePart):
    """One field of the Iceberg partition spec."""

    column: Text
    transform: Text = "identity"
    """identity, year(s), month(s), day(s), bucket:N or truncate:N."""


class TableIntermediateFile(FilePart):
    """The table in Iceberg."""

    partition: list[PartitionFieldFile] = Field(default_factory=list)
    spec_mode: Literal["append", "replace"] = "replace"
    """When partition has changed, maintenance lets only new files follow it (append), or rewrites all rows (replace)."""
    merge_filter: Text | None = None
    """A condition on the target that prunes partitions; scd1 only."""


class MaskFile(FilePart):
    """What becomes of the values of a column before anything is written."""

    placeholders: ClassVar[Mapping[str, object]] = {"method": "null"}

    method: Literal["hash", "truncate", "null"]
    """hash: HMAC-SHA-256 in hex; truncate: the first characters; null: the column is not read and always NULL."""
    length: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """How many characters truncate keeps."""
    salt: str | None = None
    """The key of a hash. A reference: ${env:NAME} or ${file:PATH}."""


class SharedTableFile(FilePart):
    """What the tables of a connection may have in common."""

    mode: Literal["full", "scd1", "append"] | None = None
    """full: replace the whole table; scd1: merge what changed by primary key; append: add what is new, without a key."""
    sink: Literal["iceberg", "parquet"] = "iceberg"
    primary_keys: list[Text] = Field(default_factory=list)
    incremental_column: Text | None = None
    incr_col_type: Literal["timestamp", "date", "epoch_seconds", "epoch_millis", "int", "text"] | None = None
    initial_watermark: NumberOrText | None = None
    """Where the first batch starts (exclusive)."""
    lag_seconds: Seconds | None = None
    """How far below the watermark rows are looked at again."""
    lag: Annotated[int, Field(ge=0, le=10**18)] | None = None
    """The same for an int cursor, in its own units."""
    cursor_timezone: Text | None = None
    """IANA name of the zone whose wall clock a cursor without a zone shows."""
    horizon: Literal["strict", "lag", "off"] | None = None
    """As the connection's, for this table alone."""
    source_filter: TextOrTexts | None = None
    """One boolean expression, or several that are joined with AND."""
    partition_read: PartitionReadFile | None = None
    fetch_size: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    engine: Literal["auto", "arrow", "spark"] | None = None
    """As the runtime's, for this table alone."""
    intermediate: TableIntermediateFile = Field(default_factory=TableIntermediateFile)
    null_keys: Literal["refuse", "quarantine"] = "refuse"
    """What happens to rows with a NULL in the primary key."""
    null_cursor: Literal["read", "ignore"] = "read"
    """What happens to rows without a cursor."""
    schema_policy: SchemaPolicyFile | None = None
    """As metadata.schema_policy, for this table alone, key by key."""
    columns: dict[str, ColumnFile] = Field(default_factory=dict)
    """How single columns should land, by name."""
    deletes: Literal["ignore", "soft", "hard"] = "ignore"
    """What happens to rows that the source no longer has; scd1 only. soft: marked in _ingest_deleted_at; hard: removed."""
    max_delete_fraction: Annotated[float, Field(ge=0, le=1)] | None = None
    """More deletes than this fraction of the table's live rows stop the table; 0.1 where left out."""
    max_shrink_fraction: Annotated[float, Field(ge=0, le=1)] | None = None
    """A refresh that would lose more than this fraction of the table's rows stops before it is published."""
    exclude_columns: list[Text] = Field(default_factory=list)
    """Columns that are never read: names, or patterns with *, ? or [..]; letter case does not count."""
    mask: dict[str, MaskFile] = Field(default_factory=dict)
    """Columns whose values are masked before anything is written, by name."""
    reconciliation: ReconciliationFile | None = None
    """As runtime.reconciliation_defaults, for this table alone, key by key."""
    maintenance: TableMaintenanceFile = Field(default_factory=TableMaintenanceFile)
    """As runtime.maintenance, for this table alone, key by key."""


class DefaultsFile(SharedTableFile):
    """What all tables may have in common."""

    connection: Text | None = None
    """Name of the connection of tables that name none."""


class TableFile(DefaultsFile):
    """One table; or with a pattern for a name, every table of the connection that it matches."""

    placeholders: ClassVar[Mapping[str, object]] = {"schema": "x", "table": "x"}

    schema_name: Text = Field(alias="schema")
    """Schema at the source, or a pattern with *, ? or [..]; for SQLite a name of your choice."""
    table: Text
    """Name at the source, or a pattern."""
    query_sql: Text | None = None
    """A SELECT that is read in place of the table."""
    exclude: list[Text] = Field(default_factory=list)
    """Tables that a pattern leaves out: patterns for schema.table."""
    views: bool = False
    """Whether a pattern takes views too."""
    allow_empty: bool = False
    """Whether a pattern may match nothing."""
    unfit: Literal["refuse", "full", "skip"] = "refuse"
    """What becomes of tables that lack the key or the cursor of a pattern's mode."""

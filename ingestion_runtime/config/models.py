"""The shape of a configuration file: strict models, used at the file boundary and for the JSON Schema only."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError


def _whole_number_or_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise PydanticCustomError("configuration", "must be a string or a whole number")


def _text_or_texts(value: object) -> str | tuple[str, ...]:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise PydanticCustomError("configuration", "must be a string or a list of strings that is not empty")


NumberOrText = Annotated[
    str, PlainValidator(_whole_number_or_text), WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]})
]
TextOrTexts = Annotated[
    str | tuple[str, ...],
    PlainValidator(_text_or_texts),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]
Text = Annotated[str, Field(min_length=1)]
Hours = Annotated[int, Field(ge=1, le=876_000)]
Seconds = Annotated[int, Field(ge=0, le=3_155_760_000)]
Rows = Annotated[int, Field(ge=1, le=10**15)]
OnChangeWord = Literal["evolve", "ignore", "fail"]
GuardrailWord = Literal["fail", "warn", "text"]
NoticeWord = Literal["start", "failure", "recovery", "stall", "digest", "end"]


class FilePart(BaseModel):
    """An object of the file. ``placeholders`` stand in for required keys that are wrong: the rest is still checked."""

    # The texts under the fields are for the JSON Schema: `schema.py` finds them. Pydantic would parse this file each time.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)
    placeholders: ClassVar[Mapping[str, object]] = {}


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


class NotifyTargetFile(FilePart):
    """One place that is told how runs go."""

    placeholders: ClassVar[Mapping[str, object]] = {"to": "log"}

    to: Literal["log", "command", "webhook", "email"]
    """log: the event log; command: a program; webhook: an HTTP address, or any service that apprise knows; email."""
    on: Annotated[list[NoticeWord], Field(min_length=1)] | None = None
    """Of what it is told; of everything where left out."""
    command: Annotated[list[Text], Field(min_length=1)] | None = None
    """Program and arguments, without a shell; gets the message as JSON on its standard input."""
    url: Text | None = None
    """Address of a webhook or mail server, with its secrets. A reference: ${env:NAME} or ${file:PATH}."""
    min_interval_seconds: Annotated[int, Field(ge=0, le=86_400)] = 60
    """Between two messages of one kind; what comes sooner is gathered into the next."""
    timeout_seconds: Annotated[int, Field(ge=1, le=600)] = 10
    """How long one delivery may take."""


class NotifyFile(FilePart):
    """Who is told how runs go."""

    placeholders: ClassVar[Mapping[str, object]] = {"targets": [{"to": "log"}]}

    targets: Annotated[list[NotifyTargetFile], Field(min_length=1)]
    stall_seconds: Annotated[int, Field(ge=0, le=604_800)] = 1800
    """A table without progress for so long is told; 0: never."""
    wait_seconds: Annotated[float, Field(ge=0, le=60)] = 2
    """How long the end of a run waits for messages that are under way."""


class OpenLineageFile(FilePart):
    """Where OpenLineage events of every table go: to a file or to a server."""

    namespace: Text = "ingestion"
    """Namespace of the jobs."""
    file: Text | None = None
    """Path of a file, to which events are appended as JSON lines; or name a url."""
    url: Text | None = None
    """http(s)://host:port of a server; or name a file."""
    endpoint: Text = "api/v1/lineage"
    """Path below the url."""
    api_key: Text | None = None
    """A reference: ${env:NAME} or ${file:PATH}; sent as a bearer token."""
    timeout_seconds: Annotated[int, Field(ge=1, le=600)] = 5
    """How long the server may take to answer."""
    wait_seconds: Annotated[float, Field(ge=0, le=60)] = 2
    """How long the end of a run waits for events that are under way."""


class MetadataGatewayFile(FilePart):
    """What is recorded of every table in every run."""

    ingestion_metrics: bool = False
    """Whether ingestion_volume records are kept in the state database: rows, bytes, batch, watermark."""
    ingestion_runtime: bool = False
    """Whether ingestion_runtime records are: times, status, engine, error."""
    openlineage: OpenLineageFile | None = None


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
    spark: SparkFile = Field(default_factory=SparkFile)


class SchemaPolicyFile(FilePart):
    """What happens when the source's columns change."""

    require_snapshot: bool | None = None
    """Refuse a table that has no snapshot; false where left out."""
    added: OnChangeWord | None = None
    """A new column: it is added, left out, or stops the table; evolve where left out."""
    dropped: OnChangeWord | None = None
    """A column that is gone: it arrives as NULL, keeps what it has, or stops the table; fail where left out."""
    narrowed: OnChangeWord | None = None
    """A type within the former one; evolve where left out."""
    widened: OnChangeWord | None = None
    """A type around the former one: it grows, or every value must fit, or it stops the table; evolve where left out."""
    renamed: OnChangeWord | None = None
    """A column of another name: renamed, taken for a dropped and an added one, or stops the table; fail where left out."""
    retyped: OnChangeWord | None = None
    """Any other change of type; evolve where left out."""
    nullability: OnChangeWord | None = None
    """NOT NULL came or went; evolve where left out."""
    allow_new_columns: bool | None = None
    """The coarse form of added: true is evolve, false is fail."""
    allow_missing_columns: bool | None = None
    """The coarse form of dropped."""
    allow_type_changes: bool | None = None
    """The coarse form of narrowed, widened and retyped."""


class GuardrailsFile(FilePart):
    """What happens to numbers that do not fit the type in which they should land."""

    policy: GuardrailWord = "fail"
    """fail: the table is refused; warn: the column lands as text, with a warning; text: the same without one."""
    unbounded: Text | None = None
    """Type for exact numbers that no decimal is declared for: decimal(p,s). Left out: they land as text."""


class ColumnFile(FilePart):
    """How a column should land."""

    placeholders: ClassVar[Mapping[str, object]] = {"type": "string"}

    type: Text
    """decimal(p,s), string, int, long, float or double; a profile must confirm that the values fit."""
    guardrail: GuardrailWord | None = None
    """What happens when they do not; as metadata.precision_guardrails.policy where left out."""


class MetadataFile(FilePart):
    """The cache of catalog snapshots."""

    enabled: bool = True
    cache_path: Text | None = None
    """Directory; 'metadata' beside raw_root where left out."""
    ttl_hours: Annotated[int, Field(ge=0, le=876_000)] = 24
    """0: describe at every run."""
    schema_policy: SchemaPolicyFile = Field(default_factory=SchemaPolicyFile)
    precision_guardrails: GuardrailsFile = Field(default_factory=GuardrailsFile)


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


class TlsFile(FilePart):
    """How the connection is protected."""

    mode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = "prefer"
    """PostgreSQL's words."""
    ca: Text | None = None
    """Path of the certificate authority; needed by verify-ca and verify-full."""
    cert: Text | None = None
    """Path of the client's certificate; postgresql only."""
    key: Text | None = None
    """Path of the client's key."""


class ConnectionFile(FilePart):
    """A source database, in fields; never a URL."""

    placeholders: ClassVar[Mapping[str, object]] = {"dialect": "sqlite", "database": "?"}

    dialect: Literal["postgresql", "mysql", "mariadb", "singlestore", "sqlite"]
    """Which database it is."""
    database: Text
    """Name of the database; for SQLite the path of its file."""
    host: Text | None = None
    """Host name or address; not for sqlite."""
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """Port; where left out 5432 for PostgreSQL, else 3306."""
    user: Text | None = None
    """Who logs in; not for sqlite."""
    password: str | None = None
    """A reference: ${env:NAME} or ${file:PATH}."""
    tls: TlsFile = Field(default_factory=TlsFile)
    connect_timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 10
    """How long to wait for the server."""
    identity: Text | None = None
    """Which data this is; the address where left out. Set it to the former address when only that has changed."""
    jdbc_properties: dict[str, str] = Field(default_factory=dict)
    """Properties of the JDBC driver, from an allow list."""
    horizon: Literal["strict", "lag", "off"] = "strict"
    """What keeps its incremental tables from passing over rows of open transactions: the safe horizon, the lag, nothing."""
    horizon_wait_seconds: Annotated[int, Field(ge=0, le=3600)] = 5
    """How long a table whose cursor is no clock waits for open transactions to end."""
    max_connections: Annotated[int, Field(ge=1, le=1000)] | None = None
    """How many connections one run may have open to it at a time; as many as it needs where left out."""
    defaults: SharedTableFile | None = None
    """What its tables say where they say nothing else."""


class SchedulingPart(FilePart):
    """An object of the section ``orchestration``, which most configurations and every run do without."""

    model_config = ConfigDict(defer_build=True)


class ScheduleFile(SchedulingPart):
    """When runs begin."""

    cron: Text = "0 * * * *"
    """Five fields: minute, hour, day of the month, month, day of the week (0 is Sunday)."""
    timezone: Text | None = None
    """IANA name of the zone in which they are meant; the runtime's where left out."""


class RetriesFile(SchedulingPart):
    """How often a run that failed is tried again."""

    count: Annotated[int, Field(ge=0, le=100)] = 3
    delay_seconds: Annotated[int, Field(ge=0, le=86_400)] = 300
    retry_exit_codes: list[Literal[3, 4]] = Field(default=[3, 4], min_length=1)
    """3: something was unreachable; 4: a living run holds the table. No other failure is mended by trying again."""


class AlertsFile(SchedulingPart):
    """Whom the scheduler tells."""

    placeholders: ClassVar[Mapping[str, object]] = {"email": ["nobody@example.com"]}

    email: Annotated[list[Text], Field(min_length=1)]
    """E-mail addresses."""
    on: list[Literal["failure", "retry", "success"]] = Field(default=["failure"], min_length=1)
    """What they are told of."""


class AirflowFile(SchedulingPart):
    """What the DAG is like that `ingestion airflow-dag` writes."""

    dag_id: Text | None = None
    """Name of the DAG; the job's where left out."""
    per: Literal["table", "group", "run"] = "table"
    """A task for each table, for the tables of each connection, or for all of them."""
    pool: Text | None = None
    """The pool that the tasks share; the DAG's name where left out, and none for a task per run."""
    queue: Text | None = None
    """The queue of the workers that have the program and the state; Airflow's default queue where left out."""
    load_date_from: Literal["logical-date", "interval-start", "interval-end", "today"] = "logical-date"
    """The moment of Airflow's run whose day is the load date."""


class TemporalFile(SchedulingPart):
    """Where Temporal finds the workflow that starts the runs."""

    placeholders: ClassVar[Mapping[str, object]] = {"namespace": "?", "task_queue": "?", "workflow": "?"}

    namespace: Text
    task_queue: Text
    workflow: Text


class InformaticaFile(SchedulingPart):
    """Where Informatica keeps the workflow whose command task starts the runs."""

    folder: Text | None = None
    workflow: Text | None = None


class OrchestrationFile(SchedulingPart):
    """Who starts the runs and when: for plans and DAG files, a run itself does not read it."""

    mode: Literal["plain_cron", "external_scheduler", "airflow", "temporal", "informatica"] = "plain_cron"
    schedule: ScheduleFile = Field(default_factory=ScheduleFile)
    retries: RetriesFile = Field(default_factory=RetriesFile)
    alerts: AlertsFile | None = None
    airflow: AirflowFile = Field(default_factory=AirflowFile)
    temporal: TemporalFile | None = None
    """Required by the mode of this name."""
    informatica: InformaticaFile | None = None


class ConfigurationFile(FilePart):
    """A configuration of the ingestion runtime."""

    # Its parts are validated one by one; as a whole it is only described.
    model_config = ConfigDict(defer_build=True)

    json_schema: str | None = Field(default=None, alias="$schema")
    """For editors; not read."""
    connections: Annotated[dict[str, ConnectionFile], Field(min_length=1)]
    """Source databases by name."""
    runtime: RuntimeFile
    metadata: MetadataFile = Field(default_factory=MetadataFile)
    defaults: DefaultsFile | None = None
    """What tables say where neither they nor their connection say anything else."""
    orchestration: OrchestrationFile = Field(default_factory=OrchestrationFile)
    tables: Annotated[list[TableFile], Field(min_length=1)]

"""The tables of the state database, in portable types.

Times are text, ``YYYY-MM-DDTHH:MM:SS.ffffff+00:00``: it sorts, and no database rounds or shifts it. Documents are JSON
in text columns, read by ``ingestion_runtime.documents`` and never by the database.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    and_,
    literal_column,
    or_,
)

METADATA: Final = MetaData()

_ID = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up INTEGER keys only
_NAME = String(255)
_TIME = String(32)
_LONG = Text()

EVENTS: Final = Table(
    "ingestion_events",
    METADATA,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("catalog", _NAME, nullable=False),
    Column("schema_name", _NAME, nullable=False),
    Column("table_name", _NAME, nullable=False),
    Column("load_date", Date, nullable=False),
    Column("mode", String(32), nullable=False),
    Column("phase", String(32), nullable=False),
    Column("status", String(32), nullable=False),
    Column("rows_written", BigInteger),
    Column("watermark", _LONG),
    Column("location", _LONG),
    Column("strategy", String(64)),
    Column("error", _LONG),
    Column("metadata_json", _LONG),
    Column("ts", _TIME, nullable=False),
    Column("source_id", _NAME, nullable=False),
    Column("run_id", _NAME, nullable=False),
    Column("event_seq", BigInteger, nullable=False),
    Column("event_at", _TIME, nullable=False),
    Column("batch_id", _NAME),
    Column("sequence", BigInteger, nullable=False),
    Index("ingestion_events_day", "catalog", "schema_name", "table_name", "load_date"),
    Index("ingestion_events_run", "run_id", "event_seq"),
)

#: The events that say how a table ended: of all events only these count rows, or have failed. With literals, for an index of
#: these rows alone serves a query only where it says the same in the same words.
ENDED: Final = and_(
    EVENTS.c.phase == literal_column("'event'"),
    or_(EVENTS.c.rows_written.is_not(None), EVENTS.c.status == literal_column("'failed'")),
)
# Among 900,000 events of 500 tables the last ends were found in 1.4 s without it.
ENDS_INDEX: Final = Index(
    "ingestion_events_ends",
    EVENTS.c.catalog,
    EVENTS.c.schema_name,
    EVENTS.c.table_name,
    EVENTS.c.event_at,
    EVENTS.c.status,
    sqlite_where=ENDED,  # elsewhere it holds all events: to name another dialect here would import it
)

WATERMARKS: Final = Table(
    "ingestion_watermarks",
    METADATA,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("catalog", _NAME, nullable=False),
    Column("schema_name", _NAME, nullable=False),
    Column("table_name", _NAME, nullable=False),
    Column("watermark", _LONG),
    Column("updated_at", _TIME, nullable=False),
    Column("source_id", _NAME, nullable=False),
    Column("last_loaded_date", Date, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("receipt_json", _LONG, nullable=False),
    Column("metadata_location", _LONG),
    Column("verified_json", _LONG),
    Index("ingestion_watermarks_head", "catalog", "schema_name", "table_name", "sequence"),
)

BATCHES: Final = Table(
    "ingestion_batches",
    METADATA,
    Column("batch_id", _NAME, primary_key=True),
    Column("catalog", _NAME, nullable=False),
    Column("schema_name", _NAME, nullable=False),
    Column("table_name", _NAME, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("load_date", Date, nullable=False),
    Column("run_id", _NAME, nullable=False),
    Column("outcome", String(32), nullable=False),
    Column("document", _LONG, nullable=False),
    Column("opened_at", _TIME, nullable=False),
    Column("closed_at", _TIME),
    Index("ingestion_batches_table", "catalog", "schema_name", "table_name", "outcome"),
)

LEASES: Final = Table(
    "ingestion_leases",
    METADATA,
    Column("catalog", _NAME, primary_key=True),
    Column("schema_name", _NAME, primary_key=True),
    Column("table_name", _NAME, primary_key=True),
    Column("holder", _NAME, nullable=False),
    Column("host", _NAME, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("started", Double, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("expires_at", _TIME, nullable=False),
    Column("released", Boolean, nullable=False),
)

SAMPLES: Final = Table(
    "ingestion_cursor_samples",
    METADATA,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("catalog", _NAME, nullable=False),
    Column("schema_name", _NAME, nullable=False),
    Column("table_name", _NAME, nullable=False),
    Column("taken_at", BigInteger, nullable=False),
    Column("document", _LONG, nullable=False),
    Index("ingestion_cursor_samples_table", "catalog", "schema_name", "table_name", "taken_at"),
)

RUNS: Final = Table(
    "ingestion_runs",
    METADATA,
    Column("run_id", _NAME, primary_key=True),
    Column("job_name", _NAME, nullable=False),
    Column("load_date", Date, nullable=False),
    Column("tables_json", _LONG, nullable=False),
    Column("whole", Boolean, nullable=False),
    Column("options_json", _LONG, nullable=False),
    Column("host", _NAME, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("started", Double, nullable=False),
    Column("started_at", _TIME, nullable=False),
    Column("ended_at", _TIME),
    Column("exit_code", Integer),
    Index("ingestion_runs_job", "job_name", "started_at"),
)

VOLUME: Final = Table(
    "ingestion_volume",
    METADATA,
    Column("run_id", _NAME, primary_key=True),
    Column("catalog", _NAME, primary_key=True),
    Column("schema_name", _NAME, primary_key=True),
    Column("table_name", _NAME, primary_key=True),
    Column("source_table", _LONG, nullable=False),
    Column("source_id", _NAME, nullable=False),
    Column("load_date", Date, nullable=False),
    Column("recorded_at", _TIME, nullable=False),
    Column("status", String(32), nullable=False),
    Column("rows_read", BigInteger, nullable=False),
    Column("rows_written", BigInteger, nullable=False),
    Column("rows_deleted", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("duplicates", BigInteger, nullable=False),
    Column("quarantined", BigInteger, nullable=False),
    Column("slices", BigInteger, nullable=False),
    Column("watermark", _LONG),
    Column("batch_id", _NAME),
    Column("location", _LONG),
    Index("ingestion_volume_day", "catalog", "schema_name", "table_name", "load_date"),
)

RUNTIME: Final = Table(
    "ingestion_runtime",
    METADATA,
    Column("run_id", _NAME, primary_key=True),
    Column("catalog", _NAME, primary_key=True),
    Column("schema_name", _NAME, primary_key=True),
    Column("table_name", _NAME, primary_key=True),
    Column("job_name", _NAME, nullable=False),
    Column("source_table", _LONG, nullable=False),
    Column("source_id", _NAME, nullable=False),
    Column("mode", String(32), nullable=False),
    Column("load_date", Date, nullable=False),
    Column("started_at", _TIME, nullable=False),
    Column("ended_at", _TIME, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("status", String(32), nullable=False),
    Column("exit_code", Integer, nullable=False),
    Column("error_type", _NAME),
    Column("stack_hash", String(32)),
    Column("engine", String(32)),
    Index("ingestion_runtime_day", "catalog", "schema_name", "table_name", "load_date"),
)

SCHEMA_VERSION: Final = Table(
    "ingestion_schema_version",
    METADATA,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("applied_at", _TIME, nullable=False),
)

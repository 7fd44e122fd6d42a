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

SCHEMA_VERSION: Final = Table(
    "ingestion_schema_version",
    METADATA,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("applied_at", _TIME, nullable=False),
)

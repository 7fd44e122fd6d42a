"""Names of the housekeeping columns that every ingested row carries."""

INGEST_PREFIX = "_ingest_"
RUN_COLUMN = "_ingest_run_id"
LOAD_DATE_COLUMN = "_ingest_load_date"
LOADED_AT_COLUMN = "_ingest_loaded_at"
SOURCE_COLUMN = "_ingest_source"
SLICE_COLUMN = "_ingest_slice"
# In raw only: the place of a text cursor in the source's own order, so that "newest" never depends on another collation.
CURSOR_RANK = "_ingest_cursor_rank"


def is_ingest_column(name: str) -> bool:
    """Whether a column is housekeeping and not data."""
    return name.startswith(INGEST_PREFIX)

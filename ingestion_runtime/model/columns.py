"""Names of the housekeeping columns that every ingested row carries."""

INGEST_PREFIX = "_ingest_"
RUN_COLUMN = "_ingest_run_id"
LOAD_DATE_COLUMN = "_ingest_load_date"
LOADED_AT_COLUMN = "_ingest_loaded_at"
SOURCE_COLUMN = "_ingest_source"
SLICE_COLUMN = "_ingest_slice"
# In tables with soft deletes: when a row was found to be gone from the source; NULL in a row that is there.
DELETED_AT = "_ingest_deleted_at"
# In raw only: the place of a text cursor in the source's own order, so that "newest" never depends on another collation.
CURSOR_RANK = "_ingest_cursor_rank"

# Before the name of a column whose type is replaced: under it the new values are written until the publish, which gives
# them the name and drops the former ones.
NEXT_PREFIX = "_ingest_next_"


def is_ingest_column(name: str) -> bool:
    """Whether a column is housekeeping and not data."""
    return name.startswith(INGEST_PREFIX)

"""What of a table's settings decides which rows are read, and what is staged: told apart by digests."""

import hashlib
from dataclasses import replace

from ingestion_runtime.model.connection import ConnectionSpec
from ingestion_runtime.model.spec import TableSpec


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

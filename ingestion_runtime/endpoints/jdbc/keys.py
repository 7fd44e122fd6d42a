"""Primary keys at the source: fingerprints of hash buckets by one query, and the keys of some buckets.

Source and target spell and hash a key alike: see ``endpoints/spelling.py``. Digits 12 to 15 of the hash are the bucket, 1
to 11 a number.

The hash only says where to look. Which keys are gone is decided by the keys themselves, as they land.
"""

from collections.abc import Collection, Sequence

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import SourceColumn
from ingestion_runtime.endpoints.jdbc.dialect import Dialect
from ingestion_runtime.endpoints.jdbc.sql import source
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.keys import KeyBucket, KeyBuckets
from ingestion_runtime.model.spec import TableSpec

# A longer list costs more than it spares: 10,000 names are 70 kB of SQL and a seventh of all buckets.
_MOST_NAMED = 10_000


def refuse_unfit_keys(columns: Sequence[SourceColumn], table: TableSpec) -> None:
    """Refuse keys that are no exact values: two spellings of one double would be two keys."""
    for column in columns:
        if pa.types.is_floating(column.lands_as):
            raise TerminalError(
                f"{table.name}: the primary key {column.name!r} is {column.native_type}; keys with a floating point"
                " cannot be compared with the source's exactly.",
                remedy='Cast it in query_sql, or set "deletes": "ignore".',
                table=table.name,
                column=column.name,
            )


def count_buckets(dialect: Dialect, table: TableSpec, columns: Sequence[SourceColumn]) -> str:
    """Return the statement that gives bucket, keys and sum for every bucket that holds a key. NULL keys take no part."""
    digest = dialect.key_hash(columns)
    number = dialect.hex_number("substr(hash, 1, 11)")
    hashed = f"SELECT {digest} AS hash {source(dialect, table, _whole(dialect, columns))}"
    return f"SELECT substr(hash, 12, 4), count(*), sum({number}) FROM ({hashed}) AS ingest_keys GROUP BY substr(hash, 12, 4)"


def read_buckets(rows: Sequence[Sequence[object]]) -> KeyBuckets:
    """Return what that statement answered."""
    return {_text(name): KeyBucket(int(str(count)), int(str(total))) for name, count, total in rows}


def in_buckets(dialect: Dialect, columns: Sequence[SourceColumn], buckets: Collection[str]) -> str:
    """Return the condition for the keys of these buckets; for all of them where the engine cannot name them so."""
    whole = _whole(dialect, columns)
    if not dialect.hashes_in_reads or len(buckets) > _MOST_NAMED:
        return whole
    names = ", ".join(f"'{name}'" for name in sorted(buckets))
    return f"{whole} AND substr({dialect.key_hash(columns)}, 12, 4) IN ({names})"


def _whole(dialect: Dialect, columns: Sequence[SourceColumn]) -> str:
    return " AND ".join(f"{dialect.quote(column.name)} IS NOT NULL" for column in columns)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

"""How many different keys are in Parquet files? Counted in this process, within its memory."""

from collections.abc import Sequence
from typing import Any

from ingestion_runtime.endpoints.iceberg.counts import Counts
from ingestion_runtime.model.errors import OutgrownError
from ingestion_runtime.tools.local_sql import LocalSql, file_list, quote

# A session of SQL costs 15 ms to open, this many rows at most 10 ms to count without one.
_FEW_ROWS = 65_536
_FEW_BYTES = 16 * 2**20
# What DuckDB needs for a group beside its key: 3 million took 80 MiB with keys of 12 bytes, and growing doubles its table.
_GROUP_BYTES = 30
_MOST_PORTIONS = 4096


def count_keys(local: LocalSql, paths: Sequence[str], keys: Sequence[str]) -> Counts:
    """Count the rows of files, the distinct whole keys among them, and the rows with a NULL in the key.

    Rows come from the footers. NaN equals NaN, and 0.0 equals -0.0. Without a primary key every row is a key.
    """
    import pyarrow.parquet as pq

    footers = [pq.read_metadata(path) for path in paths]
    rows = sum(footer.num_rows for footer in footers)
    if not keys or not rows:
        return Counts(rows=rows, keys=rows, null_keys=0)
    size = sum(footer.row_group(place).total_byte_size for footer in footers for place in range(footer.num_row_groups))
    if rows <= _FEW_ROWS and size <= _FEW_BYTES:
        few = _count_few(paths, list(keys), rows)
        if few is not None:
            return few
    return _count_many(local, paths, keys, rows, _width(footers, keys) // rows)


def _width(footers: Sequence[Any], keys: Sequence[str]) -> int:
    """Return the bytes of all keys, as the footers have them: without compression."""
    chunks = (
        footer.row_group(group).column(place)
        for footer in footers
        for group in range(footer.num_row_groups)
        for place in range(footer.num_columns)
    )
    return sum(int(chunk.total_uncompressed_size) for chunk in chunks if chunk.path_in_schema in keys)


def _count_few(paths: Sequence[str], keys: list[str], rows: int) -> Counts | None:
    """Return the counts; None for keys with a fraction, which Arrow tells apart by their bits."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    values = pa.concat_tables([pq.read_table(path, columns=keys, partitioning=None) for path in paths])
    if any(pa.types.is_floating(column.type) for column in values.columns):
        return None
    whole = values.drop_null()
    return Counts(rows=rows, keys=whole.group_by(keys).aggregate([]).num_rows, null_keys=rows - whole.num_rows)


def _count_many(local: LocalSql, paths: Sequence[str], keys: Sequence[str], rows: int, width: int) -> Counts:
    # In portions by hash that fit: DuckDB puts groups on the disk, but not the table by which it finds them. 60 million keys
    # of two numbers failed within 128 MiB; in portions they take 13 s, and 12 million as long as at once.
    portions = -(-rows * (_GROUP_BYTES + width) // (local.memory_mb * 2**20))
    while True:
        try:
            distinct, complete = _count_portions(local, paths, keys, portions)
        except OutgrownError:
            if portions > _MOST_PORTIONS:
                raise
            portions *= 4
        else:
            return Counts(rows=rows, keys=distinct, null_keys=rows - complete)


def _count_portions(local: LocalSql, paths: Sequence[str], keys: Sequence[str], portions: int) -> tuple[int, int]:
    whole = " AND ".join(f"{quote(key)} IS NOT NULL" for key in keys)
    listed = ", ".join(map(quote, keys))
    # hive_partitioning: a read that was divided leaves its files in directories called read=0, read=1.
    source = f"read_parquet({file_list(paths)}, hive_partitioning = false) WHERE {whole}"
    distinct = complete = 0
    with local.session() as sql:
        for portion in range(portions):
            mine = f" AND hash({listed}) % {portions} = {portion}" if portions > 1 else ""
            query = f"SELECT count(*), sum(n) FROM (SELECT count(*) AS n FROM {source}{mine} GROUP BY {listed})"
            ((groups, counted),) = sql.execute(query).fetchall()
            distinct, complete = distinct + int(groups), complete + int(counted or 0)
    return distinct, complete

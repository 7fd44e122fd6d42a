"""How many different keys are in Parquet files? Counted in this process, within its memory."""

from collections.abc import Sequence

from ingestion_runtime.endpoints.iceberg.counts import Counts
from ingestion_runtime.tools.local_sql import LocalSql, file_list, quote

# A session of SQL costs 15 ms to open, this many rows at most 10 ms to count without one.
_FEW_ROWS = 65_536
_FEW_BYTES = 16 * 2**20


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
    return _count_many(local, paths, keys, rows)


def _count_few(paths: Sequence[str], keys: list[str], rows: int) -> Counts | None:
    """Return the counts; None for keys with a fraction, which Arrow tells apart by their bits."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    values = pa.concat_tables([pq.read_table(path, columns=keys, partitioning=None) for path in paths])
    if any(pa.types.is_floating(column.type) for column in values.columns):
        return None
    whole = values.drop_null()
    return Counts(rows=rows, keys=whole.group_by(keys).aggregate([]).num_rows, null_keys=rows - whole.num_rows)


def _count_many(local: LocalSql, paths: Sequence[str], keys: Sequence[str], rows: int) -> Counts:
    whole = " AND ".join(f"{quote(key)} IS NOT NULL" for key in keys)
    # hive_partitioning: a read that was divided leaves its files in directories called read=0, read=1.
    source = f"read_parquet({file_list(paths)}, hive_partitioning = false) WHERE {whole}"
    listed = ", ".join(map(quote, keys))
    query = f"SELECT count(*), sum(n) FROM (SELECT count(*) AS n FROM {source} GROUP BY {listed})"
    with local.session() as sql:
        found = sql.execute(query).fetchone()
    distinct, complete = found or (0, 0)
    return Counts(rows=rows, keys=int(distinct), null_keys=rows - int(complete or 0))

"""What Parquet files say to the question that a source was asked while they were read from it (``jdbc/witness.py``)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ingestion_runtime.endpoints.spelling import high, low, row_hash
from ingestion_runtime.model.testimony import Testimony
from ingestion_runtime.tools.local_sql import file_list, quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def measure(sql: "DuckDBPyConnection", paths: Sequence[str], said: Testimony) -> Testimony:
    """Return the same figures of local files as ``said`` has; equal ones mean equal rows. All of one schema."""
    import pyarrow.parquet as pq

    source = f"read_parquet({file_list(paths)}, hive_partitioning = false)"
    if said.high is None:
        ((rows,),) = sql.execute(f"SELECT count(*) FROM {source}").fetchall()
        return Testimony(rows, columns=said.columns)
    kinds = pq.read_schema(paths[0])
    digest = row_hash([(quote(name), kinds.field(name).type) for name in said.columns])
    sums = f"sum({high('digest')}), sum({low('digest')})"
    hashed = f"SELECT {digest} AS digest FROM {source}"
    ((rows, above, below),) = sql.execute(f"SELECT count(*), {sums} FROM ({hashed})").fetchall()
    return Testimony(rows, int(above or 0), int(below or 0), said.columns)

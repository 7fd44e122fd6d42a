"""What a batch of rows takes in memory, whatever the file's footer says."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ingestion_runtime.endpoints.iceberg.parquet_rows import ParquetRows

_MOST = 2**20


def test_a_batch_stays_within_its_bytes_when_a_dictionary_expands(tmp_path: Path) -> None:
    """NULLs come first and one long text many times after them: neither the first rows nor the footer tell the size."""
    rows = pa.table({"id": range(4_000), "text": [None] * 1_000 + ["x" * 4_000] * 3_000})
    path = str(tmp_path / "rows.parquet")
    pq.write_table(rows, path)
    assert pq.read_metadata(path).row_group(0).total_byte_size < _MOST
    file = ParquetRows.by_name(path, rows.schema, _MOST)

    found = list(file.batches())
    file.close()

    assert max(batch.nbytes for _, batch in found) <= _MOST
    assert [start for start, _ in found] == [batch["id"][0].as_py() for _, batch in found]
    assert pa.Table.from_batches([batch for _, batch in found]).equals(rows)

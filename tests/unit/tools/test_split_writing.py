"""Rows that are split into many files while they are written."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ingestion_runtime.endpoints.iceberg.partitions import splitter
from ingestion_runtime.model.spec import PartitionField
from ingestion_runtime.tools.parquet_writer import ParquetSettings, ParquetWriter

SCHEMA = pa.schema([("id", pa.int64()), ("text", pa.string())])


def batches(number: int, rows: int) -> Iterator[pa.RecordBatch]:
    for begin in range(0, number * rows, rows):
        ids = range(begin, begin + rows)
        yield pa.record_batch([pa.array(ids), pa.array([f"{n:200}" for n in ids])], schema=SCHEMA)


def open_files(directory: Path) -> int:
    linked = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return sum(path.is_relative_to(directory) for path in linked)


def test_hundreds_of_parts_need_few_file_handles(tmp_path: Path) -> None:
    """Every row is in a file of its part, no part shares a file, and at most 64 files are open at any time."""
    split = splitter((PartitionField("id", "bucket", 200),), SCHEMA)
    writer = ParquetWriter(str(tmp_path), "part", SCHEMA, ParquetSettings(group_bytes=2**18), split)
    most = 0
    for batch in batches(4, 1_000):
        writer.write(batch)
        most = max(most, open_files(tmp_path))
    written = writer.close()

    assert 0 < most <= 64
    assert open_files(tmp_path) == 0
    assert split is not None
    ids: Counter[int] = Counter()
    for file in written:
        (found,) = pq.read_table(file.path, partitioning=None).combine_chunks().to_batches()
        assert [key for key, _ in split(found)] == [file.part]
        assert found.num_rows == file.rows
        ids.update(found.column("id").to_pylist())
    assert ids == Counter(range(4_000))


def test_parts_hold_no_more_than_they_may_together(tmp_path: Path) -> None:
    """Few parts or many: what has been taken stays below a limit, slices of a batch included. Every open file has buffers of
    its own for encoding, so two lengths of input are compared, both many times the limit."""
    for parts in (10, 80):
        most = [held_while_writing(tmp_path / f"{parts}-{number}", parts, number) for number in (160, 320)]
        assert most[1] < most[0] * 1.2


def held_while_writing(directory: Path, parts: int, number: int) -> int:
    """Write batches of 0.2 MB and return the most memory held meanwhile, in bytes."""
    split = splitter((PartitionField("id", "bucket", parts),), SCHEMA)
    writer = ParquetWriter(str(directory), "part", SCHEMA, ParquetSettings(group_bytes=8 * 2**20), split)
    before, most = pa.total_allocated_bytes(), 0
    for batch in batches(number, 1_000):
        writer.write(batch)
        del batch
        most = max(most, pa.total_allocated_bytes() - before)
    assert sum(file.rows for file in writer.close()) == number * 1_000
    return most

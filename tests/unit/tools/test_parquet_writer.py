"""Parquet files follow the data: row groups, dictionaries, sizes, ids; memory and open files have bounds."""

from collections.abc import Hashable, Iterable
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ingestion_runtime.tools.parquet_writer import ParquetSettings, ParquetWriter, numbered, repeating_columns

SCHEMA = pa.schema([pa.field("id", pa.int64()), pa.field("word", pa.string())])


def batch(first: int, rows: int, word: str = "w") -> pa.RecordBatch:
    return pa.record_batch([pa.array(range(first, first + rows)), pa.array([word] * rows)], schema=SCHEMA)


def write(root: Path, settings: ParquetSettings, *batches: pa.RecordBatch, **more: object) -> list[pq.FileMetaData]:
    with ParquetWriter(str(root), "part", batches[0].schema, settings, **more) as writer:  # type: ignore[arg-type]
        for each in batches:
            writer.write(each)
        written = writer.close()
    found = [pq.read_metadata(file.path) for file in written]
    assert [file.rows for file in written] == [metadata.num_rows for metadata in found]
    return found


def groups(metadata: pq.FileMetaData) -> list[int]:
    return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]


def test_a_row_group_ends_by_rows(tmp_path: Path) -> None:
    (found,) = write(tmp_path, ParquetSettings(group_rows=250), *(batch(n * 100, 100) for n in range(7)))
    assert groups(found) == [300, 300, 100]
    assert pq.read_table(tmp_path)["id"].to_pylist() == list(range(700))


def test_a_row_group_ends_by_bytes(tmp_path: Path) -> None:
    """A few wide rows fill it."""
    (found,) = write(tmp_path, ParquetSettings(group_bytes=1000), *(batch(n, 1, "w" * 400) for n in range(7)))
    assert groups(found) == [3, 3, 1]


def test_a_file_ends_when_it_is_large_enough(tmp_path: Path) -> None:
    """The next row group begins another one; no row is lost between them."""
    settings = ParquetSettings(codec="none", group_rows=100, file_bytes=2000)
    found = write(tmp_path, settings, *(batch(n * 100, 100) for n in range(6)))
    assert len(found) > 1
    assert pq.read_table(tmp_path)["id"].to_pylist() == list(range(600))


def test_no_rows_are_a_file_with_columns_where_one_is_asked_for(tmp_path: Path) -> None:
    writer = ParquetWriter(str(tmp_path / "some"), "part", SCHEMA, ParquetSettings())
    (written,) = writer.close(at_least_one=True)
    assert pq.read_schema(written.path).names == ["id", "word"]
    assert ParquetWriter(str(tmp_path / "none"), "part", SCHEMA, ParquetSettings()).close() == ()
    assert not (tmp_path / "none").exists()


def test_columns_carry_their_ids_statistics_and_iceberg_s_widths(tmp_path: Path) -> None:
    """Decimals of up to 18 digits are integers in the file, as Iceberg specifies them; readers see decimals."""
    fields = [
        ("day", pa.date32()),
        ("small", pa.decimal128(9, 2)),
        ("middle", pa.decimal128(18, 2)),
        ("large", pa.decimal128(38, 2)),
    ]
    schema = numbered(pa.schema(fields), {"day": 7, "small": 1, "middle": 2, "large": 3})
    values = [[date(1, 1, 1)], *([Decimal("-1.25")] for _ in range(3))]
    (found,) = write(tmp_path, ParquetSettings(), pa.record_batch(values, schema=schema))
    kinds = [found.schema.column(place).physical_type for place in range(4)]
    assert kinds == ["INT32", "INT32", "INT64", "FIXED_LEN_BYTE_ARRAY"]
    assert [found.row_group(0).column(place).statistics.has_min_max for place in range(4)] == [True] * 4
    read = pq.read_table(tmp_path)
    assert [field.metadata[b"PARQUET:field_id"] for field in pq.read_schema(next(tmp_path.glob("*")))] == [
        b"7",
        b"1",
        b"2",
        b"3",
    ]
    assert read.to_pylist() == [{"day": date(1, 1, 1), **dict.fromkeys(("small", "middle", "large"), Decimal("-1.25"))}]


@pytest.mark.parametrize(
    ("name", "values", "repeats"),
    [
        ("few", [n % 50 for n in range(200_000)], True),
        ("every row another", list(range(200_000)), False),
        ("sorted, four rows each", [n // 4 for n in range(200_000)], False),
        ("scattered, seven rows each", [n * 7_368_787 % 30_000 for n in range(200_000)], True),
        ("scattered, two rows each", [n * 7_368_787 % 100_000 for n in range(200_000)], False),
        ("nothing", [None] * 200_000, True),
        ("three rows", [1, 1, 1], False),
    ],
)
def test_a_dictionary_is_made_where_values_repeat_within_a_row_group(
    name: str, values: list[int | None], repeats: bool
) -> None:
    """Judged by a third of its rows."""
    assert repeating_columns(pa.table({"v": pa.array(values, pa.int32())})) == (["v"] if repeats else [])


def by_last_digits(rows: pa.RecordBatch) -> Iterable[tuple[Hashable, pa.RecordBatch]]:
    ids = rows.column(0)
    for key in range(200):
        part = rows.filter(pc.equal(pc.subtract(ids, pc.multiply(pc.divide(ids, 200), 200)), key))
        if part.num_rows:
            yield key, part


def test_many_parts_share_memory_and_open_files(tmp_path: Path) -> None:
    """200 parts of which 64 files are open: each file holds rows of one part, and every row arrives once."""
    settings = ParquetSettings(group_bytes=20_000)
    with ParquetWriter(str(tmp_path), "part", SCHEMA, settings, by_last_digits) as writer:
        for n in range(5):
            writer.write(batch(n * 1000, 1000))
            assert sum(part.size for part in writer._parts.values()) <= settings.group_bytes
            assert sum(part.writer is not None for part in writer._parts.values()) <= 64
        written = writer.close()
    assert {file.part for file in written} == set(range(200))
    for file in written:
        assert {key % 200 for key in pq.read_table(file.path)["id"].to_pylist()} == {file.part}
    assert sorted(pq.read_table(tmp_path)["id"].to_pylist()) == list(range(5000))


def test_what_fails_leaves_no_file_that_could_be_read(tmp_path: Path) -> None:
    def fail() -> None:
        with ParquetWriter(str(tmp_path), "part", SCHEMA, ParquetSettings(group_rows=10)) as writer:
            writer.write(batch(0, 20))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    (left,) = tmp_path.glob("*.parquet")
    with pytest.raises(pa.ArrowInvalid):
        pq.read_metadata(left)

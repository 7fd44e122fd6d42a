"""Footers, counts and the one rewrite, on real Parquet files."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingestion_runtime.model.batch import SchemaField, StagedFile
from ingestion_runtime.tools.files import LocalFiles
from ingestion_runtime.tools.parquet import (
    count_null_keys,
    list_parquet,
    measure_file,
    read_schema,
    schema_fields,
    set_null_keys_aside,
)

FILES = LocalFiles()


def test_only_data_files_are_listed_in_order(tmp_path: Path) -> None:
    """Markers, checksums and what engines hide are no rows."""
    for name in ("part-2.parquet", "part-1.parquet", ".part-1.parquet.crc", "_SUCCESS", "_x.parquet", ".y.parquet", "a.txt"):
        (tmp_path / name).touch()

    assert list_parquet(FILES, str(tmp_path)) == ("part-1.parquet", "part-2.parquet")
    assert list_parquet(FILES, str(tmp_path / "missing")) == ()


def test_a_file_is_measured_by_its_bytes_and_its_footer(tmp_path: Path) -> None:
    """Also below a folder, whose name stays in the path."""
    (tmp_path / "aside").mkdir()
    path = tmp_path / "aside/part.parquet"
    pq.write_table(pa.table({"id": list(range(5))}), path, row_group_size=2)

    measured = measure_file(FILES, str(tmp_path), "aside/part.parquet")

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert measured == StagedFile("aside/part.parquet", path.stat().st_size, digest, rows=5)


def test_the_schema_is_read_without_the_engines_own_notes(tmp_path: Path) -> None:
    """Names and types as pyarrow spells them are what manifests of different engines are compared by."""
    schema = pa.schema(
        [("id", pa.int32()), ("price", pa.decimal128(10, 2)), ("at", pa.timestamp("us", "UTC"))], {"engine": "note"}
    )
    pq.write_table(schema.empty_table(), tmp_path / "part.parquet")

    found = read_schema(FILES, str(tmp_path / "part.parquet"))

    assert found.metadata is None
    assert schema_fields(found) == (
        SchemaField("id", "int32"),
        SchemaField("price", "decimal128(10, 2)"),
        SchemaField("at", "timestamp[us, tz=UTC]"),
    )


ROWS = pa.table({"a": [1, None, 3, None, 5], "b.c": ["x", "y", None, None, "z"], "v": [10, 20, 30, 40, None], "k": [1] * 5})


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize(
    ("keys", "expected"), [((), 0), (("a",), 2), (("b.c",), 2), (("a", "b.c"), 3), (("k", "a"), 2), (("v", "a", "b.c"), 4)]
)
def test_rows_with_a_null_in_the_key_are_counted(
    tmp_path: Path, statistics: bool, keys: tuple[str, ...], expected: int
) -> None:
    """Once each, however many of its key columns are NULL, over row groups and files, with and without statistics."""
    pq.write_table(ROWS, tmp_path / "1.parquet", row_group_size=2, write_statistics=statistics)
    pq.write_table(ROWS.slice(0, 1), tmp_path / "2.parquet", write_statistics=statistics)

    assert count_null_keys(FILES, str(tmp_path), ("1.parquet", "2.parquet"), keys) == expected


def test_rows_without_a_key_move_and_all_others_stay(tmp_path: Path) -> None:
    """Order, types and values are kept; a file without such rows is not touched; no temporary file remains."""
    pq.write_table(ROWS, tmp_path / "1.parquet", row_group_size=2)
    whole = ROWS.slice(0, 1)
    pq.write_table(whole, tmp_path / "2.parquet")
    untouched = (tmp_path / "2.parquet").stat().st_mtime_ns

    set_null_keys_aside(FILES, str(tmp_path), ("1.parquet", "2.parquet"), str(tmp_path / "_aside"), ("a", "b.c"))

    assert pq.read_table(tmp_path / "1.parquet").equals(ROWS.take([0, 4]))
    assert pq.read_table(tmp_path / "_aside/1.parquet").equals(ROWS.take([1, 2, 3]))
    assert (tmp_path / "2.parquet").stat().st_mtime_ns == untouched
    assert {path.name for path in tmp_path.iterdir()} == {"1.parquet", "2.parquet", "_aside"}


def test_the_checksum_of_a_rewritten_file_goes_with_its_old_content(tmp_path: Path) -> None:
    """Hadoop leaves .NAME.crc beside what it writes and refuses to read anything else under that name."""
    for name in ("1.parquet", "2.parquet"):
        pq.write_table(ROWS.slice(0, 2 if name[0] == "1" else 1), tmp_path / name)
        (tmp_path / f".{name}.crc").write_bytes(b"crc")

    set_null_keys_aside(FILES, str(tmp_path), ("1.parquet", "2.parquet"), str(tmp_path / "_aside"), ("a",))

    assert [path.name for path in tmp_path.glob(".*")] == [".2.parquet.crc"]


def test_a_file_whose_every_key_is_null_is_left_empty(tmp_path: Path) -> None:
    """An empty file keeps the columns, and a count of zero is right."""
    pq.write_table(pa.table({"id": pa.nulls(3, pa.int64()), "v": [1, 2, 3]}), tmp_path / "1.parquet")

    set_null_keys_aside(FILES, str(tmp_path), ("1.parquet",), str(tmp_path / "_aside"), ("id",))

    kept = pq.read_table(tmp_path / "1.parquet")
    assert (kept.num_rows, kept.schema.names) == (0, ["id", "v"])
    assert pq.read_table(tmp_path / "_aside/1.parquet")["v"].to_pylist() == [1, 2, 3]

"""The rows of a snapshot as DuckDB reads them from its files: the same that Spark reads, whatever befell the table."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.table import Table
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.iceberg.snapshot_files import (
    FILE_COLUMN,
    PLACE_COLUMN,
    SnapshotFiles,
    UnfitSnapshot,
    list_files,
    local_path,
    relation,
)
from ingestion_runtime.model.errors import TerminalError
from tests.targets import IcebergPlace

CREATE = """
CREATE TABLE lake.files.rows (id INT, name STRING, small FLOAT, price DECIMAL(9, 2), local TIMESTAMP_NTZ, zoned TIMESTAMP,
  day DATE, flag BOOLEAN, data BINARY, `odd "name'` STRING) USING iceberg PARTITIONED BY (bucket(2, id), name)
TBLPROPERTIES ('format-version' = '2', 'write.delete.mode' = 'merge-on-read', 'write.update.mode' = 'merge-on-read',
  'write.parquet.row-group-size-bytes' = '2048', 'write.delete.granularity' = 'partition')
"""
ROWS = """
INSERT INTO lake.files.rows SELECT /*+ COALESCE(2) */ CAST(id AS INT), array('eu', 'a/b=c [x]*?', NULL)[id % 3], id / 4,
  id / 8, TIMESTAMP_NTZ'0001-01-01 00:00:00' + make_interval(0, 0, 0, id), TIMESTAMP'9999-12-31 23:59:59.999999Z',
  DATE'1582-10-01' + CAST(id AS INT), id % 2 = 0, CAST('\\0ü' AS BINARY), concat('text ', id) FROM range({}, {})
"""
STEPS = (
    CREATE,
    ROWS.format(0, 3000),
    "INSERT INTO lake.files.rows SELECT -1, 'eu', float('nan'), -1, NULL, NULL, NULL, NULL, NULL, NULL",
    "DELETE FROM lake.files.rows WHERE id % 7 = 1",
    "ALTER TABLE lake.files.rows RENAME COLUMN `odd \"name'` TO other",
    "ALTER TABLE lake.files.rows ALTER COLUMN id TYPE BIGINT",
    "ALTER TABLE lake.files.rows ALTER COLUMN small TYPE DOUBLE",
    "ALTER TABLE lake.files.rows ALTER COLUMN price TYPE DECIMAL(38, 2)",
    "ALTER TABLE lake.files.rows ADD COLUMN added STRING AFTER id",
    "ALTER TABLE lake.files.rows DROP COLUMN flag",
    "ALTER TABLE lake.files.rows ADD COLUMN flag STRING",
    "INSERT INTO lake.files.rows (id, name, small, price, added) VALUES (5000000000, 'eu', 0.1, 1e35, 'new')",
    "UPDATE lake.files.rows SET added = 'changed' WHERE id BETWEEN 100 AND 900",
    "DELETE FROM lake.files.rows WHERE id % 11 = 3",
    "INSERT INTO lake.files.rows (id, name) VALUES (5000000001, 'eu')",
)


@pytest.fixture(scope="module")
def place(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IcebergPlace]:
    # Characters in the path that a glob, or a literal in SQL, would take for its own.
    place = IcebergPlace(tmp_path_factory.mktemp("it's [a] *lake"), spark)
    place.spark.sql("CREATE NAMESPACE lake.files")
    for step in STEPS:
        place.spark.sql(step)
    yield place
    place.close()


def listed(table: Table) -> SnapshotFiles:
    assert table.metadata.current_snapshot_id is not None
    return list_files(table, table.metadata.current_snapshot_id)


def load(place: IcebergPlace, name: str = "rows") -> Table:
    return place.catalog().load_table(("files", name))


def test_living_rows_are_those_that_spark_reads(place: IcebergPlace) -> None:
    """Deleted rows are left out; renamed, widened, added and dropped columns are right in files of any age, to the bit."""
    table = load(place)
    files = listed(table)
    names = [field.name for field in table.schema().fields]
    assert any(file.deletes for file in files.files)
    assert not all(file.deletes for file in files.files)
    expected = place.spark.sql(f"SELECT {', '.join(names)}, _pos FROM lake.files.rows ORDER BY id").toArrow()

    with duckdb.connect() as sql:
        sql.execute("SET TimeZone = 'UTC'")
        living = relation(table.schema(), files.files, names)
        found = sql.sql(f"SELECT {', '.join(names)}, {PLACE_COLUMN} FROM {living} ORDER BY id").to_arrow_table()

    assert len(found) > 2000
    same = [found.column(name).cast(expected.column(name).type) for name in names]
    for name, column in zip(names, same, strict=True):
        # Arrow says of two NaN that they differ; by their text they do not.
        assert str(column.to_pylist()) == str(expected.column(name).to_pylist()), name
    assert found.column(PLACE_COLUMN).to_pylist() == expected.column("_pos").to_pylist()


def test_a_row_is_named_by_its_file_and_its_place_in_it(place: IcebergPlace) -> None:
    """Of every row the file really holds it at that place, and row groups that were skipped are counted."""
    table = load(place)
    files = listed(table)
    assert any(pq.read_metadata(file.path).num_row_groups > 1 for file in files.files)
    with duckdb.connect() as sql:
        living, condition = relation(table.schema(), files.files, ["id"]), "id BETWEEN 1500 AND 1600"
        found = sql.execute(f"SELECT id, {FILE_COLUMN}, {PLACE_COLUMN} FROM {living} WHERE {condition}").fetchall()
    stored = {file.path: pq.read_table(file.path, columns=["id"], partitioning=None)["id"] for file in files.files}
    assert len(found) > 50
    assert all(stored[path][place].as_py() == number for number, path, place in found)


def test_a_nan_is_found_though_parquet_statistics_leave_it_out(place: IcebergPlace) -> None:
    """As a condition, and as the key of a join."""
    table = load(place)
    rows = relation(table.schema(), listed(table).files, ["id", "small"])
    with duckdb.connect() as sql:
        assert sql.execute(f"SELECT id FROM {rows} WHERE isnan(small)").fetchall() == [(-1,)]
        joined = f"SELECT id FROM {rows} JOIN (SELECT CAST('nan' AS DOUBLE) AS small) USING (small)"
        assert sql.execute(joined).fetchall() == [(-1,)]


def test_deletes_of_a_partition_that_is_no_number_hide_their_rows(place: IcebergPlace) -> None:
    """One file of deletes serves all data files of a partition, and NaN does not equal itself."""
    place.spark.sql(
        "CREATE TABLE lake.files.nan (id BIGINT, part DOUBLE) USING iceberg PARTITIONED BY (part) TBLPROPERTIES "
        "('format-version' = '2', 'write.delete.mode' = 'merge-on-read', 'write.delete.granularity' = 'partition')"
    )
    for first in (0, 100):
        rows = f"SELECT id, array(double('nan'), 0.0D, -0.0D, 1.5D)[id % 4] FROM range({first}, {first + 100})"
        place.spark.sql(f"INSERT INTO lake.files.nan {rows}")
    place.spark.sql("DELETE FROM lake.files.nan WHERE id % 3 = 0")
    table = load(place, "nan")

    with duckdb.connect() as sql:
        found = sql.execute(f"SELECT id FROM {relation(table.schema(), listed(table).files, ['id'])} ORDER BY id").fetchall()

    assert [number for (number,) in found] == [number for number in range(200) if number % 3]


def test_no_files_and_no_columns_are_relations_too(place: IcebergPlace) -> None:
    """An empty table has its columns; rows are counted without reading one."""
    table = load(place)
    files = listed(table).files
    with duckdb.connect() as sql:
        empty = sql.execute(f"SELECT * FROM {relation(table.schema(), (), ['id', 'zoned'])}")
        assert [name for name, *_ in empty.description or ()] == ["id", "zoned", FILE_COLUMN, PLACE_COLUMN]
        assert empty.fetchall() == []
        counted = sql.execute(f"SELECT count(*) FROM {relation(table.schema(), files, [])}").fetchone()
    assert counted == (place.spark.table("lake.files.rows").count(),)


def test_what_only_spark_can_read_is_refused_with_the_reason(place: IcebergPlace, tmp_path: Path) -> None:
    """Deletion vectors, other formats than Parquet, files without field ids, columns of other types; and a lost file."""
    for name, options, reason in (
        ("vectors", "'format-version' = '3'", "the table has format 3"),
        ("orc", "'write.format.default' = 'orc'", "the table holds ORC files"),
    ):
        place.spark.sql(f"CREATE TABLE lake.files.{name} USING iceberg TBLPROPERTIES ({options}) AS SELECT 1 AS id")
        with pytest.raises(UnfitSnapshot, match=reason):
            listed(load(place, name))
    place.spark.sql("CREATE TABLE lake.files.plain (id BIGINT, list ARRAY<INT>) USING iceberg")
    plain = load(place, "plain")
    with pytest.raises(UnfitSnapshot, match="a column of type list<int>"):
        relation(plain.schema(), (), ["list"])
    pq.write_table(pa.table({"id": [1]}), tmp_path / "plain.parquet")
    plain.add_files([str(tmp_path / "plain.parquet")])
    with pytest.raises(UnfitSnapshot, match="has no field ids"):
        listed(plain)
    (tmp_path / "plain.parquet").unlink()
    with pytest.raises(TerminalError, match="cannot be read"):
        listed(plain)


def test_locations_on_a_local_disk_are_told_however_they_are_spelled() -> None:
    """Iceberg's libraries spell them in three ways; anything else is refused."""
    assert {local_path(lead + "a%20b/c") for lead in ("/", "file:/", "file:///")} == {"/a%20b/c"}
    with pytest.raises(UnfitSnapshot, match="not on a local disk"):
        local_path("hdfs://name/a")

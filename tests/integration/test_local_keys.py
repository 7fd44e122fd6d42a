"""Keys compared in this process and by Spark: the same buckets, the same counts, the same tombstones."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.iceberg.catalog import IcebergCatalog
from ingestion_runtime.endpoints.iceberg.keys import IcebergKeys
from ingestion_runtime.endpoints.iceberg.local_keys import LocalKeys
from ingestion_runtime.endpoints.iceberg.local_tools import LocalTools
from ingestion_runtime.model.endpoint import IngestColumns
from ingestion_runtime.model.keys import KeysMissed, TargetKeys
from ingestion_runtime.model.spec import Deletes, TableSpec
from ingestion_runtime.model.target import TargetKeyReader
from ingestion_runtime.tools.files import LocalFiles
from ingestion_runtime.tools.local_sql import LocalSql
from ingestion_runtime.tools.parquet_writer import ParquetSettings
from tests.targets import IcebergPlace

COLUMNS = IngestColumns("run", date(2026, 7, 1), datetime(2026, 7, 1, 4, 5, 6, 7, tzinfo=UTC), "source", "batch/00001")
TYPES: dict[str, pa.DataType] = {
    "flag": pa.bool_(),
    "small": pa.int32(),
    "big": pa.int64(),
    "price": pa.decimal128(12, 3),
    "exact": pa.decimal128(38, 10),
    "share": pa.decimal128(4, 4),
    "name": pa.string(),
    "data": pa.binary(),
    "day": pa.date32(),
    "local": pa.timestamp("us"),
    "zoned": pa.timestamp("us", tz="UTC"),
}
EDGES: dict[str, list[Any]] = {
    "flag": [True, False],
    "small": [-(2**31), 2**31 - 1, 0],
    "big": [-(2**63), 2**63 - 1, 0],
    "price": [Decimal("-999999999.999"), Decimal("0.000"), Decimal("-0.001")],
    "exact": [Decimal("9" * 28 + ".9999999999"), Decimal("0E-10"), Decimal("-1E-10")],
    "share": [Decimal("0.0000"), Decimal("-0.9999"), Decimal("0.0001")],
    "name": ["", "a,b:c", "ü🚲 \n", "ü🚲 \n ", "\0", "'\"", "3:abc"],
    "data": [b"", b"\x00\xff", b","],
    "day": [date.min, date.max, date(1582, 10, 10)],
    "zoned": [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), datetime(2024, 10, 27, 1, tzinfo=UTC)],
}
EDGES["local"] = [moment.replace(tzinfo=None) for moment in EDGES["zoned"]]


def some(column: str, rng: random.Random) -> Any:
    """An edge of the column's type, or one of a hundred others: keys shall repeat."""
    if rng.random() < 0.2:
        return rng.choice(EDGES[column])
    n = rng.randrange(100)
    made: dict[str, Any] = {
        "flag": n % 2 == 0,
        "price": Decimal(n).scaleb(-3),
        "exact": Decimal(n).scaleb(-5),
        "share": Decimal(n).scaleb(-4),
        "name": f"k {n}",
        "data": n.to_bytes(3, "big"),
        "day": date(2024, 1, 1) + timedelta(days=n),
        "local": datetime(2024, 1, 1) + timedelta(microseconds=n),  # noqa: DTZ001 - that is the type
        "zoned": datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=n),
    }
    return made.get(column, n)


def keys_of(names: tuple[str, ...], rows: int, rng: random.Random) -> pa.Table:
    listed = [[some(name, rng) for _ in range(rows)] for name in names]
    return pa.table([pa.array(v, TYPES[n]) for n, v in zip(names, listed, strict=True)], list(names))


@pytest.fixture(scope="module")
def place(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IcebergPlace]:
    place = IcebergPlace(tmp_path_factory.mktemp("keys"), spark)
    place.spark.sql("CREATE NAMESPACE lake.keys")
    yield place
    place.close()


@dataclass
class Both:
    """One table, asked through both engines."""

    place: IcebergPlace
    table: TableSpec
    root: Path

    def readers(self) -> tuple[TargetKeyReader, TargetKeyReader]:
        catalog = IcebergCatalog(self.place.spec)
        tools = LocalTools(ParquetSettings(), LocalSql(64, str(self.root)), LocalFiles())
        local = LocalKeys(catalog, self.table, tools)
        return IcebergKeys(self.place.session, "lake", catalog.identifier(self.table), self.table), local

    def compare(self, snapshot: str | None, staged: list[str]) -> TargetKeys:
        spark, local = (reader.compare(snapshot, staged) for reader in self.readers())
        assert local == spark
        return local

    def write_missing(self, snapshot: str | None, staged: list[str], moved: str, buckets: list[str]) -> KeysMissed:
        found, written = [], []
        for name, reader in zip(("spark", "local"), self.readers(), strict=True):
            to = str(self.root / f"tombstones_{name}")
            found.append(reader.write_missing(snapshot, staged, moved, buckets, COLUMNS, to))
            written.append(ds.dataset(to, format="parquet").to_table())
        spark, local = found
        assert (local.deleted, local.gone_again, local.moved) == (spark.deleted, spark.gone_again, spark.moved)
        assert len(local.examples) == min(local.deleted, 3)
        assert [(f.name, f.type) for f in written[1].schema] == [(f.name, f.type) for f in written[0].schema]
        assert sorted(map(str, written[1].to_pylist())) == sorted(map(str, written[0].to_pylist()))
        assert len(written[1]) == local.deleted
        return local


def make_table(place: IcebergPlace, table: TableSpec, rows: pa.Table) -> str:
    """Publish rows as a table; return its snapshot."""
    # Pages of some kilobytes, as this runtime writes them; pyiceberg's have 20,000 rows each, of whatever size.
    properties = {"write.parquet.page-row-limit": "1000"}
    made = place.catalog().create_table((table.schema, table.table), rows.schema, properties=properties)
    made.append(rows)
    return str(place.load(table).metadata.current_snapshot_id)


def staged_files(root: Path, name: str, *parts: pa.Table) -> list[str]:
    """Write files as they are staged, in a directory that a literal or a reader of partitions could take for its own."""
    folder = root / f"it's {name}" / "read=0"
    folder.mkdir(parents=True)
    paths = [folder / f"part-{number}.parquet" for number in range(len(parts))]
    for part, path in zip(parts, paths, strict=True):
        pq.write_table(part.append_column("other", pa.nulls(len(part), pa.int32())), path)
    return list(map(str, paths))


# All types as parts of one key, and keys of one column, whose spelling has nothing around it.
KEYS = [tuple(TYPES), ("name",), ("exact",), ("zoned", "name")]


@pytest.mark.parametrize("names", KEYS, ids="-".join)
def test_keys_of_every_type_are_answered_alike(names: tuple[str, ...], place: IcebergPlace, tmp_path: Path) -> None:
    """Single and composite keys with the edges of their types, repeated in table and files; deletes of either policy."""
    rng = random.Random("-".join(names))  # noqa: S311 - no secret
    soft = len(names) % 2 == 0
    table = TableSpec(
        "keys", "_".join(names), "scd1", "source", primary_keys=names, deletes=Deletes.SOFT if soft else Deletes.HARD
    )
    both = Both(place, table, tmp_path)
    rows = keys_of(names, 300, rng)
    if soft:
        marks = [COLUMNS.loaded_at if rng.random() < 0.3 else None for _ in range(len(rows))]
        rows = rows.append_column("_ingest_deleted_at", pa.array(marks, pa.timestamp("us", tz="UTC")))
    snapshot = make_table(place, table, rows)
    brought = staged_files(tmp_path, "brought", keys_of(names, 60, rng), keys_of(names, 20, rng))
    moved = str(Path(staged_files(tmp_path, "moved", keys_of(names, 120, rng))[0]).parent)

    for staged in ([], brought):
        live = both.compare(snapshot, staged)
        assert live.live == (rows["_ingest_deleted_at"].null_count if soft else len(rows))
        if staged:
            first = both.compare(None, staged)
            assert first.live == 0
            assert sum(bucket.rows for bucket in first.buckets.values()) == 80
    buckets = sorted(rng.sample(sorted(live.buckets), math.ceil(len(live.buckets) * 0.7)))
    found = both.write_missing(snapshot, brought, moved, buckets)
    assert found.deleted > 0


def test_nothing_to_look_for_writes_an_empty_file_with_all_columns(place: IcebergPlace, tmp_path: Path) -> None:
    """Also on a first load, whose keys have the types of its files."""
    table = TableSpec("keys", "empty", "scd1", "source", primary_keys=("zoned", "name"), deletes=Deletes.HARD)
    both = Both(place, table, tmp_path)
    rows = keys_of(("zoned", "name"), 10, random.Random(1))  # noqa: S311 - no secret
    staged = staged_files(tmp_path, "brought", rows)
    snapshot = make_table(place, table, rows)
    assert both.write_missing(snapshot, staged, "/nowhere", []) == KeysMissed(0, (), 0, {})
    (tmp_path / "first").mkdir()
    first = Both(place, table, tmp_path / "first")
    assert first.write_missing(None, staged, "/nowhere", []) == KeysMissed(0, (), 0, {})


def test_keys_that_grew_in_the_files_meet_those_of_the_table(place: IcebergPlace, tmp_path: Path) -> None:
    """An int at the time of the table and a long in the files are one key, and so is a decimal of more digits."""
    table = TableSpec("keys", "grown", "scd1", "source", primary_keys=("n", "d"), deletes=Deletes.HARD)
    both = Both(place, table, tmp_path)
    old = pa.table({"n": pa.array([1, 2, 3], pa.int32()), "d": pa.array([Decimal("1.5")] * 3, pa.decimal128(5, 2))})
    new = pa.table({"n": pa.array([3, 2**40], pa.int64()), "d": pa.array([Decimal("1.5")] * 2, pa.decimal128(12, 2))})
    snapshot = make_table(place, table, old)
    brought = staged_files(tmp_path, "brought", new)
    moved = str(Path(staged_files(tmp_path, "moved", new)[0]).parent)
    stands = both.compare(snapshot, brought)
    assert (stands.live, sum(bucket.rows for bucket in stands.buckets.values())) == (3, 4)
    assert both.write_missing(snapshot, brought, moved, sorted(stands.buckets)).deleted == 2


def test_wide_keys_are_compared_within_a_small_memory(place: IcebergPlace, tmp_path: Path) -> None:
    """Keys that are several times larger than the memory for SQL, half of them in the table already."""
    table = TableSpec("keys", "wide", "scd1", "source", primary_keys=("name",), deletes=Deletes.HARD)
    both = Both(place, table, tmp_path)

    def wide(first: int, last: int) -> pa.Table:
        return pa.table({"name": pa.array([f"{number:08}{'x' * 637}" for number in range(first, last)])})

    snapshot = make_table(place, table, wide(0, 200_000))
    brought = staged_files(tmp_path, "brought", wide(100_000, 300_000))
    moved = str(Path(staged_files(tmp_path, "moved", wide(5, 300_000))[0]).parent)
    _, local = both.readers()
    stands = local.compare(snapshot, brought)
    assert (stands.live, sum(bucket.rows for bucket in stands.buckets.values())) == (200_000, 300_000)
    missed = local.write_missing(snapshot, brought, moved, stands.buckets.keys(), COLUMNS, str(tmp_path / "tombstones"))
    assert missed.deleted == 5

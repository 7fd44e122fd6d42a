"""The same batches merged by Spark and in this process: equal rows, equal figures for the audit, whoever comes first."""

import math
import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.iceberg.merging import MergeTask, ProcessMerge
from ingestion_runtime.model.batch import Batch
from ingestion_runtime.model.policy import OnChange, SchemaPolicy
from ingestion_runtime.model.spec import Deletes, Engine, PartitionField, TableSpec
from ingestion_runtime.model.target import Payload, Written
from ingestion_runtime.tools.local_sql import LocalSql
from ingestion_runtime.tools.parquet_writer import ParquetSettings
from tests.batches import make_batch, make_payload, make_receipt, with_ingest_columns
from tests.targets import IcebergPlace

ROWS = 1_200
TYPES: dict[str, pa.DataType] = {
    "id": pa.int64(),
    "flag": pa.bool_(),
    "whole": pa.int32(),
    "single": pa.float32(),
    "double": pa.float64(),
    "text key": pa.string(),
    "bytes": pa.binary(),
    "day": pa.date32(),
    "wall": pa.timestamp("us"),
    "instant": pa.timestamp("us", "UTC"),
    "amount": pa.decimal128(9, 2),
    "huge": pa.decimal128(38, 10),
}
NARROW = {"whole": pa.int16(), "single": pa.float32(), "amount": pa.decimal128(7, 2)}
FLOATS = (0.0, -0.0, 1.5, -2.25, math.nan, math.inf, -math.inf)


def any_value(source: random.Random, name: str) -> Any:
    """Return a value of a column, NULL one time in ten."""
    if source.random() < 0.1:
        return None
    days, micros = source.randint(1, date.max.toordinal()), source.randint(0, 10**15)
    return {
        "flag": lambda: source.random() < 0.5,
        "whole": lambda: source.randint(-(2**15), 2**15 - 1),
        "single": lambda: source.choice(FLOATS),
        "double": lambda: source.choice(FLOATS),
        "text key": lambda: source.choice(["", "a", "A", "ä", "a\u0308", "\U0001f6b2", "x" * 300]) + str(days % 3),
        "bytes": lambda: source.randbytes(source.randint(0, 4)),
        "day": lambda: date.fromordinal(days),
        "wall": lambda: datetime(1, 1, 1) + timedelta(days=days - 1, microseconds=micros % 86_400_000_000),  # noqa: DTZ001
        "instant": lambda: datetime(1, 1, 1, tzinfo=UTC) + timedelta(days=days - 1, microseconds=micros % 86_400_000_000),
        "amount": lambda: Decimal(source.randint(-(10**6), 10**6)).scaleb(-2),
        "huge": lambda: Decimal(source.randint(-(10**27), 10**27)).scaleb(-10),
    }[name]()


def rows_of(source: random.Random, ids: list[int], types: Mapping[str, pa.DataType]) -> pa.Table:
    """Return rows under these ids. Most values follow from the id, so that updates change nothing every now and then."""
    columns = {"id": pa.array(ids, types["id"])}
    for name, kind in types.items():
        if name != "id":
            steady = [random.Random(f"{name}/{number}") for number in ids]  # noqa: S311 - a sample, no secret
            values = [any_value(source if source.random() < 0.02 else settled, name) for settled in steady]
            columns[name] = pa.array(values, kind)
    return pa.table(columns)


class Twins:
    """Two tables with one history. ``publish`` writes a batch into each, by the engine that is named for it."""

    def __init__(self, root: Path, spark: SparkSession, spec: TableSpec) -> None:
        self.root = root
        self.places = {engine: IcebergPlace(root, spark, engine=engine) for engine in (Engine.SPARK, Engine.ARROW)}
        self.specs = (replace(spec, table="one"), replace(spec, table="two"))
        self.number = 0

    def publish(self, engines: tuple[Engine, Engine], *slices: pa.Table, gone: pa.Table | None = None) -> list[Written]:
        self.number += 1
        written = []
        for spec, engine in zip(self.specs, engines, strict=True):
            target = self.places[engine].open(spec)
            head = target.head()
            base = head.receipt.batch_id if head and head.receipt else None
            batch = make_batch(spec, self.number, base=base)
            payload = self._payload(spec, batch, slices, gone)
            made = target.write(batch, "attempt0", payload, target.prepare(payload))
            target.publish(base, made, make_receipt(batch))
            written.append(made)
        return written

    def _payload(self, spec: TableSpec, batch: Batch, slices: tuple[pa.Table, ...], gone: pa.Table | None) -> Payload:
        folder = self.root / "staged" / spec.table / str(self.number)
        payload = make_payload(folder, batch, *slices)
        if gone is None:
            return payload
        pq.write_table(with_ingest_columns(gone, batch, 99), folder / "gone.parquet")
        return replace(payload, tombstones=(str(folder / "gone.parquet"),), deleted=gone.num_rows)

    def rows(self) -> list[dict[tuple[Any, ...], str]]:
        """Both tables as pyiceberg reads them, by key."""
        return [spelled(self.places[Engine.ARROW].load(spec).scan().to_arrow(), spec.primary_keys) for spec in self.specs]

    def rows_by_spark(self) -> list[dict[tuple[Any, ...], str]]:
        spark = self.places[Engine.SPARK].spark
        tables = [spark.table(f"lake.{spec.schema}.{spec.table}").toArrow() for spec in self.specs]
        return [spelled(table, spec.primary_keys) for table, spec in zip(tables, self.specs, strict=True)]

    def close(self) -> None:
        for place in self.places.values():
            place.close()


def spelled(rows: pa.Table, keys: tuple[str, ...]) -> dict[tuple[Any, ...], str]:
    """Return rows by key, as text: all NaN are one, and so are both zeros and all objects for UTC."""
    listed = [{name: plain(value) for name, value in row.items()} for row in rows.to_pylist()]
    found = {tuple(row[key] for key in keys): repr(sorted(row.items())) for row in listed}
    assert len(found) == len(listed)
    return found


def plain(value: Any) -> Any:
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else value + 0.0
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo else value


CASES = {
    "hard deletes, many types in the key": (
        ("id", "double", "text key", "bytes", "flag"),
        TableSpec("shop", "x", "scd1", "source", deletes=Deletes.HARD),
    ),
    "soft deletes, partitions that rows leave": (
        ("id", "amount"),
        TableSpec(
            "shop",
            "x",
            "scd1",
            "source",
            deletes=Deletes.SOFT,
            partition=(PartitionField("whole", "bucket", 3), PartitionField("flag", "identity")),
        ),
    ),
    "no deletes, lost columns are kept": (
        ("id", "wall", "instant", "day", "huge", "whole", "single"),
        TableSpec("shop", "x", "scd1", "source", policy=SchemaPolicy(dropped=OnChange.IGNORE)),
    ),
}


@pytest.fixture(params=CASES.values(), ids=CASES)
def twins(request: pytest.FixtureRequest, spark: SparkSession, tmp_path: Path) -> Iterator[Twins]:
    keys, spec = request.param
    made = Twins(tmp_path, spark, replace(spec, primary_keys=keys, incremental_column="wall"))
    yield made
    made.close()


def test_both_engines_leave_equal_tables_and_say_so(twins: Twins) -> None:
    """Over rows that Spark has deleted by position, widened and added columns, keys of every type (NaN and both zeros among
    them), updates that change nothing, several rows of a key, rows that change partitions, and rows that are gone; and Spark
    goes on with what this process has written."""
    source = random.Random(f"merge {os.fspath(twins.specs[0].deletes)}")  # noqa: S311 - a sample, no secret
    keys = twins.specs[0].primary_keys
    narrow = {**TYPES, **NARROW}
    del narrow["bytes" if "bytes" not in keys else "huge"]
    twins.publish((Engine.ARROW, Engine.ARROW), whole(rows_of(source, list(range(ROWS)), narrow), keys))
    twins.publish((Engine.SPARK, Engine.SPARK), whole(rows_of(source, source.sample(range(ROWS + 100), 200), narrow), keys))
    assert twins.rows()[0] == twins.rows()[1]

    updates = [source.sample(range(ROWS + 200), 400) for _ in range(2)]
    lost = "text key" if "text key" not in keys and twins.specs[0].policy.dropped is OnChange.IGNORE else ""
    slices = [whole(rows_of(source, ids, TYPES), keys) for ids in updates]
    slices = [rows.drop_columns([lost]) if lost else rows for rows in slices]
    gone = missing_keys(twins, slices) if twins.specs[0].deletes is not Deletes.IGNORE else None
    by_spark, by_process = twins.publish((Engine.SPARK, Engine.ARROW), *slices, gone=gone)

    rows = twins.rows()
    assert rows[0] == rows[1]
    assert twins.rows_by_spark() == rows
    assert figures(by_process) == figures(by_spark)
    assert by_process.found == by_process.keys < by_process.rows
    assert by_process.total == len(rows[1])
    again = whole(rows_of(source, source.sample(range(ROWS), 100), TYPES), keys)
    again = again.drop_columns([lost]) if lost else again
    figured = twins.publish((Engine.SPARK, Engine.SPARK), again)
    assert twins.rows()[0] == twins.rows()[1]
    assert figures(figured[0]) == figures(figured[1])


def whole(rows: pa.Table, keys: tuple[str, ...]) -> pa.Table:
    """Return the rows without those that lack a part of their key."""
    return rows.filter(pa.compute.is_valid(pa.compute.binary_join_element_wise(*present(rows, keys), "")))


def present(rows: pa.Table, keys: tuple[str, ...]) -> list[pa.ChunkedArray]:
    return [pa.compute.if_else(pa.compute.is_valid(rows[key]), "x", None) for key in keys]


def missing_keys(twins: Twins, slices: list[pa.Table]) -> pa.Table:
    """Return the keys of 200 rows that readers see and no slice has."""
    keys = twins.specs[0].primary_keys
    stood = twins.places[Engine.ARROW].load(twins.specs[0]).scan().to_arrow()
    arriving = {tuple(plain(row[key]) for key in keys) for rows in slices for row in rows.to_pylist()}
    free = [place for place, row in enumerate(stood.to_pylist()) if tuple(plain(row[key]) for key in keys) not in arriving]
    gone = stood.select(list(keys)).take(free[:200])
    return gone.cast(pa.schema([pa.field(key, TYPES[key]) for key in keys]))


def figures(written: Written) -> tuple[Any, ...]:
    """What the audit and the events are told."""
    return (
        written.rows,
        written.keys,
        written.found,
        written.null_keys,
        written.total,
        written.added,
        written.changed,
        written.buried,
    )


WIDE = 60


def test_rows_far_wider_than_the_memory_are_merged(tmp_path: Path) -> None:
    """Whole rows never wait in SQL: 100 MB of them go through a session of 32 MiB, of which a fourth is read once more."""
    catalog = SqlCatalog("lake", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}/warehouse")
    catalog.create_namespace("shop")

    def wide(ids: range, say: str, number: int, ordinal: int = 0) -> pa.Table:
        data = {f"v{column}": [f"{say}{number * column}" * 20 for number in ids] for column in range(WIDE)}
        return with_ingest_columns(pa.table({"id": ids, **data}), make_batch(spec, number), ordinal)

    spec = TableSpec("shop", "wide", "scd1", "source", primary_keys=("id",))
    first = wide(range(8_000), "old", 1)
    table = catalog.create_table(("shop", "wide"), first.schema)
    table.append(first)
    staged = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    pq.write_table(wide(range(4_000, 12_000), "new", 2), staged[0], row_group_size=2_000)
    pq.write_table(wide(range(4_000, 6_600), "newest", 2, 1), staged[1], row_group_size=2_000)
    current = table.current_snapshot()
    assert current is not None
    task = MergeTask(
        table=table,
        base=current.snapshot_id,
        spec=spec,
        payload=Payload(tuple(map(str, staged)), pq.read_schema(staged[0]).remove_metadata(), 10_600),
        settings=ParquetSettings(group_bytes=2**22),
        split=None,
        directory=str(tmp_path / "made"),
        prefix="m",
    )

    with LocalSql(32, str(tmp_path / "spill")).session() as sql:
        work = ProcessMerge(sql, task)
        work.plan()
        merged = work.write()

    assert (merged.rows, merged.keys, merged.found, merged.total, merged.rows_added) == (10_600, 8_000, 8_000, 12_000, 8_000)
    assert list((tmp_path / "spill").iterdir()) == []


def test_a_merge_that_fails_leaves_no_file(tmp_path: Path) -> None:
    """A page of the table that cannot be read ends the merge; what was written by then is removed."""
    catalog = SqlCatalog("lake", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}/warehouse")
    catalog.create_namespace("shop")
    spec = TableSpec("shop", "t", "scd1", "source", primary_keys=("id",))
    rows = pa.table({"id": range(50_000), "v": [str(number) * 5 for number in range(50_000)]})
    first = with_ingest_columns(rows, make_batch(spec, 1))
    table = catalog.create_table(("shop", "t"), first.schema, properties={"write.parquet.row-group-limit": "5000"})
    table.append(first)
    path = Path(next(iter(table.scan().plan_files())).file.file_path.removeprefix("file://"))
    footer = pq.read_metadata(path)
    spoilt = footer.row_group(footer.num_row_groups - 1).column(1)
    with path.open("r+b") as file:
        file.seek(spoilt.data_page_offset)
        file.write(b"\xff" * 64)
    staged = tmp_path / "staged.parquet"
    changed = pa.table({"id": range(0, 60_000, 10), "v": ["new"] * 6_000})
    pq.write_table(with_ingest_columns(changed, make_batch(spec, 2)), staged)
    current = table.current_snapshot()
    assert current is not None
    task = MergeTask(
        table=table,
        base=current.snapshot_id,
        spec=spec,
        payload=Payload((str(staged),), pq.read_schema(staged).remove_metadata(), 6_000),
        settings=ParquetSettings(group_rows=1_000, file_bytes=1),
        split=None,
        directory=str(tmp_path / "made"),
        prefix="m",
    )

    with LocalSql(64, str(tmp_path)).session() as sql:
        work = ProcessMerge(sql, task)
        work.plan()
        with pytest.raises(OSError, match=r"(?i)thrift|page|deserializ"):
            work.write()

    assert list((tmp_path / "made").iterdir()) == []

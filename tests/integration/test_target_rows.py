"""The rows of a target that take part in a comparison: those that live at one snapshot, whatever befalls the table."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.types import DoubleType, LongType, StringType
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.iceberg.catalog import IcebergCatalog
from ingestion_runtime.endpoints.iceberg.comparing import LocalIcebergRows
from ingestion_runtime.endpoints.iceberg.snapshot_files import local_path
from ingestion_runtime.endpoints.iceberg.spark_comparing import SparkIcebergRows
from ingestion_runtime.endpoints.parquet_comparing import ParquetRows
from ingestion_runtime.model.batch import WriteMode
from ingestion_runtime.model.comparison import (
    Basis,
    Checksum,
    ComparedColumn,
    ComparedRows,
    Grouping,
    KeyFaults,
    Stand,
    TargetRows,
)
from ingestion_runtime.model.cursor import CursorType, ReRead, Watermark
from ingestion_runtime.model.errors import OutgrownError, TerminalError, TransientError, UnfitEngineError
from ingestion_runtime.model.spec import CatalogSpec, Engine, SinkFormat, TableSpec
from tests.batches import make_batch, make_payload, make_receipt
from tests.targets import IcebergPlace, ParquetPlace, local_tools
from tests.values.hashing import key_hash, row_hash, totals

NUMBERS = count(1)
ROWS = pa.table({"id": pa.array(range(8), pa.int32()), "v": [f"it's {n}" for n in range(8)]})
MOMENTS = [datetime(2026, 6, 1, hour) for hour in range(8)]  # noqa: DTZ001 - a clock reading
Opener = Callable[[TableSpec], TargetRows]


@pytest.fixture(scope="module")
def place(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IcebergPlace]:
    place = IcebergPlace(tmp_path_factory.mktemp("it's a [lake]"), spark, engine=Engine.ARROW)
    yield place
    place.close()


@pytest.fixture(scope="module", params=["process", "spark"])
def engine(request: pytest.FixtureRequest, place: IcebergPlace) -> Iterator[Opener]:
    """What opens a table's rows."""
    catalog = IcebergCatalog(place.spec, place.tool.session)
    if request.param == "spark":
        yield lambda table: SparkIcebergRows(catalog, table, place.session)
    else:
        yield lambda table: LocalIcebergRows(catalog, table, local_tools(place.root).sql)
    catalog.close()


def make_table(keys: Sequence[str] = ("id",), cursor: str | None = None) -> TableSpec:
    return TableSpec("shop", f"t{next(NUMBERS)}", "append", "s", primary_keys=tuple(keys), incremental_column=cursor)


def stand_of(rows: TargetRows) -> Stand:
    stand = rows.stand()
    assert stand is not None
    return stand


@contextmanager
def opened(
    rows: TargetRows,
    *,
    stand: Stand | None = None,
    keys: Sequence[str] = ("id",),
    columns: Sequence[str] = (),
    left_out: Sequence[str] | None = None,
    unsettled: ReRead | None = None,
) -> Iterator[ComparedRows]:
    """A view of some columns, or of all, at a stand, or as the table is now."""
    stand = stand or stand_of(rows)
    named = {field.name: ComparedColumn(field.name, field.name, field.type) for field in stand.columns}
    basis = Basis(tuple(named[key] for key in keys), tuple(named[name] for name in columns or named))
    hashes = None if left_out is None else iter([pa.record_batch({"key_hash": pa.array(left_out, pa.string())})])
    with rows.view(stand, basis, hashes, () if unsettled is None else (unsettled,)) as view:
        yield view


def keys_in(view: ComparedRows) -> list[int]:
    return sorted(int(row.key[0] or "") for row in view.hashes([f"{digit:x}" for digit in range(16)]))


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def test_what_nobody_published_has_no_stand(engine: Opener) -> None:
    """There is no such table."""
    assert engine(make_table()).stand() is None


def test_a_stand_says_what_the_table_says_of_itself(place: IcebergPlace, engine: Opener, tmp_path: Path) -> None:
    """The receipt, the snapshot, and the columns without those of the runtime; damage, once somebody else has written."""
    table = TableSpec("shop", f"t{next(NUMBERS)}", "full", "s", primary_keys=("id",))
    target, batch = place.open(table), make_batch(table, 1, write=WriteMode.REPLACE)
    payload = make_payload(tmp_path / "staged", batch, ROWS)
    written = target.write(batch, "a", payload, target.prepare(payload))
    receipt = make_receipt(batch, rows=written.rows)
    target.publish(None, written, receipt)

    stand = stand_of(engine(table))

    assert stand == Stand(receipt, written.snapshot, ROWS.schema)
    with opened(engine(table)) as view:
        assert view.count() == len(ROWS)
    place.load(table).append(place.load(table).scan().to_arrow())
    assert stand_of(engine(table)).damage is not None
    with opened(engine(table)) as view:
        assert view.key_faults(0).keys == len(ROWS)


def test_a_view_shows_its_snapshot_for_as_long_as_it_is_there(place: IcebergPlace, engine: Opener) -> None:
    """Rows that come later, and deletes, change no answer; where the snapshot, or the table, is gone nothing is compared."""
    table = make_table()
    place.make_foreign(table, ROWS)
    rows = engine(table)
    stand = stand_of(rows)
    with opened(rows, stand=stand) as view:
        before = view.checksum()
        place.rewrite(table, ROWS)
        place.load(table).delete("id = 3")
        assert view.checksum() == before
        assert keys_in(view) == list(range(8))
    with opened(rows) as view:
        assert keys_in(view) == [n for n in range(8) for _ in range(2) if n != 3]

    place.load(table).maintenance.expire_snapshots().by_id(int(stand.snapshot or "")).commit()

    with pytest.raises(TransientError, match=r"expired.*Run the same command again"), opened(rows, stand=stand):
        pass
    place.catalog().drop_table((table.schema, table.table))
    with pytest.raises(TransientError, match="dropped"), opened(rows, stand=stand):
        pass


@pytest.fixture(scope="module")
def thinned(place: IcebergPlace) -> TableSpec:
    """A table of eight rows, two of which are deleted by position, and of one that is marked as deleted."""
    table = make_table()
    name = f"lake.shop.{table.table}"
    marked = ROWS.append_column("_ingest_deleted_at", pa.nulls(8, pa.timestamp("us", tz="UTC")))
    place.make_foreign(table, marked.slice(0, 5))
    place.rewrite(table, marked.slice(5))
    place.spark.sql(f"ALTER TABLE {name} SET TBLPROPERTIES ('write.delete.mode' = 'merge-on-read')")
    place.spark.sql(f"DELETE FROM {name} WHERE id IN (1, 3)")
    gone = pa.table({"id": pa.array([20], pa.int32()), "v": ["gone"], "_ingest_deleted_at": [datetime.now(UTC)]})
    place.rewrite(table, gone)
    return table


def test_deleted_rows_and_rows_marked_as_deleted_take_no_part(engine: Opener, thinned: TableSpec) -> None:
    """In files that deletes touch and in others; and what is left out goes as well."""
    living = [row for row in ROWS.to_pylist() if row["id"] not in (1, 3)]

    with opened(engine(thinned)) as view:
        assert keys_in(view) == [0, 2, 4, 5, 6, 7]
        assert view.checksum() == Checksum(*totals(row_hash(list(row.values()), ROWS.schema.types) for row in living))
        buckets = view.buckets(1)
        assert view.column_checksums(buckets) == view.column_checksums()
        parts = {name: view.column_checksums([name])["v"].rows for name in buckets}
        assert parts == {name: bucket.rows for name, bucket in buckets.items()}
    with opened(engine(thinned), left_out=[md5("0"), md5("6"), md5("99")]) as view:
        assert keys_in(view) == [2, 4, 5, 7]
        assert (view.count(), sum(bucket.rows for bucket in view.buckets(2).values())) == (4, 4)


def test_keys_that_are_left_out_take_no_part_in_any_answer(place: IcebergPlace, engine: Opener) -> None:
    """Composite keys by the hash of all their parts; rows with a NULL in the key stay, for they have no hash."""
    table = make_table(("id", "v"))
    place.make_foreign(
        table, pa.concat_tables([ROWS, ROWS.slice(0, 2), pa.table({"id": pa.nulls(1, pa.int32()), "v": ["x"]})])
    )
    kinds = ROWS.schema.types
    hashes = [key_hash([n, f"it's {n}"], kinds) or "" for n in (1, 5)]

    with opened(engine(table), keys=("id", "v"), left_out=hashes) as view:
        assert view.count() == 8
        assert keys_in(view) == [0, 0, 2, 3, 4, 6, 7]
        assert view.key_faults(1) == KeyFaults(1, 2, 1, ("0, it's 0",))
        assert view.column_checksums()["v"].rows == 8
        assert list(view.values(hashes)) == []
    with opened(engine(table), keys=("id", "v"), left_out=[]) as view:
        assert view.count() == 11


CURSORS: dict[str, tuple[pa.Array, CursorType, str, str]] = {
    "number": (pa.array(range(8), pa.int64()), CursorType.INT, "3", "5"),
    "wide": (pa.array(range(8), pa.int32()).cast(pa.decimal128(20, 0)), CursorType.INT, "3", "5"),
    "day": (pa.array([date(2026, 6, n) for n in range(1, 9)]), CursorType.DATE, "2026-06-04", "2026-06-06"),
    "clock": (pa.array(MOMENTS, pa.timestamp("us")), CursorType.TIMESTAMP, "2026-06-01 03:00:00", "2026-06-01 05:00:00"),
    "moment": (
        pa.array([moment.replace(tzinfo=UTC) for moment in MOMENTS], pa.timestamp("us", tz="UTC")),
        CursorType.TIMESTAMP,
        "2026-06-01 03:00:00.000000",
        "2026-06-01 05:00:00.000000",
    ),
    "text": (pa.array(map(str, MOMENTS)), CursorType.TIMESTAMP, "2026-06-01 03:00:00", "2026-06-01 05:00:00.0"),
}


@pytest.fixture(scope="module")
def logged(place: IcebergPlace) -> TableSpec:
    """Eight rows with a cursor of each kind, and two without any."""
    table = make_table(())
    rows = ROWS
    for name, (values, *_) in CURSORS.items():
        rows = rows.append_column(name, values)
    place.make_foreign(table, pa.concat_tables([rows, ROWS.slice(0, 2)], promote_options="default"))
    return table


@pytest.mark.parametrize("cursor", CURSORS)
def test_an_unsettled_set_takes_no_part(engine: Opener, logged: TableSpec, cursor: str) -> None:
    """From its low end to its high one, and the rows without a cursor, where these are in it."""
    _, kind, low, high = CURSORS[cursor]
    rows = engine(replace(logged, incremental_column=cursor))

    with opened(rows, keys=(), unsettled=ReRead(Watermark(kind, low), Watermark(kind, high), nulls=True)) as view:
        assert view.group_counts([Grouping(ComparedColumn("id", "id", pa.int32()))]) == {
            (str(n),): 1 for n in range(8) if n not in (3, 4, 5)
        }


def test_an_unsettled_set_may_begin_at_the_first_row_and_may_have_no_row(engine: Opener, logged: TableSpec) -> None:
    """Without a low end, and without rows that have no cursor; or of these alone."""
    rows = engine(replace(logged, incremental_column="moment"))
    last = Watermark(CursorType.TIMESTAMP, "2026-06-01 05:00:00")

    for subject, expected in ((ReRead(None, last, nulls=False), 4), (ReRead(None, None, nulls=True), 8)):
        with opened(rows, keys=(), unsettled=subject) as view:
            assert view.checksum().rows == expected


def test_a_snapshot_is_read_by_the_columns_that_the_table_has_now(place: IcebergPlace, engine: Opener) -> None:
    """Renamed, widened, added and replaced since: by their ids. Changed between stand and view: nothing is compared."""
    table = make_table()
    place.make_foreign(table, ROWS.append_column("small", pa.array([0.1] * 8, pa.float32())).append_column("x", ROWS["v"]))
    rows = engine(table)
    early = stand_of(rows)
    with place.load(table).update_schema() as change:
        change.rename_column("v", "w").rename_column("x", "v")
        change.update_column("id", LongType()).update_column("small", DoubleType()).add_column("new", StringType())

    with opened(rows) as view:
        found = {key: values for n in range(8) for key, values in view.values([md5(str(n))])}
        assert found == {md5(str(n)): (str(n), f"it's {n}", "3fb99999a0000000", f"it's {n}", None) for n in range(8)}
        assert stand_of(rows).columns.names == ["id", "w", "small", "v", "new"]
    with (
        pytest.raises(TransientError, match=r"column id was changed.*Run the same command again"),
        opened(rows, stand=early),
    ):
        pass


def test_files_that_are_gone_or_cut_are_named(place: IcebergPlace, engine: Opener) -> None:
    """The table cannot be compared, and a rerun would not help."""
    table = make_table()
    place.make_foreign(table, ROWS)
    (task,) = place.load(table).scan().plan_files()
    path = Path(local_path(task.file.file_path))
    content = path.read_bytes()
    path.write_bytes(content[:4] + bytes(len(content) - 300) + content[-296:])

    with pytest.raises(TerminalError, match="--reload"), opened(engine(table)) as view:
        view.checksum()
    path.unlink()
    with pytest.raises(TerminalError, match=path.name), opened(engine(table)) as view:
        view.checksum()


def test_tables_without_rows_are_compared_too(place: IcebergPlace, engine: Opener) -> None:
    """A table that was emptied, and one that never had a snapshot but a receipt."""
    table = make_table()
    place.make_foreign(table, ROWS)
    place.load(table).delete()

    with opened(engine(table)) as view:
        assert (view.count(), view.checksum(), view.buckets(4)) == (0, Checksum(0, 0, 0), {})
        assert (keys_in(view), view.key_faults(3).keys, view.group_counts([])) == ([], 0, {(): 0})


def test_what_this_process_cannot_read_spark_can(place: IcebergPlace) -> None:
    """Format 3 and its deletion vectors; the error names the engine that helps."""
    table = make_table()
    name = f"lake.shop.{table.table}"
    place.spark.sql("CREATE NAMESPACE IF NOT EXISTS lake.shop")
    place.spark.sql(
        f"CREATE TABLE {name} (id INT, v STRING) USING iceberg TBLPROPERTIES ('format-version' = '3',"
        " 'write.delete.mode' = 'merge-on-read')"
    )
    place.spark.sql(f"INSERT INTO {name} SELECT /*+ COALESCE(1) */ CAST(id AS INT), 'v' FROM range(8)")
    place.spark.sql(f"DELETE FROM {name} WHERE id = 3")
    catalog = IcebergCatalog(place.spec, place.tool.session)

    local = LocalIcebergRows(catalog, table, local_tools(place.root).sql)
    with pytest.raises(UnfitEngineError, match=r"format 3.*--engine spark"), opened(local):
        pass
    with opened(SparkIcebergRows(catalog, table, place.session)) as view:
        assert keys_in(view) == [0, 1, 2, 4, 5, 6, 7]
    catalog.close()


def test_a_table_on_hdfs_is_refused_without_a_look_at_it() -> None:
    """No JVM starts, to say that Spark is needed."""
    catalog = IcebergCatalog(CatalogSpec("lake", "/nowhere/catalog.db", "hdfs://nowhere/warehouse"))
    rows = LocalIcebergRows(catalog, make_table(), local_tools(Path("/nowhere")).sql)

    with pytest.raises(UnfitEngineError, match="--engine spark"):
        rows.stand()


def test_what_does_not_fit_into_the_memory_ends_with_what_to_do(place: IcebergPlace) -> None:
    """One text alone is larger than all of it."""
    table = make_table()
    place.make_foreign(table, pa.table({"id": [1], "v": ["x" * 40_000_000]}))
    catalog = IcebergCatalog(place.spec, place.tool.session)

    rows = LocalIcebergRows(catalog, table, local_tools(place.root, sql_mb=24).sql)
    with pytest.raises(OutgrownError, match=r"runtime\.memory_mb"), opened(rows) as view:
        view.checksum()
    catalog.close()


def parquet_rows(place: ParquetPlace, table: TableSpec) -> ParquetRows:
    return ParquetRows(str(place.root), table, place.open(table), local_tools(place.root).sql)


def publish(place: ParquetPlace, table: TableSpec, number: int, rows: pa.Table) -> None:
    target = place.open(table)
    head = target.head()
    base = head.receipt.batch_id if head and head.receipt else None
    batch = make_batch(table, number, base=base, write=WriteMode.REPLACE)
    payload = make_payload(place.root / f"staged-{table.table}-{number}", batch, rows.slice(0, 5), rows.slice(5))
    written = target.write(batch, "a", payload, target.prepare(payload))
    target.publish(base, written, make_receipt(batch, rows=written.rows))


def stock(tmp_path: Path) -> tuple[ParquetPlace, TableSpec]:
    return ParquetPlace(tmp_path), TableSpec("shop", "stock", "full", "s", SinkFormat.PARQUET, primary_keys=("id",))


def test_a_directory_is_compared_as_the_folder_to_which_its_link_pointed(tmp_path: Path) -> None:
    """All its files, in the types in which they landed. The next batch changes nothing; the one after it takes it away."""
    place, table = stock(tmp_path)
    rows = parquet_rows(place, table)
    assert rows.stand() is None
    small = ROWS.append_column("small", pa.array([-0.0] * 8, pa.float32()))
    publish(place, table, 1, small)
    first = stand_of(rows)
    assert first.receipt is not None
    assert (first.receipt.rows, first.columns.names, first.damage) == (8, ["id", "v", "small"], None)

    with opened(rows, stand=first, left_out=[md5("4")]) as view:
        assert keys_in(view) == [0, 1, 2, 3, 5, 6, 7]
        assert list(view.values([md5("1"), md5("4")])) == [(md5("1"), ("1", "it's 1", "0" * 16))]
        publish(place, table, 2, small.slice(0, 6))
        assert view.count() == 7
    with opened(rows) as view:
        assert keys_in(view) == [0, 1, 2, 3, 4, 5]
    publish(place, table, 3, small)
    with pytest.raises(TransientError, match="replaced while it was compared"), opened(rows, stand=first):
        pass


def test_a_directory_that_is_not_as_it_was_published_is_named(tmp_path: Path) -> None:
    """A file that was cut, none, a folder of others, and a directory in place of the link."""
    place, table = stock(tmp_path)
    rows = parquet_rows(place, table)
    publish(place, table, 1, ROWS)
    folder = place.link(table).resolve()
    spoilt = sorted(folder.glob("*.parquet"))[1]
    spoilt.write_bytes(spoilt.read_bytes()[:-9])
    with pytest.raises(TerminalError, match=rf"{spoilt.name}.*--reload"), opened(rows) as view:
        view.checksum()
    for path in folder.glob("*.parquet"):
        path.unlink()
    with pytest.raises(TerminalError, match="holds no files"):
        rows.stand()
    place.link(table).unlink()
    place.make_foreign(table, ROWS)
    with pytest.raises(TerminalError, match="--reload"):
        rows.stand()
    place.link(table).unlink()
    place.link(table).mkdir()
    with pytest.raises(TerminalError, match="a directory stands where the link should be"):
        rows.stand()


def test_a_large_table_needs_little_memory(place: IcebergPlace) -> None:
    """400,000 keys, half of them left out and a few twice, within 64 MiB."""
    table = make_table()
    number = pa.array(range(400_000), pa.int64())
    place.make_foreign(table, pa.table({"id": number, "v": number.cast(pa.string())}))
    place.rewrite(table, pa.table({"id": number[-5:], "v": number[-5:].cast(pa.string())}))
    catalog = IcebergCatalog(place.spec, place.tool.session)

    rows = LocalIcebergRows(catalog, table, local_tools(place.root, sql_mb=64).sql)
    with opened(rows, left_out=[md5(str(n)) for n in range(200_000)]) as view:
        assert (view.count(), view.checksum().rows) == (200_005, 200_005)
        assert sum(bucket.rows for bucket in view.buckets(4).values()) == 200_005
        assert view.key_faults(0).keys == 5
    catalog.close()

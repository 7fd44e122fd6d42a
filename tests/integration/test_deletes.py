"""Deletes without a change log: rows that the source no longer has leave the target, or are marked in it.

What must be there afterwards is asked of the database's own client, never of the runtime.
"""

import json
import random
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.model.result import TableResult, TableStatus
from tests.lake import Lake
from tests.servers.postgresql import PostgresDatabase

DONE, UNCHANGED, FAILED = TableStatus.DONE, TableStatus.UNCHANGED, TableStatus.FAILED


def scd1(table: str, *keys: str, **more: Any) -> dict[str, Any]:
    spec = {"schema": "public", "table": table, "mode": "scd1", "primary_keys": list(keys), "deletes": "hard"}
    return {**spec, "incremental_column": "changed", "incr_col_type": "timestamp", **more}


def told(lake: Lake, table: str) -> dict[str, Any]:
    """The last comparison of a table's keys, as the event log has it."""
    return [line for line in lake.events() if line["event"] == "deletes_found" and line["table"] == table][-1]


def by_table(lake: Lake, spark: SparkSession, **options: Any) -> dict[str, TableResult]:
    return {result.table: result for result in lake.run(spark, **options).tables}


# ---------------------------------------------------------------- a million rows

MILLION = 1_000_000
# No index: the runtime needs none, and building three takes longer than the comparison.
MILLIONS = """
CREATE TABLE by_number (id bigint, changed timestamptz);
INSERT INTO by_number SELECT g * 7 - 3000000, TIMESTAMPTZ '2024-01-01+00' + g * INTERVAL '0.1 s'
  FROM generate_series(1, 1000000) g;
CREATE TABLE by_text (code text, changed timestamptz);
INSERT INTO by_text SELECT 'ü ' || g, TIMESTAMPTZ '2024-01-01+00' + g * INTERVAL '0.1 s'
  FROM generate_series(1, 1000000) g;
CREATE TABLE by_pair (region text, number int, changed timestamptz);
INSERT INTO by_pair SELECT 'r' || g % 100, g / 100, TIMESTAMPTZ '2024-01-01+00' + g * INTERVAL '0.1 s'
  FROM generate_series(0, 999999) g;
"""
KEYS = {"by_number": ("id",), "by_text": ("code",), "by_pair": ("region", "number")}


@pytest.fixture
def postgres_lake(postgres: PostgresDatabase, tmp_path: Path) -> Lake:
    """A lake on an empty database; tables are added by the tests."""
    return Lake(tmp_path, postgres.configured(), [])


def with_tables(lake: Lake, *tables: Mapping[str, Any]) -> Lake:
    lake.document["tables"] = [dict(table) for table in tables]
    lake.save()
    return lake


def key_file(lake: Lake, table: str) -> list[str]:
    """The keys of a published table as psql prints them, sorted by their bytes."""
    found: pa.Table = lake.table(f"public.{table}").scan(selected_fields=KEYS[table]).to_arrow()
    columns = [found[name].to_pylist() for name in KEYS[table]]
    return sorted("\t".join(map(str, key)) for key in zip(*columns, strict=True))


@pytest.mark.timeout(600)
def test_ten_deletes_among_a_million_rows_are_found_and_few_keys_moved(
    postgres: PostgresDatabase, postgres_lake: Lake, spark: SparkSession
) -> None:
    """Whole numbers, text and composite keys, beside updates and inserts in the same batch: 10 deletes at random positions
    are found, moving less than 1 % of the keys."""
    postgres.psql(MILLIONS)
    lake = with_tables(postgres_lake, *(scd1(table, *keys, deletes="ignore") for table, keys in KEYS.items()))
    assert {result.rows_written for result in by_table(lake, spark).values()} == {MILLION}
    with_tables(lake, *(scd1(table, *keys) for table, keys in KEYS.items()))
    places = ", ".join(map(str, random.Random(20260701).sample(range(MILLION), 10)))  # noqa: S311 - no secret
    postgres.psql(
        f"""
        DELETE FROM by_number WHERE (id + 3000000) / 7 - 1 IN ({places});
        DELETE FROM by_text WHERE substr(code, 3)::int - 1 IN ({places});
        DELETE FROM by_pair WHERE number * 100 + substr(region, 2)::int IN ({places});
        UPDATE by_number SET changed = '2024-06-01+00' WHERE id % 100000 = 0;
        INSERT INTO by_number SELECT g, '2024-06-02+00' FROM generate_series(10000001, 10005000) g;
        INSERT INTO by_text VALUES ('new 🚀', '2024-06-02+00');
        """
    )

    results = by_table(lake, spark)

    for table, keys in KEYS.items():
        result, event = results[f"public.{table}"], told(lake, f"public.{table}")
        assert (result.status, result.rows_deleted) == (DONE, 10)
        assert (event["deleted"], event["missing_in_target"]) == (10, 0)
        assert 10 <= event["differing"] <= 10 + 5
        assert 0 < event["moved_keys"] < MILLION / 100
        listed = ", ".join(keys)
        assert key_file(lake, table) == sorted(postgres.psql(f"SELECT {listed} FROM {table}").split("\n"))


# ---------------------------------------------------------------- small tables

ORDERS = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT, changed TIMESTAMP);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
INSERT INTO orders SELECT i, 'note ' || i, printf('2026-06-01 10:00:%02d', i) FROM n;
"""
CHANGES = """
DELETE FROM orders WHERE id IN (3, 40);
UPDATE orders SET note = 'changed', changed = '2026-06-02 08:00:00' WHERE id = 4;
INSERT INTO orders VALUES (41, 'new', '2026-06-02 09:00:00');
"""


class Shop:
    """One SQLite file with a table of orders, and the lake it is ingested into."""

    def __init__(self, root: Path, spark: SparkSession, script: str = ORDERS, **table: Any) -> None:
        self.path = root / "shop.db"
        self.lake = Lake(root, {"dialect": "sqlite", "database": str(self.path)}, [])
        self._spark = spark
        self.configure(**table)
        self.change(script)

    def configure(self, **changes: Any) -> None:
        with_tables(self.lake, scd1("orders", *changes.pop("primary_keys", ["id"]), **{"schema": "shop", **changes}))

    def change(self, script: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executescript(script)

    def source(self) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self.path)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute("SELECT id, note FROM orders WHERE id IS NOT NULL ORDER BY id")]

    def night(self, failpoints: str = "", **options: Any) -> TableResult:
        environment = {"INGESTION_FAILPOINTS": failpoints} if failpoints else None
        (result,) = self.lake.run(self._spark, environment=environment, **options).tables
        return result

    def rows(self) -> list[dict[str, Any]]:
        found = sorted(self.lake.rows("shop.orders"), key=lambda row: row["id"])
        return [{"id": row["id"], "note": row["note"]} for row in found]

    def marks(self) -> dict[int, Any]:
        found = self.lake.table("shop.orders").scan(selected_fields=("id", "_ingest_deleted_at")).to_arrow().to_pylist()
        return {row["id"]: row["_ingest_deleted_at"] for row in found}

    def location(self) -> str:
        return str(self.lake.table("shop.orders").metadata_location)

    def tombstones(self, batch: str) -> list[int]:
        """The keys that a raw batch says are gone."""
        (folder,) = (self.lake.root / "raw/shop/orders").glob(f"load_date=*/batch={batch}/_tombstones")
        found: list[int] = ds.dataset(folder, format="parquet").to_table().column("id").to_pylist()
        return sorted(found)

    def rest(self) -> None:
        """Run until nothing is new, then once more: the run that finds nothing writes nothing."""
        while self.night().status is not UNCHANGED:
            pass
        before, batches = self.location(), len(self.lake.events())
        assert self.night().status is UNCHANGED
        assert self.location() == before
        after = [line["event"] for line in self.lake.events()[batches:]]
        assert not {"plan", "slice_staged", "deletes_found"} & set(after)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Shop:
    """Orders with hard deletes, loaded once; tests get them by ``shop``."""
    root = tmp_path_factory.mktemp("deletes") / "lake"
    root.mkdir()
    shop = Shop(root, spark, max_delete_fraction=0.2)
    assert shop.night().status is DONE
    shutil.copytree(root, root.with_name("kept"))
    return shop


@pytest.fixture
def shop(loaded: Shop) -> Shop:
    """The loaded orders, as they were: source, target, state and logs."""
    root = loaded.lake.root
    shutil.rmtree(root)
    shutil.copytree(root.with_name("kept"), root)
    loaded.lake.document = json.loads(loaded.lake.path.read_text())
    return loaded


def test_deletes_updates_and_inserts_arrive_in_one_batch(shop: Shop) -> None:
    """The target equals the source; the tombstones lie in raw beside the rows, hidden from readers of the rows."""
    shop.change(CHANGES)

    result = shop.night()

    assert (result.status, result.rows_read, result.rows_written, result.rows_deleted) == (DONE, 2, 2, 2)
    assert shop.rows() == shop.source()
    receipt = shop.lake.receipt("shop.orders")
    assert shop.tombstones(receipt["batch_id"]) == [3, 40]
    (landed,) = (shop.lake.root / "raw/shop/orders").glob(f"load_date=*/batch={receipt['batch_id']}")
    assert ds.dataset(landed, format="parquet").to_table().column("id").to_pylist() == [4, 41]
    done = [line for line in shop.lake.events() if line["event"] == "table_done"][-1]
    assert done["rows_deleted"] == 2
    shop.rest()


def test_keys_are_remembered_from_the_first_load_on(shop: Shop) -> None:
    """A second run on an unchanged source starts no engine and writes nothing."""
    before = shop.location()

    assert shop.night().status is UNCHANGED

    assert shop.location() == before
    assert len([line for line in shop.lake.events() if line["event"] == "deletes_found"]) == 1


def test_a_batch_may_consist_of_tombstones_only(shop: Shop) -> None:
    """Nothing changed but a row that went: it goes in the target, and the watermark stays."""
    watermark = shop.lake.receipt("shop.orders")["watermark"]
    shop.change("DELETE FROM orders WHERE id = 17")

    result = shop.night()

    assert (result.status, result.rows_read, result.rows_written, result.rows_deleted) == (DONE, 0, 0, 1)
    assert shop.rows() == shop.source()
    assert shop.lake.receipt("shop.orders")["watermark"] == watermark
    assert shop.tombstones(shop.lake.receipt("shop.orders")["batch_id"]) == [17]
    shop.rest()


def test_a_key_that_comes_back_is_a_row_again(shop: Shop) -> None:
    """Deleted, found, inserted again with a newer cursor: the row stands there once."""
    shop.change("DELETE FROM orders WHERE id = 5")
    assert shop.night().rows_deleted == 1
    shop.change("INSERT INTO orders VALUES (5, 'again', '2026-06-03 00:00:00')")

    assert shop.night().rows_written == 1

    assert shop.rows() == shop.source()


def test_a_row_that_was_deleted_and_restored_as_it_was_is_not_missed(shop: Shop) -> None:
    """The newest row goes and comes back unchanged: the rows at the watermark look as before, and are read nevertheless."""
    shop.change("CREATE TABLE kept AS SELECT * FROM orders WHERE id = 40; DELETE FROM orders WHERE id = 40")
    assert shop.night().rows_deleted == 1
    shop.change("INSERT INTO orders SELECT * FROM kept")

    shop.night()

    assert shop.rows() == shop.source()


def test_late_rows_are_counted_and_never_touched(shop: Shop) -> None:
    """A row that appears below the watermark is told as missing in the target, once, and nothing is deleted."""
    shop.change("INSERT INTO orders VALUES (100, 'late', '2020-01-01 00:00:00')")
    stood = shop.rows()

    result = shop.night()

    assert (result.rows_written, result.rows_deleted) == (0, 0)
    assert (told(shop.lake, "shop.orders")["deleted"], told(shop.lake, "shop.orders")["missing_in_target"]) == (0, 1)
    assert shop.rows() == stood
    shop.rest()


def test_soft_deletes_mark_rows_and_live_rows_carry_no_mark(tmp_path: Path, spark: SparkSession) -> None:
    """A deleted row stays as it was and says since when it is gone; one that comes back, even unchanged, is live again."""
    shop = Shop(tmp_path, spark, deletes="soft")
    shop.night()
    assert set(shop.marks().values()) == {None}
    stood = shop.rows()
    shop.change("CREATE TABLE kept AS SELECT * FROM orders; " + CHANGES)

    result = shop.night()

    assert (result.rows_written, result.rows_deleted) == (2, 2)
    assert {key for key, mark in shop.marks().items() if mark is not None} == {3, 40}
    assert [row for row in shop.rows() if row["id"] not in (3, 40)] == shop.source()
    assert [row for row in shop.rows() if row["id"] in (3, 40)] == [row for row in stood if row["id"] in (3, 40)]
    found = shop.lake.table("shop.orders").scan(row_filter="id == 3").to_arrow().to_pylist()[0]
    assert found["_ingest_deleted_at"] == found["_ingest_loaded_at"]
    shop.rest()
    shop.change("INSERT INTO orders SELECT id, note, '2026-06-04 00:00:00' FROM kept WHERE id = 3")
    shop.night()
    assert {key for key, mark in shop.marks().items() if mark is not None} == {40}
    shop.configure(deletes="hard")
    assert shop.night().rows_deleted == 1
    assert shop.rows() == shop.source()


def test_too_many_deletes_stop_the_table_with_nothing_published(shop: Shop) -> None:
    """An emptied source, a lagging replica: counts, fraction, a few keys and the remedy are named, and exit code 1."""
    before, stood = shop.lake.receipt("shop.orders"), shop.rows()
    shop.change("CREATE TABLE kept AS SELECT * FROM orders")
    for keys, said in (("id > 30", "10 of 40 keys are no longer at the source (25.00%"), ("id > 0", "40 of 40 keys")):
        shop.change(f"DELETE FROM orders WHERE {keys}")

        result = shop.night()

        assert result.failure is not None
        assert (result.status, result.failure.exit_code) == (FAILED, 1)
        for part in (said, "max_delete_fraction is 20.00%", "--reload shop.orders"):
            assert part in result.failure.message
        assert (shop.lake.receipt("shop.orders"), shop.rows()) == (before, stood)
    shop.change("INSERT INTO orders SELECT * FROM kept")
    shop.rest()
    assert shop.rows() == stood


def test_a_raised_fraction_lets_them_pass(shop: Shop) -> None:
    """Ten of forty are gone, and a person says that this is right."""
    shop.change("DELETE FROM orders WHERE id > 30")
    assert shop.night().status is FAILED
    shop.configure(max_delete_fraction=0.25)

    assert shop.night().rows_deleted == 10

    assert shop.rows() == shop.source()


def test_tombstones_are_found_anew_when_slices_are_read_again(shop: Shop) -> None:
    """A key that was gone may be among the rows that are read the second time: the old tombstones must not count."""
    shop.change(CHANGES)
    assert shop.night(failpoints="after-stage=fail").status is FAILED
    for manifest in (shop.lake.root / "staging").rglob("_MANIFEST.json"):
        if '"tombstones":false' in manifest.read_text():
            for file in manifest.parent.glob("*.parquet"):
                file.write_bytes(file.read_bytes()[:-1] + b"x")
    shop.change("INSERT INTO orders VALUES (3, 'back in time', '2026-06-02 08:30:00')")

    result = shop.night()

    assert result.failure is None
    assert shop.rows() == shop.source()


def test_a_deleted_row_is_found_beyond_the_merge_filter(tmp_path: Path, spark: SparkSession) -> None:
    """merge_filter picks partitions by the rows that arrive; deletes may be anywhere."""
    narrow = {"partition": [{"column": "changed", "transform": "day"}], "merge_filter": "changed >= DATE '2026-06-01'"}
    shop = Shop(tmp_path, spark, intermediate=narrow)
    shop.change("INSERT INTO orders VALUES (-1, 'old', '2020-01-01 00:00:00')")
    shop.night()
    shop.change("DELETE FROM orders WHERE id = -1; INSERT INTO orders VALUES (50, 'new', '2026-07-01 00:00:00')")

    assert shop.night().rows_deleted == 1

    assert shop.rows() == shop.source()


def test_rows_without_a_key_take_no_part(tmp_path: Path, spark: SparkSession) -> None:
    """Quarantined rows are neither missing in the target nor deleted from it."""
    script = (
        ORDERS.replace("id INTEGER PRIMARY KEY", "id INTEGER") + "INSERT INTO orders VALUES (NULL, 'no key', '2026-06-01')"
    )
    shop = Shop(tmp_path, spark, script.replace("'2026-06-01')", "'2026-06-01 12:00:00')"), null_keys="quarantine")
    shop.night()
    assert told(shop.lake, "shop.orders")["missing_in_target"] == 0
    shop.change("DELETE FROM orders WHERE id = 7")

    assert shop.night().rows_deleted == 1

    assert shop.rows() == shop.source()


def test_a_reload_compares_with_nothing(shop: Shop) -> None:
    """A reload is the whole source as it is: no deletes are counted, and the keys are remembered."""
    shop.change("DELETE FROM orders WHERE id > 20")

    result = shop.night(reload=["shop.orders"])

    assert (result.status, result.rows_deleted) == (DONE, 0)
    assert shop.rows() == shop.source()
    shop.rest()


def test_deletes_are_found_after_a_reload_gave_the_key_another_type(
    postgres: PostgresDatabase, postgres_lake: Lake, spark: SparkSession
) -> None:
    """The key's column was replaced in the publishing commit: the runs that follow compare the new one."""
    postgres.psql(
        "CREATE TABLE t (id int, changed timestamptz);"
        " INSERT INTO t SELECT g, TIMESTAMPTZ '2024-01-01+00' + g * INTERVAL '1 s' FROM generate_series(1, 30) g"
    )
    lake = with_tables(postgres_lake, scd1("t", "id"))
    assert by_table(lake, spark)["public.t"].status is DONE
    postgres.psql("ALTER TABLE t ALTER id TYPE text USING 'k' || id")
    assert by_table(lake, spark)["public.t"].status is FAILED
    assert by_table(lake, spark, reload=["public.t"])["public.t"].rows_written == 30
    postgres.psql("DELETE FROM t WHERE id IN ('k7'); INSERT INTO t VALUES ('new', '2024-02-01+00')")
    result = by_table(lake, spark)["public.t"]
    assert (result.status, result.rows_deleted, result.rows_written) == (DONE, 1, 1)
    printed = postgres.psql('SELECT id FROM t ORDER BY id COLLATE "C"').splitlines()
    assert sorted(row["id"] for row in lake.rows("public.t")) == printed

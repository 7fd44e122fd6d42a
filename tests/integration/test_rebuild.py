"""A table rebuilt from raw equals the one that its batches made, housekeeping columns included; the source is not asked."""

import sqlite3
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyiceberg.table.refs import MAIN_BRANCH

from ingestion_runtime.endpoints.resolving import open_configuration
from ingestion_runtime.maintenance.report import Mode, Status, TableReport
from ingestion_runtime.maintenance.running import MaintenanceRequest
from ingestion_runtime.maintenance.running import run as maintain
from ingestion_runtime.model.options import AskedWindow
from ingestion_runtime.model.result import TableStatus
from tests.lake import Lake
from tests.replayed import Rows, chain_of, published, replayed
from tests.servers.postgresql import PostgresDatabase

FIRST_DAY = date(2026, 7, 1)
SCD1 = {"mode": "scd1", "primary_keys": ["id"], "incremental_column": "at", "incr_col_type": "timestamp"}
LOG = {"mode": "append", "incremental_column": "at", "incr_col_type": "timestamp", "lag_seconds": 3600}
EQUAL = {"only_in_raw": 0, "only_in_table": 0, "changed": 0}


class Shop:
    """An SQLite source and its lake; every run is of the next day."""

    def __init__(self, root: Path, *tables: dict[str, Any]) -> None:
        self.file = root / "shop.db"
        self.day = FIRST_DAY
        named = [{"schema": "shop", **table} for table in tables]
        self.lake = Lake(root, {"dialect": "sqlite", "database": str(self.file)}, named)
        self.lake.document["runtime"]["engine"] = "arrow"
        self.lake.save()
        self.names = [f"shop.{table['table']}" for table in tables]

    def change(self, script: str) -> None:
        with closing(sqlite3.connect(self.file)) as connection:
            connection.executescript(script)

    def night(self, script: str = "", **options: Any) -> None:
        """Change the source, and run; every table must be through."""
        self.change(script)
        self.day += timedelta(days=1)
        result = self.lake.run(None, day=self.day, **options)
        assert result.exit_code == 0, [table.failure for table in result.tables if table.failure]

    def rebuild(self, *names: str) -> dict[str, TableReport]:
        configuration = open_configuration(self.lake.path)
        tables = tuple(table for table in configuration.tables if not names or table.name in names)
        report = maintain(MaintenanceRequest(configuration, tables, Mode.REBUILD), {})
        return {table.table: table for table in report.tables}

    def pictures(self) -> dict[str, Rows]:
        return {name: published(self.lake, name) for name in self.names}

    def raw(self, name: str) -> list[Path]:
        return sorted((self.lake.root / "raw" / name.replace(".", "/")).glob("load_date=*/batch=*"))


def told(report: TableReport) -> dict[str, Any]:
    """What a rebuild found, after it went well."""
    assert report.error is None, report.error
    assert report.rebuild is not None
    return dict(report.rebuild)


def refusal(report: TableReport) -> str:
    """Why a rebuild was refused."""
    assert report.status is Status.ERROR
    assert report.error is not None
    return report.error.message


CREATE = """
CREATE TABLE {0} (id INTEGER, note TEXT, price REAL, at TIMESTAMP);
INSERT INTO {0} VALUES (1, 'a', 1.5, '2026-06-01 10:00:00'), (2, NULL, 0.0, '2026-06-01 10:00:01'),
  (3, 'gone', 9e999, '2026-06-01 10:00:02'),
  (4, 'x, [red]', NULL, '2026-06-01 10:00:03'), (5, 'same', 5, '2026-06-01 11:00:00'),
  (1, 'older', 1.5, '2026-05-01 10:00:00');
"""
# Row 5 is read again within the lag and does not differ; 0.0 becomes -0.0, which is no difference either.
SECOND = """
UPDATE {0} SET note = 'changed', at = '2026-06-02 10:00:00' WHERE id = 1;
INSERT INTO {0} VALUES (5, 'same', 5, '2026-06-01 11:00:00'), (6, 'six', 6, '2026-06-02 10:30:00'),
  (6, 'larger', 6, '2026-06-02 10:30:00');
DELETE FROM {0} WHERE id = 3;
"""
RESHAPED = """
ALTER TABLE {0} RENAME COLUMN note TO remark;
ALTER TABLE {0} ADD COLUMN note INTEGER;
INSERT INTO {0} VALUES (7, 'seven', 7, '2026-06-03 10:00:00', 70);
UPDATE {0} SET note = 20, price = -0.0, at = '2026-06-03 10:00:01' WHERE id = 2;
DELETE FROM {0} WHERE id = 6;
"""
BACK = """
INSERT INTO {0} VALUES (3, 'gone', 9e999, '2026-06-04 10:00:00', NULL), (6, 'back', 6, '2026-06-04 10:00:00', 60);
DELETE FROM {0} WHERE id = 4;
"""
# Row 4 is marked in the rebuilt table where deletes are soft, and comes back.
AGAIN = """
DELETE FROM {0} WHERE id = 7;
UPDATE {0} SET remark = 'r', at = '2026-06-05 10:00:00' WHERE id = 5;
INSERT INTO {0} VALUES (4, 'once more', 4, '2026-06-06 10:00:00', 1);
"""
LATE = "INSERT INTO {0} VALUES (1, 'late', 1, '2026-06-03 09:00:00'), (8, 'new', 8, '2026-06-03 12:00:00');"
TABLES = (
    {"table": "hard", **SCD1, "deletes": "hard", "max_delete_fraction": 1, "lag_seconds": 86_400},
    {
        "table": "soft",
        **SCD1,
        "deletes": "soft",
        "max_delete_fraction": 1,
        "intermediate": {"partition": [{"column": "id", "transform": "bucket:3"}]},
    },
    {"table": "kept", **SCD1, "lag_seconds": 86_400, "schema_policy": {"renamed": "evolve"}},
    {"table": "log", **LOG, "intermediate": {"partition": [{"column": "at", "transform": "day"}]}},
    {"table": "whole", "mode": "full"},
)
MERGED = ("hard", "soft", "kept")


def scripts(text: str, *tables: str) -> str:
    return "".join(text.format(table) for table in tables)


def test_a_rebuilt_table_is_the_one_that_its_batches_made(tmp_path: Path) -> None:
    """Through inserts, updates, deletes of both kinds, keys that come back, duplicates in a batch, rows that were read again
    and did not differ, late rows, windows, renamed and added columns: every column of every row, whichever batch told it
    last. The rebuilt batch is a checkpoint: what follows is merged into it, and the next rebuild begins there."""
    shop = Shop(tmp_path, *TABLES)
    shop.night(scripts(CREATE, *MERGED, "log", "whole"))
    shop.night(scripts(SECOND, *MERGED) + LATE.format("log") + "UPDATE whole SET note = 'w';")
    shop.night(scripts(RESHAPED, *MERGED) + "INSERT INTO log VALUES (9, 'late', 9, '2026-06-03 11:30:00');")
    shop.change("DELETE FROM log WHERE id = 2; UPDATE kept SET remark = 'unseen' WHERE id = 7;")
    shop.night(window=AskedWindow("2026-06-01", "2026-06-04"))
    shop.night(scripts(BACK, *MERGED))
    before = shop.pictures()
    receipts = {name: shop.lake.receipt(name) for name in shop.names}

    assert {name: replayed(shop.lake, name) for name in shop.names} == before
    assert any(
        "_ingest_deleted_at" in dict(row) and dict(row)["_ingest_deleted_at"] != "None" for row in before["shop.soft"]
    )
    reports = shop.rebuild()

    assert {name: told(report)["differences"] | EQUAL for name, report in reports.items()} == {
        name: told(report)["differences"] for name, report in reports.items()
    }
    assert shop.pictures() == before
    for name, former in receipts.items():
        receipt, chain = shop.lake.receipt(name), chain_of(shop.lake, name)
        assert [link.batch_id for link in chain.links] == [receipt["batch_id"]]
        assert receipt["previous"] == former["batch_id"]
        assert {key: receipt[key] for key in ("watermark", "fingerprint", "keys", "reading", "load_date", "mode")} == {
            key: former[key] for key in ("watermark", "fingerprint", "keys", "reading", "load_date", "mode")
        }
        assert set(shop.lake.table(name).refs()) == {"main", "ingest_last"}
        # Raw and table share the very files: nothing was written twice.
        assert all(file.stat().st_nlink == 2 for file in shop.raw(name)[-1].glob("*.parquet")), name

    result = shop.lake.run(None, day=shop.day)
    assert {table.status for table in result.tables} <= {TableStatus.UNCHANGED, TableStatus.SKIPPED}
    shop.night(scripts(AGAIN, *MERGED))
    before = shop.pictures()
    assert {name: told(report)["batches"] for name, report in shop.rebuild().items()} == {
        "shop.hard": 2,
        "shop.soft": 2,
        "shop.kept": 2,
        "shop.log": 1,
        "shop.whole": 1,
    }
    assert shop.pictures() == before


ORDERS = {"table": "orders", **SCD1, "deletes": "hard", "max_delete_fraction": 1}
FEW = (
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT, at TIMESTAMP);"
    "INSERT INTO orders VALUES (1, 'a', '2026-06-01 10:00:00'), (2, 'b', '2026-06-02 10:00:00'),"
    " (3, 'c', '2026-06-03 10:00:00');"
)
MORE = "UPDATE orders SET note = 'z', at = '2026-06-04 10:00:00' WHERE id = 1; DELETE FROM orders WHERE id = 2;"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Orders, after two nights."""
    made = Shop(tmp_path, ORDERS)
    made.night(FEW)
    made.night(MORE + "INSERT INTO orders VALUES (4, 'd', '2026-06-05 10:00:00');")
    return made


def test_a_table_that_others_spoilt_is_brought_back(shop: Shop) -> None:
    """Truncated, written to, set back: each time the rows are those of the batches, what was found is counted, and the next
    run goes on as if nothing had happened."""
    table, before = shop.lake.table("shop.orders"), published(shop.lake, "shop.orders")
    rows = table.scan().to_arrow()
    table.delete()
    assert told(shop.rebuild()["shop.orders"])["differences"] == {"equal": 0, **EQUAL, "only_in_raw": 3}
    assert published(shop.lake, "shop.orders") == before

    table = shop.lake.table("shop.orders")
    table.overwrite(rows.slice(0, 2).set_column(1, rows.schema.field(1), [["forged", "forged too"]]))
    table.append(rows.slice(0, 1).set_column(0, rows.schema.field(0), [[99]]))
    found = told(shop.rebuild()["shop.orders"])
    assert found["differences"] == {"equal": 0, "only_in_raw": 1, "only_in_table": 1, "changed": 2}
    assert published(shop.lake, "shop.orders") == before

    table = shop.lake.table("shop.orders")
    table.manage_snapshots().create_branch(table.snapshots()[0].snapshot_id, "first").commit()
    table.manage_snapshots().rollback_to_snapshot(table.snapshots()[0].snapshot_id).commit()
    assert shop.lake.run(None, day=shop.day).exit_code == 1
    shop.rebuild()
    assert published(shop.lake, "shop.orders") == before
    # The row that ties with the watermark is looked at once more, as after any batch that deleted something.
    result = shop.lake.run(None, day=shop.day)
    assert [(table.status, table.rows_read) for table in result.tables] == [(TableStatus.UNCHANGED, 1)]


def test_a_table_whose_files_were_lost_is_brought_back(shop: Shop) -> None:
    """Its metadata still knows them; raw has its own names for what they held."""
    before = published(shop.lake, "shop.orders")
    for file in (shop.lake.root / "warehouse").rglob("*.parquet"):
        file.unlink()

    assert told(shop.rebuild()["shop.orders"])["differences"] == {"equal": 0, **EQUAL, "only_in_raw": 3}
    assert published(shop.lake, "shop.orders") == before

    for file in (shop.lake.root / "warehouse").rglob("*.avro"):
        file.unlink()
    assert "a list of the table's files is gone" in told(shop.rebuild()["shop.orders"])["uncompared"]
    assert published(shop.lake, "shop.orders") == before

    for file in (shop.lake.root / "warehouse").rglob("*.metadata.json"):
        file.unlink()
    assert "the warehouse has lost its metadata" in refusal(shop.rebuild()["shop.orders"])
    shop.lake.catalog.drop_table("shop.orders")
    assert told(shop.rebuild()["shop.orders"])["rows"] == 3
    assert published(shop.lake, "shop.orders") == before


def test_a_rebuild_that_fails_leaves_nothing_behind(shop: Shop) -> None:
    """Neither an open batch nor a name; and one that fails after its commit is recorded by the next run."""
    before = published(shop.lake, "shop.orders")
    for point, status in (("after-stage", 3), ("before-publish", 3), ("after-publish", 3)):
        configuration = open_configuration(shop.lake.path)
        request = MaintenanceRequest(configuration, configuration.tables, Mode.REBUILD)
        assert maintain(request, {"INGESTION_FAILPOINTS": f"{point}=fail"}).exit_code == status
        assert published(shop.lake, "shop.orders") == before
        assert not point.startswith(("after-s", "before")) or set(shop.lake.table("shop.orders").refs()) == {
            MAIN_BRANCH,
            "ingest_last",
        }
    shop.night()
    chain = chain_of(shop.lake, "shop.orders")
    assert [(link.write.value, link.state.value) for link in chain.links] == [("replace", "published")]
    assert {link.state.value for link in chain.loose} <= {"abandoned"}


def test_a_table_that_was_dropped_is_made_anew(shop: Shop) -> None:
    """From raw alone, and with its watermark: the next run reads what is new alone, even if the state is lost as well."""
    before = published(shop.lake, "shop.orders")
    shop.lake.catalog.drop_table("shop.orders")
    (shop.lake.root / "state.db").unlink()

    found = told(shop.rebuild()["shop.orders"])

    assert (found["rows"], found["differences"], found["uncompared"]) == (3, None, "there was no table")
    assert published(shop.lake, "shop.orders") == before
    shop.night("INSERT INTO orders VALUES (5, 'e', '2026-06-06 10:00:00');")
    assert [row["id"] for row in sorted(shop.lake.rows("shop.orders"), key=lambda row: row["id"])] == [1, 3, 4, 5]
    assert shop.lake.receipt("shop.orders")["sequence"] == 4


def test_a_table_that_was_dropped_is_not_made_anew_under_other_settings(shop: Shop) -> None:
    """No receipt says by which settings the rows were chosen, so that their watermark may lie."""
    shop.lake.catalog.drop_table("shop.orders")
    shop.lake.document["tables"][0]["source_filter"] = "id > 2"
    shop.lake.save()

    assert "settings have changed since that batch" in refusal(shop.rebuild()["shop.orders"])
    assert not shop.lake.catalog.table_exists("shop.orders")


@pytest.mark.parametrize("keys", [[], ["note"]])
def test_batches_that_were_merged_otherwise_are_not_put_together_by_other_settings(shop: Shop, keys: list[str]) -> None:
    """A table that is replaced whole by now may have any receipt; its batches of before were merged by a key."""
    before = shop.pictures()
    shop.lake.document["tables"][0] = {"schema": "shop", "table": "orders", "mode": "full", "primary_keys": keys}
    shop.lake.save()

    assert "merged by other settings" in refusal(shop.rebuild()["shop.orders"])
    assert shop.pictures() == before


def test_raw_that_does_not_tell_the_whole_story_is_refused(shop: Shop) -> None:
    """By what is missing or was changed, before anything is written: table, raw and state stay as they were."""
    first, second = shop.raw("shop.orders")
    ((file,), (tombstone,)) = first.glob("*.parquet"), (second / "_tombstones").glob("*.parquet")
    where, before = shop.lake.table("shop.orders").metadata_location, published(shop.lake, "shop.orders")

    def require_refused(*words: str) -> None:
        said = refusal(shop.rebuild()["shop.orders"])
        assert all(word in said for word in words), said
        assert shop.lake.table("shop.orders").metadata_location == where
        assert shop.raw("shop.orders") == sorted({first, second} & set(first.parent.parent.glob("*/batch=*")))

    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content[:-200] + bytes([content[-200] ^ 1]) + content[-199:])
    moved = tombstone.rename(tombstone.with_suffix(".away"))
    require_refused(f"{file} was changed after it landed", f"{tombstone} is missing")
    file.write_bytes(content)
    moved.rename(tombstone)

    manifest = (first / "_MANIFEST.json").read_text()
    (first / "_MANIFEST.json").write_text(manifest[:-9])
    require_refused("raw lacks batch", "holds no readable RawManifest")
    (first / "_MANIFEST.json").write_text(manifest.replace('"rows":3', '"rows":2') + " ")
    require_refused(f"manifest of batch {first.name[6:]} is not the one that batch {second.name[6:]} names")
    (first / "_MANIFEST.json").write_text(manifest)

    hidden = first.rename(first.with_name("elsewhere"))
    require_refused(f"raw lacks {'batch'} {first.name.removeprefix('batch=')} (named by batch")
    hidden.rename(first)

    shop.lake.document["runtime"]["job_name"] = "somebody-else"
    shop.lake.save()
    require_refused("is published by the configuration 'test'")
    shop.lake.document["runtime"]["job_name"] = "test"
    shop.lake.save()
    assert told(shop.rebuild()["shop.orders"])["rows"] == 3
    assert published(shop.lake, "shop.orders") == before


def test_columns_that_a_merge_left_as_they_were_are_not_made_up(tmp_path: Path) -> None:
    """With dropped: ignore a row that changes keeps a column that the source lost, and raw does not say so."""
    shop = Shop(tmp_path, {**ORDERS, "schema_policy": {"dropped": "ignore"}})
    shop.night(FEW)
    shop.night("ALTER TABLE orders DROP COLUMN note; UPDATE orders SET at = '2026-06-07 10:00:00' WHERE id = 1;")
    before = published(shop.lake, "shop.orders")

    said = refusal(shop.rebuild()["shop.orders"])

    assert "did not bring the column note" in said
    assert published(shop.lake, "shop.orders") == before
    shop.night(reload=["shop.orders"])
    assert told(shop.rebuild()["shop.orders"])["batches"] == 1


def test_values_that_are_kept_out_of_the_lake_by_now_are_not_brought_back(shop: Shop) -> None:
    """Raw has them from before; only the source, read anew, makes a table without them."""
    shop.lake.document["tables"][0]["exclude_columns"] = ["note"]
    shop.lake.save()

    assert "kept out of the lake has changed for note" in refusal(shop.rebuild()["shop.orders"])


def test_the_former_table_stays_under_a_tag_where_it_is_configured(shop: Shop) -> None:
    """The last one only; without the setting it is let go once everything is recorded."""
    shop.lake.document["tables"][0]["maintenance"] = {"keep_backup": True}
    shop.lake.save()
    table = shop.lake.table("shop.orders")
    table.delete("id = 3")
    spoilt = shop.lake.table("shop.orders").current_snapshot()
    assert spoilt is not None

    first = told(shop.rebuild()["shop.orders"])["backup"]
    table = shop.lake.table("shop.orders")
    assert first == f"ingest_backup_{shop.lake.receipt('shop.orders')['batch_id']}"
    assert table.refs()[first].snapshot_id == spoilt.snapshot_id
    assert table.scan(snapshot_id=spoilt.snapshot_id).count() == 2
    second = told(shop.rebuild()["shop.orders"])["backup"]
    assert set(shop.lake.table("shop.orders").refs()) == {MAIN_BRANCH, "ingest_last", second}
    # The next run finds everything where it was left, and needs to look at nothing else.
    assert [table.status for table in shop.lake.run(None, day=shop.day).tables] == [TableStatus.UNCHANGED]

    del shop.lake.document["tables"][0]["maintenance"]
    shop.lake.save()
    assert told(shop.rebuild()["shop.orders"])["backup"] is None
    assert set(shop.lake.table("shop.orders").refs()) == {MAIN_BRANCH, "ingest_last"}


def test_an_open_batch_of_a_failed_run_is_given_up_by_a_rebuild(shop: Shop) -> None:
    """It was frozen on the table as it was; the next run reads its rows again."""
    shop.change("INSERT INTO orders VALUES (6, 'six', '2026-06-09 10:00:00');")
    shop.lake.run(None, day=shop.day, environment={"INGESTION_FAILPOINTS": "before-publish=fail"})

    told(shop.rebuild()["shop.orders"])

    shop.night()
    assert {row["id"] for row in shop.lake.rows("shop.orders")} == {1, 3, 4, 6}


def test_a_column_that_was_renamed_for_a_batch_that_was_refused_is_still_told(tmp_path: Path) -> None:
    """The table has its new name by then, and no batch in raw does."""
    shop = Shop(
        tmp_path, {"table": "stock", "mode": "full", "primary_keys": ["sku"], "schema_policy": {"renamed": "evolve"}}
    )
    shop.night("CREATE TABLE stock (sku TEXT, n INTEGER, m INTEGER); INSERT INTO stock VALUES ('a', 1, 2), ('b', 3, NULL);")
    shop.change("ALTER TABLE stock RENAME COLUMN m TO amount; INSERT INTO stock VALUES ('a', 5, 6);")
    refused = shop.lake.run(None, day=date(2026, 8, 1)).tables[0].failure
    assert refused is not None
    assert refused.type == "RefusedBatchError"
    before = published(shop.lake, "shop.stock")
    assert {"sku": "a", "n": 1, "amount": 2} in shop.lake.rows("shop.stock")

    assert told(shop.rebuild()["shop.stock"])["differences"] == {"equal": 2, **EQUAL}
    assert published(shop.lake, "shop.stock") == before


def test_a_directory_of_parquet_is_rebuilt_alike(tmp_path: Path) -> None:
    """Its last batch is the whole of it; somebody put a file in, and emptied another."""
    shop = Shop(tmp_path, {"table": "prices", "mode": "full", "sink": "parquet"})
    shop.night("CREATE TABLE prices (sku TEXT, cents INTEGER); INSERT INTO prices VALUES ('a, \"b\"', 1), ('[c]', NULL);")
    shop.night("INSERT INTO prices VALUES ('d', 3), ('d', 3);")
    folder = tmp_path / "final/shop/prices"
    before = pq.read_table(folder, partitioning=None)
    (file,) = folder.glob("*.parquet")
    file.unlink()
    pq.write_table(before.slice(0, 3).take([0, 1, 2, 0]), file)

    found = told(shop.rebuild()["shop.prices"])

    assert found["differences"] == {"equal": 3, "only_in_raw": 1, "only_in_table": 1, "changed": 0}
    after = pq.read_table(folder, partitioning=None)
    assert sorted(map(repr, after.to_pylist())) == sorted(map(repr, before.to_pylist()))
    assert [table.status for table in shop.lake.run(None, day=shop.day).tables] == [TableStatus.SKIPPED]


def test_a_table_that_was_never_published_has_nothing_to_rebuild(tmp_path: Path) -> None:
    """It is no error."""
    shop = Shop(tmp_path, ORDERS)

    report = shop.rebuild()["shop.orders"]

    assert (report.status, report.error) == (Status.NO_DATA, None)


WIDE = """
CREATE TABLE wide (id int PRIMARY KEY, n int, f real, d numeric(6,2), t text, at timestamptz NOT NULL);
INSERT INTO wide SELECT g, g, g / 4.0, g, 'n ' || g, TIMESTAMPTZ '2026-06-01 10:00+00' + g * INTERVAL '1 s'
  FROM generate_series(1, 200) g;
"""
WIDER = """
ALTER TABLE wide ALTER COLUMN n TYPE bigint, ALTER COLUMN f TYPE float8, ALTER COLUMN d TYPE numeric(12,2);
ALTER TABLE wide ADD COLUMN x jsonb;
UPDATE wide SET n = 5000000000, f = 0.1, d = 1234567890.12, x = '{"a": [1]}', at = now() - INTERVAL '1 hour'
  WHERE id % 20 = 0;
DELETE FROM wide WHERE id % 33 = 0;
"""


def test_widened_columns_are_rebuilt_in_their_present_types(postgres: PostgresDatabase, tmp_path: Path) -> None:
    """Over batches of both shapes; and the batch of the narrow ones is needed no more afterwards."""
    postgres.psql(WIDE)
    table = {"schema": "public", "table": "wide", **SCD1, "deletes": "soft", "max_delete_fraction": 1}
    lake = Lake(tmp_path, postgres.configured(), [table])
    lake.document["runtime"]["engine"] = "arrow"
    lake.document["metadata"] |= {"schema_policy": {"allow_new_columns": True, "allow_type_changes": True}}
    lake.save()
    assert lake.run(None, day=FIRST_DAY).exit_code == 0
    postgres.psql(WIDER)
    assert lake.run(None, day=FIRST_DAY + timedelta(days=1)).exit_code == 0
    before = published(lake, "public.wide")
    assert replayed(lake, "public.wide") == before

    configuration = open_configuration(lake.path)
    report = maintain(MaintenanceRequest(configuration, configuration.tables, Mode.REBUILD), {})

    found = told(report.tables[0])
    assert found["differences"] == {"equal": 200, **EQUAL}
    assert (found["marked"], published(lake, "public.wide") == before) == (6, True)

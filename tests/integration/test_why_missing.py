"""``ingestion why-missing``: each cause is made at the source, in the lake or by a foreign hand, and must be named as it is.

Nothing that is asked may leave a trace: every file of the lake is compared before and after.
"""

import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.expressions import EqualTo
from pyiceberg.table import Table

from ingestion_runtime.cli import cli
from ingestion_runtime.model.result import TableStatus
from tests.lake import Lake
from tests.servers.mariadb import MariaDatabase
from tests.servers.postgresql import PostgresDatabase

DAY, NEXT = date(2026, 7, 1), date(2026, 7, 2)
FAILPOINTS = "INGESTION_FAILPOINTS"


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder, but for indexes of SQLite's logs: they hold locks and no data."""
    found = (path for path in folder.rglob("*") if not path.name.endswith("-shm"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in found}


class Shop:
    """A lake on an SQLite file, that is changed, run and asked."""

    def __init__(self, root: Path, script: str, *tables: Mapping[str, Any]) -> None:
        self.root = root
        self.change(script)
        self.lake = Lake(root, {"dialect": "sqlite", "database": "shop.db"}, tables)
        self.lake.document["runtime"]["engine"] = "arrow"
        self.lake.save()

    def change(self, script: str, *values: Any) -> None:
        with closing(sqlite3.connect(self.root / "shop.db")) as connection, connection:
            if values:
                connection.execute(script, values)
            else:
                connection.executescript(script)

    def set(self, place: int = 0, **settings: Any) -> None:
        self.lake.document["tables"][place].update(settings)
        self.lake.save()

    def night(self, failpoints: str = "", **options: Any) -> list[TableStatus]:
        result = self.lake.run(None, environment={FAILPOINTS: failpoints} if failpoints else None, **options)
        return [table.status for table in result.tables]

    def table(self, name: str) -> Table:
        """The published table. Its catalog is let go at once: closing it later would change a file while somebody asks."""
        found = self.lake.table(name)
        assert isinstance(found.catalog, SqlCatalog)
        found.catalog.engine.dispose()
        return found

    def by_hand(self, name: str, change: Callable[[Table], object]) -> None:
        """Change a table as a foreign writer would."""
        table = self.lake.table(name)
        change(table)
        assert isinstance(table.catalog, SqlCatalog)
        table.catalog.engine.dispose()

    def batch(self, name: str) -> str:
        """The batch that a table's receipt names."""
        named: str = json.loads(self.table(name).properties["ingest.receipt"])["batch_id"]
        return named

    def call(self, *arguments: str, output: str = "json") -> Result:
        """Ask, and make sure that asking changed nothing."""
        before = tree(self.root)
        result = CliRunner().invoke(cli, ["why-missing", *arguments, "--config", str(self.lake.path), "--output", output])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert tree(self.root) == before, "asking left a trace"
        return result

    def why(self, *arguments: str, code: int = 1) -> dict[str, Any]:
        """Return the document; the exit code is the one expected, inside it and of the process."""
        result = self.call(*arguments)
        assert result.exit_code == code, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        assert (found["version"], found["exit_code"]) == (1, code)
        return found


def scd1(table: str, *keys: str, **more: Any) -> dict[str, Any]:
    spec = {"schema": "shop", "table": table, "mode": "scd1", "primary_keys": list(keys or ("id",))}
    return {**spec, "incremental_column": "at", "incr_col_type": "timestamp", **more}


# ---------------------------------------------------------------- at the source and in the window

ORDERS = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT, at DATETIME);
INSERT INTO orders VALUES (1, 'paid', '2024-05-01 08:00:00'), (2, 'hidden', '2024-05-01 09:00:00'), (3, 'paid', NULL),
  (4, 'old', '2023-12-31 00:00:00'), (9, 'gone', '2024-05-01 10:00:00'), (10, 'quiet', '2024-05-01 11:00:00'),
  (11, 'loud', '2024-05-01 12:00:00'), (12, 'shown', '2024-05-01 13:00:00'), (20, 'last', '2024-05-02 08:00:00');
"""
LATER = """
INSERT INTO orders VALUES (5, 'late', '2024-04-15 00:00:00'), (6, 'lagging', '2024-05-02 07:30:00'),
  (7, 'new', '2024-06-01 00:00:00'), (8, 'tomorrow', '2099-01-01 00:00:00');
DELETE FROM orders WHERE id = 9;
UPDATE orders SET status = 'changed' WHERE id = 10;
UPDATE orders SET status = 'changed', at = '2024-06-02 00:00:00' WHERE id = 11;
UPDATE orders SET status = 'hidden' WHERE id = 12;
"""
SETTINGS = {
    "source_filter": "status <> 'hidden'",
    "initial_watermark": "2024-01-01 00:00:00",
    "null_cursor": "ignore",
    "lag_seconds": 3600,
}


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """One table that was read once, and a source that went on."""
    shop = Shop(tmp_path_factory.mktemp("orders"), ORDERS, scd1("orders", **SETTINGS))
    assert shop.night() == [TableStatus.DONE]
    shop.change(LATER)
    return shop


ABSENT = {
    "2": ("filtered_out", "because source_filter does not let its row through"),
    "3": ("null_cursor_ignored", "its at is NULL, and null_cursor is ignore"),
    "4": (
        "below_initial_watermark",
        "at 2023-12-31 00:00:00.000000 is at or below initial_watermark 2024-01-01 00:00:00.000000",
    ),
    "5": (
        "late_beyond_lag",
        "at 2024-04-15 00:00:00.000000 lies below the watermark 2024-05-02 08:00:00.000000 by 17.3 days",
    ),
    "6": ("not_read_yet", "has not been read yet, the watermark is 2024-05-02 08:00:00.000000; the next run reads it"),
    "7": ("not_read_yet", "its row (at 2024-06-01 00:00:00.000000) has not been read yet"),
    "8": ("beyond_now", "is later than the source's own now"),
    "-77": ("not_at_source", "the source has no such row, and no batch in raw ever brought it"),
}


@pytest.mark.parametrize("key", ABSENT)
def test_a_key_that_is_not_in_the_target_has_its_cause(orders: Shop, key: str) -> None:
    """Filtered, without a cursor, below the line, late, not read yet, of another time, or nowhere."""
    cause, words = ABSENT[key]
    found = orders.why("shop.orders", key)
    assert (found["cause"], found["in_target"]) == (cause, False)
    assert words in found["sentence"]
    assert found["sentence"].startswith(f"shop.orders id={key} is not in the target")


UNEQUAL = {
    "9": ("deletes_ignored", "and the source no longer has it: deletes are ignored"),
    "10": ("change_without_cursor", "(status): it was changed without a cursor that moved"),
    "11": ("not_read_yet", "not as the source has it (status, at)"),
    "12": ("filtered_out", "although source_filter no longer lets its row at the source through"),
}


@pytest.mark.parametrize("key", UNEQUAL)
def test_a_key_that_is_otherwise_at_the_source_has_its_cause(orders: Shop, key: str) -> None:
    """Deleted there, changed in silence, changed since, or out of the filter by now."""
    cause, words = UNEQUAL[key]
    found = orders.why("shop.orders", key)
    assert (found["cause"], found["in_target"], found["equals_source"]) == (cause, True, False)
    assert words in found["sentence"]


def test_a_key_that_is_there_is_said_to_be_there_since_its_batch(orders: Shop) -> None:
    """With the batch and the snapshot, where it lies in raw, and exit code 0."""
    found = orders.why("shop.orders", "1", code=0)
    assert (found["cause"], found["in_target"], found["equals_source"]) == ("present", True, True)
    batch, snapshot = orders.batch("shop.orders"), orders.table("shop.orders").current_snapshot()
    assert snapshot is not None
    assert f"since batch {batch}, snapshot {snapshot.snapshot_id}" in found["sentence"]
    (seen,) = found["sightings"]
    assert (seen["place"], seen["batch"], seen["slice"]) == ("published", batch, 0)
    (file,) = (orders.root / "raw/shop/orders").glob("load_date=*/batch=*/*.parquet")
    assert seen["file"] == str(file)
    assert seen["row"] is not None
    assert [one["there"] for one in found["history"]] == [True]


def test_what_differs_is_shown_with_both_values(orders: Shop) -> None:
    """By column, as source and target have it."""
    found = orders.why("shop.orders", "10")
    assert found["differing"] == [{"column": "status", "source": "changed", "target": "quiet"}]


def test_a_run_that_cannot_go_on_is_part_of_the_answer(orders: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter that was changed stops the next run, and rows below the watermark were chosen by the former one."""
    former = json.dumps(orders.lake.document)
    try:
        orders.set(source_filter="status <> 'nothing'")
        hidden = orders.why("shop.orders", "2")
        assert (hidden["cause"], "what is read has changed" in hidden["sentence"]) == ("settings_changed", True)
        new = orders.why("shop.orders", "7")
        assert (new["cause"], "a run would stop: shop.orders: what is read has changed" in new["sentence"]) == (
            "run_failed",
            True,
        )
    finally:
        orders.lake.document = json.loads(former)
        orders.lake.save()


def test_a_question_that_cannot_be_asked_ends_with_two(orders: Shop) -> None:
    """A table that is not configured, a key that its column cannot hold, too many values."""
    found = orders.why("shop.nothing", "1", code=2)
    assert (found["cause"], found["sentence"]) == (
        "table_not_configured",
        "The table 'shop.nothing' is not configured: nothing of it is ever read.",
    )
    found = orders.why("SHOP.ORDERS", "abc", code=2)
    assert found["cause"] == "key_of_another_type"
    assert "'abc' is no value of the column 'id' of shop.orders, which holds whole numbers of" in found["sentence"]
    assert orders.why("shop.orders", "99999999999999999999", code=2)["cause"] == "key_of_another_type"
    assert "2 values are given" in orders.why("shop.orders", "1", "2", code=2)["error"]["message"]
    assert orders.call("shop.orders", "1", "--with", "status").exit_code == 2
    assert "has no column nope" in orders.call("shop.orders", "1", "--with", "nope=1").stderr


def test_a_source_that_is_away_is_no_end(orders: Shop) -> None:
    """What target and raw know is said, and the exit code is the one of an outage."""
    source = orders.root / "shop.db"
    away = source.rename(orders.root / "away.db")
    try:
        there = orders.why("shop.orders", "1", code=3)
        assert there["cause"] == "source_unreachable"
        assert there["sentence"].startswith("shop.orders id=1 is in the target since batch ")
        assert "shop.db" in there["sentence"]
        assert there["remedy"] not in ("", "Ask again once the source answers."), "what the source's error says"
        gone = orders.why("shop.orders", "7", code=3)
        assert (
            "is not in the target, and no published batch in raw brought it; the source did not say what it has"
            in gone["sentence"]
        )
    finally:
        away.rename(source)


def test_tables_of_a_pattern_are_known_while_their_source_is_away(tmp_path: Path) -> None:
    """As the last run found them, but for the key that only the source knows; what fits no pattern is not ingested."""
    script = (
        "CREATE TABLE things (id INTEGER PRIMARY KEY, at DATETIME); INSERT INTO things VALUES (1, '2024-05-01 08:00:00')"
    )
    pattern = {"schema": "shop", "table": "th*", "mode": "scd1", "incremental_column": "at", "incr_col_type": "timestamp"}
    shop = Shop(tmp_path, script, pattern)
    assert shop.night() == [TableStatus.DONE]
    assert shop.why("shop.things", "1", code=0)["cause"] == "present"
    (tmp_path / "shop.db").rename(tmp_path / "away.db")
    assert shop.why("shop.things", "id=1", code=3)["cause"] == "source_unreachable"
    assert shop.why("shop.others", "1", code=2)["cause"] == "table_not_configured"


def test_a_screen_says_the_sentence_first_and_the_trace_below(orders: Shop) -> None:
    """One sentence, what can be done, and a line for each place."""
    lines = orders.call("shop.orders", "5", output="table").stderr.splitlines()
    assert lines[0].startswith("shop.orders id=5 is not in the target because it came too late")
    assert lines[1].startswith("Read its window again with --start-date")
    assert [line.split()[0] for line in lines[3:] if line[2] != " "] == [
        "source",
        "window",
        "raw",
        "target",
        "state",
        "cause",
    ]


# ---------------------------------------------------------------- what batches did


def test_deletes_are_traced_to_the_batch_that_removed_the_row(tmp_path: Path) -> None:
    """Removed or marked by a tombstone; before that the next run is to do it."""
    script = "; ".join(
        f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, at DATETIME);"
        f"INSERT INTO {name} VALUES (1, '2024-05-01 08:00:00'), (2, '2024-05-01 09:00:00')"
        for name in ("hard", "soft")
    )
    tables = [scd1(name, deletes=name, max_delete_fraction=1.0) for name in ("hard", "soft")]
    shop = Shop(tmp_path, script, *tables)
    shop.night()
    shop.change("DELETE FROM hard WHERE id = 1; DELETE FROM soft WHERE id = 1")
    for name, verb in (("hard", "removes"), ("soft", "marks")):
        found = shop.why(f"shop.{name}", "1")
        assert (found["cause"], f"the next run that publishes {verb} it" in found["sentence"]) == (
            "delete_not_read_yet",
            True,
        )
    assert shop.night() == [TableStatus.DONE] * 2
    hard, soft = shop.why("shop.hard", "1"), shop.why("shop.soft", "1")
    assert (hard["cause"], soft["cause"]) == ("deleted_at_source", "marked_as_deleted")
    for found, name in ((hard, "hard"), (soft, "soft")):
        batch = shop.batch(f"shop.{name}")
        assert batch in found["sentence"]
        assert [(one["tombstone"], one["batch"]) for one in found["sightings"]][-1] == (True, batch)
    assert [one["there"] for one in hard["history"]] == [False, True]
    shop.change("INSERT INTO soft VALUES (1, '2024-06-01 08:00:00'); INSERT INTO hard VALUES (1, '2024-06-01 08:00:00')")
    assert [shop.why(f"shop.{name}", "1")["cause"] for name in ("hard", "soft")] == ["not_read_yet"] * 2
    shop.night()
    assert [shop.why(f"shop.{name}", "1", code=0)["cause"] for name in ("hard", "soft")] == ["present"] * 2


def test_versions_that_gave_way_are_told_from_those_that_stand(tmp_path: Path) -> None:
    """Overwritten by a later batch, lost to a newer row inside one batch, or never seen."""
    twice = "CREATE TABLE items (id INTEGER, status TEXT, at DATETIME);"
    shop = Shop(tmp_path, twice, scd1("items"))
    shop.change("INSERT INTO items VALUES (1, 'a', '2024-05-01 08:00:00'), (2, 'a', '2024-05-01 08:00:00')")
    shop.change("INSERT INTO items VALUES (2, 'b', '2024-05-01 09:00:00')")
    shop.night()
    lost = shop.why("shop.items", "2", code=0)
    assert lost["cause"] == "lost_in_batch"
    assert shop.batch("shop.items") in lost["sentence"]
    shop.change("INSERT INTO items VALUES (1, 'b', '2024-05-02 08:00:00')")
    shop.night()
    batch = shop.batch("shop.items")
    later = shop.why("shop.items", "1", code=0)
    assert (later["cause"], batch in later["sentence"]) == ("overwritten", True)
    asked = shop.why("shop.items", "1", "--with", "status=a", code=0)
    assert (asked["cause"], batch in asked["sentence"]) == ("overwritten", True)
    shop.change("DELETE FROM items WHERE status = 'a'")
    assert shop.why("shop.items", "1", code=0)["cause"] == "present"
    assert "1 earlier version was overwritten" in shop.why("shop.items", "1", code=0)["sentence"]
    assert shop.why("shop.items", "1", "--with", "status=a", code=0)["cause"] == "overwritten"
    assert "was never read" in shop.why("shop.items", "1", "--with", "status=x", code=0)["sentence"]


def test_of_versions_with_a_text_cursor_the_source_knows_the_newest(tmp_path: Path) -> None:
    """Whichever it gives first."""
    shop = Shop(tmp_path, "CREATE TABLE items (id INTEGER, at TEXT);", scd1("items", incr_col_type="text"))
    shop.change("INSERT INTO items VALUES (1, 'v1'), (1, 'v3'), (1, NULL), (1, 'v2')")
    shop.night()
    found = shop.why("shop.items", "1", code=0)
    assert (found["cause"], "newest row with at v3" in found["sentence"]) == ("lost_in_batch", True)


def test_a_row_that_cannot_land_is_told_also_where_an_older_one_stands(tmp_path: Path) -> None:
    """By a value, or by the cursor itself; it does not equal the source because the rest of it does."""
    shop = Shop(tmp_path, "CREATE TABLE items (id INTEGER PRIMARY KEY, n INTEGER, at DATETIME);", scd1("items"))
    shop.change("INSERT INTO items VALUES (1, 1, '2024-05-01 08:00:00'), (2, 2, '2024-05-01 08:00:00')")
    shop.night()
    shop.change("UPDATE items SET n = 'many' WHERE id = 1; UPDATE items SET at = 'soon' WHERE id = 2")
    shop.change("INSERT INTO items VALUES (3, 3, 'later')")
    for key, column, there in (("1", "n", True), ("2", "at", True), ("3", "at", False)):
        found = shop.why("shop.items", key)
        assert (found["cause"], found["in_target"], found["equals_source"]) == ("cannot_land", there, False)
        assert f"Column {column} holds" in found["sentence"]


@pytest.mark.parametrize(("policy", "cause"), [("evolve", "not_read_yet"), ("ignore", "cannot_land")])
def test_a_column_that_was_widened_takes_what_the_policy_lets_it(tmp_path: Path, policy: str, cause: str) -> None:
    """The target grows with the next run, or keeps its type for good."""
    create = "CREATE TABLE items (id INTEGER PRIMARY KEY, n DECIMAL({},2), at DATETIME);"
    shop = Shop(tmp_path, create.format(5), scd1("items"))
    shop.lake.document["metadata"]["schema_policy"] = {"widened": policy}
    shop.lake.save()
    shop.change("INSERT INTO items VALUES (1, 1.25, '2024-05-01 08:00:00')")
    shop.night()
    shop.change("ALTER TABLE items RENAME TO old;" + create.format(12) + "INSERT INTO items SELECT * FROM old")
    shop.change("INSERT INTO items VALUES (2, 123456.25, '2024-05-02 08:00:00')")
    assert shop.why("shop.items", "1", code=0)["cause"] == "present"
    assert shop.why("shop.items", "2")["cause"] == cause


def test_a_key_whose_type_changed_at_the_source_is_told_by_its_text(tmp_path: Path) -> None:
    """The target has it as the number that it was; another text, of the same number or of none, is another key."""
    script = (
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, at DATETIME); INSERT INTO t VALUES (7, 1, '2024-05-01 08:00:00')"
    )
    shop = Shop(tmp_path, script, scd1("t"))
    shop.night()
    shop.change("DROP TABLE t; CREATE TABLE t (id TEXT PRIMARY KEY, n TEXT, at DATETIME)")
    shop.change("INSERT INTO t VALUES ('7', '1', '2024-05-01 08:00:00')")
    assert shop.why("shop.t", "7", code=0)["cause"] == "present"
    assert [shop.why("shop.t", key)["cause"] for key in ("07", "seven")] == ["not_at_source"] * 2


def test_a_batch_that_is_not_published_is_named_with_its_reason(tmp_path: Path) -> None:
    """Staged, landed, given up, or refused by what guards the table: each as far as it came."""
    script = "CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME); INSERT INTO t VALUES (1, '2024-05-01 08:00:00')"
    shop = Shop(tmp_path, script, scd1("t", deletes="hard", max_delete_fraction=0.5))
    never = shop.why("shop.t", "1")
    assert (never["cause"], never["remedy"]) == ("never_loaded", "Run the table.")
    shop.night("after-stage=fail")
    staged = shop.why("shop.t", "1")
    assert (staged["cause"], staged["sightings"][0]["place"]) == ("batch_not_published", "staged")
    assert "Failpoint after-stage failed on request" in staged["sentence"]
    shop.night()
    shop.change("INSERT INTO t VALUES (2, '2024-05-02 08:00:00')")
    shop.night("before-publish=fail")
    landed = shop.why("shop.t", "2")
    assert (landed["cause"], landed["sightings"][0]["place"]) == ("landed_not_published", "landed")
    assert "its publish never happened: Failpoint before-publish failed on request" in landed["sentence"]
    # Under another setting the next run gives the batch up, and ends before it can read again.
    shop.set(fetch_size=500)
    assert shop.night("after-plan=fail") == [TableStatus.FAILED]
    given_up = shop.why("shop.t", "2")
    assert (given_up["cause"], given_up["sightings"][0]["place"]) == ("batch_abandoned", "abandoned")
    shop.set(fetch_size=600)
    shop.change("DELETE FROM t; INSERT INTO t VALUES (2, '2024-05-02 08:00:00'), (3, '2024-05-03 08:00:00')")
    assert shop.night() == [TableStatus.FAILED]
    refused = shop.why("shop.t", "3")
    assert refused["cause"] == "batch_refused"
    assert "max_delete_fraction is 50.00%" in refused["sentence"]


def test_what_a_foreign_hand_did_is_told_from_what_a_batch_did(tmp_path: Path) -> None:
    """A row deleted by another writer names its snapshot; a table that was set back says so; a dropped one too."""
    script = "CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME); INSERT INTO t VALUES (1, '2024-05-01 08:00:00')"
    shop = Shop(tmp_path, script, scd1("t"))
    shop.night()
    first = shop.table("shop.t").current_snapshot()
    shop.change("INSERT INTO t VALUES (2, '2024-05-02 08:00:00')")
    shop.night()
    shop.by_hand("shop.t", lambda table: table.delete(EqualTo("id", 2)))
    snapshot = shop.table("shop.t").current_snapshot()
    assert first is not None
    assert snapshot is not None
    removed = shop.why("shop.t", "2")
    assert removed["cause"] == "removed_by_another_writer"
    assert f"snapshot {snapshot.snapshot_id}" in removed["sentence"]
    assert shop.why("shop.t", "1", code=0)["cause"] == "present"
    shop.by_hand("shop.t", lambda table: table.manage_snapshots().set_current_snapshot(first.snapshot_id).commit())
    back = shop.why("shop.t", "2")
    assert (back["cause"], f"snapshot {first.snapshot_id}" in back["sentence"]) == ("rolled_back", True)
    shop.by_hand("shop.t", lambda table: table.catalog.drop_table("shop.t"))
    assert shop.why("shop.t", "2")["cause"] == "table_gone"


def test_full_tables_and_directories_of_parquet_are_traced_too(tmp_path: Path) -> None:
    """What came or went since the last refresh; and what is there, without a history."""
    script = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b')"
    spec = {"schema": "shop", "mode": "full", "primary_keys": ["id"]}
    plain = {**spec, "table": "u", "sink": "parquet"}
    shop = Shop(tmp_path, f"{script}; CREATE TABLE u AS SELECT * FROM t", {**spec, "table": "t"}, plain)
    assert shop.night() == [TableStatus.DONE] * 2
    for name in "tu":
        shop.change(f"INSERT INTO {name} VALUES (3, 'c'); DELETE FROM {name} WHERE id = 2")
        shop.change(f"UPDATE {name} SET name = 'A' WHERE id = 1")
    for table in ("shop.t", "shop.u"):
        causes = [shop.why(table, key)["cause"] for key in "123"]
        assert causes == ["not_read_yet", "delete_not_read_yet", "not_read_yet"]
    shop.night(day=NEXT)
    for table in ("shop.t", "shop.u"):
        assert [shop.why(table, key, code=0)["cause"] for key in "13"] == ["present"] * 2
        assert shop.why(table, "2")["cause"] == "deleted_at_source"


# ---------------------------------------------------------------- keys of every kind

HOSTILE = (
    'O\'Hara "the" `x`',
    "100%_\\",
    "[red]not markup[/red]",
    "'); DROP TABLE words; --",
    "漢字 🦆 é",
    "two\nlines\tand a tab",
    "a,b",
    "name=value",
    '["a"]x',
    "NULL",
    " blanks ",
    "x" * 20_000,
)


def test_hostile_keys_are_values_and_nothing_else(tmp_path: Path) -> None:
    """Quotes, patterns, markup, SQL, other scripts, line ends, very long: found as they are, and printed as they are."""
    shop = Shop(tmp_path, "CREATE TABLE words (name TEXT PRIMARY KEY NOT NULL, at DATETIME)", scd1("words", "name"))
    for word in HOSTILE:
        shop.change("INSERT INTO words VALUES (?, '2024-05-01 08:00:00')", word)
    shop.night()
    for word in HOSTILE:
        asked = json.dumps([word]) if word in ("NULL", "name=value") else word
        found = shop.why("shop.words", asked, code=0)
        assert (found["cause"], found["key"], len(found["sightings"])) == ("present", {"name": word}, 1)
    for word in ("blanks", "[RED]not markup[/red]", "x", "%", "_", "O'Hara", '["a"]'):
        assert shop.why("shop.words", word)["cause"] == "not_at_source", word
    told = shop.call("shop.words", "[red]not markup[/red]", output="table").stderr
    assert told.startswith("shop.words name=[red]not markup[/red] is in the target")
    lines = shop.call("shop.words", "two\nlines\tand a tab", output="table").stderr.splitlines()
    assert lines[0].startswith(r"shop.words name=two\nlines\tand a tab is in the target")


def test_a_column_without_a_type_holds_numbers_that_are_asked_for_by_their_digits(tmp_path: Path) -> None:
    """As they land: a number, a text of the same digits, or what several rows become one key by."""
    script = """CREATE TABLE t (id, at DATETIME); INSERT INTO t VALUES (2.5, '2024-05-01 08:00:00'),
    (7, '2024-05-01 08:00:00'), ('7', '2024-05-01 09:00:00'), ('2.50', '2024-05-01 08:00:00')"""
    shop = Shop(tmp_path, script, scd1("t"))
    shop.night()
    assert [shop.why("shop.t", key, code=0)["cause"] for key in ("2.5", "2.50", "7")] == [
        "present",
        "present",
        "lost_in_batch",
    ]


def test_keys_of_several_columns_are_given_in_every_usual_way(tmp_path: Path) -> None:
    """In order, by name, with a comma, as JSON; and of types that have to be read."""
    script = """CREATE TABLE t (region TEXT, day DATE, amount DECIMAL(8, 2), at DATETIME);
    INSERT INTO t VALUES ('eu', '2024-05-01', 12.5, '2024-05-01 08:00:00'),
      ('a,b', '2024-05-01', 1, '2024-05-01 08:00:00')"""
    shop = Shop(tmp_path, script, scd1("t", "region", "day", "amount"))
    shop.night()
    for asked in (
        ["eu", "2024-05-01", "12.50"],
        ["amount=12.5", "region=eu", "day=2024-05-01"],
        ["eu,2024-05-01,12.5"],
        ['["eu", "2024-05-01", 12.50]'],
        ['{"day": "2024-05-01", "amount": "12.5", "region": "eu"}'],
    ):
        assert shop.why("shop.t", *asked, code=0)["cause"] == "present", asked
    assert "4 values are given" in shop.call("shop.t", "a,b,2024-05-01,1").stderr
    assert shop.why("shop.t", "a,b", "2024-05-01", "1", code=0)["cause"] == "present"
    assert shop.why("shop.t", "eu", "2024-05-01", "12.555", code=2)["cause"] == "key_of_another_type"
    assert shop.why("shop.t", "eu", "2024-05-02", "12.5")["cause"] == "not_at_source"


def test_rows_without_a_key_lie_in_quarantine_or_end_the_run(tmp_path: Path) -> None:
    """NULL can be asked for; the rows are named with the folder in which they were set aside."""
    script = "; ".join(
        f"CREATE TABLE {name} (code TEXT, n INTEGER, at DATETIME);"
        f"INSERT INTO {name} VALUES ('x', 1, '2024-05-01 08:00:00'), (NULL, 2, '2024-05-01 09:00:00')"
        for name in ("aside", "refused")
    )
    shop = Shop(tmp_path, script, scd1("aside", "code", null_keys="quarantine"), scd1("refused", "code"))
    assert shop.night() == [TableStatus.DONE, TableStatus.FAILED]
    aside = shop.why("shop.aside", "NULL")
    (folder,) = (tmp_path / "raw/shop/aside/_quarantine").glob("load_date=*/batch=*")
    assert (aside["cause"], str(folder) in aside["sentence"]) == ("null_key_quarantined", True)
    assert shop.why("shop.aside", "x", code=0)["cause"] == "present"
    refused = shop.why("shop.refused", "x")
    assert (refused["cause"], "1 rows have a NULL in the primary key" in refused["sentence"]) == ("never_loaded", True)
    shop.change("UPDATE refused SET code = 'y' WHERE code IS NULL")
    shop.night()
    shop.change("INSERT INTO refused VALUES (NULL, 3, '2024-05-03 09:00:00')")
    shop.night()
    assert shop.why("shop.refused", "[null]")["cause"] == "null_key_refused"


def test_tables_without_a_key_are_asked_by_their_columns(tmp_path: Path) -> None:
    """All rows that hold the values, counted on both sides; without a name nothing is looked up."""
    script = """CREATE TABLE log (who TEXT, what TEXT, at DATETIME);
    INSERT INTO log VALUES ('ada', 'in', '2024-05-01 08:00:00'), ('ada', 'in', '2024-05-01 08:00:00')"""
    spec = {"schema": "shop", "table": "log", "mode": "append", "incremental_column": "at", "incr_col_type": "timestamp"}
    shop = Shop(tmp_path, script, spec)
    shop.night()
    found = shop.why("shop.log", "who=ada", code=0)
    assert (found["cause"], "(2 rows)" in found["sentence"]) == ("present", True)
    assert "shop.log has no primary_keys" in shop.call("shop.log", "ada").stderr
    shop.change("INSERT INTO log VALUES ('ada', 'out', '2024-05-02 08:00:00')")
    more = shop.why("shop.log", "who=ada")
    assert (more["cause"], more["differing"]) == ("not_read_yet", [{"column": "its rows", "source": "3", "target": "2"}])
    assert shop.why("shop.log", "who=ada", "what=in", code=0)["cause"] == "present"
    shop.night()
    # A late row among rows that are there: it is the one that is spoken of.
    shop.change("INSERT INTO log VALUES ('ada', 'late', '2024-04-01 08:00:00')")
    late = shop.why("shop.log", "who=ada")
    assert late["sentence"].startswith(
        "shop.log who=ada is in the target with only 3 of its 4 rows because it came too late"
    )
    assert (late["cause"], "its at 2024-04-01" in late["sentence"]) == ("late_beyond_lag", True)
    shop.change(
        "INSERT INTO log SELECT 'bob', 'in', '2024-05-02 09:00:00' FROM " + ", ".join(["(SELECT 1 UNION SELECT 2)"] * 10)
    )
    assert "1,000 rows or more of shop.log hold who=bob" in shop.why("shop.log", "who=bob", code=2)["error"]["message"]
    shop.change("DELETE FROM log WHERE what = 'late'; DELETE FROM log WHERE rowid = 1")
    fewer = shop.why("shop.log", "who=ada", "what=in")
    assert (fewer["cause"], "with 2 rows, of which the source has 1" in fewer["sentence"]) == ("deletes_ignored", True)
    shop.change("ALTER TABLE log ADD COLUMN room TEXT; UPDATE log SET room = 'a' WHERE who = 'ada'")
    unknown = shop.why("shop.log", "room=a")
    assert (unknown["cause"], unknown["in_target"]) == ("target_not_readable", None)
    assert (
        "no column room; the source has it, and no published batch in raw brought it (raw is not complete)"
        in (unknown["sentence"])
    )
    shop.change("DELETE FROM log")
    assert shop.why("shop.log", "who=ada")["cause"] == "deletes_ignored"


def test_what_is_kept_out_of_the_lake_is_never_printed(tmp_path: Path) -> None:
    """Masked and excluded columns are compared as they land, named where they differ, and cannot be asked by."""
    script = """CREATE TABLE people (id INTEGER PRIMARY KEY, mail TEXT, salary INTEGER, at DATETIME);
    INSERT INTO people VALUES (1, 'ada@example.org', 4711, '2024-05-01 08:00:00'),
      (2, 'x@example.org', 1, '2024-05-02 08:00:00')"""
    (tmp_path / "salt").write_text("0123456789abcdef0123456789abcdef")
    masks = {"mail": {"method": "hash", "salt": "${file:salt}"}}
    shop = Shop(tmp_path, script, scd1("people", mask=masks, exclude_columns=["salary"]))
    shop.night()
    assert shop.why("shop.people", "1", code=0)["cause"] == "present"
    shop.change("UPDATE people SET mail = 'secret@example.org' WHERE id = 1")
    result = shop.call("shop.people", "1")
    found = json.loads(result.stdout)
    assert found["cause"] == "change_without_cursor"
    assert found["differing"] == [{"column": "mail", "source": None, "target": None}]
    shown = result.output + shop.call("shop.people", "1", output="table").output
    assert not [secret for secret in ("ada@", "secret@", "4711") if secret in shown]
    for name in ("mail", "salary"):
        asked = shop.why("shop.people", "1", "--with", f"{name}=4711", code=2)
        assert (asked["cause"], "4711" in asked["sentence"]) == ("masked_column", False)


# ---------------------------------------------------------------- a server


def test_a_server_with_open_transactions_and_types_of_its_own(tmp_path: Path, postgres: PostgresDatabase) -> None:
    """Held by whom and since when; keys of padded text, of uuids and of moments are found as they land, and text cursors are
    compared by the source's own order."""
    postgres.psql("""
    CREATE TABLE held (id bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
    INSERT INTO held VALUES (1, now() - interval '1 hour');
    CREATE TABLE kinds (code char(6), id uuid, moment timestamptz, amount numeric(20, 4), at timestamptz,
      PRIMARY KEY (code, id, moment, amount));
    INSERT INTO kinds VALUES ('ab', '6f1e4a34-93b5-4b29-a4ff-4cf38d4c6bd1', '2024-05-01 10:00:00+02', 12.5,
      now() - interval '1 h');
    CREATE TABLE odd (id float8 PRIMARY KEY, at timestamptz);
    INSERT INTO odd VALUES ('NaN', now() - interval '1 h'), ('-Infinity', now() - interval '1 h');
    CREATE TABLE texts (id int PRIMARY KEY, version text);
    INSERT INTO texts VALUES (1, 'a'), (2, 'b');
    """)
    tables = [
        {**scd1(name, *keys, **more), "schema": "public"}
        for name, keys, more in (
            ("held", (), {}),
            ("kinds", ("code", "id", "moment", "amount"), {}),
            ("odd", (), {}),
            ("texts", (), {"incremental_column": "version", "incr_col_type": "text"}),
        )
    ]
    shop = Shop(tmp_path, "", *tables)
    shop.lake.document["connections"]["source"] = postgres.configured()
    shop.lake.save()
    assert shop.night() == [TableStatus.DONE] * 4
    assert [shop.why("public.odd", number, code=0)["cause"] for number in ("NaN", "-inf")] == ["present"] * 2
    assert shop.why("public.odd", "Infinity")["cause"] == "not_at_source"
    key = ("ab    ", "6f1e4a34-93b5-4b29-a4ff-4cf38d4c6bd1", "2024-05-01T08:00:00Z", "12.5000")
    assert shop.why("public.kinds", *key, code=0)["cause"] == "present"
    padded = shop.why("public.kinds", "ab", *key[1:])
    assert (padded["cause"], "code='ab    '" in padded["sentence"]) == ("not_at_source", True)
    capitals = shop.why("public.kinds", key[0], key[1].upper(), *key[2:])
    assert f"the source has code='ab    ', id={key[1]}, moment=" in capitals["sentence"]
    assert "which is another key" in capitals["sentence"]
    postgres.psql("INSERT INTO odd VALUES (1, 'infinity')")
    assert "Column at holds values that are infinite" in shop.why("public.odd", "1")["sentence"]
    postgres.psql("INSERT INTO texts VALUES (3, 'aa'), (4, 'c')")
    assert [shop.why("public.texts", key)["cause"] for key in "34"] == ["late_beyond_lag", "not_read_yet"]
    with psycopg.connect(
        host=postgres.host, port=postgres.port, user=postgres.user, password=postgres.password, dbname=postgres.database
    ) as writer:
        writer.execute("SELECT now()")
        postgres.psql("INSERT INTO held VALUES (2)")
        held = shop.why("public.held", "2")
        assert held["cause"] == "held_by_horizon"
        assert "waits above the horizon: a transaction is open since" in held["sentence"]
        assert f"pid {writer.info.backend_pid}" in held["sentence"]


def test_a_text_that_its_column_has_no_letters_for_is_in_no_row(tmp_path: Path, mariadb: MariaDatabase) -> None:
    """The server refuses to compare the two; a value that cannot land is told by its column."""
    mariadb.client("""
    CREATE TABLE names (id varchar(20) CHARACTER SET latin1 PRIMARY KEY, born date, at datetime(6));
    INSERT INTO names VALUES ('Zoë', '2001-01-01', '2024-05-01');""")
    (tmp_path / "password").write_text(mariadb.password)
    shop = Shop(tmp_path, "", {**scd1("names", horizon="off", cursor_timezone="UTC"), "schema": mariadb.database})
    shop.lake.document["connections"]["source"] = {
        "dialect": "mariadb",
        "host": mariadb.host,
        "port": mariadb.port,
        "database": mariadb.database,
        "user": mariadb.user,
        "password": "${file:password}",
        "tls": {"mode": "disable"},
    }
    shop.lake.save()
    assert shop.night() == [TableStatus.DONE]
    table = f"{mariadb.database}.names"
    assert shop.why(table, "Zoë", code=0)["cause"] == "present"
    assert shop.why(table, "日本")["cause"] == "not_at_source"
    assert "the source has id=Zoë, which is another key" in shop.why(table, "zoe")["sentence"]
    mariadb.client("SET sql_mode = ''; INSERT INTO names VALUES ('Ada', '0000-00-00', '2024-05-02');")
    assert "Column born holds values that are zero or partial dates" in shop.why(table, "Ada")["sentence"]

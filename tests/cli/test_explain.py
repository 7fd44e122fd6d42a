"""``ingestion explain``: what a run would do, told in advance and held against what it then does."""

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ingestion_runtime.config import load_configuration
from ingestion_runtime.model.naming import target_key
from ingestion_runtime.state.processes import current_holder
from ingestion_runtime.state.sqlite import sqlite_store
from tests.cli.conftest import Call
from tests.lake import Lake
from tests.servers.ports import free_port
from tests.servers.postgresql import PASSWORD_VARIABLE, PostgresDatabase

DAY = "2026-07-01"


def tree(folder: Path) -> dict[str, bytes]:
    """Every file, but for indexes of SQLite's logs: they hold locks and no data."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith("-shm"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found} | {
        str(path.relative_to(folder)): b"a folder" for path in folder.rglob("*") if path.is_dir()
    }


def explain(call: Call, lake: Lake, *arguments: str, code: int = 0) -> dict[str, dict[str, Any]]:
    """Return the forecasts by table; nothing at all may have changed."""
    before = tree(lake.root)
    result = call("explain", "--config", lake.path, "--load-date", DAY, "--output", "json", *arguments)
    assert tree(lake.root) == before, "explaining left a trace"
    assert result.exit_code == code, result.output
    document = json.loads(result.stdout)
    assert (document["version"], document["exit_code"], document["load_date"]) == (1, code, DAY)
    return {table["table"]: table for table in document["tables"]}


def change(lake: Lake, script: str) -> None:
    """Change the source."""
    with closing(sqlite3.connect(lake.root / "shop.db")) as connection:
        connection.executescript(script)


def rows_of(lake: Lake, statements: list[str]) -> list[tuple[Any, ...]]:
    """Run what the source would be asked."""
    with closing(sqlite3.connect(lake.root / "shop.db")) as connection:
        return sorted(row for statement in statements for row in connection.execute(statement))


def planned(lake: Lake) -> dict[str, dict[str, Any]]:
    """Return the plans that the last run of each table made."""
    return {line["table"]: line for line in lake.events() if line["event"] == "plan"}


# What is foreseen


def test_before_the_first_run_everything_is_foreseen_and_nothing_is_made(call: Call, shop: Lake) -> None:
    """No state, no log, no folder; tables, slices, engine and publish are told, and the SQL gives the rows."""
    found = explain(call, shop)
    customers, orders = found["shop.customers"], found["shop.orders"]
    assert {(table["action"], table["publish"], table["engine"]) for table in found.values()} == {
        ("reads", "new table", "arrow")
    }
    assert "no JVM" in customers["engine_reason"]
    assert (customers["phases"], orders["phases"]) == (["raw", "finalize"], ["intermediate", "raw", "watermark"])
    assert [piece["covers"] for piece in customers["slices"]] == ["whole"]
    assert [(piece["covers"], piece["estimated_rows"]) for piece in orders["slices"]] == [("window", 3)]
    assert (orders["lower"], orders["upper"]) == ("1900-01-01 00:00:00.000000", "2024-05-02 07:00:00.000000")
    assert orders["columns"][2] == {"name": "updated_at", "source_type": "DATETIME", "lands_as": "timestamp", "note": ""}
    assert rows_of(shop, customers["slices"][0]["statements"]) == [(1, "Ada"), (2, "Grace")]
    assert [path.name for path in sorted(shop.root.iterdir())] == ["conf.json", "shop.db"]


def test_what_is_foreseen_is_what_the_run_then_does(call: Call, shop: Lake) -> None:
    """Bounds, slices, estimate and reason of the plan; the SQL, run by hand, gives the rows that arrive."""
    shop.document["runtime"]["scd1_slicing"] = {"max_count": 2, "target_rows_per_slice": 1}
    shop.save()
    forecast = explain(call, shop)["shop.orders"]
    assert [piece["estimated_rows"] for piece in forecast["slices"]] == [1, 1, 1]
    statements = [statement for piece in forecast["slices"] for statement in piece["statements"]]
    asked = rows_of(shop, statements)
    result = shop.run(None)
    plan = planned(shop)["shop.orders"]
    told = (forecast["lower"], forecast["upper"], len(forecast["slices"]), forecast["estimated_rows"], forecast["reason"])
    assert told == (plan["lower"], plan["upper"], plan["slices"], plan["estimated_rows"], plan["reason"])
    assert sum(piece["estimated_rows"] for piece in forecast["slices"]) == result.tables[1].rows_read == 3
    assert [row[0] for row in asked] == sorted(row["id"] for row in shop.rows("shop.orders"))


def test_after_a_run_there_is_nothing_to_do_until_something_comes(call: Call, shop: Lake) -> None:
    """Skipped and unchanged as the run would say it; then the one new row, above the watermark, to be merged."""
    shop.run(None)
    found = explain(call, shop)
    assert (found["shop.customers"]["action"], found["shop.orders"]["action"]) == ("skipped", "unchanged")
    assert {table["engine"] for table in found.values()} == {None}
    assert explain(call, shop, "--load-date", "2026-07-02", "--load-date", DAY)["shop.customers"]["action"] == "skipped"
    change(shop, "INSERT INTO orders VALUES (13, 1, '2024-05-03 09:00:00')")
    orders = explain(call, shop, "--only-tables", "shop.orders")["shop.orders"]
    assert (orders["action"], orders["publish"], orders["sequence"], orders["estimated_rows"]) == ("reads", "merge", 2, 1)
    assert orders["watermark"] == orders["lower"] == "2024-05-02 07:00:00.000000"
    assert [row[0] for row in rows_of(shop, orders["slices"][0]["statements"])] == [13]
    assert shop.run(None).tables[1].rows_read == 1


def test_a_reload_is_foreseen(call: Call, shop: Lake) -> None:
    """From the beginning, replacing what is there."""
    shop.run(None)
    orders = explain(call, shop, "--reload", "shop.orders")["shop.orders"]
    assert (orders["action"], orders["publish"], orders["reload"]) == ("reads", "replace", True)
    assert orders["lower"] == "1900-01-01 00:00:00.000000"


def test_a_window_is_foreseen(call: Call, shop: Lake) -> None:
    """Its rows, merged once more; a table that has no windows is passed over, as the run passes it over."""
    shop.run(None)
    found = explain(call, shop, "--start-date", "2024-05-01 09:00:00", "--end-date", "2024-05-02")
    assert found["shop.customers"]["action"] == "skipped"
    orders = found["shop.orders"]
    assert (orders["action"], orders["publish"]) == ("reads", "merge")
    assert [row[0] for row in rows_of(shop, orders["slices"][0]["statements"])] == [11]
    result = shop.call("--start-date", "2024-05-01 09:00:00", "--end-date", "2024-05-02", "--output", "json").document
    assert [(table["status"], table["rows_read"]) for table in result["tables"]] == [("skipped", 0), ("unchanged", 1)]


def test_deletes_are_compared_when_a_run_would(call: Call, shop: Lake) -> None:
    """After a key has gone the comparison is all there is to do; before, nothing."""
    shop.document["tables"][1]["deletes"] = "hard"
    shop.save()
    shop.run(None)
    assert explain(call, shop)["shop.orders"]["action"] == "unchanged"
    change(shop, "DELETE FROM orders WHERE id = 10")
    orders = explain(call, shop)["shop.orders"]
    assert (orders["action"], orders["deletes"], orders["compares_keys"]) == ("reads", "hard", True)
    assert [piece["covers"] for piece in orders["slices"]] == ["tombstones"]


def test_a_table_for_spark_is_explained_without_a_jvm(call: Call, shop: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own statements, that give the same rows; Java is not even looked for."""
    monkeypatch.setenv("PATH", str(shop.root))
    monkeypatch.setenv("JAVA_HOME", str(shop.root))
    shop.document["tables"][0]["engine"] = "spark"
    shop.save()
    customers = explain(call, shop)["shop.customers"]
    assert (customers["engine"], customers["engine_reason"]) == ("spark", "engine is set to spark")
    # As Spark's driver is given text of SQLite: as bytes.
    assert rows_of(shop, customers["slices"][0]["statements"]) == [(1, b"Ada"), (2, b"Grace")]


# What an earlier run left


def test_an_open_batch_is_what_comes_first(call: Call, shop: Lake) -> None:
    """By its frozen plan, of the run that began it; the log of the dead process stays as it is."""
    shop.call("--load-date", DAY, failpoints="after-stage@shop.orders=kill")
    change(shop, "INSERT INTO orders VALUES (13, 1, '2024-05-03 09:00:00')")
    orders = explain(call, shop, "--only-tables", "shop.orders")["shop.orders"]
    assert (orders["action"], orders["upper"]) == ("finishes", "2024-05-02 07:00:00.000000")
    assert any(orders["open_batch"] in note for note in orders["notes"])
    assert [piece["estimated_rows"] for piece in orders["slices"]] == [3]
    shop.run(None)
    assert shop.table("shop.orders").properties["ingest.receipt"]
    assert len(shop.rows("shop.orders")) == 4


def test_what_was_published_and_never_recorded_is_done(call: Call, shop: Lake) -> None:
    """The table's receipt decides, for explain as for the run."""
    shop.call("--load-date", DAY, "--only-tables", "shop.customers", failpoints="after-publish=kill")
    assert explain(call, shop)["shop.customers"]["action"] == "skipped"
    assert shop.run(None).tables[0].status == "skipped"


@pytest.mark.parametrize(
    ("holder", "what"),
    [
        ("busy", "until it ends, another run leaves this table with exit code 4"),
        (
            "maintenance-20260701T020000-0badca",
            "a run waits for it, up to 60 s, and then leaves this table with exit code 4",
        ),
    ],
)
def test_a_table_that_somebody_holds_is_told(call: Call, shop: Lake, holder: str, what: str) -> None:
    """By whom, and what a run would do about it; no lease of its own is needed to look."""
    shop.run(None)
    configuration = load_configuration(shop.path)
    store = sqlite_store(configuration.runtime.state_database)
    store.open()
    lease = store.acquire_lease(target_key(configuration.runtime, configuration.tables[1]), current_holder(holder), 0)
    orders = explain(call, shop)["shop.orders"]
    assert (orders["lease"], orders["action"]) == (holder, "unchanged")
    assert any(f"process {os.getpid()}" in note and note.endswith(what) for note in orders["notes"])
    store.release_lease(lease)
    store.close()
    assert explain(call, shop)["shop.orders"]["lease"] is None


# What would stop


def test_a_column_that_the_policy_refuses_stops_it_with_the_message_of_the_run(call: Call, shop: Lake) -> None:
    """Exit 1, the change with its advice, and still the SQL."""
    shop.run(None)
    change(shop, "ALTER TABLE customers DROP COLUMN name")
    found = explain(call, shop, "--reload", "shop.customers", code=1)
    customers = found["shop.customers"]
    assert customers["action"] == "fails"
    assert [(c["column"], c["change"], c["refused"]) for c in customers["changes"]] == [("name", "dropped", True)]
    assert customers["slices"][0]["statements"]
    failure = shop.run(None, reload=["shop.customers"]).tables[0].failure
    assert failure is not None
    assert (customers["failure"]["message"], customers["failure"]["exit_code"]) == (failure.message, failure.exit_code)


@pytest.mark.parametrize("spoil", ["dropped", "another job", "another filter", "damaged"])
def test_a_table_that_the_run_would_not_touch_is_refused_with_its_words(call: Call, shop: Lake, spoil: str) -> None:
    """Dropped behind the state's back, owned by another job, read otherwise, or written by someone else."""
    shop.run(None)
    catalog = shop.catalog
    if spoil == "dropped":
        catalog.drop_table("shop.orders")
    elif spoil == "damaged":
        catalog.load_table("shop.orders").append(catalog.load_table("shop.orders").scan().to_arrow())
    elif spoil == "another job":
        shop.document["runtime"]["job_name"] = "copy"
    else:
        shop.document["tables"][1]["source_filter"] = "id > 10"
    shop.save()
    catalog.close()
    told = explain(call, shop, "--only-tables", "shop.orders", code=1)["shop.orders"]["failure"]
    failure = shop.run(None).tables[1].failure
    assert failure is not None
    assert (told["message"], told["type"], told["exit_code"]) == (failure.message, failure.type, failure.exit_code)


def test_an_unreachable_source_stops_its_own_tables(call: Call, shop: Lake) -> None:
    """Exit 3; the others are explained."""
    down = {"dialect": "postgresql", "host": "127.0.0.1", "port": free_port(), "database": "x", "user": "x"}
    shop.document["connections"]["down"] = down
    shop.document["tables"].append({"schema": "far", "table": "away", "mode": "full", "connection": "down"})
    shop.document["tables"][0]["connection"] = shop.document["tables"][1]["connection"] = "source"
    shop.save()
    found = explain(call, shop, code=3)
    assert [found[name]["action"] for name in ("shop.customers", "shop.orders", "far.away")] == ["reads", "reads", "fails"]
    assert found["far.away"]["failure"]["exit_code"] == 3
    assert str(down["port"]) in found["far.away"]["failure"]["message"]


def test_an_engine_that_cannot_be_is_refused_as_the_run_refuses_it(call: Call, shop: Lake) -> None:
    """Exit 2 with the remedy."""
    shop.document["runtime"]["engine"] = "arrow"
    shop.document["runtime"]["staging"]["root"] = "hdfs://nowhere:8020/staging"
    shop.save()
    found = explain(call, shop, code=2)
    assert "Set engine to auto or spark" in found["shop.orders"]["failure"]["message"]


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (lambda lake: (lake.root / "shop.db").unlink(), 2, "unable to open"),
        (lambda lake: lake.path.write_text("{"), 2, "not JSON at line 1"),
        (lambda lake: lake.path.unlink(), 2, "does not exist"),
        (lambda lake: (lake.root / "state.db").write_text("no database " * 999), 1, "not a database"),
    ],
    ids=["no source", "broken JSON", "no file", "broken state"],
)
def test_what_keeps_a_run_from_beginning_keeps_it_from_being_explained(
    call: Call, shop: Lake, spoil: Any, code: int, words: str
) -> None:
    """A clear message and the run's exit code; programs get their one document."""
    spoil(shop)
    result = call("explain", "--config", shop.path, "--output", "json")
    assert (result.exit_code, json.loads(result.stdout)["exit_code"]) == (code, code)
    assert words in result.stderr
    assert "Traceback" not in result.stderr


# For people


def test_people_read_a_paragraph_per_table(call: Call, shop: Lake) -> None:
    """On stderr, with nothing on stdout."""
    result = call("explain", "--config", shop.path, "--load-date", DAY)
    assert (result.exit_code, result.stdout) == (0, "")
    for words in (
        "shop.customers  full  reads",
        "about 3 rows in 1 slice",
        "new table: lake:shop.orders, its publish number 1",
        "SELECT",
        "2 tables: 2 reads. Nothing was read, written or locked.",
    ):
        assert words in result.stderr


def test_names_are_shown_as_they_are(call: Call, tmp_path: Path) -> None:
    """Markup, quotes and line breaks in names are text and nothing else."""
    odd = "[red]x[/red] \"'`; DROP TABLE t; --\n</script>"
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        quoted = odd.replace("`", "``")
        connection.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, `{quoted}` TEXT)")
    lake = Lake(tmp_path, {"dialect": "sqlite", "database": "shop.db"}, [{"schema": "s", "table": "t", "mode": "full"}])
    assert [column["name"] for column in explain(call, lake)["s.t"]["columns"]] == ["id", odd]
    shown = call("explain", "--config", lake.path).stderr
    assert "[red]x[/red]" in shown
    assert rows_of(lake, explain(call, lake)["s.t"]["slices"][0]["statements"]) == []


# Other databases


def test_on_postgresql_a_counting_cursor_is_explained_without_a_trace(
    call: Call, tmp_path: Path, postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its samples are not kept, the statements are those of several connections, and their rows are all rows once."""
    postgres.psql(
        "CREATE TABLE public.events (id bigint PRIMARY KEY, note text);"
        "INSERT INTO public.events SELECT g, repeat('x', 200) FROM generate_series(1, 60000) g; ANALYZE public.events"
    )
    monkeypatch.setenv(PASSWORD_VARIABLE, postgres.password)
    address = {"host": postgres.host, "port": postgres.port, "user": postgres.user, "database": postgres.database}
    connection = {"dialect": "postgresql", **address, "password": f"${{env:{PASSWORD_VARIABLE}}}"}
    table = {"schema": "public", "table": "events", "mode": "scd1", "primary_keys": ["id"]}
    lake = Lake(tmp_path, connection, [{**table, "incremental_column": "id", "incr_col_type": "int"}])
    (piece,) = explain(call, lake)["public.events"]["slices"]
    assert piece["estimated_rows"] == 60_000
    counted = [int(postgres.psql(f"SELECT count(*) FROM ({statement}) q")) for statement in piece["statements"]]
    assert sum(counted) == 60_000
    assert 1 <= piece["connections"] <= len(counted)
    assert [path.name for path in tmp_path.iterdir()] == ["conf.json"]
    assert lake.run(None, environment=dict(os.environ)).tables[0].rows_read == 60_000
    assert explain(call, lake)["public.events"]["action"] == "unchanged"

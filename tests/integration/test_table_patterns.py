"""Runs of configurations that name their tables by patterns, as users call them."""

import json
import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ingestion_runtime.cli import cli
from ingestion_runtime.endpoints.resolving import open_configuration
from ingestion_runtime.model.errors import ConfigError, TransientError
from ingestion_runtime.model.result import RunResult
from tests.lake import Lake
from tests.servers.mariadb import MariaDatabase
from tests.servers.ports import HOST, free_port
from tests.servers.postgresql import PostgresDatabase

SHOP = """CREATE TABLE orders (id INTEGER PRIMARY KEY, at TIMESTAMP); INSERT INTO orders VALUES (1, '2024-05-01 08:00:00');
CREATE TABLE items (id INTEGER PRIMARY KEY, at TIMESTAMP); INSERT INTO items VALUES (1, '2024-05-01 08:00:00');
CREATE TABLE notes (body TEXT); INSERT INTO notes VALUES ('x'), ('x'); CREATE TABLE tmp_1 (id INTEGER);
CREATE VIEW totals AS SELECT count(*) AS n FROM orders"""
CURSOR = {"mode": "scd1", "incremental_column": "at", "incr_col_type": "timestamp"}


def change(root: Path, script: str) -> None:
    with closing(sqlite3.connect(root / "shop.db")) as connection:
        connection.executescript(script)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Everything of a shop but what is temporary, by mode scd1, and whole what has no key."""
    change(tmp_path, SHOP)
    pattern = {"schema": "shop", "table": "*", "exclude": ["shop.tmp_*"], "unfit": "full", **CURSOR}
    return Lake(tmp_path, {"dialect": "sqlite", "database": "shop.db"}, [pattern])


def results(run: RunResult) -> dict[str, tuple[str, str]]:
    return {table.table: (table.mode, table.status.value) for table in run.tables}


def call(*arguments: str | Path) -> Result:
    """Call the command line inside this process: for what ends before tables are begun."""
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def told(lake: Lake, event: str) -> list[dict[str, Any]]:
    return [line for line in lake.events() if line["event"] == event]


def everything_below(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def test_new_tables_come_in_and_vanished_ones_are_told(lake: Lake, tmp_path: Path) -> None:
    """Night by night, without a change of the configuration; what was published of a vanished table stays."""
    assert results(lake.run(None)) == {
        "shop.items": ("scd1", "done"),
        "shop.notes": ("full", "done"),
        "shop.orders": ("scd1", "done"),
    }
    (resolved,) = told(lake, "pattern_resolved")
    assert (resolved["pattern"], resolved["source"], resolved["tables"], resolved["skipped"]) == ("shop.*", "source", 3, [])
    change(tmp_path, "CREATE TABLE added (id INTEGER PRIMARY KEY, at TIMESTAMP); DROP TABLE items")
    assert set(results(lake.run(None, day=date(2026, 7, 2)))) == {"shop.added", "shop.notes", "shop.orders"}
    later = lake.call()  # until somebody says that it is right
    assert later.code == 0, later.stderr
    assert "No longer at the source, and left in the lake as they are: shop.items." in later.stderr
    assert [line["tables"] for line in told(lake, "tables_vanished")] == [["shop.items"]] * 2
    assert lake.rows("shop.items") == [{"id": 1, "at": lake.rows("shop.orders")[0]["at"]}]
    lake.document["tables"][0]["exclude"].append("items")
    lake.save()
    assert lake.run(None).exit_code == 0
    assert len(told(lake, "tables_vanished")) == 2


def test_tables_that_another_configuration_publishes_have_not_vanished(lake: Lake) -> None:
    """State and catalog may serve several of them."""
    assert lake.run(None).exit_code == 0
    lake.document["runtime"]["job_name"] = "other"
    lake.document["tables"] = [{"schema": "shop", "table": "tm*", "mode": "full"}, {"schema": "shop", "table": "[x]*"}]
    lake.document["tables"][1] |= {"mode": "full", "allow_empty": True}
    lake.save()
    assert lake.run(None).exit_code == 0
    assert told(lake, "tables_vanished") == []


def test_tables_of_a_pattern_are_chosen_by_their_names(lake: Lake) -> None:
    """As those of entries; a name that no pattern matched is refused with those that did."""
    chosen = lake.call("--only-tables", "SHOP.Notes", "--output", "json")
    assert [table["table"] for table in chosen.document["tables"]] == ["shop.notes"]
    wrong = call("--config", lake.path, "--only-tables", "shop.tmp_1")
    assert (wrong.exit_code, "shop.items, shop.notes, shop.orders" in wrong.stderr) == (2, True)


def test_tables_that_are_skipped_are_named(lake: Lake) -> None:
    """A table that nobody loads must not go unnoticed."""
    lake.document["tables"][0]["unfit"] = "skip"
    lake.save()
    assert set(results(lake.run(None))) == {"shop.items", "shop.orders"}
    assert told(lake, "pattern_resolved")[0]["skipped"] == ["shop.notes"]


def test_a_table_moves_between_entry_and_pattern_without_being_read_anew(lake: Lake) -> None:
    """Equal settings are the same table."""
    lake.document["tables"].append({"schema": "shop", "table": "orders", "primary_keys": ["id"], **CURSOR})
    lake.save()
    assert results(lake.run(None))["shop.orders"] == ("scd1", "done")
    receipt = lake.receipt("shop.orders")
    lake.document["tables"].pop()
    lake.save()
    assert results(lake.run(None))["shop.orders"] == ("scd1", "unchanged")
    assert lake.receipt("shop.orders") == receipt


def test_what_cannot_be_resolved_is_refused_before_anything_is_done(lake: Lake, tmp_path: Path) -> None:
    """A misspelt pattern, tables without a key: exit code 2, and nothing on the disk but what was there."""
    before = everything_below(tmp_path)
    lake.document["tables"] = [
        {"schema": "shop", "table": "ordr*", "mode": "full"},
        {"schema": "s", "table": "n*", **CURSOR},
    ]
    lake.save()
    refused = call("--config", lake.path, "--output", "json")
    assert refused.exit_code == 2
    assert "/tables/0: matches no table of connection 'source'; correct schema and table" in refused.stderr
    assert "/tables/1: matches tables that have no primary key: s.notes; exclude them" in refused.stderr
    assert json.loads(refused.stdout)["exit_code"] == 2
    assert everything_below(tmp_path) == before


def test_validate_asks_no_source(lake: Lake, tmp_path: Path) -> None:
    """It says how many patterns there are; the file that the connection names need not exist."""
    (tmp_path / "shop.db").unlink()
    lake.document["tables"].append({"schema": "shop", "table": "x", "mode": "full"})
    lake.save()
    found = json.loads(call("validate", "--config", lake.path, "--output", "json").stdout)
    assert (found["valid"], found["tables"], found["patterns"]) == (True, 1, 1)
    assert "valid, 1 table, and 1 pattern that a run resolves." in call("validate", "--config", lake.path).stderr
    assert not (tmp_path / "shop.db").exists()


def postgres_lake(root: Path, server: PostgresDatabase, **changes: Any) -> Lake:
    connection = {
        "dialect": "postgresql",
        "host": server.host,
        "port": server.port,
        "database": server.database,
        "user": server.user,
        "password": "${env:SOURCE_PASSWORD}",
    }
    return Lake(root, connection | changes, [{"schema": "s*", "table": "*", **CURSOR}])


def test_a_source_that_cannot_be_asked_ends_the_run_before_it_begins(
    tmp_path: Path, postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3 for a server that is gone, 2 for a wrong password; a secret that is not there is one."""
    monkeypatch.setenv("SOURCE_PASSWORD", "canary-of-mine")
    wrong = postgres_lake(tmp_path, postgres)
    before = everything_below(tmp_path)
    refused = call("--config", wrong.path)
    assert (refused.exit_code, "canary" in refused.output) == (2, False)
    gone = postgres_lake(tmp_path, postgres, port=free_port(), host=HOST)
    assert call("--config", gone.path).exit_code == 3
    monkeypatch.delenv("SOURCE_PASSWORD")
    assert call("--config", gone.path).exit_code == 2
    assert everything_below(tmp_path) == before


def test_patterns_of_a_postgresql_database(
    tmp_path: Path, postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several schemas, keys of several columns in the catalog's order, a partitioned table read through its parent."""
    monkeypatch.setenv("SOURCE_PASSWORD", postgres.password)
    postgres.psql(
        """CREATE SCHEMA s1; CREATE SCHEMA s2; CREATE SCHEMA other; CREATE TABLE other.x (id int);
        CREATE TABLE s1.a (id int, part int, at timestamptz, PRIMARY KEY (part, id));
        CREATE TABLE s2.p (id int, at timestamptz, PRIMARY KEY (id)) PARTITION BY HASH (id);
        CREATE TABLE s2.p0 PARTITION OF s2.p FOR VALUES WITH (MODULUS 1, REMAINDER 0);
        INSERT INTO s1.a VALUES (1, 2, now() - interval '1 h'); INSERT INTO s2.p VALUES (7, now() - interval '1 h')"""
    )
    lake = postgres_lake(tmp_path, postgres)
    tables = open_configuration(lake.path).tables
    assert [(table.name, table.primary_keys) for table in tables] == [("s1.a", ("part", "id")), ("s2.p", ("id",))]
    assert lake.run(None).exit_code == 0
    assert [row["id"] for name in ("s1.a", "s2.p") for row in lake.rows(name)] == [1, 7]


def test_patterns_of_a_mariadb_server(tmp_path: Path, mariadb: MariaDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """A schema is a database of the server; letter case counts as it was set up."""
    monkeypatch.setenv("SOURCE_PASSWORD", mariadb.password)
    mariadb.client("CREATE TABLE Aa (id int PRIMARY KEY); CREATE TABLE ab (id int PRIMARY KEY); INSERT INTO ab VALUES (3)")
    address = {"host": mariadb.host, "port": mariadb.port, "database": mariadb.database, "user": mariadb.user}
    connection = {"dialect": "mariadb", **address, "password": "${env:SOURCE_PASSWORD}", "tls": {"mode": "disable"}}
    lake = Lake(tmp_path, connection, [{"schema": mariadb.database, "table": "a*", "mode": "full"}])
    assert [table.table for table in open_configuration(lake.path).tables] == ["ab"]
    assert lake.run(None).exit_code == 0
    assert lake.rows(f"{mariadb.database}.ab") == [{"id": 3}]


def test_a_configuration_without_patterns_asks_nobody(tmp_path: Path) -> None:
    """Opening it is reading a file."""
    gone = {"dialect": "postgresql", "host": HOST, "port": free_port(), "database": "x", "user": "x"}
    lake = Lake(tmp_path, gone, [{"schema": "s", "table": "t", "mode": "full"}])
    assert [table.name for table in open_configuration(lake.path).tables] == ["s.t"]
    lake.document["tables"][0]["table"] = "t*"
    lake.save()
    with pytest.raises(TransientError):
        open_configuration(lake.path)
    lake.document["connections"]["source"]["password"] = "${env:NOT_THERE_AT_ALL}"
    lake.save()
    with pytest.raises(ConfigError):
        open_configuration(lake.path)

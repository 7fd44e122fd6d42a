"""``ingestion-recon`` as people and programs call it."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result

from ingestion_runtime.commands.recon import recon
from tests.lake import PROJECT, Lake
from tests.servers.postgresql import PostgresDatabase

Compare = Callable[..., Result]


@pytest.fixture
def compare() -> Compare:
    """Call the command inside this process."""

    def invoke(*arguments: object) -> Result:
        result = CliRunner().invoke(recon, [str(argument) for argument in arguments])
        # Anything but an exit code would reach the user as a traceback.
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return invoke


@pytest.fixture
def loaded(shop: Lake) -> Lake:
    assert shop.run(None).exit_code == 0
    return shop


def change(lake: Lake, sql: str) -> None:
    with closing(sqlite3.connect(lake.root / "shop.db")) as connection:
        connection.executescript(sql)


def test_equal_tables_are_a_line_each_and_nothing_is_on_stdout(loaded: Lake, compare: Compare) -> None:
    result = compare("--config", loaded.path)
    assert result.exit_code == 0
    assert result.stdout == ""
    lines = [line.split() for line in result.stderr.splitlines()]
    assert [line[:4] for line in lines if line and line[0].startswith("shop.")] == [
        ["shop.customers", "equal", "2", "2"],
        ["shop.orders", "equal", "3", "3"],
    ]
    assert "2 tables: 2 equal" in result.stderr
    assert "exit code 0" in result.stderr


def test_what_is_wrong_comes_first_and_is_said_in_words(loaded: Lake, compare: Compare) -> None:
    change(loaded, "UPDATE orders SET customer = NULL WHERE id = 11; DELETE FROM orders WHERE id = 10")
    result = compare("--config", loaded.path, "--checks", "plain_count, BISECT")
    assert result.exit_code == 1
    shown = result.stderr
    assert shown.index("shop.orders ") < shown.index("shop.customers ")
    assert "1 extra, 1 changed" in shown
    assert "changed   11  customer: a value in the target, NULL at the source" in shown
    assert "extra     10" in shown
    assert "with deletes: ignore" in shown
    assert "2 tables: 1 differ, 1 equal" in shown
    assert "(NULL -> 2)" not in shown
    shown = compare("--config", loaded.path, "--checks", "bisect", "--show-values").stderr
    assert "changed   11  customer: a value in the target, NULL at the source (NULL -> 2)" in shown


def test_names_and_keys_are_shown_as_they_are_whatever_they_hold(tmp_path: Path, compare: Compare) -> None:
    """Markup is no markup, and what does not print, or would be taken for something else, stands in quotes."""
    odd = ["[red]x[/red]", "a, b", "two\nlines", "\x1b[31m", " blank ", "NULL", "", "ä", "x" * 300, ":smile:"]
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.execute("CREATE TABLE t (k TEXT PRIMARY KEY)")
        connection.executemany("INSERT INTO t VALUES (?)", [("there",)])
        connection.commit()
        tables = [{"schema": "s", "table": "t", "mode": "full", "primary_keys": ["k"]}]
        lake = Lake(tmp_path, {"dialect": "sqlite", "database": "shop.db"}, tables)
        assert lake.run(None).exit_code == 0
        connection.executemany("INSERT INTO t VALUES (?)", [(key,) for key in odd])
        connection.commit()
    shown = compare("--config", lake.path, "--checks", "bisect").stderr
    keys = {line.split("missing   ", 1)[1] for line in shown.splitlines() if "missing   " in line}
    assert keys == {
        "[red]x[/red]",
        '"a, b"',
        r'"two\nlines"',
        r'"\u001b[31m"',
        '" blank "',
        '"NULL"',
        '""',
        "ä",
        "x" * 80 + "...",
        ":smile:",
    }
    assert "s.t  full  differs" in shown


@pytest.mark.parametrize("option", ["--output=json", "--output-json"])
def test_programs_get_one_document(loaded: Lake, compare: Compare, option: str) -> None:
    change(loaded, "UPDATE orders SET customer = 7 WHERE id = 11; INSERT INTO orders VALUES (13, 1, '2024-06-01 00:00:00')")
    result = compare("--config", loaded.path, option, "--checks", "plain_count,checksum,bisect")
    assert result.exit_code == 1
    assert result.stderr == ""
    document = json.loads(result.stdout)
    assert {key: document[key] for key in ("version", "job_name", "engine", "exit_code")} == {
        "version": 1,
        "job_name": "test",
        "engine": "sqlalchemy",
        "exit_code": 1,
    }
    customers, orders = document["tables"]
    assert (customers["status"], orders["status"]) == ("equal", "differs")
    assert orders["watermark"] == "2024-05-02 07:00:00.000000"
    assert orders["left_out"] == {"later": 1, "unsettled": 0, "null_cursors": 0, "null_keys": 0, "initial": 0}
    assert orders["compared_columns"] == ["id", "customer", "updated_at"]
    plain, checksum, bisect = orders["checks"]
    assert (plain["status"], plain["source"], plain["target"], plain["difference"]) == ("equal", 3, 3, 0)
    assert (checksum["status"], checksum["columns"], checksum["difference"]) == ("differs", ["customer"], None)
    assert bisect["keys"]["counts"] == {"missing": 0, "extra": 0, "changed": 1, "duplicate": 0}
    told = [{"column": "customer", "how": "another number", "source": None, "target": None}]
    assert bisect["keys"]["listed"] == [{"key": ["11"], "difference": "changed", "columns": told}]


def test_a_reconciliation_has_a_log_of_its_own_that_is_no_run(loaded: Lake, compare: Compare) -> None:
    change(loaded, "UPDATE orders SET customer = 7 WHERE id = 11")
    document = json.loads(compare("--config", loaded.path, "--output-json").stdout)
    (log,) = (loaded.root / "logs").glob("recon-*.jsonl")
    assert log.name == f"recon-{document['run_id']}.jsonl"
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert events[0]["event"] == "recon_start"
    assert events[0]["tables"] == ["shop.customers", "shop.orders"]
    differing = [event for event in events if event["event"] == "recon_difference"]
    assert [(event["table"], event["check"], event["columns"]) for event in differing] == [
        ("shop.orders", "checksum", ["customer"])
    ]
    assert {key: events[-1][key] for key in ("event", "exit_code", "equal", "differs")} == {
        "event": "recon_done",
        "exit_code": 1,
        "equal": 1,
        "differs": 1,
    }
    # Who watches runs goes on seeing the run, and that alone.
    command = [sys.executable, str(PROJECT / "progress_cli.py"), "summary", "--log-file", str(loaded.root / "logs")]
    shown = subprocess.run([*command, "--output", "json"], capture_output=True, text=True, timeout=60, check=True)
    (run,) = (loaded.root / "logs").glob("run-*.jsonl")
    assert json.loads(shown.stdout)["run"]["run_id"] == json.loads(run.read_text().splitlines()[0])["run_id"]


def test_tables_are_selected_by_name(loaded: Lake, compare: Compare) -> None:
    document = json.loads(compare("--config", loaded.path, "--only-tables", " SHOP.Orders ", "--output-json").stdout)
    assert [table["table"] for table in document["tables"]] == ["shop.orders"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--checks", "plain_cont"], "--checks names plain_cont, which is no check. Choose from: plain_count"),
        (["--checks", " , "], "--checks names nothing, which is no check."),
        (["--only-tables", "shop.nobody"], "--only-tables names shop.nobody"),
        (["--max-parallel", "0"], "0 is not in the range"),
        (["--max-keys", "-1"], "-1 is not in the range"),
        (["--engine", "abacus"], "'abacus' is not one of"),
    ],
)
def test_wrong_use_ends_with_2_and_says_how_to_do_it(
    loaded: Lake, compare: Compare, arguments: list[str], message: str
) -> None:
    result = compare("--config", loaded.path, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_configuration_is_needed_and_must_be_right(tmp_path: Path, compare: Compare) -> None:
    assert "Missing option '--config'" in compare().stderr
    (tmp_path / "conf.json").write_text("{}")
    result = compare("--config", tmp_path / "conf.json", "--output-json")
    assert result.exit_code == 2
    document = json.loads(result.stdout)
    assert (document["exit_code"], document["error"]["type"], document["tables"]) == (2, "ConfigError", [])


def test_a_table_that_only_spark_can_read_says_so(loaded: Lake, compare: Compare) -> None:
    """In this process no Spark is started."""
    document = json.loads(loaded.path.read_text())
    document["runtime"]["intermediate"] = {"catalog_type": "hadoop", "warehouse": "hdfs://localhost:1/warehouse"}
    loaded.path.write_text(json.dumps(document))
    result = compare("--config", loaded.path)
    assert result.exit_code == 1
    assert "--engine spark" in result.stderr


def test_an_interruption_ends_it_in_order(postgres: PostgresDatabase, tmp_path: Path) -> None:
    """A statement at the source is broken off; the document says of every table how it ended."""
    postgres.psql("CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1); CREATE TABLE b (id int PRIMARY KEY)")
    tables = [{"schema": "public", "table": name, "mode": "full", "primary_keys": ["id"]} for name in ("a", "b")]
    lake = Lake(tmp_path, postgres.configured(), tables)
    assert lake.run(None).exit_code == 0
    command = [sys.executable, str(PROJECT / "recon.py"), "--config", str(lake.path), "--output-json", "--max-parallel", "1"]
    address = f"host={postgres.host} port={postgres.port} user={postgres.user} dbname={postgres.database}"
    with psycopg.connect(address, password=postgres.password) as holder:
        holder.execute("LOCK TABLE a IN ACCESS EXCLUSIVE MODE")
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ), start_new_session=True
        )
        # Looked at from within the server, which is asked to wait: until somebody waits for the lock, or for half a minute.
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'a'::regclass"
        assert any(
            holder.execute(f"SELECT pg_sleep(0.05) IS NOT NULL, ({waiting})").fetchone() != (True, 0) for _ in range(600)
        )
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    document = json.loads(stdout)
    assert document["exit_code"] == 130
    assert [table["error"]["type"] for table in document["tables"]] == ["InterruptedRunError", "InterruptedRunError"]
    assert "Traceback" not in stderr

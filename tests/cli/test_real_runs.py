"""Whole processes: what they print, what they leave behind, what they never show, and what they do without Java."""

import dataclasses
import fcntl
import json
import os
import pty
import re
import sqlite3
import struct
import subprocess
import termios
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Call
from tests.lake import Ended, Lake
from tests.servers.postgresql import PASSWORD, PostgresDatabase, PostgresServer

SOURCE = """
CREATE TABLE things (id int PRIMARY KEY, name text);
INSERT INTO things SELECT g, 'thing ' || g FROM generate_series(1, 500) g;
CREATE TABLE changes (id int PRIMARY KEY, at timestamptz NOT NULL);
INSERT INTO changes SELECT g, TIMESTAMPTZ '2024-05-01 00:00+00' + g * INTERVAL '1 second' FROM generate_series(1, 300) g;
CREATE TABLE ratios (id int PRIMARY KEY, part int NOT NULL);
INSERT INTO ratios SELECT g, g - 3 FROM generate_series(1, 10) g;
"""
TABLES: list[dict[str, Any]] = [
    {"schema": "public", "table": "things", "mode": "full", "primary_keys": ["id"]},
    {
        "schema": "public",
        "table": "changes",
        "mode": "scd1",
        "primary_keys": ["id"],
        "incremental_column": "at",
        "incr_col_type": "timestamp",
    },
    # Fails inside the engine, in the statement that holds the connection's options: the worst place for a secret.
    {"schema": "public", "table": "ratios", "mode": "full", "primary_keys": ["id"], "source_filter": "10 / part > 0"},
]
SOUND = ("--only-tables", "public.things,public.changes")
DAY = ("--load-date", "2026-07-01")
RIGHT = {"SOURCE_PASSWORD": PASSWORD}
WRONG = "pw-canary-7f3a"


@dataclasses.dataclass(frozen=True)
class First:
    """The first run of a lake: exit code and both outputs, after which the lake is only looked at or rerun."""

    lake: Lake
    ended: Ended

    @property
    def uses_spark(self) -> bool:
        return self.lake.document["runtime"]["engine"] == "spark"


def lake_on(root: Path, database: PostgresDatabase, password: str, engine: str = "auto") -> Lake:
    address = {"host": database.host, "port": database.port, "database": database.database}
    lake = Lake(root, {"dialect": "postgresql", **address, "user": database.user, "password": password}, TABLES)
    lake.document["runtime"]["logging"]["level"] = "debug"
    lake.document["runtime"]["engine"] = engine
    lake.save()
    return lake


@pytest.fixture(scope="module", params=["auto", "spark"])
def first(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer
) -> Iterator[First]:
    """One run of the program: two tables arrive, one fails inside the engine."""
    database = postgres_server.create_database()
    database.psql(SOURCE)
    lake = lake_on(tmp_path_factory.mktemp("real"), database, "${env:SOURCE_PASSWORD}", request.param)
    yield First(lake, lake.call(*DAY, "--output", "json", environment=RIGHT))
    postgres_server.drop_database(database.database)


@pytest.fixture
def no_java(tmp_path: Path) -> Mapping[str, str]:
    """The environment of a machine on which nobody installed Java."""
    (tmp_path / "bin").mkdir()
    return {"PATH": str(tmp_path / "bin"), "JAVA_HOME": ""}


def locations(lake: Lake) -> dict[str, str]:
    return {name: lake.table(name).metadata_location for name in ("public.things", "public.changes")}


def spark_logs(lake: Lake) -> list[str]:
    return sorted(path.name for path in (lake.root / "logs").glob("spark-*.log"))


def batches(lake: Lake) -> int:
    with closing(sqlite3.connect(lake.root / "state.db")) as connection:
        (count,) = connection.execute("SELECT count(*) FROM ingestion_batches").fetchone()
    return int(count)


# What is printed


def test_json_output_is_one_document_on_stdout_and_nothing_else(first: First) -> None:
    """Parsed as a whole, with a version, the run, and every table with its numbers; Spark writes nothing between."""
    document = json.loads(first.ended.stdout)
    run = {key: document[key] for key in ("version", "job_name", "load_date", "exit_code")}
    assert run == {"version": 1, "job_name": "test", "load_date": "2026-07-01", "exit_code": 1}
    assert document["seconds"] > 0
    things, changes, ratios = document["tables"]
    assert (things["table"], things["mode"], things["status"]) == ("public.things", "full", "done")
    assert (things["rows_read"], things["rows_written"], things["failure"]) == (500, 500, None)
    assert (changes["rows_read"], changes["watermark"]) == (300, "2024-05-01 00:05:00.000000")
    assert (ratios["table"], ratios["status"], ratios["rows_written"]) == ("public.ratios", "failed", 0)


def test_a_failure_in_the_document_is_the_one_in_the_event_log(first: First) -> None:
    """Type, the database's own words, a stack hash and the exit code, without a line of Java stack."""
    failure = json.loads(first.ended.stdout)["tables"][2]["failure"]
    (event,) = [event for event in first.lake.events() if event["event"] == "table_failed"]
    assert first.ended.code == failure["exit_code"] == 1
    assert "division by zero" in failure["message"]
    assert not re.search(r"\bat org\.|\bat java\.|\n", failure["message"])
    assert failure["stack_hash"]
    assert failure.pop("changes") == [], "no column differs; the log has those in schema_drift"
    told = {"type": event["error_type"], **{key: event[key] for key in ("message", "stack_hash", "exit_code")}}
    assert told == failure


def test_json_output_leaves_stderr_to_what_people_must_know(first: First) -> None:
    """No table and no traceback there, whatever failed."""
    assert "Traceback" not in first.ended.stderr
    assert "watermark" not in first.ended.stderr


# Running again


def test_a_rerun_without_anything_new_starts_no_jvm_and_makes_no_snapshot(first: First) -> None:
    """Zero rows, exit 0, the same metadata files, no Spark log, and the table of results on stderr only."""
    before, logs, known = locations(first.lake), spark_logs(first.lake), batches(first.lake)
    ended = first.lake.call(*DAY, *SOUND, environment=RIGHT)
    assert (ended.code, ended.stdout) == (0, "")
    rows = [line.split() for line in ended.stderr.splitlines() if line.startswith("public.")]
    assert [row[:5] for row in rows] == [
        ["public.things", "full", "skipped", "0", "0"],
        ["public.changes", "scd1", "unchanged", "0", "0"],
    ]
    assert (locations(first.lake), spark_logs(first.lake), batches(first.lake)) == (before, logs, known)
    print(f"idle rerun: {re.search(r'complete in ([0-9.]+) s', ended.stderr)[1]} s")  # type: ignore[index]


def test_on_a_terminal_of_80_columns_every_table_is_one_line(first: First) -> None:
    """Names and watermarks stand whole on a real terminal; nothing is wider than it."""
    screen, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    variables = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "FORCE_COLOR")}
    process = subprocess.Popen(
        first.lake.command(*DAY, *SOUND),
        env={**variables, **RIGHT, "TERM": "xterm"},
        stdin=side,
        stdout=side,
        stderr=side,
        start_new_session=True,
    )
    os.close(side)
    shown = b"".join(iter(lambda: read_screen(screen), b"")).decode()
    os.close(screen)
    assert process.wait(60) == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).replace("\r", "").splitlines()
    assert lines[1].split()[0] == "table"
    assert [line.split()[0] for line in lines[3:5]] == ["public.things", "public.changes"]
    assert lines[4].rstrip().endswith("2024-05-01 00:05:00")
    assert all(len(line) <= 80 for line in lines[1:5])


def read_screen(screen: int) -> bytes:
    try:
        return os.read(screen, 65_536)
    except OSError:  # how Linux says that the other side was closed
        return b""


# Secrets


def traces(secret: str, root: Path, *outputs: str) -> list[str]:
    """Return where a secret, or its spelling in a URL, stands: outputs and every file below ``root``."""
    needles = {secret.encode(), secret.replace(" ", "%20").encode(), secret.replace(" ", "+").encode()}
    found = [f"output {place}" for place, text in enumerate(outputs) if any(n in text.encode() for n in needles)]
    for path in root.rglob("*"):
        if path.is_file() and path.name != "secret" and any(needle in path.read_bytes() for needle in needles):
            found.append(str(path.relative_to(root)))
    return found


def test_the_right_password_is_found_nowhere_after_a_run(first: First) -> None:
    """Not in the outputs, the event log at debug level, Spark's log, the state database, manifests or metadata, although
    one of the reads failed."""
    kinds = {"run-*.jsonl", "state.db", "*.json", "*.parquet", "*.metadata.json"}
    kinds |= {"spark-*.log"} if first.uses_spark else set()
    assert [kind for kind in kinds if not any(first.lake.root.rglob(kind))] == []
    assert traces(PASSWORD, first.lake.root, first.ended.stdout, first.ended.stderr) == []


@pytest.mark.parametrize("reference", ["${env:SOURCE_PASSWORD}", "${file:secret}"])
@pytest.mark.parametrize("output", ["table", "json"])
def test_a_wrong_password_ends_the_run_before_anything_is_touched(
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    postgres: PostgresDatabase,
    reference: str,
    output: str,
) -> None:
    """Exit 2 with user, place and what to check; no state, no log, no folder; the password is found nowhere."""
    (tmp_path / "secret").write_text(f"{WRONG}\n")
    monkeypatch.setenv("SOURCE_PASSWORD", WRONG)
    lake = lake_on(tmp_path, postgres, reference)
    result = call("--config", lake.path, "--output", output)
    assert result.exit_code == 2
    document = json.loads(result.stdout) if output == "json" else None
    assert document is None or (document["version"], document["exit_code"], document["tables"]) == (1, 2, [])
    assert (document is None) == (result.stdout == "")
    assert 'password authentication failed for user "ingest"' in result.stderr
    assert f"{postgres.host}:{postgres.port}/{postgres.database}" in result.stderr
    assert "password reference" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["conf.json", "secret"]
    assert traces(WRONG, tmp_path, result.stdout, result.stderr) == []


def test_a_password_that_is_not_there_is_named_by_its_reference(
    call: Call, tmp_path: Path, postgres: PostgresDatabase
) -> None:
    """An unset variable or a missing file: exit 2 with the reference and what to do, before anything is touched."""
    for reference, remedy in (("${env:NOBODY_SET_THIS}", "Set NOBODY_SET_THIS"), ("${file:secret}", "Create the file")):
        lake = lake_on(tmp_path, postgres, reference)
        result = call("--config", lake.path)
        assert result.exit_code == 2
        assert reference in result.stderr
        assert remedy in result.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["conf.json"]


# Java


def test_without_java_a_run_that_needs_spark_ends_before_its_first_effect(shop: Lake, no_java: Mapping[str, str]) -> None:
    """Exit 2 with the package to install; no batch was opened, nothing is staged, landed or published."""
    shop.document["runtime"]["engine"] = "spark"
    shop.save()
    ended = shop.call(environment=no_java)
    assert ended.code == 2
    assert "apt-get install openjdk-17-jre-headless" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert batches(shop) == 0
    assert {"raw", "staging", "warehouse", "catalog.db"} & {path.name for path in shop.root.iterdir()} == set()
    assert spark_logs(shop) == []


def test_without_java_everything_arrives_that_this_process_can_move(shop: Lake, no_java: Mapping[str, str]) -> None:
    """Nobody has to install a JVM for what runs without one."""
    ended = shop.call("--output", "json", environment=no_java)
    assert ended.code == 0
    assert [table["rows_written"] for table in ended.document["tables"]] == [2, 3]
    assert [event["engine"] for event in shop.events() if event["event"] == "engine_chosen"] == ["arrow", "arrow"]
    assert spark_logs(shop) == []


def test_without_java_an_idle_run_still_succeeds(first: First, no_java: Mapping[str, str]) -> None:
    """Nothing new, so nothing needs Spark: exit 0."""
    ended = first.lake.call(*DAY, *SOUND, "--output", "json", environment={**RIGHT, **no_java})
    assert ended.code == 0
    statuses = {table["table"]: (table["status"], table["rows_read"]) for table in ended.document["tables"]}
    assert statuses == {"public.things": ("skipped", 0), "public.changes": ("unchanged", 0)}


@pytest.mark.parametrize("first", ["auto"], indirect=True)
def test_without_java_nothing_is_missed_that_this_process_can_do(first: First, no_java: Mapping[str, str]) -> None:
    """On the next load date a full table is due: it is read and published as ever."""
    ended = first.lake.call("--load-date", "2026-07-02", *SOUND, "--output", "json", environment={**RIGHT, **no_java})
    assert ended.code == 0
    assert [table["status"] for table in ended.document["tables"]] == ["done", "unchanged"]


@pytest.mark.parametrize("first", ["spark"], indirect=True)
def test_without_java_only_what_needs_spark_fails(first: First, no_java: Mapping[str, str]) -> None:
    """On the next load date a full table is due and an scd1 table without news is not: one fails, one is done."""
    before, known = locations(first.lake), batches(first.lake)
    ended = first.lake.call("--load-date", "2026-07-02", *SOUND, "--output", "json", environment={**RIGHT, **no_java})
    assert ended.code == 2
    statuses = {table["table"]: table["status"] for table in ended.document["tables"]}
    assert statuses == {"public.things": "failed", "public.changes": "unchanged"}
    assert ended.document["tables"][0]["failure"]["exit_code"] == 2
    assert (locations(first.lake), batches(first.lake)) == (before, known)

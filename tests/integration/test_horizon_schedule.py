"""A schedule of overlapping transactions with runs in their midst: nothing is lost, and without the horizon rows are.

`make soak` plays a longer one (INGESTION_SOAK_TRANSACTIONS, INGESTION_SOAK_RUNS, INGESTION_SOAK_SEED).
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.model.result import RunResult
from tests.miniature import SmallLakes, scd1, told
from tests.overlapping import Schedule, Session, Statements
from tests.servers.mariadb import MariaDatabase
from tests.servers.postgresql import PostgresDatabase

TRANSACTIONS = int(os.environ.get("INGESTION_SOAK_TRANSACTIONS", "1000"))
RUNS = int(os.environ.get("INGESTION_SOAK_RUNS", "30"))
SEED = int(os.environ.get("INGESTION_SOAK_SEED", "4"))
NAMES = ("moments", "walls", "numbers")

POSTGRESQL = """
CREATE SEQUENCE versions;
CREATE TABLE moments (id bigserial PRIMARY KEY, c timestamptz NOT NULL DEFAULT now(), v int NOT NULL DEFAULT 0);
CREATE TABLE walls (id bigserial PRIMARY KEY, c timestamp NOT NULL DEFAULT localtimestamp, v int NOT NULL DEFAULT 0);
CREATE TABLE numbers (id bigserial PRIMARY KEY, c bigint NOT NULL DEFAULT nextval('versions'), v int NOT NULL DEFAULT 0);
INSERT INTO walls (c) VALUES ('2099-01-01');
"""
MARIADB = """
CREATE SEQUENCE versions;
CREATE TABLE moments (id bigint AUTO_INCREMENT PRIMARY KEY, c timestamp(6) NOT NULL DEFAULT now(6),
  v int NOT NULL DEFAULT 0);
CREATE TABLE walls (id bigint AUTO_INCREMENT PRIMARY KEY, c datetime(6) NOT NULL DEFAULT now(6),
  v int NOT NULL DEFAULT 0);
CREATE TABLE numbers (id bigint AUTO_INCREMENT PRIMARY KEY, c bigint NOT NULL DEFAULT nextval(versions),
  v int NOT NULL DEFAULT 0);
INSERT INTO walls (c) VALUES ('2099-01-01');
"""


@dataclass(frozen=True)
class Stage:
    """A source: its own client, how a writer's session is opened, and how far its horizon lies behind the last commit."""

    ask: Callable[[str], str]
    writer: Callable[[], Any]
    lakes: SmallLakes
    schema: str
    insert: str
    moment: str
    pause: str

    @property
    def tables(self) -> tuple[dict[str, Any], ...]:
        walls = scd1(self.schema, "walls", cursor_timezone="UTC")
        return (scd1(self.schema, "moments"), walls, scd1(self.schema, "numbers", "int"))

    def play(
        self, run: Callable[[], RunResult], transactions: int, runs: int, tables: Sequence[str] = NAMES
    ) -> tuple[Schedule, int]:
        """Play the schedule with runs in between, and two more after the last commit."""
        statements = {
            name: Statements(
                insert=self.insert.format(name=name), update=f"UPDATE {name} SET v = v + 1, c = DEFAULT WHERE id = %s"
            )
            for name in tables
        }
        schedule = Schedule(SEED, [Session(self.writer()) for _ in range(8)], statements, transactions, runs)
        done: list[RunResult] = []
        count = schedule.play(lambda: done.append(run()))
        for _ in range(2):
            self.ask(self.pause)
            done.append(run())
        # A first load by numbers waits until the transactions of its time have ended; no other failure is one.
        failures = [found.failure for result in done for found in result.tables if found.failure is not None]
        assert {failure.exit_code for failure in failures} <= {3}, failures
        assert done[-1].exit_code == 0
        return schedule, count

    def printed(self, name: str) -> dict[int, str]:
        """Every row that is not beyond now, as the database's own client prints it, by id."""
        spelled = "c" if name == "numbers" else self.moment
        where = "" if name == "numbers" else " WHERE c < '2099-01-01'"
        found = self.ask(f"SELECT id, {spelled}, v FROM {name}{where};")
        return {int(line.split("\t")[0]): line.partition("\t")[2] for line in found.split("\n")}


def landed(rows: Sequence[Mapping[str, Any]], name: str) -> dict[int, str]:
    """Published rows as the clients spell them."""
    spelled = {row["id"]: row["c"] if name == "numbers" else f"{row['c']:%Y-%m-%d %H:%M:%S.%f}" for row in rows}
    return {row["id"]: f"{spelled[row['id']]}\t{row['v']}" for row in rows}


@pytest.fixture
def postgresql(tmp_path: Path, postgres: PostgresDatabase) -> Iterator[Stage]:
    db = postgres
    login = {"host": db.host, "port": db.port, "user": db.user}
    postgres.psql(POSTGRESQL)
    with contextlib.ExitStack() as stack:

        def writer() -> Any:
            session = psycopg.connect(**login, password=db.password, dbname=db.database)
            stack.callback(session.close)
            return session

        yield Stage(
            ask=lambda sql: db.psql(f"SET timezone = 'UTC'; {sql}"),
            writer=writer,
            lakes=SmallLakes(tmp_path, {"dialect": "postgresql", **login, "database": db.database}, db.password),
            schema="public",
            insert="INSERT INTO {name} DEFAULT VALUES RETURNING id",
            moment="to_char(c, 'YYYY-MM-DD HH24:MI:SS.US')",
            pause="SELECT pg_sleep(0.11)",
        )


@pytest.fixture
def mysql(tmp_path: Path, mariadb: MariaDatabase) -> Iterator[Stage]:
    db = mariadb
    login = {"host": db.host, "port": db.port, "user": db.user, "database": db.database}
    mariadb.client(MARIADB)
    with contextlib.ExitStack() as stack:

        def writer() -> Any:
            session = pymysql.connect(**login, password=db.password)
            stack.callback(session.close)
            return session

        tls = {"mode": "disable"}
        yield Stage(
            ask=db.client,
            writer=writer,
            lakes=SmallLakes(tmp_path, {"dialect": "mariadb", **login, "tls": tls}, db.password),
            schema=db.database,
            insert="INSERT INTO {name} (v) VALUES (0) RETURNING id",
            moment="c",
            pause="SELECT sleep(2.1);",
        )


def test_no_row_of_overlapping_transactions_is_lost_on_postgresql(postgresql: Stage) -> None:
    """1,000 transactions that end out of order, runs in their midst, a row from 2099, a tie that comes while another moves
    on: after the last commit and two more runs every row is there."""
    lake, count = postgresql.lakes.lake(*postgresql.tables), 0

    def run() -> RunResult:
        nonlocal count
        count += 1
        if count == RUNS // 2:
            at = f"'{postgresql.lakes.watermark(lake, 'public.moments')}+00'"
            first = f"SELECT min(id) FROM moments WHERE c = {at}"
            moved = f"UPDATE moments SET c = now(), v = v + 1 WHERE id = ({first})"
            postgresql.ask(f"BEGIN; INSERT INTO moments (c, v) VALUES ({at}, -1); {moved}; COMMIT;")
        return postgresql.lakes.run(lake)

    with postgresql.lakes.running():
        schedule, runs = postgresql.play(run, TRANSACTIONS, RUNS)
    assert runs >= RUNS - 1
    assert schedule.most_open >= 6
    assert schedule.open_during_runs >= RUNS - 2
    assert schedule.commits_out_of_order > TRANSACTIONS / 3
    for name in NAMES:
        rows = postgresql.printed(name)
        assert len(rows) > TRANSACTIONS / 3
        assert landed(postgresql.lakes.rows(lake, f"public.{name}"), name) == rows
    assert told(lake, "rows_beyond_now")
    assert told(lake, "horizon_held")
    assert any(row["v"] == -1 for row in postgresql.lakes.rows(lake, "public.moments"))


def test_no_row_of_overlapping_transactions_is_lost_on_mariadb(mysql: Stage) -> None:
    """The same, smaller: its lists have whole seconds, so that fewer runs see more."""
    lake = mysql.lakes.lake(*mysql.tables)
    with mysql.lakes.running():
        schedule, _ = mysql.play(lambda: mysql.lakes.run(lake), TRANSACTIONS // 5, RUNS // 3)
    assert schedule.open_during_runs >= RUNS // 3 - 2
    for name in NAMES:
        assert landed(mysql.lakes.rows(lake, f"{mysql.schema}.{name}"), name) == mysql.printed(name)
    assert told(lake, "horizon_held")


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_with_the_horizon_switched_off_rows_are_lost(engine: str, request: pytest.FixtureRequest) -> None:
    """The schedule does put rows below the watermark, in every table. The run says that nothing covers them."""
    stage: Stage = request.getfixturevalue(engine)
    lake = stage.lakes.lake(*stage.tables, horizon="off")
    with stage.lakes.running():
        stage.play(lambda: stage.lakes.run(lake), 300, 10)
    for name in NAMES:
        found = landed(stage.lakes.rows(lake, f"{stage.schema}.{name}"), name)
        assert {number for number, row in stage.printed(name).items() if found.get(number) != row}, name
    assert told(lake, "horizon_waived")


def test_whole_runs_through_spark_lose_none_either(postgresql: Stage, spark: SparkSession) -> None:
    """The schedule cut short, with JDBC reads and Iceberg in place of the small ends."""
    lake = postgresql.lakes.lake(*(t for t in postgresql.tables if t["table"] != "walls"))
    postgresql.play(lambda: lake.run(spark), 40, 3, ("moments", "numbers"))
    for name in ("moments", "numbers"):
        assert landed(lake.rows(f"public.{name}"), name) == postgresql.printed(name)

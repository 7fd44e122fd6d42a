"""Source and target spell and hash every type of primary key alike: a table that was just loaded differs in no bucket.

The source's SQL is compared with Spark's and with DuckDB's, over keys of every type and their edges.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.model.result import TableStatus
from tests.lake import Lake

POSTGRESQL = """
CREATE TABLE every_type (n serial, flag bool, small smallint, big bigint, price numeric(12,3), exact numeric, name text,
  code char(6), id uuid, data bytea, day date, local timestamp, zoned timestamptz,
  changed timestamptz DEFAULT '2024-01-01+00');
INSERT INTO every_type (flag, small, big, price, exact, name, code, id, data, day, local, zoned) VALUES
  (true, -32768, 9223372036854775807, -999999999.999, 1e30, '', 'ab', '00000000-0000-0000-0000-000000000000', '',
   '0001-01-01', '0001-01-01', '0001-01-01+00'),
  (false, 0, -9223372036854775808, 0, 0.10, 'a,b:c', '', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '\\x00ff',
   '9999-12-31', '9999-12-31 23:59:59.999999', '9999-12-31 23:59:59.999999+00'),
  (false, 7, 0, 1.5, -3, E'ü🚲 \\n\\t ', 'é', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\\x2c3a', '1582-10-10',
   '2024-03-31 02:30:00.5', '2024-10-27 02:30:00+02');
INSERT INTO every_type (flag, small, big, price, exact, name, code, id, data, day, local, zoned)
  SELECT g % 2 = 0, g, g * 1000003, g / 7.0, g / 8.0, 'k' || g, chr(97 + g % 26), md5(g::text)::uuid,
    decode(md5(g::text), 'hex'), DATE '1970-01-01' + g, TIMESTAMP '2024-01-01' + g * INTERVAL '1.000001 s',
    TIMESTAMPTZ '2024-01-01+00' + g * INTERVAL '1 h'
  FROM generate_series(1, 200) g;
CREATE TABLE one_text AS SELECT name, changed FROM every_type;
"""
SQLITE = """
CREATE TABLE every_type (n INTEGER, flag BOOLEAN, price DECIMAL(12,3), name TEXT, loose, data BLOB, day DATE,
  local TIMESTAMP, changed TIMESTAMP DEFAULT '2024-01-01 00:00:00');
INSERT INTO every_type (n, flag, price, name, loose, data, day, local) VALUES
  (-9223372036854775808, 1, -99999999.125, '', 15, x'', '0001-01-01', '0001-01-01 00:00:00'),
  (9223372036854775807, 0, 0, 'a,b:c', 7, x'00ff', '9999-12-31', '9999-12-31T23:59:59.999999'),
  (0, 0, 1.5, 'ü🚲 ', 'x', x'2c3a', '1582-10-10', '2024-03-31 02:30:00.5');
WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 200)
INSERT INTO every_type (n, flag, price, name, loose, data, day, local)
  SELECT i, i % 2, i / 8.0, 'k' || i, i, CAST('d' || i AS BLOB), date('1970-01-01', i || ' days'),
    datetime('2024-01-01', i || ' seconds') FROM g;
CREATE TABLE one_text AS SELECT name, changed FROM every_type;
"""
MARIADB = """
CREATE TABLE every_type (n bigint unsigned, tiny tinyint(1), filled int(8) zerofill, price decimal(12,3), name varchar(40),
  folded varchar(40) CHARACTER SET latin1 COLLATE latin1_swedish_ci, code char(6), data varbinary(16),
  fixed binary(4), id uuid, day date, local datetime(6), zoned timestamp(6) DEFAULT '2024-01-01',
  changed timestamp DEFAULT '2024-01-01');
INSERT INTO every_type (n, tiny, filled, price, name, folded, code, data, fixed, id, day, local, zoned) VALUES
  (18446744073709551615, -128, 0, -999999999.999, '', '', 'ab', '', '', '00000000-0000-0000-0000-000000000000', '0001-01-01',
   '0001-01-01 00:00:00', '1970-01-01 00:00:01'),
  (0, 127, 42, 0, 'a,b:c', 'É', '', x'00ff', x'00ff', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '9999-12-31',
   '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07.999999'),
  (1000, 2, 99999999, 1.5, 'ü🚲 x', 'e', 'é', x'2c3a', 'abcd', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '1582-10-10',
   '2024-03-31 02:30:00.5', '2024-10-27 00:30:00');
INSERT INTO every_type (n, tiny, filled, price, name, folded, code, data, fixed, id, day, local, zoned)
  SELECT seq, seq % 100, seq, seq / 7, concat('k', seq), concat('ß', seq), char(97 + seq % 26), unhex(md5(seq)), 'x', uuid(),
    DATE '1970-01-01' + INTERVAL seq DAY, TIMESTAMP '2024-01-01 00:00:00' + INTERVAL seq SECOND,
    TIMESTAMP '2024-01-01 00:00:00' + INTERVAL seq HOUR
  FROM seq_1_to_200;
CREATE TABLE one_text AS SELECT name, changed FROM every_type;
"""
ROWS = 203
KEYS = {
    "postgresql": ("n flag small big price exact name code id data day local zoned", "name"),
    "sqlite": ("n flag price name loose data day local", "name"),
    "mariadb": ("n tiny filled price name folded code data fixed id day local zoned", "name"),
}
# All types as parts of one key, and a key of one column, whose spelling has nothing around it.
NAMES = ("every_type", "one_text")

Connection = dict[str, Any]


def open_postgresql(request: pytest.FixtureRequest, _: Path) -> tuple[Connection, str, Callable[[str], object]]:
    database = request.getfixturevalue("postgres")
    database.psql(POSTGRESQL)
    return database.configured(), "public", database.psql


def open_sqlite(_: pytest.FixtureRequest, root: Path) -> tuple[Connection, str, Callable[[str], object]]:
    path = root / "source.db"

    def run(script: str) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(script)

    run(SQLITE)
    return {"dialect": "sqlite", "database": str(path)}, "main", run


def open_mariadb(request: pytest.FixtureRequest, _: Path) -> tuple[Connection, str, Callable[[str], object]]:
    database = request.getfixturevalue("mariadb")
    database.client(MARIADB)
    return database.configured(), database.database, database.client


OPENERS = {"postgresql": open_postgresql, "sqlite": open_sqlite, "mariadb": open_mariadb}


@pytest.mark.parametrize("engine", ["spark", "arrow"])
@pytest.mark.parametrize("dialect", OPENERS)
def test_keys_of_every_type_are_hashed_alike_and_deletes_among_them_found(
    dialect: str, engine: str, request: pytest.FixtureRequest, tmp_path: Path, spark: SparkSession
) -> None:
    """After the load no bucket differs. Then one row goes from each table: just its bucket differs, and it is gone."""
    connection, schema, change = OPENERS[dialect](request, tmp_path)
    shared = {
        "schema": schema,
        "mode": "scd1",
        "incremental_column": "changed",
        "incr_col_type": "timestamp",
        "deletes": "soft",
        "engine": engine,
    }
    listed = zip(NAMES, KEYS[dialect], strict=True)
    lake = Lake(tmp_path, connection, [{**shared, "table": name, "primary_keys": keys.split()} for name, keys in listed])

    loaded = lake.run(spark)

    assert {(table.status, table.rows_written) for table in loaded.tables} == {(TableStatus.DONE, ROWS)}, loaded
    found = [line for line in lake.events() if line["event"] == "deletes_found"]
    assert {line["table"]: line["differing"] for line in found} == {f"{schema}.{name}": 0 for name in NAMES}
    change("DELETE FROM every_type WHERE name = 'a,b:c'; DELETE FROM one_text WHERE name = 'a,b:c';")

    again = lake.run(spark)

    assert {(table.status, table.rows_deleted) for table in again.tables} == {(TableStatus.DONE, 1)}, again
    assert [line["differing"] for line in lake.events() if line["event"] == "deletes_found"][len(NAMES) :] == [1] * len(
        NAMES
    )

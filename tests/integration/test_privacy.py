"""Columns that are left out and values that are masked: nothing of them arrives, and rows never mix two settings."""

import hashlib
import hmac
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.model.result import TableResult, TableStatus
from tests.lake import Lake
from tests.servers.mariadb import MariaDatabase
from tests.servers.postgresql import PostgresDatabase

DAYS = [date(2026, 7, day) for day in range(1, 10)]
SALT = "0123456789abcdef-salt"
DONE, FAILED = TableStatus.DONE, TableStatus.FAILED
FULL: dict[str, Any] = {"mode": "full"}
SCD1: dict[str, Any] = {
    "mode": "scd1",
    "primary_keys": ["id"],
    "incremental_column": "at",
    "incr_col_type": "timestamp",
}
MASK = {
    "mail": {"method": "hash", "salt": "${file:salt}"},
    "phone": {"method": "truncate", "length": 3},
    "note": {"method": "null"},
}
MADE = """CREATE TABLE people (id INTEGER PRIMARY KEY, at TIMESTAMP, ssn TEXT, mail TEXT, phone TEXT, note TEXT, born DATE);
INSERT INTO people VALUES (1, '2024-01-01 00:00:00', 'CANARY-ssn', 'CANARY@mail', 'ä😀3CANARY', 'CANARY-note', '1990-01-01');
INSERT INTO people VALUES (2, '2024-01-01 00:00:00', NULL, NULL, NULL, NULL, NULL);"""
LATER = """INSERT INTO people VALUES (3, '2024-01-02 00:00:00', 'CANARY-2', '', '12', 'CANARY-2', '1991-02-03');"""


class People:
    """A table ``shop.people`` and the lake that it goes to."""

    def __init__(self, root: Path, table: dict[str, Any], session: SparkSession | None = None) -> None:
        self.root = root
        self._session = session
        root.mkdir(exist_ok=True)
        (root / "salt").write_text(f"{SALT}\n")
        self.change(MADE)
        self.lake = Lake(root, {"dialect": "sqlite", "database": "shop.db"}, [])
        self.set(**table)

    def change(self, script: str) -> None:
        with closing(sqlite3.connect(self.root / "shop.db")) as connection:
            connection.executescript(script)

    def set(self, **table: Any) -> None:
        self.lake.document["tables"] = [{"schema": "shop", "table": "people", **table}]
        self.lake.save()

    def night(self, day: date, **options: Any) -> TableResult:
        (result,) = self.lake.run(self._session, day=day, **options).tables
        return result

    def rows(self) -> dict[int, dict[str, Any]]:
        """The table's rows by id, without housekeeping columns."""
        found = self.lake.table("shop.people").scan().to_arrow().to_pylist()
        return {row["id"]: {k: v for k, v in row.items() if k[0] != "_" and k not in ("id", "at")} for row in found}

    def traces(self) -> list[str]:
        """Files below the lake that hold a value which was to be kept out, in Parquet's columns or in any bytes."""
        found = []
        for path in sorted(self.root.rglob("*")):
            if not path.is_file() or path.name.startswith("shop.db"):
                continue
            held = path.read_bytes()
            if path.suffix == ".parquet":
                held += repr(pq.ParquetFile(path).read().to_pydict()).encode()
            if b"CANARY" in held:
                found.append(str(path.relative_to(self.root)))
        return found


def hashed(text: str, salt: str = SALT) -> str:
    return hmac.new(salt.encode(), text.encode(), hashlib.sha256).hexdigest()


def message_of(result: TableResult) -> str:
    assert result.status is FAILED
    assert result.failure is not None
    return result.failure.message


MASKED = {
    1: {"mail": hashed("CANARY@mail"), "phone": "ä😀3", "note": None, "born": date(1990, 1, 1)},
    2: {"mail": None, "phone": None, "note": None, "born": None},
}


@pytest.mark.parametrize("mode", [FULL, SCD1], ids=["full", "scd1"])
def test_no_file_holds_what_is_left_out_or_masked(tmp_path: Path, mode: dict[str, Any]) -> None:
    """Values are masked before staging: raw, warehouse, state, logs and metadata have never seen them."""
    people = People(tmp_path, {**mode, "exclude_columns": ["SSN"], "mask": MASK})
    assert people.night(DAYS[0]).status is DONE
    assert people.rows() == MASKED
    people.change(LATER)
    assert people.night(DAYS[1]).status is DONE
    assert people.rows()[3] == {"mail": hashed(""), "phone": "12", "note": None, "born": date(1991, 2, 3)}
    assert people.traces() == []
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "salt"]
    assert not [path for path in files if SALT.encode() in path.read_bytes()]


WAYS: dict[str, dict[str, Any]] = {
    "parquet": {**FULL, "sink": "parquet"},
    "query": {**FULL, "query_sql": "SELECT *, ssn || '!' AS more FROM people", "exclude_columns": ["ssn", "more"]},
    "append": {key: value for key, value in SCD1.items() if key != "primary_keys"} | {"mode": "append"},
    "deletes": {**SCD1, "deletes": "hard", "max_delete_fraction": 1},
    "quarantine": {**FULL, "primary_keys": ["born"], "null_keys": "quarantine"},
}


@pytest.mark.parametrize("way", WAYS)
def test_whatever_the_way_nothing_is_left_of_them(tmp_path: Path, way: str) -> None:
    """Both sinks, a query's columns, rows that are added, keys that are compared, and rows that are put aside."""
    people = People(tmp_path, {"exclude_columns": ["ssn"], "mask": MASK, **WAYS[way]})
    assert people.night(DAYS[0]).status is DONE
    people.change(LATER + ("" if way == "append" else "DELETE FROM people WHERE id = 1"))
    assert people.night(DAYS[1]).status is DONE
    assert people.traces() == []
    if way == "parquet":
        assert sorted(pq.read_table(tmp_path / "final/shop/people").column("phone").to_pylist(), key=str) == ["12", None]
    else:
        assert people.rows()[3]["mail"] == hashed("")
        assert (1 in people.rows()) is (way == "append")


def test_what_a_catalog_calls_the_key_may_be_masked_where_no_key_is_used(tmp_path: Path) -> None:
    """A full refresh needs none; but it is no longer what the table is divided by."""
    people = People(tmp_path, {**FULL, "exclude_columns": ["at"], "mask": {"id": MASK["mail"]}})
    assert people.night(DAYS[0]).status is DONE
    assert {row["id"] for row in people.lake.rows("shop.people")} == {hashed("1"), hashed("2")}


def test_a_table_of_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    """All columns masked by null, or excluded: there is nothing to read."""
    names = ["id", "at", "ssn", "mail", "phone", "note", "born"]
    people = People(tmp_path, {**FULL, "mask": {name: {"method": "null"} for name in names}})
    assert "no column left to read" in message_of(people.night(DAYS[0]))
    people.set(**FULL, exclude_columns=["*"])
    assert "has no columns" in message_of(people.night(DAYS[0]))


def test_a_batch_that_was_opened_by_other_settings_is_given_up(tmp_path: Path) -> None:
    """Its staged files have the values: killed before they were published, they are removed, and nothing is taken over."""
    people = People(tmp_path, SCD1)
    assert people.lake.call("--load-date", "2026-07-01", failpoints="after-stage=kill").code != 0
    assert [trace for trace in people.traces() if trace.startswith("staging")]
    people.set(**SCD1, exclude_columns=["ssn"], mask=MASK)
    assert people.night(DAYS[0]).status is DONE
    assert people.rows() == MASKED
    assert people.traces() == []


def test_the_canary_is_found_where_nothing_is_kept_out(tmp_path: Path) -> None:
    """Else the search above would prove nothing."""
    people = People(tmp_path, FULL)
    assert people.night(DAYS[0]).status is DONE
    assert {trace.split("/")[0] for trace in people.traces()} == {"raw", "warehouse"}


def test_a_refusal_shows_no_value(tmp_path: Path) -> None:
    """What cannot land is counted, not quoted; a row without a key is refused in its masked form."""
    people = People(tmp_path, {**FULL, "mask": {"born": {"method": "hash", "salt": "${file:salt}"}}})
    people.change("UPDATE people SET born = 'CANARY-born' WHERE id = 1")
    assert "born" in message_of(people.night(DAYS[0]))
    assert people.traces() == []


def test_a_whole_number_and_a_date_are_hashed_as_they_are_spelled(tmp_path: Path) -> None:
    """1990-01-01 and 7: the same text as of a column that holds it as text."""
    people = People(tmp_path, FULL)
    people.change("ALTER TABLE people ADD COLUMN pin INTEGER; UPDATE people SET pin = -7 WHERE id = 1")
    salted = {"method": "hash", "salt": "${file:salt}"}
    people.set(**FULL, mask={"born": salted, "pin": salted})
    assert people.night(DAYS[0]).status is DONE
    row = people.rows()[1]
    assert (row["born"], row["pin"]) == (hashed("1990-01-01"), hashed("-7"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"exclude_columns": ["sssn"]}, "no column 'sssn' (exclude_columns). Did you mean 'ssn'?"),
        ({"exclude_columns": ["notes_*"]}, "no column 'notes_*' (exclude_columns). Did you mean 'note'?"),
        ({"mask": {"e-mail": {"method": "null"}}}, "no column 'e-mail' (mask). Did you mean 'mail'?"),
        ({"mask": {"born": {"method": "truncate", "length": 2}}}, "cannot be masked by 'truncate'"),
        ({"mask": {"at": {"method": "hash", "salt": "${file:salt}"}}}, "cannot be masked by 'hash'"),
        ({"mask": {"mail": {"method": "hash", "salt": "${file:short}"}}}, "shorter than 16 bytes"),
        ({"mask": {"mail": {"method": "hash", "salt": "${file:gone}"}}}, "No such file"),
    ],
)
def test_what_protects_nobody_stops_the_table(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    """A typing error, a type without one text, a salt that can be guessed: nothing is read."""
    people = People(tmp_path, {**FULL, **settings})
    (tmp_path / "short").write_text("pepper")
    assert said in message_of(people.night(DAYS[0]))
    assert people.traces() == []


def test_defaults_need_not_meet_every_table(tmp_path: Path) -> None:
    """What is said for all tables holds where there is such a column."""
    people = People(tmp_path, FULL)
    people.lake.document["defaults"] = {"exclude_columns": ["password", "s?n"], "mask": {**MASK, "iban": {"method": "null"}}}
    people.lake.save()
    assert people.night(DAYS[0]).status is DONE
    assert people.rows() == MASKED


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], Callable[[People], None]]] = {
    "excluded now": ({}, {"exclude_columns": ["ssn"]}, lambda _: None),
    "no longer excluded": ({"exclude_columns": ["ssn"]}, {}, lambda _: None),
    "masked now": ({}, {"mask": {"ssn": {"method": "null"}}}, lambda _: None),
    "no longer masked": ({"mask": {"ssn": {"method": "truncate", "length": 2}}}, {}, lambda _: None),
    "another salt": (
        {"mask": {"ssn": MASK["mail"]}},
        {"mask": {"ssn": MASK["mail"]}},
        lambda people: (people.root / "salt").write_text("another salt, long enough") and None,
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_rows_of_two_settings_never_stand_beside_each_other(tmp_path: Path, change: str) -> None:
    """The table stops until it is read anew; then no row has a value by the former settings."""
    before, after, meddle = CHANGES[change]
    people = People(tmp_path, {**SCD1, **before})
    assert people.night(DAYS[0]).status is DONE
    former = people.rows()
    meddle(people)
    people.set(**SCD1, **after)
    people.change(LATER)
    said = message_of(people.night(DAYS[2]))
    assert "what is kept out of the lake has changed for ssn" in said
    assert "--reload shop.people" in said
    assert people.rows() == former
    assert people.night(DAYS[3], reload=["shop.people"]).status is DONE
    people.change("INSERT INTO people (id, at, ssn) VALUES (4, '2024-01-03 00:00:00', 'x')")
    assert people.night(DAYS[4]).status is DONE
    fresh = People(tmp_path / "fresh", {**SCD1, **after})
    fresh.change(LATER + "INSERT INTO people (id, at, ssn) VALUES (4, '2024-01-03 00:00:00', 'x')")
    meddle(fresh)
    assert fresh.night(DAYS[0]).status is DONE
    expected = {key: {**dict.fromkeys(people.rows()[key]), **row} for key, row in fresh.rows().items()}
    assert people.rows() == expected


def test_a_full_refresh_follows_by_itself(tmp_path: Path) -> None:
    """Every row is replaced: an excluded column stays in the table, and is empty."""
    people = People(tmp_path, FULL)
    assert people.night(DAYS[0]).status is DONE
    people.set(**FULL, exclude_columns=["ssn"], mask=MASK)
    assert people.night(DAYS[1]).status is DONE
    assert people.rows() == {key: {"ssn": None, **row} for key, row in MASKED.items()}


def test_an_excluded_column_is_nobodys_business(tmp_path: Path) -> None:
    """It comes, changes its type, and the policy that refuses every change does not hear of it."""
    strict = dict.fromkeys(("added", "dropped", "renamed", "retyped", "widened", "narrowed"), "fail")
    people = People(tmp_path, {**SCD1, "exclude_columns": ["ssn*"], "schema_policy": strict})
    assert people.night(DAYS[0]).status is DONE
    people.change("ALTER TABLE people ADD COLUMN ssn_2 INTEGER; ALTER TABLE people DROP COLUMN ssn")
    people.change("INSERT INTO people (id, at) VALUES (3, '2024-01-02 00:00:00')")
    assert people.night(DAYS[1]).status is DONE
    assert sorted(people.rows()[3]) == ["born", "mail", "note", "phone"]
    snapshots = "".join(path.read_text() for path in (tmp_path / "metadata").rglob("*.json"))
    assert "mail" in snapshots
    assert "ssn" not in snapshots


def test_spark_gives_the_same_rows(tmp_path: Path, spark: SparkSession) -> None:
    """Truncated, emptied and left out: row for row what the in-process engine writes, and no trace of the rest."""
    settings = {**FULL, "exclude_columns": ["ssn", "mail"], "mask": {k: MASK[k] for k in ("phone", "note")}}
    dice = random.Random(7)  # noqa: S311 - texts to be cut, of one to four bytes a character
    texts = ["".join(dice.choices("aZ '\n\u00e9e\u0301\u4e2d\U0001f600\U0001f1e9", k=dice.randrange(6))) for _ in range(300)]
    values = [(key, text.replace("'", "''")) for key, text in enumerate(texts, 10)]
    rows = "".join(f"INSERT INTO people (id, phone) VALUES ({key}, '{text}');" for key, text in values)
    lakes = [People(tmp_path / "spark", {**settings, "engine": "spark"}, spark), People(tmp_path / "arrow", settings)]
    for people in lakes:
        people.change(rows)
        assert people.night(DAYS[0]).status is DONE
        assert people.traces() == []
    by_spark, by_arrow = (people.rows() for people in lakes)
    assert by_spark == by_arrow
    assert by_spark[1] == {"phone": "ä😀3", "note": None, "born": date(1990, 1, 1)}
    assert [row["phone"] for key, row in sorted(by_spark.items()) if key >= 10] == [text[:3] for text in texts]
    assert lakes[0].lake.table("shop.people").schema() == lakes[1].lake.table("shop.people").schema()


SERVED = """CREATE TABLE people (id bigint PRIMARY KEY, name varchar(20), born date, pin numeric(30,0), code char(6),
note text);
INSERT INTO people VALUES (9007199254740993, 'CANARY-中', '1990-01-01', 123456789012345678901234567890, 'CANARY', 'CANARY');
INSERT INTO people VALUES (2, NULL, NULL, NULL, NULL, NULL);"""


@pytest.mark.parametrize("server", ["postgres", "mariadb"])
def test_servers_give_the_same_masked_rows(tmp_path: Path, request: pytest.FixtureRequest, server: str) -> None:
    """Whatever arrays the client gives: by a pattern, whose tables need not have every column that it names."""
    database: PostgresDatabase | MariaDatabase = request.getfixturevalue(server)
    run = database.psql if isinstance(database, PostgresDatabase) else database.client
    run(SERVED)
    people = People(tmp_path, FULL)
    (tmp_path / "password").write_text(database.password)
    where = {"host": database.host, "port": database.port, "user": database.user, "database": database.database}
    dialect = "postgresql" if server == "postgres" else "mariadb"
    people.lake.document["connections"] = {"source": {"dialect": dialect, **where, "password": "${file:password}"}}
    schema = "public" if server == "postgres" else database.database
    salted = {"method": "hash", "salt": "${file:salt}"}
    masks = {**dict.fromkeys(("id", "name", "born", "pin", "none"), salted), "code": {"method": "truncate", "length": 2}}
    pattern = {"schema": schema, "table": "peo*", **FULL, "mask": masks, "exclude_columns": ["note", "nothing"]}
    people.lake.document["tables"] = [pattern]
    people.lake.save()
    assert people.night(DAYS[0]).status is DONE
    rows = {row["id"]: row for row in people.lake.rows(f"{schema}.people")}
    assert rows[hashed("9007199254740993")] == {
        "id": hashed("9007199254740993"),
        "name": hashed("CANARY-中"),
        "born": hashed("1990-01-01"),
        "pin": hashed("123456789012345678901234567890"),
        "code": "CA",
    }
    assert set(rows[hashed("2")].values()) == {hashed("2"), None}
    assert people.traces() == []
    people.lake.document["tables"] = [{**pattern, **SCD1, "incremental_column": "born", "incr_col_type": "date", "mask": {}}]
    del people.lake.document["tables"][0]["primary_keys"]
    people.lake.document["tables"][0]["exclude_columns"] = ["id"]
    people.lake.save()
    assert "Column 'id' of table" in message_of(people.night(DAYS[1]))

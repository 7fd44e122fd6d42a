"""Descriptions that the tables of a database share."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ingestion_runtime.endpoints.jdbc.catalogue import MOST_AGE, Catalogue
from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialect import RawTable
from ingestion_runtime.endpoints.jdbc.dialects.sqlite import SQLite
from ingestion_runtime.model.connection import ConnectionSpec
from ingestion_runtime.model.spec import TableSpec

ASKED: list[list[str]] = []


class Listening(SQLite):
    """SQLite, with a note of what it was asked to describe."""

    __slots__ = ()

    def describe_tables(self, connection: Any, tables: Sequence[TableSpec]) -> Mapping[str, RawTable]:
        ASKED.append([table.table for table in tables])
        return super().describe_tables(connection, tables)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    change(path, "CREATE TABLE a (x int); CREATE TABLE b (y int); CREATE TABLE c (z int)")
    return path


@pytest.fixture
def database(place: Path) -> Iterator[Database]:
    ASKED.clear()
    database = Database(ConnectionSpec("shop", "sqlite", str(place)), Listening())
    yield database
    database.close()


def change(path: Path, script: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.executescript(script)
    connection.close()


def table(name: str) -> TableSpec:
    return TableSpec("main", name, "full", "shop")


def names(raw: RawTable | None) -> list[str] | None:
    return None if raw is None else [column.name for column in raw.columns]


def test_the_first_question_describes_all_tables_of_the_run(database: Database) -> None:
    catalogue = Catalogue(database)
    for name in "abc":
        catalogue.add(table(name))
    assert [names(catalogue.describe(table(name))) for name in "abc"] == [["x"], ["y"], ["z"]]
    assert ASKED == [["a", "b", "c"]]


def test_a_table_that_is_not_there_is_asked_for_once(database: Database) -> None:
    catalogue = Catalogue(database)
    assert catalogue.describe(table("gone")) is None
    assert catalogue.describe(table("gone")) is None
    assert ASKED == [["gone"]]


def test_an_old_description_is_asked_for_anew(place: Path, database: Database) -> None:
    """A long run must not judge its last table by what it was at the start."""
    now = [0.0]
    catalogue = Catalogue(database, lambda: now[0])
    catalogue.add(table("b"))
    catalogue.describe(table("a"))
    change(place, "ALTER TABLE b ADD COLUMN more int")
    now[0] = MOST_AGE - 0.1
    assert names(catalogue.describe(table("b"))) == ["y"]
    now[0] = MOST_AGE
    assert names(catalogue.describe(table("b"))) == ["y", "more"]


def test_a_look_sees_what_is_there_now(place: Path, database: Database) -> None:
    catalogue = Catalogue(database)
    catalogue.describe(table("a"))
    change(place, "ALTER TABLE a ADD COLUMN more int")
    assert names(catalogue.look(table("a"))) == ["x", "more"]

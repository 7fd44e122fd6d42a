"""Changes of columns between two runs: each ends as its policy says. What is expected is written down by hand."""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pyiceberg.table import StaticTable
from pyspark.sql import SparkSession

from ingestion_runtime.model.result import TableResult, TableStatus
from ingestion_runtime.results import print_table, result_document
from tests.lake import Lake
from tests.servers.mariadb import MariaServer
from tests.servers.postgresql import PostgresServer

KINDS = ("added", "dropped", "narrowed", "widened", "renamed", "retyped", "nullability")
INTS, TEXTS, FLOATS, MONEY = ("10", "20", "30"), ("'a'", "'b'", "'c'"), ("0.5", "1.5", "0.1"), ("1.25", "2.25", "3.25")


@dataclass(frozen=True)
class Change:
    """One column: its type and its values in rows 1 to 3, what is done to it, and how it must stand in the target.

    ``sql`` follows ALTER TABLE (several statements are separated by semicolons). ``now`` is the column's name afterwards
    (None: there is none) and ``new`` its value in row 4. ``lands`` is the column of the target, or None.
    """

    label: str
    kinds: str
    column: str
    type: str
    values: Sequence[str]
    sql: str
    now: str | None
    new: str = ""
    lands: str | None = None
    rows: Sequence[Any] = ()


@dataclass(frozen=True)
class Table:
    """A table with all its changes. An scd1 table reads again row 2, which is touched, row 3 at the watermark (it is
    another row now), and row 4, which is new; row 1 never. ``words`` are told by the refusal of one that must stop."""

    name: str
    policy: Mapping[str, str]
    changes: Sequence[Change]
    mode: str = "scd1"
    words: Sequence[str] = ()


def to(kind: str, using: str = "") -> str:
    return f"ALTER {{c}} TYPE {kind}{using}"


D = Decimal
BIG = 5_000_000_000
TENTH = 0.10000000149011612  # the float that is nearest to 0.1, as a double

TABLES = [
    Table("evolving", dict.fromkeys(KINDS, "evolve"), [
        Change("added", "added", "", "", (), "ADD a2 text DEFAULT 'x'", "a2", "'y'", "a2 string", (None, "x", "x", "y")),
        Change("dropped", "dropped", "b1", "text", TEXTS, "DROP {c}", None, "", "b1 string", ("a", None, None, None)),
        Change("int to bigint", "widened", "c1", "int", INTS, to("bigint"), "c1", str(BIG), "c1 long", (10, 20, 30, BIG)),
        Change("real to double", "widened", "d1", "real", FLOATS, to("float8"), "d1", "0.1", "d1 double",
               (0.5, 1.5, TENTH, 0.1)),
        Change("more digits", "widened", "e1", "numeric(8,2)", MONEY, to("numeric(12,2)"), "e1", "1234567890.12",
               "e1 decimal(12, 2)", (D("1.25"), D("2.25"), D("3.25"), D("1234567890.12"))),
        Change("bigint to int", "narrowed", "f1", "bigint", INTS, to("int"), "f1", "40", "f1 long", (10, 20, 30, 40)),
        Change("fewer digits", "narrowed", "g1", "numeric(12,2)", MONEY, to("numeric(8,2)"), "g1", "4.25",
               "g1 decimal(12, 2)", (D("1.25"), D("2.25"), D("3.25"), D("4.25"))),
        Change("double to real", "narrowed", "h1", "float8", FLOATS, to("real"), "h1", "0.1", "h1 double",
               (0.5, 1.5, TENTH, TENTH)),
        Change("renamed", "renamed", "i1", "text", TEXTS, "RENAME {c} TO i2", "i2", "'d'", "i2 string",
               ("a", "b", "c", "d")),
        Change("renamed and widened", "renamed widened", "j1", "int", INTS, "RENAME {c} TO j2; ALTER j2 TYPE bigint", "j2",
               str(BIG), "j2 long", (10, 20, 30, BIG)),
        Change("text to int", "retyped", "k1", "text", ("'007'", "'20'", "'30'"), to("int", " USING k1::int"), "k1", "-4",
               "k1 string", ("007", "20", "30", "-4")),
        Change("numeric to int", "retyped", "l1", "numeric(14,2)", ("1.00", "2.00", "3.00"), to("int"), "l1", "40",
               "l1 decimal(14, 2)", (D(1), D(2), D(3), D(40))),
        Change("may be NULL", "nullability", "m1", "int NOT NULL", INTS, "ALTER {c} DROP NOT NULL", "m1", "NULL", "m1 int",
               (10, 20, 30, None)),
        Change("may not be NULL", "nullability", "n1", "int", INTS, "ALTER {c} SET NOT NULL", "n1", "40", "n1 int",
               (10, 20, 30, 40)),
    ]),
    Table("ignoring", dict.fromkeys(KINDS, "ignore"), [
        Change("added, ignored", "added", "", "", (), "ADD a2 text DEFAULT 'x'", "a2", "'y'"),
        Change("dropped, ignored", "dropped", "b1", "text", TEXTS, "DROP {c}", None, "", "b1 string", ("a", "b", "c", None)),
        Change("int to bigint, ignored", "widened", "c1", "int", INTS, to("bigint"), "c1", "2147483647", "c1 int",
               (10, 20, 30, 2_147_483_647)),
        Change("real to double, ignored", "widened", "d1", "real", FLOATS, to("float8"), "d1", "'-Infinity'", "d1 float",
               (0.5, 1.5, TENTH, float("-inf"))),
        Change("more digits, ignored", "widened", "e1", "numeric(8,2)", MONEY, to("numeric(12,2)"), "e1", "-999999.99",
               "e1 decimal(8, 2)", (D("1.25"), D("2.25"), D("3.25"), D("-999999.99"))),
        Change("bigint to int, ignored", "narrowed", "f1", "bigint", INTS, to("int"), "f1", "40", "f1 long",
               (10, 20, 30, 40)),
        Change("renamed, ignored", "dropped added", "g1", "text", TEXTS, "RENAME {c} TO g2", "g2", "'d'", "g1 string",
               ("a", "b", "c", None)),
        Change("int to numeric, ignored", "retyped", "h1", "int", INTS, to("numeric(12,2)"), "h1", "40.00", "h1 int",
               (10, 20, 30, 40)),
        Change("may be NULL, ignored", "nullability", "i1", "int NOT NULL", INTS, "ALTER {c} DROP NOT NULL", "i1", "NULL",
               "i1 int", (10, 20, 30, None)),
    ]),
    Table("refreshed", dict.fromkeys(KINDS, "evolve"), [
        Change("dropped in full", "dropped", "a1", "text", TEXTS, "DROP {c}", None, "", "a1 string", (None,) * 4),
        Change("renamed in full", "renamed", "b1", "int", INTS, "RENAME {c} TO b2", "b2", "40", "b2 int", (10, 20, 30, 40)),
        Change("int to text in full", "retyped", "c1", "int", INTS, to("text", " USING c1 || '!'"), "c1", "'40?'",
               "c1 string", ("10!", "20!", "30!", "40?")),
        Change("numeric to date in full", "retyped", "e1", "numeric(6,0)", INTS,
               "DROP {c}; ALTER TABLE {t} ADD e1 date DEFAULT '2024-02-29'", "e1", "'2024-03-01'", "e1 date",
               (date(2024, 2, 29), date(2024, 2, 29), date(2024, 2, 29), date(2024, 3, 1))),
    ], mode="full"),
    Table("strict", dict.fromkeys(KINDS, "fail"), [
        Change("", "", "", "", (), "ADD a2 text", "a2", "NULL"),
        Change("", "", "b1", "text", TEXTS, "DROP {c}", None),
        Change("", "", "c1", "int", INTS, to("bigint"), "c1", "1"),
        Change("", "", "d1", "bigint", INTS, to("int"), "d1", "1"),
        Change("", "", "e1", "text", TEXTS, "RENAME {c} TO e2", "e2", "'d'"),
        Change("", "", "f1", "int", INTS, to("text"), "f1", "'x'"),
        Change("", "", "g1", "int NOT NULL", INTS, "ALTER {c} DROP NOT NULL", "g1", "NULL"),
    ], words=["new: a2 (string)", "missing: b1 (string)", "widened: c1 (int32 -> int64)", "narrowed: d1 (int64 -> int32)",
              "renamed: e1 -> e2", "type changed: f1 (int32 -> string)", "nullability: g1 (may be NULL)"]),
    Table("usual", {}, [
        Change("", "", "a1", "text", TEXTS, "DROP {c}", None),
        Change("", "", "b1", "text", TEXTS, "RENAME {c} TO b2", "b2", "'d'"),
    ], words=["missing: a1 (string)", "dropped: evolve", "renamed: b1 -> b2", "renamed: ignore"]),
    Table("misfits", dict.fromkeys(KINDS, "ignore"), [
        Change("", "", "a1", "int", INTS, to("bigint"), "a1", "2147483648"),
        Change("", "", "b1", "int", INTS, to("numeric(12,2)"), "b1", "40.01"),
    ], words=["column 'a1' (bigint): 1 values are no whole numbers from -2147483648 to 2147483647",
              "column 'b1' (numeric(12,2)): 1 values are no whole numbers"]),
    Table("unfloat", {"widened": "ignore"}, [
        Change("", "", "a1", "real", FLOATS, to("float8"), "a1", "0.1"),
    ], words=["Column a1 holds a number that is no float"]),
    Table("unfit", {}, [
        Change("", "", "a1", "int", INTS, to("text"), "a1", "'x'"),
    ], words=["type that the table cannot hold: a1 (int32 -> string)", "Cast it in query_sql"]),
    Table("in_place", {"renamed": "evolve"}, [
        Change("", "", "a1", "text", TEXTS, "DROP {c}; ALTER TABLE {t} ADD a2 text", "a2", "'d'"),
    ], words=["missing: a1 (string)"]),
    Table("recased", {"renamed": "evolve"}, [
        Change("", "", "a1", "text", TEXTS, 'RENAME {c} TO "A1"', '"A1"', "'d'"),
    ], words=["renamed in case only: a1 -> A1"]),
    Table("rekeyed", {"renamed": "evolve", "dropped": "evolve"}, [
        Change("", "", "a1", "text", TEXTS, "RENAME id TO key", "a1", "'d'"),
    ], words=["has no column 'id' (primary_keys)"]),
    Table("exchanged", {"renamed": "evolve"}, [
        Change("", "", "a1", "text", TEXTS, "RENAME {c} TO x; RENAME b1 TO a1; RENAME x TO b1", "a1", "'d'"),
        Change("", "", "b1", "text", TEXTS, "ADD c1 int", "b1", "'d'"),
    ], words=["names exchanged: ", "a1 -> b1", "b1 -> a1"]),
]  # fmt: skip
PASSING = [(table, change) for table in TABLES if not table.words for change in table.changes]
STOPPED = [table for table in TABLES if table.words]


def spec_of(name: str, policy: Mapping[str, str], mode: str = "scd1", schema: str = "public") -> dict[str, Any]:
    cursor = {"incremental_column": "at", "incr_col_type": "timestamp"} if mode == "scd1" else {}
    return {"schema": schema, "table": name, "mode": mode, "primary_keys": ["id"], **cursor, "schema_policy": dict(policy)}


def create(table: Table) -> str:
    columns = [change for change in table.changes if change.column]
    declared = ", ".join(f"{change.column} {change.type}" for change in columns)
    rows = [
        f"({row}, {', '.join(change.values[row - 1] for change in columns)}, '2024-01-01 0{row}:00+00')" for row in (1, 2, 3)
    ]
    return (
        f"CREATE TABLE {table.name} (id int PRIMARY KEY, {declared}, at timestamptz NOT NULL);"
        f"INSERT INTO {table.name} VALUES {', '.join(rows)};"
    )


def alter(table: Table) -> str:
    """Touch row 2, make the changes, and add row 4."""
    t, key = table.name, "key" if table.name == "rekeyed" else "id"
    steps = [f"UPDATE {t} SET at = '2024-01-01 04:00+00' WHERE id = 2"]
    for change in table.changes:
        sql = change.sql.format(c=change.column, t=t)
        steps += [step if step.strip().startswith("ALTER TABLE") else f"ALTER TABLE {t} {step}" for step in sql.split(";")]
    present = [change for change in table.changes if change.now]
    names = ", ".join(str(change.now) for change in present)
    values = ", ".join(change.new for change in present)
    steps.append(f"INSERT INTO {t} ({key}, at, {names}) VALUES (4, '2024-01-01 05:00+00', {values})")
    return ";".join(steps)


@dataclass(frozen=True)
class Chapter:
    """All tables before and after the run that met their changes."""

    lake: Lake
    before: Mapping[str, str]
    results: Mapping[str, TableResult]
    document: Mapping[str, Any]
    printed: str
    events: Sequence[Mapping[str, Any]]
    again: Mapping[str, TableResult] = field(default_factory=dict)

    def drift(self, name: str) -> list[dict[str, Any]]:
        """What the events told of one table."""
        told = [e for e in self.events if e["event"] == "schema_drift" and e["table"] == f"public.{name}"]
        return [change for event in told for change in event["changes"]]


def by_name(result: Any) -> dict[str, TableResult]:
    return {table.table.partition(".")[2]: table for table in result.tables}


@pytest.fixture(scope="module")
def changed(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer, spark: SparkSession
) -> Iterator[Chapter]:
    """One configuration with all tables, loaded, changed, run again, and once more without a change."""
    root = tmp_path_factory.mktemp("changes")
    database = postgres_server.create_database()
    lake = Lake(root, database.configured(), [spec_of(table.name, table.policy, table.mode) for table in TABLES])
    database.psql("".join(create(table) for table in TABLES))
    assert lake.run(spark).exit_code == 0
    before = {table.name: lake.table(f"public.{table.name}").metadata_location for table in TABLES}
    database.psql(";".join(alter(table) for table in TABLES))
    told = len(lake.events())
    result = lake.run(spark, day=date(2026, 7, 2))
    events = lake.events()[told:]
    with pytest.MonkeyPatch.context() as patch:
        shown = root / "stderr"
        with shown.open("w") as stderr:
            patch.setattr("sys.stderr", stderr)
            print_table(result)
    again = by_name(lake.run(spark, day=date(2026, 7, 3)))
    yield Chapter(lake, before, by_name(result), result_document(result), shown.read_text(), events, again)
    postgres_server.drop_database(database.database)


def column_of(lake: Lake, name: str, column: str) -> tuple[str, list[Any]]:
    """Return a target's column, spelled as in the cases, and its values in the order of the ids."""
    kind = lake.table(name).schema().find_field(column).field_type
    return f"{column} {kind}", [row[column] for row in sorted(lake.rows(name), key=lambda row: row["id"])]


def test_there_are_thirty_of_them() -> None:
    """As many as were asked for, not counting those on other engines."""
    assert len(PASSING) + sum(len(table.changes) for table in STOPPED) >= 30


@pytest.mark.parametrize(("table", "change"), PASSING, ids=lambda item: getattr(item, "label", ""))
def test_a_change_that_may_pass_ends_as_its_policy_says(changed: Chapter, table: Table, change: Change) -> None:
    """Name, type and every value of the target's column, or that there is none; the event names the change."""
    assert changed.results[table.name].status is TableStatus.DONE, changed.results[table.name].failure
    name = f"public.{table.name}"
    if change.lands is None:
        assert change.now not in changed.lake.table(name).schema().column_names
    else:
        assert column_of(changed.lake, name, change.lands.partition(" ")[0]) == (change.lands, list(change.rows))
    told = {c["change"] for c in changed.drift(table.name) if c["column"] in (change.column, change.now)}
    assert told >= set(change.kinds.split())
    assert not any(c["refused"] for c in changed.drift(table.name))


@pytest.mark.parametrize("table", STOPPED, ids=lambda table: table.name)
def test_a_change_that_may_not_pass_stops_its_table_alone(changed: Chapter, table: Table) -> None:
    """The message names columns, types and remedies; the target is the very one that it was, to the last commit."""
    result = changed.results[table.name]
    assert result.status is TableStatus.FAILED
    assert result.failure is not None
    assert result.failure.exit_code == 1
    assert all(words in result.failure.message for words in table.words), result.failure.message
    assert changed.lake.table(f"public.{table.name}").metadata_location == changed.before[table.name]


def test_a_renamed_column_keeps_its_place_in_history(changed: Chapter) -> None:
    """It is the same field of the table, so that older snapshots and files show their values under the new name."""
    table = changed.lake.table("public.evolving")
    first = table.schemas()[0].find_field("i1")
    assert table.schema().find_field("i2").field_id == first.field_id


def test_a_replaced_type_shows_the_former_table_or_the_new_one(changed: Chapter) -> None:
    """Whoever reads at any commit finds the rows of before in their type, or those of now in theirs, and never a mixture;
    nothing of the change is left behind."""
    table = changed.lake.table("public.refreshed")
    seen = set()
    for entry in [*(log.metadata_file for log in table.metadata.metadata_log), table.metadata_location]:
        at = StaticTable.from_metadata(entry)
        rows = at.scan(selected_fields=("id", "c1")).to_arrow().to_pylist()
        seen.add((str(at.schema().find_field("c1").field_type), *sorted(row["c1"] for row in rows)))
    assert seen == {("int", 10, 20, 30), ("string", "10!", "20!", "30!", "40?")}
    assert not [name for name in table.schema().column_names if name.startswith("_ingest_next")]


def test_a_stop_tells_the_whole_difference_to_programs(changed: Chapter) -> None:
    """In the run's document and in the event: each column with both types, the policy, and what to do about it."""
    (table,) = [t for t in changed.document["tables"] if t["table"] == "public.strict"]
    told = json.loads(json.dumps(table["failure"]["changes"]))
    assert {(c["column"], c["before"], c["after"], c["change"], c["policy"], c["refused"]) for c in told} == {
        ("a2", "", "text (string)", "added", "fail", True),
        ("b1", "text (string)", "", "dropped", "fail", True),
        ("c1", "integer (int)", "bigint (long)", "widened", "fail", True),
        ("d1", "bigint (long)", "integer (int)", "narrowed", "fail", True),
        ("e2", "e1 text (string)", "e2 text (string)", "renamed", "fail", True),
        ("f1", "integer (int)", "text (string)", "retyped", "fail", True),
        ("g1", "integer (int) NOT NULL", "integer (int)", "nullability", "fail", True),
    }
    assert all(c["advice"] for c in told)
    assert changed.drift("strict") == told


def test_a_stop_shows_the_difference_to_people(changed: Chapter) -> None:
    """As a table under the message, on stderr: column, before, now, change, policy, and what to do."""
    lines = changed.printed.splitlines()
    (start,) = [i for i, line in enumerate(lines) if "How public.strict differs" in line]
    header = lines[start + 1].split()
    assert header == ["column", "before", "now", "change", "policy", "what", "to", "do"]
    (row,) = [line for line in lines[start:] if line.strip().startswith("c1")][:1]
    assert row.split()[:7] == ["c1", "integer", "(int)", "bigint", "(long)", "widened", "fail"]


def test_the_run_after_has_nothing_new_to_say(changed: Chapter) -> None:
    """What evolved is the new state, what is ignored stays so, and what is refused is refused again."""
    ended = {name: result.status for name, result in changed.again.items()}
    assert {name for name, status in ended.items() if status is TableStatus.FAILED} == {table.name for table in STOPPED}
    assert ended["evolving"] is TableStatus.UNCHANGED
    assert ended["ignoring"] is TableStatus.UNCHANGED


# ---------------------------------------------------------------- engines that give columns no identity


def test_changes_on_sqlite_end_as_their_policies_say(spark: SparkSession, tmp_path: Any) -> None:
    """A rename is recognised by place and type; a column that became a number lands as text where text was before."""

    def sql(script: str) -> None:
        with sqlite3.connect(tmp_path / "shop.db") as database:
            database.executescript(script)

    policies = {"changing": {"renamed": "evolve", "dropped": "ignore"}, "renaming": {}}
    for name in policies:
        sql(
            f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, a1 TEXT, b1 TEXT, at TEXT NOT NULL);"
            f"INSERT INTO {name} VALUES (1, 'a', '7', '2024-01-01 01:00:00'), (2, 'b', '8', '2024-01-01 02:00:00')"
        )
    tables = [spec_of(name, policy, schema="main") for name, policy in policies.items()]
    lake = Lake(tmp_path, {"dialect": "sqlite", "database": str(tmp_path / "shop.db")}, tables)
    assert lake.run(spark).exit_code == 0
    for name in policies:
        sql(f"ALTER TABLE {name} RENAME a1 TO a2; UPDATE {name} SET b1 = '9' WHERE id = 2")

    second = by_name(lake.run(spark, day=date(2026, 7, 2)))
    assert second["changing"].failure is None
    sql(
        "CREATE TABLE n AS SELECT id, a2, CAST(b1 AS INTEGER) b1, at FROM changing; DROP TABLE changing;"
        "CREATE TABLE changing (id INTEGER PRIMARY KEY, b1 INTEGER, at TEXT NOT NULL, c1 INTEGER DEFAULT 5);"
        "INSERT INTO changing SELECT id, b1, at, 5 FROM n; INSERT INTO changing VALUES (3, -9, '2024-01-01 03:00:00', 6)"
    )
    third = by_name(lake.run(spark, day=date(2026, 7, 3)))

    assert third["changing"].failure is None
    assert column_of(lake, "main.changing", "a2") == ("a2 string", ["a", "b", None])
    assert column_of(lake, "main.changing", "b1") == ("b1 string", ["7", "9", "-9"])
    assert column_of(lake, "main.changing", "c1") == ("c1 long", [None, 5, 6])
    failure = third["renaming"].failure
    assert failure is not None
    assert "renamed: a1 -> a2" in failure.message


def test_changes_on_mariadb_end_as_their_policies_say(
    spark: SparkSession, mariadb_server: MariaServer, tmp_path: Any
) -> None:
    """Added, widened and renamed evolve; wider, and ignored, the values must fit."""
    database = mariadb_server.create_database()
    (tmp_path / "password").write_text(database.password)
    address = {"host": database.host, "port": database.port, "database": database.database}
    policies = {"changing": {"renamed": "evolve"}, "keeping": {"widened": "ignore"}, "misfit": {"widened": "ignore"}}
    for name in policies:
        database.client(
            f"CREATE TABLE {name} (id int PRIMARY KEY, a1 int, b1 decimal(8,2), c1 varchar(9), at timestamp(6) NOT NULL);"
            f"INSERT INTO {name} VALUES (1, 10, 1.25, 'a', '2024-01-01 01:00:00'), (2, 20, 2.25, 'b', '2024-01-01 02:00:00')"
        )
    tables = [spec_of(name, policy, schema=database.database) for name, policy in policies.items()]
    connection = {"dialect": "mariadb", **address, "user": database.user, "password": "${file:password}"}
    lake = Lake(tmp_path, connection, tables)
    assert by_name(lake.run(spark))["misfit"].failure is None
    for name, value in {"changing": BIG, "keeping": 2_147_483_647, "misfit": BIG}.items():
        database.client(
            f"ALTER TABLE {name} MODIFY a1 bigint, MODIFY b1 decimal(12,2);"
            f"INSERT INTO {name} VALUES (3, {value}, 3.25, 'c', '2024-01-01 03:00:00')"
        )
    database.client("ALTER TABLE changing CHANGE c1 c2 varchar(9); ALTER TABLE keeping ADD d1 int DEFAULT 5")
    results = by_name(lake.run(spark, day=date(2026, 7, 2)))
    schema = database.database
    mariadb_server.drop_database(schema)

    assert column_of(lake, f"{schema}.changing", "a1") == ("a1 long", [10, 20, BIG])
    assert column_of(lake, f"{schema}.changing", "b1") == ("b1 decimal(12, 2)", [D("1.25"), D("2.25"), D("3.25")])
    assert column_of(lake, f"{schema}.changing", "c2") == ("c2 string", ["a", "b", "c"])
    assert column_of(lake, f"{schema}.keeping", "a1") == ("a1 int", [10, 20, 2_147_483_647])
    assert column_of(lake, f"{schema}.keeping", "b1") == ("b1 decimal(8, 2)", [D("1.25"), D("2.25"), D("3.25")])
    assert column_of(lake, f"{schema}.keeping", "d1") == ("d1 int", [None, 5, 5])
    failure = results["misfit"].failure
    assert failure is not None
    assert "column 'a1' (bigint(20)): 1 values are no whole numbers" in failure.message

"""A source's rows, counted, summed and hashed by its own SQL, are those of the target that they were loaded into.

Every type of every dialect, value by value: PostgreSQL, MariaDB and SQLite against DuckDB over Iceberg.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from ingestion_runtime.endpoints.engine import EngineSwitch
from ingestion_runtime.endpoints.jdbc.chosen import ChosenReader
from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialects import dialect_for
from ingestion_runtime.endpoints.jdbc.source import JdbcSource
from ingestion_runtime.model.comparison import (
    Basis,
    ComparableSource,
    ComparedColumn,
    Grouping,
    KeyFaults,
    LeftOut,
    SourceView,
)
from ingestion_runtime.model.connection import ConnectionSpec, Tls
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.spec import TableSpec
from tests.comparing import both_sides
from tests.lake import Lake
from tests.servers.mariadb import MariaDatabase
from tests.servers.postgresql import PostgresDatabase, PostgresServer
from tests.values.columns import rows as made_rows
from tests.values.mariadb import MariaSource
from tests.values.postgresql import PostgresSource
from tests.values.refusals import MARIADB, POSTGRESQL, SQLITE, Refusal
from tests.values.sqlite import SqliteSource

DIALECTS = ("postgresql", "mariadb", "sqlite")
ZONE = "America/New_York"


class Password:
    def __init__(self, value: str) -> None:
        self.value = value

    def resolve(self) -> str:
        return self.value


@dataclass
class Shop:
    """A database that tests fill, and the ways to it: as a configuration has it, and as the program has it."""

    dialect: str
    schema: str
    connection: dict[str, Any]
    run: Callable[[str], object]
    spec: ConnectionSpec
    opened: list[Database] = field(default_factory=list)

    def source(self, table: str, **settings: Any) -> ComparableSource:
        """Return a table's rows to be compared, without a target; no reader is ever asked."""
        database = Database(self.spec, dialect_for(self.spec.dialect))
        self.opened.append(database)
        spec = TableSpec(self.schema, table, **{"mode": "full", "connection": "shop", **settings})
        return JdbcSource(spec, database, NO_READER).comparable()

    def lake(self, root: Path, *tables: dict[str, Any], **connection: Any) -> Lake:
        """Load tables into a lake of their own."""
        common = {"schema": self.schema, "engine": "arrow"}
        lake = Lake(root, {**self.connection, **connection}, [{**common, **table} for table in tables])
        self.load(lake)
        return lake

    def load(self, lake: Lake) -> None:
        result = lake.run(None)
        assert {table.status for table in result.tables} <= {TableStatus.DONE, TableStatus.UNCHANGED}, result


NO_READER = ChosenReader(EngineSwitch(lambda: pytest.fail("no engine is needed"), lambda _, __: None), None, None)  # type: ignore[arg-type]


def open_shop(dialect: str, request: pytest.FixtureRequest, root: Path) -> Shop:
    if dialect == "sqlite":
        path = root / "source.db"
        # With a write-ahead log, so that others may write while a view is open.
        run_sqlite(path, "PRAGMA journal_mode = WAL")
        connection = {"dialect": "sqlite", "database": str(path)}
        spec = ConnectionSpec("shop", "sqlite", str(path))
        return Shop(dialect, "main", connection, lambda script: run_sqlite(path, script), spec)
    server: PostgresDatabase | MariaDatabase
    server = request.getfixturevalue("postgres" if dialect == "postgresql" else "mariadb")
    (root / "password").write_text(f"{server.password}\n")
    login = {"user": server.user, "password": "${file:password}", "database": server.database}
    address = {"host": server.host, "port": server.port, "tls": {"mode": "disable"}}
    spec = ConnectionSpec(
        "shop", dialect, server.database, server.host, server.port, server.user, Password(server.password), Tls("disable")
    )
    connection = {"dialect": dialect, **address, **login}
    if isinstance(server, PostgresDatabase):
        return Shop(dialect, "public", connection, server.psql, spec)
    return Shop(dialect, server.database, connection, server.client, spec)


def run_sqlite(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


@pytest.fixture(params=DIALECTS)
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    opened = open_shop(request.param, request, tmp_path)
    yield opened
    for database in opened.opened:
        database.close()


def merged(table: str, **settings: Any) -> dict[str, Any]:
    cursor = {"incremental_column": "at", "incr_col_type": "timestamp"}
    return {"table": table, "mode": "scd1", "primary_keys": ["id"], **cursor, **settings}


def columns_of(source: ComparableSource, *names: str) -> tuple[ComparedColumn, ...]:
    schema = source.columns()
    return tuple(ComparedColumn(name, name, schema.field(name).type) for name in names or schema.names)


@contextmanager
def viewed(source: ComparableSource, keys: Sequence[str] = ("id",), *names: str) -> Iterator[SourceView]:
    with source.view(Basis(columns_of(source, *keys) if keys else (), columns_of(source, *names)), None) as view:
        yield view


VALUES = {
    "postgresql": lambda request, _, root: PostgresSource(request.getfixturevalue("postgres"), root),
    "mariadb": lambda request, _, root: MariaSource(*map(request.getfixturevalue, ("mariadb_server", "mariadb")), root),
    "sqlite": lambda _, __, root: SqliteSource(root / "source.db"),
    "sqlite utf-16le": lambda _, __, root: SqliteSource(root / "source.db", "utf-16le"),
}


@pytest.mark.parametrize("kind", VALUES)
def test_every_value_of_every_type_is_hashed_as_in_the_target(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A thousand rows of every type and its edges, through a table with a declared key and a query without one."""
    source = VALUES[kind](request, None, tmp_path)
    source.create()
    try:
        source.move_to(ZONE)
        source.fill(made_rows(source.columns(ZONE), 0), datetime(2024, 1, 1, tzinfo=UTC), ZONE)
    finally:
        source.move_home()
    entry = {**merged("everything"), "schema": source.schema, "engine": "arrow"}
    lake = Lake(tmp_path, source.connection, [entry, {**entry, "table": "asked", "query_sql": "SELECT * FROM everything"}])

    assert {table.status for table in lake.run(None).tables} == {TableStatus.DONE}

    for table in ("everything", "asked"):
        with both_sides(lake, f"{source.schema}.{table}") as sides:
            assert len(sides.basis.columns) == len(source.columns(ZONE)) + 2
            assert sides.differing() == set()
            assert sides.differing_keys() == []
            assert sides.source.rows.checksum() == sides.target.checksum()
            assert sides.source.rows.buckets(4) == sides.target.buckets(4)
            for group in map(Grouping, sides.basis.columns[2:] if table == "everything" else ()):
                assert sides.source.rows.group_counts([group]) == sides.target.group_counts([group]), group.column.target
            few = [row.key_hash for row in sides.target.hashes(["0"])]
            assert few
            assert dict(sides.source.rows.values(few)) == dict(sides.target.values(few))


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_text_of_a_database_in_another_encoding_is_counted_in_letters_and_hashed_in_utf8(
    encoding: str, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    database = postgres_server.create_database(options=f"ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'")
    known = "" if encoding == "SQL_ASCII" else "SET client_encoding = 'UTF8';"
    database.psql(
        f"{known} CREATE TABLE t (id text, code char(6), at timestamptz, PRIMARY KEY (id, code));"
        " INSERT INTO t VALUES ('é', 'ß', '2024-01-01'), ('a,b:c', 'x', '2024-01-01'), ('', '', '2024-01-02')"
    )
    lake = Lake(
        tmp_path,
        database.configured(),
        [{**merged("t", primary_keys=["id", "code"]), "schema": "public", "engine": "arrow"}],
    )
    assert [table.status for table in lake.run(None).tables] == [TableStatus.DONE]

    with both_sides(lake, "public.t") as sides:
        assert sides.source.rows.count() == 3
        assert sides.differing_keys() == []


BAD = {"postgresql": POSTGRESQL, "mariadb": MARIADB, "sqlite": SQLITE}


@pytest.mark.parametrize("dialect", BAD)
def test_a_value_that_cannot_land_is_spelled_unlike_null(
    dialect: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Put into the source behind the program's back it is a difference; it neither fails the comparison nor is missed."""
    shop = open_shop(dialect, request, tmp_path)
    bad = {refusal: f"bad{place}" for place, refusal in enumerate(BAD[dialect])}
    mode = "SET sql_mode = 'ALLOW_INVALID_DATES'; " if dialect == "mariadb" else ""
    shop.run(mode + "".join(map(make_bad, bad.values(), bad)))
    missed = []
    for refusal, name in bad.items():
        source = shop.source(name, primary_keys=("id",))
        with viewed(source, ("id",), "bad") as view:
            hashed = {row.key: row.row_hash for row in view.rows.hashes(list("0123456789abcdef"))}
        assert set(hashed) == {("1",), ("2",)}
        missed += [str(refusal)] if hashed["1",] == hashed["2",] else []
    for database in shop.opened:
        database.close()
    assert missed == []


def make_bad(name: str, refusal: Refusal) -> str:
    null = " NULL" if "timestamp" in refusal.declared else ""
    created = f"CREATE TABLE {name} (id int, bad {refusal.declared}{null});"
    return f"{created} INSERT INTO {name} VALUES (1, {refusal.literal}), (2, NULL);"


MOMENTS = {"postgresql": "timestamptz", "mariadb": "timestamp(6) NULL", "sqlite": "DATETIME"}
ROWS = "(1, 'a', '2024-01-01 00:00:00'), (2, 'b', '2024-01-02 00:00:00'), (3, 'c', '2024-01-03 00:00:00'), (4, 'd', NULL)"


def test_rows_that_changed_after_the_watermark_take_no_part_on_either_side(shop: Shop, tmp_path: Path) -> None:
    """Later ones, and the re-read set as soon as anything in it has changed; what changed silently is a difference."""
    shop.run(f"CREATE TABLE t (id int PRIMARY KEY, v varchar(20), at {MOMENTS[shop.dialect]}); INSERT INTO t VALUES {ROWS};")
    lake = shop.lake(tmp_path, merged("t"))
    name = f"{shop.schema}.t"
    with both_sides(lake, name) as sides:
        assert sides.source.left_out == LeftOut()
        assert (sides.source.rows.count(), sides.target.count(), sides.differing_keys()) == (4, 4, [])

    shop.run(
        "UPDATE t SET v = 'A', at = '2024-02-01 00:00:00' WHERE id = 1; UPDATE t SET v = 'silent' WHERE id = 2;"
        " INSERT INTO t VALUES (5, 'new', '2024-02-02 00:00:00');"
    )

    with both_sides(lake, name) as sides:
        assert sides.source.left_out == LeftOut(later=2)
        assert (sides.source.rows.count(), sides.target.count(), sides.differing_keys()) == (3, 3, [("2",)])
        assert sides.differing() == {"v"}

    shop.run("INSERT INTO t VALUES (6, 'tied', '2024-01-03 00:00:00'); DELETE FROM t WHERE id = 2;")

    with both_sides(lake, name) as sides:
        assert sides.source.left_out == LeftOut(later=2, unsettled=3)
        assert (sides.source.rows.count(), sides.target.count(), sides.differing_keys()) == (0, 1, [("2",)])


def test_a_key_that_the_source_does_not_declare_takes_part_with_its_newest_row(shop: Shop, tmp_path: Path) -> None:
    """As the target has it. Of two newest ones nobody can tell which it has; rows that are not ingested are counted."""
    late = "'2024-01-05 00:00:00'"
    shop.run(
        f"CREATE TABLE t (id int, v varchar(20), at {MOMENTS[shop.dialect]}); INSERT INTO t VALUES {ROWS},"
        " (NULL, 'no key', '2024-01-04 00:00:00'), (2, 'older', '2024-01-01 12:00:00'), (4, 'newer', '2024-01-04 00:00:00'),"
        f" (7, 'one', '2024-01-04 00:00:00'), (7, 'two', '2024-01-04 00:00:00'), (8, 'twice', {late}), (8, 'twice', {late}),"
        " (9, 'never', NULL);"
    )
    excluded = {"null_keys": "quarantine", "null_cursor": "ignore", "initial_watermark": "2024-01-01 00:00:00"}
    lake = shop.lake(tmp_path, merged("t", **excluded))
    name = f"{shop.schema}.t"
    with both_sides(lake, name) as sides:
        assert sides.source.left_out == LeftOut(unsettled=1, null_cursors=1, null_keys=1, initial=1)
        assert (sides.source.rows.count(), sides.target.count(), sides.differing_keys()) == (4, 4, [])
        assert sides.source.rows.checksum() == sides.target.checksum()
        assert sides.source.rows.key_faults(1) == KeyFaults(3, 6, 1, sides.source.rows.key_faults(1).examples)
        assert set(sides.source.rows.key_faults(9).examples) == {"2", "7", "8"}

    shop.run("INSERT INTO t VALUES (3, 'newest', '2024-02-01 00:00:00'); UPDATE t SET v = 'silent' WHERE v = 'b';")

    with both_sides(lake, name) as sides:
        assert sides.source.left_out == LeftOut(later=1, unsettled=1, null_cursors=1, null_keys=1, initial=1)
        assert (sides.source.rows.count(), sides.differing_keys()) == (3, [("2",)])


def test_a_table_without_a_key_is_compared_as_often_as_a_row_is_there(shop: Shop, tmp_path: Path) -> None:
    rows = "('a', '2024-01-01 00:00:00'), ('a', '2024-01-01 00:00:00'), ('b', '2024-01-02 00:00:00')"
    shop.run(f"CREATE TABLE t (v varchar(20), at {MOMENTS[shop.dialect]}); INSERT INTO t VALUES {rows};")
    entry = merged("t", mode="append")
    del entry["primary_keys"]
    lake = shop.lake(tmp_path, entry)
    name = f"{shop.schema}.t"
    with both_sides(lake, name) as sides:
        assert sides.source.rows.checksum() == sides.target.checksum()
        assert sides.source.rows.checksum().rows == 3
    shop.run(
        "INSERT INTO t VALUES ('c', '2024-02-01 00:00:00'), ('tied', '2024-01-02 00:00:00'), ('x', '2024-01-01 00:00:00');"
    )
    with both_sides(lake, name) as sides:
        assert sides.source.left_out == LeftOut(later=1, unsettled=2)
        assert (sides.source.rows.count(), sides.target.count()) == (3, 2)
        assert sides.differing() == {"v", "at"}


# How each puts a letter that it has no name for into a text.
ODD = {"postgresql": "'a' || {} || 'b'", "mariadb": "concat('a', {}, 'b')", "sqlite": "'a' || {} || 'b'"}
EMPTYING = {
    "postgresql": "SET lock_timeout = '100ms'; TRUNCATE t;",
    "mariadb": "SET lock_wait_timeout = 1; TRUNCATE t;",
}


def test_a_view_stays_as_it_is_while_others_write_and_costs_one_connection(shop: Shop, tmp_path: Path) -> None:
    """Nobody can empty or rewrite the table meanwhile, which an older view would read as empty."""
    shop.run(f"CREATE TABLE t (id int PRIMARY KEY, v varchar(20), at {MOMENTS[shop.dialect]}); INSERT INTO t VALUES {ROWS};")
    lake = shop.lake(tmp_path, merged("t"), max_connections=1)
    with both_sides(lake, f"{shop.schema}.t") as sides:
        before = sides.source.rows.checksum()
        shop.run("UPDATE t SET v = 'changed'; DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (9, 'x', NULL);")
        if shop.dialect in EMPTYING:
            with pytest.raises(RuntimeError, match=r"lock timeout|Lock wait timeout"):
                shop.run(EMPTYING[shop.dialect])
        assert sides.source.rows.checksum() == before == sides.target.checksum()
        assert sides.differing_keys() == []
        assert sides.source.left_out == LeftOut()
    with both_sides(lake, f"{shop.schema}.t") as sides:
        assert sides.source.left_out.unsettled == 3


def test_a_table_that_is_emptied_while_the_view_is_taken_is_viewed_anew(
    postgres: PostgresDatabase, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The view is older than the lock: in between another transaction may empty the table, and fill it again."""
    shop = open_shop("postgresql", request, tmp_path)
    shop.run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 1000);")
    source = shop.source("t", primary_keys=("id",))
    source.columns()
    (database,) = shop.opened
    plain = database.dialect
    database.dialect = Hurried(plain, lambda: postgres.psql("BEGIN; TRUNCATE t; INSERT INTO t VALUES (1), (2); COMMIT;"))
    with viewed(source) as view:
        assert view.rows.count() == 2
    database.close()


class Hurried:
    """A dialect that lets something happen between the view and the locks, once."""

    def __init__(self, dialect: Any, happen: Callable[[], object]) -> None:
        self._dialect = dialect
        self._happen: list[Callable[[], object]] = [happen]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dialect, name)

    def freeze(self, connection: Any, source: str) -> None:
        type(self._dialect).freeze(self, connection, source)  # type: ignore[arg-type]

    def hold_relations(self, connection: Any, statement: str) -> bool:
        while self._happen:
            self._happen.pop()()
        return bool(self._dialect.hold_relations(connection, statement))


def test_groups_buckets_and_values_are_told_exactly(shop: Shop) -> None:
    """Letters are not folded, blanks not cut, NULL is no text; deeper buckets are parts of those above them."""
    columns = "id int PRIMARY KEY, v varchar(20), at " + MOMENTS[shop.dialect]
    folded = {"mariadb": columns.replace("varchar(20)", "varchar(20) COLLATE utf8mb4_general_ci")}
    folded["sqlite"] = columns.replace("varchar(20)", "varchar(20) COLLATE NOCASE")
    shop.run(f"CREATE TABLE t ({folded.get(shop.dialect, columns)});")
    texts = ["a", "A", "a ", "", None, "it''s", "é", "e\u0301"]
    listed = ", ".join(
        f"({n}, {'NULL' if v is None else repr(v).replace(chr(34), chr(39))}, '2024-{1 + n % 3:02}-01')"
        for n, v in enumerate(texts)
    )
    shop.run(f"INSERT INTO t VALUES {listed.replace('-01-01', '-01-01 00:00:00')};")
    source = shop.source("t", primary_keys=("id",))
    v, at = columns_of(source, "v", "at")
    with viewed(source) as view:
        counted = view.rows.group_counts([Grouping(v)])
        assert counted == {("it's" if text == "it''s" else text,): 1 for text in texts}
        if shop.dialect != "sqlite":  # whose days are no moments
            assert view.rows.group_counts([Grouping(at, 7)]) == {("2024-01",): 3, ("2024-02",): 3, ("2024-03",): 2}
        top, deep = view.rows.buckets(1), view.rows.buckets(2)
        assert sum(bucket.rows for bucket in top.values()) == len(texts)
        chosen = sorted(top)[:2]
        assert view.rows.buckets(2, chosen) == {name: deep[name] for name in deep if name[0] in chosen}
        assert {row.key_hash[11] for row in view.rows.hashes(chosen)} == set(chosen)
        parts = [view.rows.column_checksums([name]) for name in top]
        assert [part["v"].rows for part in parts] == [bucket.rows for bucket in top.values()]
        assert view.rows.column_checksums(list(top)) == view.rows.column_checksums()
        highs = {column: sum(part[column].high for part in parts) for column in ("id", "v", "at")}
        assert highs == {column: whole.high for column, whole in view.rows.column_checksums().items()}
        assert list(view.rows.hashes([])) == []
        one = next(iter(view.rows.hashes(chosen)))
        ((found, values),) = view.rows.values([one.key_hash])
        assert (found, values[0]) == (one.key_hash, *one.key)


NAMES = {
    "postgresql": ('"we""ird, [red] `é"', "chr(1)"),
    "mariadb": ('`we``ird, [red] "é`', "char(0)"),
    "sqlite": ('"we`ird, [red] é"', "char(0)"),
}


def test_keys_and_names_of_any_letters_are_told_apart(shop: Shop, tmp_path: Path) -> None:
    """Commas, colons, quotes, NUL, long texts, and a filter in words of its own."""
    name, nul = NAMES[shop.dialect]
    texts = [
        "'1:a'",
        "'a,b'",
        "''",
        "'it''s ; --'",
        "'[red]%s {}'",
        "'👩‍👩'",
        f"'{'x' * 700}'",
        ODD[shop.dialect].format(nul),
    ]
    rows = ", ".join(f"({a}, {b}, {n})" for n, (a, b) in enumerate(product(texts, texts)))
    shop.run(f"CREATE TABLE t (a varchar(800), b varchar(800), {name} int); INSERT INTO t VALUES {rows};")
    keyed = {"table": "t", "mode": "full", "primary_keys": ["a", "b"], "source_filter": "a <> '%s' OR b IS NULL"}
    lake = shop.lake(tmp_path, keyed)
    with both_sides(lake, f"{shop.schema}.t") as sides:
        assert len(sides.basis.columns) == 3
        assert sides.source.rows.count() == len(texts) ** 2
        assert sides.source.rows.buckets(2) == sides.target.buckets(2)
        assert sides.differing_keys() == []
        assert sides.source.rows.key_faults(3) == KeyFaults(0, 0, 0, ())


def test_a_view_that_is_being_read_is_asked_nothing_else(shop: Shop) -> None:
    """A driver would cut the answer off without a word."""
    shop.run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3);")
    with viewed(shop.source("t", primary_keys=("id",))) as view:
        reading = view.rows.hashes(list("0123456789abcdef"))
        next(reading)
        with pytest.raises(RuntimeError, match="still being read"):
            view.rows.count()
        reading.close()  # type: ignore[attr-defined]
        assert view.rows.count() == 3


ALTERED = {
    "postgresql": "ALTER TABLE t ALTER n TYPE bigint, ALTER price TYPE numeric(9,3), ALTER ratio TYPE float8;",
    "mariadb": "ALTER TABLE t MODIFY n bigint, MODIFY price decimal(9,3), MODIFY ratio double;",
}


@pytest.mark.parametrize("dialect", ALTERED)
def test_a_column_of_another_type_by_now_is_spelled_by_that_of_the_target(
    dialect: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    shop = open_shop(dialect, request, tmp_path)
    single = "float4" if dialect == "postgresql" else "float"
    shop.run(
        f"CREATE TABLE t (id int PRIMARY KEY, n int, price decimal(6,2), ratio {single});"
        " INSERT INTO t VALUES (1, 7, 1.5, 0.1), (2, -7, -0.01, 0.25), (3, NULL, NULL, NULL);"
    )
    lake = shop.lake(tmp_path, {"table": "t", "mode": "full", "primary_keys": ["id"]})
    shop.run(ALTERED[dialect])
    with both_sides(lake, f"{shop.schema}.t") as sides:
        assert sides.differing_keys() == []
    shop.run("UPDATE t SET price = 1.505 WHERE id = 1; UPDATE t SET n = 5000000000 WHERE id = 2;")
    with both_sides(lake, f"{shop.schema}.t") as sides:
        assert sides.differing_keys() == [("1",), ("2",)]
        assert sides.differing() == {"price", "n"}


def test_what_is_kept_out_of_the_lake_is_no_column_to_compare(shop: Shop, tmp_path: Path) -> None:
    shop.run("CREATE TABLE t (id int PRIMARY KEY, secret varchar(20), mail varchar(20), gone varchar(9)); ")
    shop.run("INSERT INTO t VALUES (1, 's', 'a@b', 'g');")
    hidden = {
        "exclude_columns": ["secret"],
        "mask": {"mail": {"method": "truncate", "length": 1}, "gone": {"method": "null"}},
    }
    lake = shop.lake(tmp_path, {"table": "t", "mode": "full", "primary_keys": ["id"], **hidden})
    with both_sides(lake, f"{shop.schema}.t") as sides:
        assert [column.target for column in sides.basis.columns] == ["id"]
        assert sides.differing_keys() == []


def test_a_row_that_the_server_cannot_hash_whole_is_an_error(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """MariaDB gives NULL for a text above max_allowed_packet, with a warning that nobody reads."""
    shop = open_shop("mariadb", request, tmp_path)
    shop.run("CREATE TABLE t (id int PRIMARY KEY, a longtext, b longtext); ")
    shop.run("INSERT INTO t VALUES (1, repeat('a', 9000000), repeat('b', 9000000)), (2, NULL, 'b');")
    source = shop.source("t", primary_keys=("id",))
    with pytest.raises(TerminalError, match="out of range"), viewed(source) as view:
        view.rows.checksum()
    with viewed(source, ("id",), "id", "a") as view:
        assert view.rows.checksum().rows == 2
    for database in shop.opened:
        database.close()


def test_a_server_without_a_frozen_view_is_not_compared(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    shop = open_shop("mariadb", request, tmp_path)
    shop.run("CREATE TABLE t (id int PRIMARY KEY);")
    shop.spec = replace(shop.spec, dialect="singlestore")
    frozen = viewed(shop.source("t", primary_keys=("id",)))
    with pytest.raises(TerminalError, match="no transaction in which several statements see one state"), frozen:
        pass
    for database in shop.opened:
        database.close()

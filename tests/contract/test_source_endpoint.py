"""What every source promises, over every dialect: descriptions, bounds, counts, fingerprints, refusals, errors."""

import re
import socket
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialects import dialect_for
from ingestion_runtime.endpoints.jdbc.source import JdbcSource
from ingestion_runtime.endpoints.jdbc.spark_reader import SparkReader
from ingestion_runtime.model.connection import ConnectionSpec
from ingestion_runtime.model.cursor import CursorType, Interval, ReRead, Slice, Watermark
from ingestion_runtime.model.endpoint import Extract, SourceEndpoint
from ingestion_runtime.model.errors import ConfigError, IngestionError, TerminalError, TransientError
from ingestion_runtime.model.horizon import Ceiling
from ingestion_runtime.model.spec import PartitionRead, TableSpec


class NoSession:
    """Probing must never ask for Spark."""

    def session(self) -> Any:
        raise AssertionError("a probe asked for a Spark session")


@dataclass(frozen=True, slots=True)
class Reference:
    value: str

    def resolve(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Source:
    """A real database: ``run`` is its own client, ``spec`` reaches it."""

    spec: ConnectionSpec
    run: Callable[[str], object]
    opened: list[Database]

    def table(self, name: str = "t", **changes: Any) -> JdbcSource:
        spec = replace(TableSpec("public", name, "scd1", "shop"), **changes)
        database = Database(self.spec, dialect_for(self.spec.dialect))
        self.opened.append(database)
        return JdbcSource(spec, database, SparkReader(NoSession()))

    def incremental(self, kind: CursorType, column: str = "c", **changes: Any) -> JdbcSource:
        return self.table(incremental_column=column, incr_col_type=kind, **changes)

    @property
    def dialect(self) -> str:
        return self.spec.dialect


def mysql_words(script: str) -> str:
    """Return a script of this module as MariaDB takes it: quotations by the standard, and its own names of types."""
    words = {r"\btimestamp\b": "datetime(6)", r"\bbytea\b": "blob", r"\bANALYZE\b": "ANALYZE TABLE t"}
    for pattern, word in words.items():
        script = re.sub(pattern, word, script)
    return f"SET sql_mode='ANSI_QUOTES,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES'; {script}"


def mariadb_spec(database: Any, dialect: str = "mariadb") -> ConnectionSpec:
    return ConnectionSpec(
        "shop", dialect, database.database, database.host, database.port, database.user, Reference(database.password)
    )


@pytest.fixture(params=["postgresql", "sqlite", "mariadb", "singlestore"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Source]:
    opened: list[Database] = []
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        spec = ConnectionSpec(
            "shop", "postgresql", server.database, server.host, server.port, server.user, Reference(server.password)
        )
        yield Source(spec, server.psql, opened)
    elif request.param in ("mariadb", "singlestore"):
        # SingleStore is shown over the same wire: there is none for a test to start.
        server = request.getfixturevalue("mariadb_server")
        database = server.create_database("public")  # the schema of a table is the name of a database here
        yield Source(mariadb_spec(database, request.param), lambda s: database.client(mysql_words(s)), opened)
        server.drop_database("public")
    else:
        path = tmp_path / "shop.db"

        def run(script: str) -> None:
            with sqlite3.connect(path) as connection:
                connection.executescript(script)
            connection.close()

        run("")
        yield Source(ConnectionSpec("shop", "sqlite", str(path)), run, opened)
    for database in opened:
        database.close()


def mark(kind: CursorType, literal: str) -> Watermark:
    return Watermark(kind, literal)


def test_it_is_a_source_endpoint_that_compares_every_cursor_type(source: Source) -> None:
    endpoint: SourceEndpoint = source.table()
    assert endpoint.capabilities.incremental
    assert endpoint.capabilities.literal_formats == frozenset(CursorType)
    assert not endpoint.capabilities.commit


def test_a_table_is_described_in_both_words(source: Source) -> None:
    source.run("CREATE TABLE t (a integer, b varchar(10) NOT NULL, c numeric(10,2), PRIMARY KEY (b, a))")
    snapshot = source.table().describe()
    assert (snapshot.schema, snapshot.table) == ("public", "t")
    assert [(c.name, c.landed_type) for c in snapshot.columns] == [
        ("a", "int64" if source.dialect == "sqlite" else "int32"),
        ("b", "string"),
        ("c", "decimal128(10, 2)"),
    ]
    assert [c.native_type.lower() for c in snapshot.columns][2] in ("numeric(10,2)", "decimal(10,2)")
    assert [c.nullable for c in snapshot.columns] == [False, False, True]
    assert snapshot.primary_keys == ("b", "a")
    assert snapshot.estimated_rows is None


def test_an_analysed_table_has_an_estimate(source: Source) -> None:
    source.run("CREATE TABLE t (a integer); CREATE INDEX i ON t (a);")
    source.run("INSERT INTO t SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3; ANALYZE;")
    assert source.table().describe().estimated_rows == 3


def test_a_description_is_live(source: Source) -> None:
    source.run("CREATE TABLE t (a integer)")
    table = source.table()
    assert [c.name for c in table.describe().columns] == ["a"]
    source.run("ALTER TABLE t ADD COLUMN b varchar(5)")
    assert [c.name for c in table.describe().columns] == ["a", "b"]
    assert table.read_full().schema == pa.schema([("a", table.read_full().schema.field("a").type), ("b", pa.string())])


def test_views_are_tables_too(source: Source) -> None:
    source.run("CREATE TABLE t (a integer); CREATE VIEW v AS SELECT a FROM t")
    assert [c.name for c in source.table("v").describe().columns] == ["a"]


def test_many_tables_are_described_at_once_as_each_is_alone(source: Source) -> None:
    source.run(
        "CREATE TABLE t (a int PRIMARY KEY, b decimal(10,2) NOT NULL); CREATE VIEW v AS SELECT b FROM t;"
        " CREATE TABLE u (y varchar(5), x int, PRIMARY KEY (x, y))"
    )
    database = Database(source.spec, dialect_for(source.dialect))
    source.opened.append(database)
    asked = [TableSpec("public", name, "full", "shop") for name in ("u", "gone", "t", "v")]
    with database.connect() as connection:
        together = database.dialect.describe_tables(connection, asked)
        alone = {spec.name: database.dialect.describe_tables(connection, [spec]).get(spec.name) for spec in asked}
    assert set(together) == {"public.u", "public.t", "public.v"}
    assert alone == {**together, "public.gone": None}
    assert together["public.u"].primary_keys == ("x", "y")


def test_a_query_is_described_without_running_it(source: Source) -> None:
    source.run("CREATE TABLE t (a integer, b varchar(10)); INSERT INTO t VALUES (0, 'x')")
    query = "SELECT b, a, CAST(1 / a AS integer) AS broken FROM t -- no ; here ? %s :x"
    snapshot = source.table(query_sql=query).describe()
    assert [c.name for c in snapshot.columns] == ["b", "a", "broken"]
    assert [c.landed_type for c in snapshot.columns] in (["string", "int32", "int32"], ["string", "int64", "int64"])
    assert snapshot.primary_keys == ()


def test_a_missing_table_names_the_nearest(source: Source) -> None:
    source.run("CREATE TABLE customers (a integer)")
    with pytest.raises(TerminalError, match=r"no table 'public.custmers'.*Did you mean '(public\.)?customers'\?"):
        source.table("custmers").describe()


@pytest.mark.parametrize(
    ("role", "changes"),
    [
        ("incremental_column", {"incremental_column": "updated", "incr_col_type": CursorType.TIMESTAMP}),
        ("primary_keys", {"primary_keys": ("updated",)}),
        ("partition_read", {"partition_read": PartitionRead("updated", "1", "2", 2)}),
    ],
)
def test_a_missing_column_names_its_role_and_the_nearest(source: Source, role: str, changes: dict[str, Any]) -> None:
    source.run("CREATE TABLE t (id integer, updated_at timestamp)")
    with pytest.raises(TerminalError, match=rf"no column 'updated' \({role}\). Did you mean 'updated_at'\?"):
        source.table(**changes).describe()


def test_reserved_names_are_refused(source: Source) -> None:
    source.run('CREATE TABLE t (id integer, "_INGEST_x" integer)')
    with pytest.raises(TerminalError, match="_INGEST_x"):
        source.table().describe()


def test_a_table_that_vanished_is_a_terminal_error_that_names_it(source: Source) -> None:
    source.run("CREATE TABLE t (c integer)")
    table = source.incremental(CursorType.INT)
    table.describe()
    source.run("DROP TABLE t")
    with pytest.raises(TerminalError, match=r"\bt\b"):
        table.probe_bounds(mark(CursorType.INT, "0"))


def test_a_broken_filter_is_a_terminal_error_with_the_servers_words(source: Source) -> None:
    source.run("CREATE TABLE t (c integer)")
    with pytest.raises(TerminalError, match="nonsense"):
        source.incremental(CursorType.INT, source_filter="nonsense = 1").probe_bounds(mark(CursorType.INT, "0"))


CURSORS = [
    (CursorType.TIMESTAMP, "timestamp", ["2024-01-01 00:00:00", "2024-02-29 23:59:59.999999", "2024-03-01 00:00:00.5"]),
    (CursorType.DATE, "date", ["2024-02-28", "2024-02-29", "2024-03-01"]),
    (CursorType.INT, "bigint", ["-9223372036854775808", "0", "9223372036854775807"]),
    (CursorType.EPOCH_SECONDS, "bigint", ["-1", "0", "1700000000"]),
    (CursorType.EPOCH_MILLIS, "bigint", ["-1", "1700000000000", "1700000000001"]),
    (CursorType.TEXT, "varchar(30)", ["", "a'b\\", "é ?%s"]),
]


def canonical(kind: CursorType, value: str) -> Watermark:
    whole, _, fraction = value.partition(".")
    return mark(kind, f"{whole}.{fraction.ljust(6, '0')}" if kind is CursorType.TIMESTAMP else value)


def listed(values: list[str]) -> str:
    return ", ".join("('" + value.replace("'", "''") + "')" for value in values)


@pytest.mark.parametrize(("kind", "native", "values"), CURSORS, ids=[kind for kind, _, _ in CURSORS])
def test_bounds_windows_and_re_read_sets_of_every_cursor_type(
    source: Source, kind: CursorType, native: str, values: list[str]
) -> None:
    source.run(f"CREATE TABLE t (c {native}); INSERT INTO t VALUES (NULL), {listed(values)}")
    table = source.incremental(kind)
    low, middle, high = (canonical(kind, value) for value in values)
    bounds = table.probe_bounds(low)
    assert (bounds.low, bounds.high, bounds.beyond, bounds.nulls) == (middle, high, 0, 1)
    assert table.probe_bounds(high).high is None
    assert [table.count_rows(Interval(a, b)) for a, b in pairwise((low, middle, high))] == [1, 1]
    assert table.count_rows(Interval(low, high)) == 2
    assert table.count_rows(Interval(low, low)) == 0
    sets = [(middle, middle, False, 1), (low, high, False, 3), (low, high, True, 4), (None, None, True, 1)]
    for first, last, nulls, rows in [*sets, (None, None, False, 0)]:
        assert table.fingerprint(ReRead(first, last, nulls)).rows == rows


@pytest.mark.parametrize(
    ("kind", "native", "now", "later"),
    [
        (CursorType.TIMESTAMP, "timestamp", "2024-01-01 00:00:00", "2099-01-01 00:00:00"),
        (CursorType.DATE, "date", "2024-01-01", "9999-12-31"),
        (CursorType.EPOCH_SECONDS, "bigint", "1700000000", "4070908800"),
        (CursorType.EPOCH_MILLIS, "bigint", "1700000000000", "4070908800000"),
    ],
)
def test_rows_beyond_the_sources_now_are_counted_and_bound_nothing(
    source: Source, kind: CursorType, native: str, now: str, later: str
) -> None:
    source.run(f"CREATE TABLE t (c {native}); INSERT INTO t VALUES {listed([now, later, later])}")
    bounds = source.incremental(kind).probe_bounds(canonical(kind, "0001-01-01 00:00:00" if "-" in now else "0"))
    assert (bounds.low, bounds.high) == (canonical(kind, now), canonical(kind, now))
    assert bounds.beyond == 2


@pytest.mark.parametrize(("kind", "native", "values"), CURSORS, ids=[kind for kind, _, _ in CURSORS])
def test_a_ceiling_bounds_what_is_read_and_the_rest_is_counted_as_held(
    source: Source, kind: CursorType, native: str, values: list[str]
) -> None:
    """It is inclusive; what lies above it is neither lost nor beyond now. The largest value is asked for without it."""
    source.run(f"CREATE TABLE t (c {native}); INSERT INTO t VALUES (NULL), {listed(values)}")
    table = source.incremental(kind)
    low, middle, high = (canonical(kind, value) for value in values)
    bounds = table.probe_bounds(low, Ceiling(middle))
    assert (bounds.low, bounds.high, bounds.held, bounds.beyond, bounds.nulls) == (middle, middle, 1, 0, 1)
    bounds = table.probe_bounds(low, Ceiling(low))
    assert (bounds.low, bounds.high, bounds.held) == (None, None, 2)
    assert (table.largest(low), table.largest(high)) == (high, None)


def test_a_now_given_with_the_ceiling_replaces_the_sources_own(source: Source) -> None:
    """A wall clock in another zone than the source's has a now of its own."""
    times = ["2024-01-01 00:00:00", "2024-01-02 00:00:00", "2024-01-03 00:00:00"]
    source.run(f"CREATE TABLE t (c timestamp); INSERT INTO t VALUES {listed(times)}")
    kind = CursorType.TIMESTAMP
    start, bound, now = (canonical(kind, value) for value in ("2023-01-01 00:00:00", *times[:2]))
    bounds = source.incremental(kind).probe_bounds(start, Ceiling(bound, now))
    assert (bounds.high, bounds.held, bounds.beyond) == (bound, 1, 1)


def test_a_row_of_this_very_moment_is_not_beyond_now(source: Source) -> None:
    now = {
        "postgresql": "now() AT TIME ZONE 'UTC'",
        "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now')",
    }.get(source.dialect, "utc_timestamp(6)")
    source.run(f"CREATE TABLE t (c timestamp); INSERT INTO t SELECT {now}")
    assert (
        source.incremental(CursorType.TIMESTAMP).probe_bounds(mark(CursorType.TIMESTAMP, "2024-01-01 00:00:00.000000")).high
    )


def test_the_filter_stands_in_parentheses_everywhere(source: Source) -> None:
    source.run("CREATE TABLE t (c integer, k integer); INSERT INTO t VALUES (1, 1), (2, 2), (3, 1), (NULL, 2), (9, 9)")
    table = source.incremental(CursorType.INT, source_filter="k = 1 OR k = 2 -- two of them")
    bounds = table.probe_bounds(mark(CursorType.INT, "1"))
    assert (bounds.low, bounds.high, bounds.nulls) == (mark(CursorType.INT, "2"), mark(CursorType.INT, "3"), 1)
    window = Interval(mark(CursorType.INT, "0"), mark(CursorType.INT, "9"))
    assert table.count_rows(window) == 3
    assert table.fingerprint(ReRead(window.low, window.high, nulls=True)).rows == 4


def test_a_query_is_probed_like_a_table(source: Source) -> None:
    source.run("CREATE TABLE t (c integer); INSERT INTO t VALUES (1), (5), (NULL)")
    table = source.incremental(CursorType.INT, column="k", query_sql="SELECT c AS k FROM t WHERE 1 = 1 -- all\n;")
    bounds = table.probe_bounds(mark(CursorType.INT, "1"))
    assert (bounds.low, bounds.high, bounds.nulls) == (mark(CursorType.INT, "5"), mark(CursorType.INT, "5"), 1)


EVERY = ReRead(Watermark(CursorType.INT, "0"), Watermark(CursorType.INT, "9"), nulls=True)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE t SET s = '' WHERE s IS NULL",
        "UPDATE t SET s = NULL WHERE s = 'x'",
        "UPDATE t SET n = 1.51 WHERE n = 1.5",
        "UPDATE t SET f = 0.30000000000000004 WHERE f = 0.3",
        "UPDATE t SET at = '2024-01-01 00:00:00.000001' WHERE c = 1",
        "UPDATE t SET c = 2 WHERE c = 1",
        "UPDATE t SET s = 'y', n = 2 WHERE c = 1",
        "INSERT INTO t VALUES (1, 'x', 1.5, 0.3, '2024-01-01 00:00:00')",
        "DELETE FROM t WHERE s = 'tie'; INSERT INTO t VALUES (3, 'eit', 0, 0, NULL)",
    ],
)
def test_a_fingerprint_sees_every_change(source: Source, change: str) -> None:
    source.run("""CREATE TABLE t (c integer, s varchar(9), n numeric(9,2), f double precision, at timestamp);
        INSERT INTO t VALUES (1, 'x', 1.5, 0.3, '2024-01-01 00:00:00'), (2, NULL, NULL, NULL, NULL),
        (3, 'tie', 0, 0, NULL), (NULL, 'n', 0, 0, NULL)""")
    table = source.incremental(CursorType.INT)
    before = table.fingerprint(EVERY)
    assert before.rows == 4
    assert table.fingerprint(EVERY) == before
    source.run(change)
    assert table.fingerprint(EVERY).digest != before.digest


def test_a_fingerprint_does_not_depend_on_order_and_tells_values_from_their_neighbours(source: Source) -> None:
    def digest(values: str) -> str:
        source.run("DROP TABLE IF EXISTS t; CREATE TABLE t (c integer, a varchar(9), b varchar(9))")
        source.run(f"INSERT INTO t VALUES {values}")
        return source.incremental(CursorType.INT).fingerprint(EVERY).digest

    assert digest("(1, 'a', 'b'), (2, 'c', 'd')") == digest("(2, 'c', 'd'), (1, 'a', 'b')")
    assert digest("(1, 'a', 'b')") != digest("(1, 'ab', '')")
    assert digest("(1, 'a,b', 'c')") != digest("(1, 'a', 'b,c')")
    assert digest("(1, 'a', NULL)") != digest("(1, NULL, 'a')")


def test_a_cursor_of_a_type_that_does_not_fit_is_refused(source: Source) -> None:
    source.run("CREATE TABLE t (c date, n numeric(9,2), b bytea)")
    for column, kind in (("c", CursorType.TIMESTAMP), ("c", CursorType.INT), ("n", CursorType.INT)):
        with pytest.raises(TerminalError, match=f"cursor of type {kind}"):
            source.incremental(kind, column=column).describe()


def test_a_table_without_a_cursor_cannot_be_probed(source: Source) -> None:
    source.run("CREATE TABLE t (c integer)")
    with pytest.raises(TerminalError, match="no incremental column"):
        source.table().probe_bounds(mark(CursorType.INT, "0"))


@pytest.mark.parametrize("literal", ["1; DROP TABLE t", "", "0x1", "1 OR 1=1"])
def test_a_damaged_watermark_never_reaches_the_source(source: Source, literal: str) -> None:
    source.run("CREATE TABLE t (c integer)")
    with pytest.raises(IngestionError):
        source.incremental(CursorType.INT).probe_bounds(mark(CursorType.INT, literal))


def test_extracts_know_their_schema_without_spark(source: Source) -> None:
    source.run("CREATE TABLE t (c varchar(5), d date)")
    table = source.incremental(CursorType.TEXT)
    window = Interval(mark(CursorType.TEXT, "a"), mark(CursorType.TEXT, "b"))
    extract: Extract = table.read_slice(Slice(0, window=window))
    assert extract.schema == pa.schema([("c", pa.string()), ("d", pa.date32())])
    added = extract.with_missing((pa.field("gone", pa.int32(), nullable=False),))
    assert added.schema == pa.schema([("c", pa.string()), ("d", pa.date32()), ("gone", pa.int32())])
    assert extract.schema.names == ["c", "d"]


# What belongs to one engine


def test_postgresql_names_that_differ_by_case_are_refused(postgres: Any) -> None:
    postgres.psql('CREATE TABLE t (id int, "ID" int)')
    spec = ConnectionSpec(
        "shop", "postgresql", postgres.database, postgres.host, postgres.port, postgres.user, Reference(postgres.password)
    )
    with pytest.raises(TerminalError, match=r"'id' and 'ID'"):
        Source(spec, postgres.psql, []).table().describe()


def test_postgresql_sessions_of_any_zone_and_style_give_the_same_words(postgres: Any) -> None:
    postgres.psql("""SET timezone = 'UTC'; CREATE TABLE t (c timestamptz, f float8, i interval);
        INSERT INTO t VALUES ('2024-10-27 00:30:00+00', 0.1, '1 day'), ('2024-10-27 01:30:00+00', 0.2, '1 day')""")
    spec = ConnectionSpec(
        "shop", "postgresql", postgres.database, postgres.host, postgres.port, postgres.user, Reference(postgres.password)
    )
    found = set()
    for setting in ("timezone TO 'Europe/Berlin'", "datestyle TO 'SQL, DMY'", "extra_float_digits TO -15"):
        postgres.psql(f"ALTER ROLE {postgres.user} IN DATABASE {postgres.database} SET {setting}")
        table = Source(spec, postgres.psql, []).incremental(CursorType.TIMESTAMP)
        bounds = table.probe_bounds(mark(CursorType.TIMESTAMP, "2024-10-27 00:30:00.000000"))
        low, high = mark(CursorType.TIMESTAMP, "2024-10-27 00:00:00.000000"), bounds.high
        assert high is not None
        found.add((high.literal, table.fingerprint(ReRead(low, high, nulls=False)).digest))
    assert len(found) == 1
    assert next(iter(found))[0] == "2024-10-27 01:30:00.000000"


@pytest.fixture
def refused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def test_postgresql_that_cannot_be_reached_or_entered(postgres: Any, refused_port: int) -> None:
    right = ConnectionSpec(
        "shop", "postgresql", postgres.database, postgres.host, postgres.port, postgres.user, Reference(postgres.password)
    )
    cases: list[tuple[dict[str, Any], type[IngestionError], str]] = [
        ({"password": Reference("wrong-secret")}, ConfigError, "password authentication failed"),
        ({"password": None}, ConfigError, "no password"),
        ({"user": "nobody"}, ConfigError, "nobody"),
        ({"database": "no_such"}, ConfigError, 'database "no_such" does not exist'),
        ({"port": refused_port}, TransientError, "refused"),
        ({"host": "no-such-host.invalid"}, TransientError, "no-such-host.invalid"),
        ({"tls": replace(right.tls, mode="require")}, ConfigError, "SSL"),
    ]
    for changes, kind, words in cases:
        spec = replace(right, connect_timeout_seconds=3, **changes)
        with pytest.raises(kind, match=words) as caught:
            Database(spec, dialect_for("postgresql")).check()
        assert type(caught.value) is kind
        assert "Connection 'shop' (postgresql" in str(caught.value)
        assert "wrong-secret" not in str(caught.value)
        assert postgres.password not in str(caught.value)
        assert caught.value.__cause__ is None
    Database(right, dialect_for("postgresql")).check()


def test_postgresql_tables_without_a_grant_are_named(postgres: Any) -> None:
    postgres.psql("CREATE SCHEMA closed; CREATE TABLE closed.t (c int); CREATE TABLE t (c int)", superuser=True)
    spec = ConnectionSpec(
        "shop", "postgresql", postgres.database, postgres.host, postgres.port, postgres.user, Reference(postgres.password)
    )
    source = Source(spec, postgres.psql, [])
    window = Interval(mark(CursorType.INT, "0"), mark(CursorType.INT, "1"))
    for schema, words in (("closed", "schema closed"), ("public", "table t")):
        with pytest.raises(TerminalError, match=f"permission denied for {words}.*Grant"):
            source.incremental(CursorType.INT, schema=schema).count_rows(window)


def test_postgresql_tables_are_described_while_somebody_alters_one(postgres: Any) -> None:
    """A whole run is described in one question: it may not wait for the lock on one of its tables."""
    postgres.psql("CREATE TABLE t (c int); CREATE TABLE other (c int)")
    spec = ConnectionSpec(
        "shop", "postgresql", postgres.database, postgres.host, postgres.port, postgres.user, Reference(postgres.password)
    )
    database = Database(spec, dialect_for("postgresql"))
    tables = [TableSpec("public", name, "full", "shop") for name in ("t", "other")]
    with (
        psycopg.connect(
            host=postgres.host,
            port=postgres.port,
            dbname=postgres.database,
            user=postgres.user,
            password=postgres.password,
        ) as locker,
        database.connect() as connection,
    ):
        locker.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        connection.execute("SET lock_timeout = '1s'")
        assert set(database.dialect.describe_tables(connection, tables)) == {"public.t", "public.other"}
    database.close()


@pytest.mark.parametrize(("theirs", "ours"), [("0", "5min"), ("'7s'", "7s")])
def test_postgresql_locks_are_waited_for_as_long_as_the_role_says_and_never_for_ever(
    postgres: Any, theirs: str, ours: str
) -> None:
    postgres.psql(f"ALTER ROLE {postgres.user} IN DATABASE {postgres.database} SET lock_timeout = {theirs}")
    spec = ConnectionSpec(
        "shop", "postgresql", postgres.database, postgres.host, postgres.port, postgres.user, Reference(postgres.password)
    )
    database = Database(spec, dialect_for("postgresql"))
    assert database.rows("SHOW lock_timeout") == [(ours,)]
    database.close()


def test_postgresql_that_restarts_is_reached_again(postgres: Any) -> None:
    spec = ConnectionSpec(
        "shop", "postgresql", postgres.database, postgres.host, postgres.port, postgres.user, Reference(postgres.password)
    )
    database = Database(spec, dialect_for("postgresql"))
    database.check()
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'ingestion-runtime %'"
    postgres.psql(kill, superuser=True)
    database.check()

    def die_halfway() -> None:
        with database.connect() as connection:
            postgres.psql(kill, superuser=True)
            connection.cursor().execute("SELECT 1")

    with pytest.raises(TransientError, match="terminat"):
        die_halfway()
    database.close()
    database.check()
    database.close()


def test_postgresql_connections_cannot_write(postgres: Any) -> None:
    postgres.psql("CREATE TABLE t (c int)")
    spec = ConnectionSpec(
        "shop", "postgresql", postgres.database, postgres.host, postgres.port, postgres.user, Reference(postgres.password)
    )
    with pytest.raises(TerminalError, match="read-only"):
        Database(spec, dialect_for("postgresql")).rows("INSERT INTO t VALUES (1) RETURNING c")


@pytest.mark.parametrize("dialect", ["mariadb", "singlestore"])
def test_mariadb_errors_say_what_to_do(mariadb: Any, dialect: str) -> None:
    """Credentials and addresses: what to check, which run would succeed, and never the password."""
    right = mariadb_spec(mariadb, dialect)
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes connections and never says a word
        cases: list[tuple[dict[str, Any], type[IngestionError], str]] = [
            ({"password": Reference("wrong-secret")}, ConfigError, r"Access denied.*Check user, password"),
            ({"user": "nobody"}, ConfigError, r"Access denied.*Check user"),
            ({"database": "nowhere"}, ConfigError, r"nowhere.*check database"),
            ({"port": 1}, TransientError, r"refused.*run the same command again"),
            ({"host": "no.such.host.invalid"}, TransientError, r"no\.such\.host\.invalid.*run the same command again"),
            ({"port": mute.getsockname()[1], "connect_timeout_seconds": 1}, TransientError, "timed out"),
        ]
        for changes, kind, words in cases:
            with pytest.raises(IngestionError, match=words) as caught:
                Database(replace(right, **changes), dialect_for(dialect)).check()
            assert type(caught.value) is kind
            assert f"Connection 'shop' ({dialect}" in str(caught.value)
            assert "wrong-secret" not in str(caught.value)
            assert mariadb.password not in str(caught.value)
            assert caught.value.__cause__ is None
    Database(right, dialect_for(dialect)).check()


def test_mariadb_tables_without_a_grant_are_named(mariadb: Any, mariadb_server: Any) -> None:
    mariadb_server.client("CREATE DATABASE closed; CREATE TABLE closed.t (c int)")
    try:
        source = Source(mariadb_spec(mariadb), mariadb.client, [])
        window = Interval(mark(CursorType.INT, "0"), mark(CursorType.INT, "1"))
        with pytest.raises(TerminalError, match=r"no table 'closed\.t'|denied"):
            source.incremental(CursorType.INT, schema="closed").count_rows(window)
        with pytest.raises(TerminalError, match=r"SELECT command denied.*closed.*Grant"):
            source.table(query_sql="SELECT c FROM closed.t").describe()
    finally:
        mariadb_server.drop_database("closed")


def test_mariadb_that_restarts_is_reached_again(
    mariadb: Any, mariadb_server: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """Lost in the midst of a query: worth a retry, told by one error and no stack; the next query connects anew."""
    database = Database(mariadb_spec(mariadb), dialect_for("mariadb"))
    database.check()

    def kill() -> None:
        mine = mariadb_server.client(f"SELECT id FROM information_schema.processlist WHERE user = '{mariadb.user}'")
        mariadb_server.client("".join(f"KILL {number};" for number in mine.split()))

    kill()
    database.check()

    def die_halfway() -> None:
        with database.connect() as connection:
            kill()
            connection.cursor().execute("SELECT 1")

    with pytest.raises(TransientError, match="run the same command again"):
        die_halfway()
    assert "Traceback" not in capfd.readouterr().err
    database.check()
    database.close()


@pytest.mark.parametrize(
    "statement", ["INSERT INTO t VALUES (1)", "CREATE TABLE u (c int)", "SET GLOBAL max_connections = 1"]
)
def test_mariadb_connections_cannot_write(mariadb: Any, statement: str) -> None:
    mariadb.client("CREATE TABLE t (c int)")
    with pytest.raises(TerminalError, match=r"READ ONLY|denied"):
        Database(mariadb_spec(mariadb), dialect_for("mariadb")).rows(statement)


def test_mariadb_names_differ_by_case_as_the_server_says(mariadb: Any) -> None:
    """The catalog compares without regard to case, the server (here) does not."""
    mariadb.client("CREATE TABLE t (c int); CREATE TABLE T (d int, e int, PRIMARY KEY (e))")
    source = Source(mariadb_spec(mariadb), mariadb.client, [])
    schema = mariadb.database
    assert [c.name for c in source.table("t", schema=schema).describe().columns] == ["c"]
    upper = source.table("T", schema=schema).describe()
    assert ([c.name for c in upper.columns], upper.primary_keys) == (["d", "e"], ("e",))
    mariadb.client("DROP TABLE T")
    with pytest.raises(TerminalError, match="no table"):
        source.table("T", schema=schema).describe()


def test_mariadb_sees_what_was_committed_after_a_connection_began(mariadb: Any) -> None:
    """Each statement has a view of its own: a second look for bad values must not see the state of the first."""
    mariadb.client("CREATE TABLE t (c int); INSERT INTO t VALUES (1)")
    database = Database(mariadb_spec(mariadb), dialect_for("mariadb"))
    with database.snapshot("SELECT c FROM t") as snapshot:
        assert snapshot.join is None
        cursor = snapshot.connection.cursor()
        for rows in (1, 2):
            cursor.execute("SELECT count(*) FROM t")
            assert cursor.fetchall() == ((rows,),)
            mariadb.client("INSERT INTO t VALUES (2)")
    database.close()


def sqlite_source(path: Path, script: str = "") -> Source:
    def run(text: str) -> None:
        with sqlite3.connect(path) as connection:
            connection.executescript(text)
        connection.close()

    run(script)
    return Source(ConnectionSpec("shop", "sqlite", str(path)), run, [])


def test_sqlite_files_that_are_missing_or_no_database(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no database, it is prose of more than a hundred bytes. " * 10)
    for name, words in (("missing.db", "unable to open"), ("text", "not a database"), ("", "is a directory")):
        spec = ConnectionSpec("shop", "sqlite", str(tmp_path / name))
        with pytest.raises(ConfigError, match=words):
            Database(spec, dialect_for("sqlite")).check()
    assert not (tmp_path / "missing.db").exists()


def test_sqlite_connections_cannot_write(tmp_path: Path) -> None:
    source = sqlite_source(tmp_path / "s.db", "CREATE TABLE t (c INTEGER)")
    with pytest.raises(TerminalError, match="readonly"):
        Database(source.spec, dialect_for("sqlite")).rows("INSERT INTO t VALUES (1)")


def test_sqlite_that_is_locked_is_worth_a_retry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestion_runtime.endpoints.jdbc.dialects.sqlite._BUSY_MILLIS", 50)
    source = sqlite_source(tmp_path / "s.db", "CREATE TABLE t (c INTEGER)")
    holder = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(TransientError, match="locked"):
            source.table().describe()
    finally:
        holder.close()


@pytest.mark.parametrize(
    ("kind", "native", "value"),
    [
        (CursorType.TIMESTAMP, "DATETIME", "'2024-01-01T00:00:00'"),
        (CursorType.TIMESTAMP, "DATETIME", "'2024-01-01 00:00:00Z'"),
        (CursorType.TIMESTAMP, "DATETIME", "'2024-01-01 00:00:00.1234567'"),
        (CursorType.TIMESTAMP, "DATETIME", "'2024-01-01'"),
        (CursorType.TIMESTAMP, "DATETIME", "1704067200"),
        (CursorType.TIMESTAMP, "TEXT", "'01.02.2024 00:00:00'"),
        (CursorType.TIMESTAMP, "DATETIME", "'-001-01-01 00:00:00'"),
        (CursorType.DATE, "DATE", "'2024-01-01 00:00:00'"),
        (CursorType.DATE, "DATE", "20240101"),
        (CursorType.DATE, "DATE", "'2023-02-30'"),
        (CursorType.INT, "INTEGER", "'abc'"),
        (CursorType.INT, "INTEGER", "1e300"),
        (CursorType.TEXT, "TEXT", "x'00'"),
        (CursorType.TEXT, "", "12"),
    ],
)
def test_sqlite_cursors_that_would_be_compared_wrongly_are_refused(
    tmp_path: Path, kind: CursorType, native: str, value: str
) -> None:
    source = sqlite_source(tmp_path / "s.db", f"CREATE TABLE t (c {native}); INSERT INTO t VALUES ({value}), (NULL)")
    start = {CursorType.TIMESTAMP: "2000-01-01 00:00:00.000000", CursorType.DATE: "2000-01-01", CursorType.INT: "0"}
    with pytest.raises(TerminalError, match=r"1 values that are not spelled"):
        source.incremental(kind).probe_bounds(mark(kind, start.get(kind, "")))


def test_sqlite_spellings_of_one_moment_are_one_cursor_value(tmp_path: Path) -> None:
    moments = ["2024-01-01 00:00:00", "2024-01-01 00:00:00.0", "2024-01-01 00:00:00.000000"]
    others = ["2023-12-31 23:59:59.999999", "2024-01-01 00:00:00.000001"]
    for native in ("DATETIME", "TEXT", "TIMESTAMP", ""):
        source = sqlite_source(tmp_path / f"{native}.db", f"CREATE TABLE t (c {native})")
        source.run(f"INSERT INTO t VALUES {listed(moments + others)}")
        table = source.incremental(CursorType.TIMESTAMP)
        at = mark(CursorType.TIMESTAMP, "2024-01-01 00:00:00.000000")
        before, after = (mark(CursorType.TIMESTAMP, other) for other in others)
        assert table.count_rows(Interval(before, at)) == 3
        assert table.count_rows(Interval(at, after)) == 1
        assert table.fingerprint(ReRead(at, at, nulls=False)).rows == 3
        assert table.probe_bounds(at).low == after


def test_sqlite_text_cursors_follow_the_columns_collation(tmp_path: Path) -> None:
    source = sqlite_source(
        tmp_path / "s.db", "CREATE TABLE t (c TEXT COLLATE NOCASE); INSERT INTO t VALUES ('a'), ('B'), ('c')"
    )
    bounds = source.incremental(CursorType.TEXT).probe_bounds(mark(CursorType.TEXT, "A"))
    assert (bounds.low, bounds.high) == (mark(CursorType.TEXT, "B"), mark(CursorType.TEXT, "c"))


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_sqlite_numbers_are_no_text_cursors_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    """A column of numeric affinity compares a literal that looks like a number as one."""
    source = sqlite_source(tmp_path / "s.db", f"PRAGMA encoding = '{encoding}'; CREATE TABLE t (c NUMERIC, s TEXT)")
    with pytest.raises(TerminalError, match="cursor of type text"):
        source.incremental(CursorType.TEXT).describe()
    source.incremental(CursorType.TEXT, column="s").describe()


def test_sqlite_unknown_names_are_errors_and_not_strings(tmp_path: Path) -> None:
    source = sqlite_source(tmp_path / "s.db", "CREATE TABLE t (c INTEGER, gone INTEGER); INSERT INTO t VALUES (1, 2)")
    table = source.incremental(CursorType.INT)
    table.describe()
    source.run("ALTER TABLE t RENAME COLUMN c TO d")
    with pytest.raises(TerminalError, match="no such column: c"):
        table.probe_bounds(mark(CursorType.INT, "0"))


def test_sqlite_decimals_accept_every_price(tmp_path: Path) -> None:
    prices = [f"{whole}.{cents:02}" for whole in (0, 1, 9, 123456, 99999999) for cents in range(100)]
    source = sqlite_source(
        tmp_path / "s.db", f"CREATE TABLE t (p DECIMAL(12,2)); INSERT INTO t VALUES {', '.join(f'({p})' for p in prices)}"
    )
    (column,) = source.table()._description.known().columns
    rows = Database(source.spec, dialect_for("sqlite")).rows(f"SELECT {column.select} FROM t WHERE NOT ({column.bad_when})")
    assert [format(float(spelled), ".2f") for (spelled,) in rows] == prices

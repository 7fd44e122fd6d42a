"""Quoting, literals, addresses, types and error classes of every dialect, without a server."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_runtime.endpoints.jdbc.columns import RawColumn, SourceColumn, arrow_schema, check_names, spark_type
from ingestion_runtime.endpoints.jdbc.dialect import Dialect, Fault
from ingestion_runtime.endpoints.jdbc.dialects import DIALECTS, dialect_for
from ingestion_runtime.endpoints.jdbc.dialects.sqlite_types import kind_of
from ingestion_runtime.endpoints.jdbc.sql import Cursor, extraction, in_reread, relation, source
from ingestion_runtime.model.connection import ConnectionSpec, Tls
from ingestion_runtime.model.cursor import CursorType, ReRead, Watermark
from ingestion_runtime.model.errors import ConfigError, IngestionError, OversizedReadError, TerminalError, TransientError
from ingestion_runtime.model.spec import TableSpec

POSTGRES, SQLITE, MARIADB = dialect_for("postgresql"), dialect_for("sqlite"), dialect_for("mariadb")
EVERY = pytest.mark.parametrize("dialect", [dialect_for(name) for name in DIALECTS], ids=list(DIALECTS))


class Untouchable:
    """A password that must not be asked for."""

    def resolve(self) -> str:
        raise AssertionError("the password was resolved")


def column_of(dialect: Dialect, kind: str, *arguments: int, native: str | None = None) -> SourceColumn:
    return dialect.column(RawColumn("c", kind if native is None else native, kind, arguments, True))


def test_an_unknown_dialect_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no dialect 'postgres'. Did you mean 'postgresql'\?"):
        dialect_for("postgres")


def test_looking_at_dialects_loads_neither_spark_nor_a_driver() -> None:
    code = (
        "import sys; import ingestion_runtime.endpoints.jdbc.source;"
        "print([m for m in ('pyspark', 'py4j', 'psycopg', 'pyiceberg') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("dialect", "name", "quoted"),
    [
        (POSTGRES, 'a"b', '"a""b"'),
        (POSTGRES, "select", '"select"'),
        (SQLITE, 'a"b', '`a"b`'),
        (SQLITE, "a`b", "`a``b`"),
        (MARIADB, 'a"b', '`a"b`'),
        (MARIADB, "a`b", "`a``b`"),
    ],
)
def test_names_are_quoted(dialect: Dialect, name: str, quoted: str) -> None:
    assert dialect.quote(name) == quoted


@EVERY
def test_a_nul_is_refused_in_names_and_text(dialect: Dialect) -> None:
    with pytest.raises(TerminalError, match="NUL"):
        dialect.quote("a\0b")
    with pytest.raises(TerminalError, match="NUL"):
        dialect.literal(Watermark(CursorType.TEXT, "a\0b"), column_of(dialect, "text"))


@pytest.mark.parametrize(
    ("dialect", "kind", "native", "literal", "sql"),
    [
        (POSTGRES, CursorType.INT, "int4", "-5", "(-5)"),
        (POSTGRES, CursorType.EPOCH_MILLIS, "int8", "1700000000000", "(1700000000000)"),
        (POSTGRES, CursorType.DATE, "date", "2024-02-29", "DATE '2024-02-29'"),
        (POSTGRES, CursorType.TEXT, "text", "it's \\", "E'it''s \\\\'"),
        (SQLITE, CursorType.INT, "int", "-5", "(-5)"),
        (SQLITE, CursorType.DATE, "date", "2024-02-29", "'2024-02-29'"),
        (SQLITE, CursorType.TEXT, "text", "it's \\", "'it''s \\'"),
        (MARIADB, CursorType.INT, "bigint unsigned", "18446744073709551615", "(18446744073709551615)"),
        (MARIADB, CursorType.DATE, "date", "2024-02-29", "DATE'2024-02-29'"),
        (MARIADB, CursorType.TIMESTAMP, "datetime", "2024-02-29 00:00:00", "TIMESTAMP'2024-02-29 00:00:00.000000'"),
        (MARIADB, CursorType.TEXT, "text", "it's \\", "'it''s \\\\'"),
    ],
)
def test_cursor_values_are_spelled_in_the_sources_words(
    dialect: Dialect, kind: CursorType, native: str, literal: str, sql: str
) -> None:
    assert dialect.literal(Watermark(kind, literal), column_of(dialect, native)) == sql


def test_timestamps_carry_a_zone_where_the_column_has_one() -> None:
    at = Watermark(CursorType.TIMESTAMP, "2024-01-01 00:00:00.500000")
    assert POSTGRES.literal(at, column_of(POSTGRES, "timestamp")) == "TIMESTAMP '2024-01-01 00:00:00.500000'"
    assert POSTGRES.literal(at, column_of(POSTGRES, "timestamptz")) == "TIMESTAMPTZ '2024-01-01 00:00:00.500000+00'"


@pytest.mark.parametrize(
    ("literal", "floor"),
    [
        ("2024-01-01 00:00:00.000000", "'2024-01-01 00:00:00'"),
        ("2024-01-01 00:00:10.000000", "'2024-01-01 00:00:10'"),
        ("2024-01-01 00:00:00.500000", "'2024-01-01 00:00:00.5'"),
        ("2024-01-01 00:00:00.000001", "'2024-01-01 00:00:00.000001'"),
    ],
)
def test_sqlite_spells_an_inclusive_lower_bound_with_no_digit_to_spare(literal: str, floor: str) -> None:
    at, column = Watermark(CursorType.TIMESTAMP, literal), column_of(SQLITE, "timestamp")
    assert SQLITE.literal(at, column, floor=True) == floor
    assert SQLITE.literal(at, column) == f"'{literal}'"


@EVERY
@given(literal=st.text(max_size=40))
def test_no_literal_but_text_lets_anything_but_a_value_through(dialect: Dialect, literal: str) -> None:
    column = column_of(dialect, "timestamp")
    for kind in (CursorType.INT, CursorType.DATE, CursorType.TIMESTAMP, CursorType.EPOCH_SECONDS):
        try:
            sql = dialect.literal(Watermark(kind, literal), column)
        except IngestionError:
            continue
        assert set(sql) <= set("0123456789-:. ()'+TIMESAPDZ")


@pytest.mark.parametrize(
    ("sql", "given"),
    [
        ("a ? b", "a ?? b"),
        ("'?' \"?\" E'\\'?' $$ ? $$ $x$?$x$ /* ? */ -- ?\n?", "'?' \"?\" E'\\'?' $$ ? $$ $x$?$x$ /* ? */ -- ?\n??"),
        ("a ?| b ?& c @? d", "a ??| b ??& c @?? d"),
    ],
)
def test_question_marks_reach_postgresql_as_they_are(sql: str, given: str) -> None:
    assert POSTGRES.jdbc_text(sql) == given


def test_addresses_hold_neither_user_nor_password(tmp_path: Path) -> None:
    spec = ConnectionSpec(
        "shop",
        "postgresql",
        "my db/1?x",
        "::1",
        5433,
        "joe",
        Untouchable(),
        Tls("verify-full", ca=tmp_path / "ca.pem"),
        jdbc_properties=(("socketTimeout", "60"),),
    )
    target = POSTGRES.jdbc(spec)
    address, _, query = target.url.partition("?")
    assert address == "jdbc:postgresql://[::1]:5433/my%20db%2F1%3Fx"
    assert "joe" not in target.url
    # Spark would spell the names of options in lower case, and the driver would not know those with capitals.
    assert all(name == name.lower() for name, _ in target.options)
    options = {**dict(target.options), **dict(parse_qsl(query))}
    assert (options["sslmode"], options["sslrootcert"]) == ("verify-full", str(tmp_path / "ca.pem"))
    assert (options["socketTimeout"], options["connectTimeout"]) == ("60", "10")
    assert not {"user", "password"} & set(options)
    assert "joe" not in POSTGRES.place(spec)


@pytest.mark.parametrize("name", ["mariadb", "mysql", "singlestore"])
def test_the_mysql_family_is_read_as_mysql_with_everything_in_options(name: str, tmp_path: Path) -> None:
    """Spark quotes with backticks for jdbc:mysql only; nothing of the file can undo what decides how values are read."""
    tls = Tls("verify-full", ca=tmp_path / "ca.pem")
    properties = (("socketTimeout", "60"), ("tcpKeepIdle", "5"))
    spec = ConnectionSpec("shop", name, "my db/1?x", "::1", 3307, "joe", Untouchable(), tls, jdbc_properties=properties)
    target = dialect_for(name).jdbc(spec)
    assert target.url == "jdbc:mysql://[::1]:3307/my%20db%2F1%3Fx?permitMysqlScheme"
    options = dict(target.options)
    assert (options["sslMode"], options["serverSslCert"]) == ("verify-full", str(tmp_path / "ca.pem"))
    assert (options["socketTimeout"], options["tcpKeepIdle"], options["connectTimeout"]) == ("60", "5", "10000")
    assert (options["tinyInt1isBit"], options["allowLocalInfile"]) == ("false", "false")
    assert "sql_mode=''" in options["sessionVariables"]
    assert not {"user", "password"} & set(options)
    assert "joe" not in dialect_for(name).place(spec)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault("28000", 1045, "Access denied"), ConfigError),
        (Fault(None, 1049, "Unknown database"), ConfigError),
        (Fault("42000", 1142, "SELECT command denied"), TerminalError),
        (Fault("42S02", 1146, "no such table"), TerminalError),
        (Fault("42000", 1064, "syntax"), TerminalError),
        (Fault("22003", 1690, "out of range"), TerminalError),
        (Fault("08000", -1, "(conn=5) Socket fail to connect"), TransientError),
        (Fault(None, 2013, "Lost connection"), TransientError),
        (Fault("08004", 1040, "Too many connections"), TransientError),
        (Fault("40001", 1213, "Deadlock"), TransientError),
        (Fault("HY000", 1205, "Lock wait timeout"), TransientError),
        (Fault("70100", 1317, "Query execution was interrupted"), TransientError),
        (Fault("70100", 1969, "max_statement_time exceeded"), OversizedReadError),
        (Fault("HY000", 3024, "maximum statement execution time exceeded"), OversizedReadError),
        (Fault("HY000", 1030, "Got error 28"), TerminalError),
    ],
)
def test_mariadb_faults_say_whether_another_try_can_help(fault: Fault, kind: type[IngestionError]) -> None:
    error = MARIADB.classify(fault, "there")
    assert type(error) is kind
    assert "(conn=" not in str(error)


def test_sqlite_files_are_opened_for_reading_by_any_path() -> None:
    target = SQLITE.jdbc(ConnectionSpec("shop", "sqlite", "/data/a b?c%#.db"))
    assert target.url == "jdbc:sqlite:file:/data/a%20b%3Fc%25%23.db?mode=ro"


TABLE = TableSpec("public", "orders", "full", "shop")


def test_relations_and_filters_cannot_swallow_what_follows() -> None:
    assert relation(POSTGRES, TABLE) == '"public"."orders"'
    assert relation(SQLITE, TABLE) == "`orders`"
    query = replace(TABLE, query_sql="SELECT 1 -- one ;", source_filter="a OR b -- both")
    assert source(POSTGRES, query, "c") == "FROM (\nSELECT 1 -- one \n) AS ingest_source WHERE (\na OR b -- both\n) AND (c)"


def test_extraction_uses_names_of_its_own() -> None:
    columns = [column_of(POSTGRES, "int4"), replace(column_of(POSTGRES, "text"), name='we"ird', select='"we""ird"')]
    sql = extraction(POSTGRES, TABLE, columns, "x = 1", ranked=Cursor(columns[1], CursorType.TEXT))
    assert sql == (
        'SELECT "c" AS c0, "we""ird" AS c1, DENSE_RANK() OVER (ORDER BY ("public"."orders"."we""ird" IS NOT NULL),'
        ' "public"."orders"."we""ird") AS ingest_rank FROM "public"."orders" WHERE (x = 1)'
    )


def test_an_empty_re_read_set_selects_nothing() -> None:
    cursor = Cursor(column_of(POSTGRES, "int4"), CursorType.INT)
    assert in_reread(POSTGRES, cursor, ReRead(None, None, nulls=False)) == "1 = 0"
    assert in_reread(POSTGRES, cursor, ReRead(None, None, nulls=True)) == '"c" IS NULL'


@pytest.mark.parametrize(
    ("kind", "arguments", "lands", "select"),
    [
        ("bool", (), pa.bool_(), '"c"'),
        ("int2", (), pa.int16(), '"c"'),
        ("int4", (), pa.int32(), '"c"'),
        ("int8", (), pa.int64(), '"c"'),
        ("float4", (), pa.float32(), '"c"'),
        ("float8", (), pa.float64(), '"c"'),
        ("numeric", (38, 38), pa.decimal128(38, 38), '"c"'),
        ("numeric", (39, 0), pa.string(), '"c"::text'),
        ("numeric", (5, -2), pa.string(), '"c"::text'),
        ("numeric", (2, 5), pa.string(), '"c"::text'),
        ("numeric", (), pa.string(), '"c"::text'),
        ("bpchar", (), pa.string(), '"c"'),
        ("bytea", (), pa.binary(), '"c"'),
        ("date", (), pa.date32(), "\"c\" - DATE '1970-01-01'"),
        ("timestamp", (), pa.timestamp("us"), '"c"::text'),
        ("timestamptz", (), pa.timestamp("us", tz="UTC"), "(\"c\" AT TIME ZONE 'UTC')::text"),
        ("uuid", (), pa.string(), '"c"::text'),
        ("", (), pa.string(), '"c"::text'),
    ],
)
def test_postgresql_types(kind: str, arguments: tuple[int, ...], lands: pa.DataType, select: str) -> None:
    column = column_of(POSTGRES, kind, *arguments)
    assert (column.lands_as, column.select) == (lands, select)
    assert spark_type(column.lands_as)


@pytest.mark.parametrize(
    ("declared", "kind", "arguments"),
    [
        ("INTEGER", "int", ()),
        ("unsigned  big int", "int", ()),
        ("int(11)", "int", (11,)),
        ("DECIMAL(10,2)", "decimal", (10, 2)),
        ("numeric( 10 )", "decimal", (10,)),
        ("double precision", "real", ()),
        ("VARCHAR(20)", "text", (20,)),
        ("NATIVE CHARACTER(70)", "text", (70,)),
        ("CLOB", "text", ()),
        ("BLOB", "blob", ()),
        ("boolean", "bool", ()),
        ("DateTime", "timestamp", ()),
        ("timestamp with time zone", "", ()),
        ("FLOATING POINT", "", ()),
        ("CHARINT", "", ()),
        ("TIME", "", ()),
        ("", "", ()),
        ("enum('a', 'b')", "", ()),
    ],
)
def test_sqlite_declared_types(declared: str, kind: str, arguments: tuple[int, ...]) -> None:
    assert kind_of(declared) == (kind, arguments)


def test_sqlite_text_cursors_need_a_column_that_keeps_text() -> None:
    assert CursorType.TEXT in column_of(SQLITE, "text").cursors
    assert CursorType.TEXT in column_of(SQLITE, "", native="").cursors
    assert CursorType.TEXT not in column_of(SQLITE, "", native="TIME").cursors


@EVERY
def test_every_column_lands_in_a_type_that_spark_can_write(dialect: Dialect) -> None:
    kinds = ["int", "int4", "bool", "text", "blob", "bytea", "date", "timestamp", "real", "float8", ""]
    columns = [column_of(dialect, kind) for kind in kinds] + [column_of(dialect, "decimal", 9, 2)]
    assert all(spark_type(field.type) for field in arrow_schema(columns))
    with pytest.raises(TerminalError, match="duration"):
        spark_type(pa.duration("s"))


def named(*names: str) -> list[SourceColumn]:
    return [replace(column_of(POSTGRES, "int4"), name=name) for name in names]


def test_names_that_cannot_stand_side_by_side_are_refused() -> None:
    check_names(named("a", "b", "ingest_x"), "t")
    for names, words in ((("id", "ID"), "'id' and 'ID'"), (("_Ingest_x",), "_Ingest_x"), ((), "no columns")):
        with pytest.raises(TerminalError, match=words):
            check_names(named(*names), "t")


@pytest.mark.parametrize(
    ("dialect", "fault", "kind"),
    [
        (POSTGRES, Fault("28P01", None, "password authentication failed"), ConfigError),
        (POSTGRES, Fault("3D000", None, "database does not exist"), ConfigError),
        (POSTGRES, Fault("42P01", None, 'relation "t" does not exist'), TerminalError),
        (POSTGRES, Fault("42501", None, "permission denied for table t"), TerminalError),
        (POSTGRES, Fault("22012", None, "division by zero"), TerminalError),
        (POSTGRES, Fault("08006", None, "gone"), TransientError),
        (POSTGRES, Fault("53100", None, "could not extend file: No space left on device"), TransientError),
        (POSTGRES, Fault("53300", None, "too many clients"), TransientError),
        (POSTGRES, Fault("40001", None, "could not serialize"), TransientError),
        (POSTGRES, Fault("40P01", None, "deadlock detected"), TransientError),
        (POSTGRES, Fault("57P03", None, "the database system is starting up"), TransientError),
        (POSTGRES, Fault(None, None, "?"), TerminalError),
        (SQLITE, Fault(None, 14, "unable to open database file"), ConfigError),
        (SQLITE, Fault(None, 5 | 1 << 8, "database is locked"), TransientError),
        (SQLITE, Fault(None, 13, "database or disk is full"), TransientError),
        (SQLITE, Fault(None, 11, "malformed"), TerminalError),
        (SQLITE, Fault(None, 1, "no such table: t"), TerminalError),
    ],
)
def test_faults_become_our_errors(dialect: Dialect, fault: Fault, kind: type[IngestionError]) -> None:
    error = dialect.classify(fault, "Connection 'shop'")
    assert type(error) is kind
    assert fault.text in str(error)
    assert error.remedy

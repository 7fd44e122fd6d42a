"""Reads from MariaDB through Spark: each type trap, and what a server's settings must not change."""

import json
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialects import dialect_for
from ingestion_runtime.endpoints.jdbc.extract import JdbcExtract
from ingestion_runtime.endpoints.jdbc.source import JdbcSource
from ingestion_runtime.endpoints.jdbc.spark_reader import SparkReader
from ingestion_runtime.model.connection import ConnectionSpec, Tls
from ingestion_runtime.model.cursor import CursorType, Interval, ReRead, Slice, Watermark
from ingestion_runtime.model.endpoint import Shape
from ingestion_runtime.model.errors import ConfigError, IngestionError, TerminalError, TransientError
from ingestion_runtime.model.spec import TableSpec
from tests.readings import Reference
from tests.servers.mariadb import MariaDatabase, MariaServer


@dataclass
class Reading:
    """A Spark session, as readers ask for it, one database, and the directory for what lands."""

    spark: SparkSession
    root: Path
    database: MariaDatabase
    dialect: str = "mariadb"
    tls: Tls = field(default_factory=Tls)
    count: int = 0

    def session(self) -> SparkSession:
        return self.spark

    @property
    def spec(self) -> ConnectionSpec:
        server = self.database
        reference = Reference(server.password)
        address = (server.database, server.host, server.port, server.user, reference)
        return ConnectionSpec("shop", self.dialect, *address, tls=self.tls)

    def source(self, name: str = "t", **changes: Any) -> JdbcSource:
        table = replace(TableSpec(self.database.database, name, "full", "shop"), **changes)
        return JdbcSource(table, Database(self.spec, dialect_for(self.dialect)), SparkReader(self))

    def land(self, name: str = "t", piece: Slice | None = None, **changes: Any) -> pa.Table:
        source = self.source(name, **changes)
        extract = source.read_full() if piece is None else source.read_slice(piece)
        self.count += 1
        directory = self.root / f"landed-{self.count}"
        extract.write_parquet(str(directory))
        landed = pq.read_table(directory)
        assert [(f.name, f.type) for f in landed.schema][: len(extract.schema)] == [(f.name, f.type) for f in extract.schema]
        return landed


@pytest.fixture
def reading(spark: SparkSession, tmp_path: Path, mariadb: MariaDatabase) -> Reading:
    session = spark.newSession()
    session.conf.set("spark.sql.session.timeZone", "UTC")
    session.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    return Reading(session, tmp_path, mariadb)


HOSTILE = {
    "time_zone": "'+05:30'",
    "sql_mode": "'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,PAD_CHAR_TO_FULL_LENGTH,NO_ZERO_DATE'",
    "sql_select_limit": "1",
    "tx_isolation": "'READ-UNCOMMITTED'",
    "character_set_server": "latin1",
    "div_precision_increment": "0",
}


@pytest.fixture
def hostile(mariadb_server: MariaServer) -> Iterator[None]:
    """Settings of a server under which every value would read otherwise, or not at all."""
    before = {name: mariadb_server.client(f"SELECT @@global.{name}") for name in HOSTILE}
    mariadb_server.client("".join(f"SET GLOBAL {name} = {value};" for name, value in HOSTILE.items()))
    yield
    for name, value in before.items():
        spelled = value if value.isdigit() else f"'{value}'"
        mariadb_server.client(f"SET GLOBAL {name} = {spelled};")


TYPES = """
SET sql_mode = 'STRICT_ALL_TABLES', time_zone = '+00:00';
CREATE TABLE t (
  id bigint PRIMARY KEY, t1 tinyint(1), tu tinyint unsigned, su smallint unsigned, mu mediumint unsigned, iu int unsigned,
  bu bigint unsigned zerofill, b1 bit, b8 bit(8), b63 bit(63), b64 bit(64), y year, n decimal(38,10), nu decimal(5) unsigned,
  w decimal(65,30), f float, g double, fd float(10,3), gd double(12,2), d date, dt datetime(6), ds datetime,
  ts timestamp(6) NULL, tm time(6), c char(5), v varchar(40), x longtext, e enum('a','it''s'), s set('x','y'), j json,
  l varchar(9) CHARACTER SET latin1, u3 varchar(9) CHARACTER SET utf8mb3, u16 text CHARACTER SET utf16,
  ci varchar(9) COLLATE utf8mb4_general_ci, bi binary(4), vb varbinary(9), bl blob, ui uuid, i4 inet4, i6 inet6, p point)
  CHARACTER SET utf8mb4;
INSERT INTO t (id) VALUES (0);
INSERT INTO t VALUES
 (1, 2, 255, 65535, 16777215, 4294967295, 18446744073709551615, 1, 255, 9223372036854775807, 0xFFFFFFFFFFFFFFFF, 2155,
  9999999999999999999999999999.9999999999, 99999, 99999999999999999999999999999999999.999999999999999999999999999999,
  1.1, 0.1, 1234567.125, 1234567890.12, '9999-12-31', '9999-12-31 23:59:59.999999', '9999-12-31 23:59:59',
  '2038-01-19 03:14:07.999999', '838:59:59', 'a  ', 'tab\\there ''quoted'' \\\\ 🚲 é', '🚲', 'it''s', 'x,y',
  '{"b":1,  "a":2}', 'é€ÿ', 'é€', '🚲 é', 'Straße', 'a', 'a ', x'00FF', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11',
  '10.0.0.1', '::ffff:10.0.0.1', ST_GeomFromText('POINT(1 2)', 4326)),
 (-9223372036854775808, -128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1901, -9999999999999999999999999999.9999999999, 0,
  -0.000000000000000000000000000001, -3.4028234e38, 5e-324, -0.001, -0.01, '0001-01-01', '0001-01-01', '1582-10-10',
  '1970-01-01 00:00:01', '-838:59:59', '', '', '', 'a', '', '[]', '', '', '', '', '', '', '', NULL, NULL, NULL, NULL),
 (7, 1, 1, 1, 1, 1, 1, NULL, 7, 7, 7, 0, 0.0000000001, 1, 1, 16777217, 1.7976931348623157e308, 0, 0, '1582-10-05',
  '1582-10-05 12:00:00.123456', '2024-02-29 12:00:00', '2024-03-31 01:30:00.000001', '-00:00:00.000001', ' b', ' b ',
  'NULL', 'a', 'y', 'null', 'x', 'x', 'x', 'X', 'b', 'b', 'b', '00000000-0000-0000-0000-000000000000', '0.0.0.0', '::',
  NULL);
"""
# How the client is asked: what it would print in its own character set, or cut to six digits, in full.
ASKED = {
    "f": "f * 1e0",
    "g": "g * 1e0",
    "gd": "gd * 1e0",
    "fd": "fd * 1e0",
    **{b: f"{b} + 0" for b in ("b1", "b8", "b63", "b64")},
}
PLAIN = "SET time_zone = '+00:00', sql_mode = '', sql_select_limit = 18446744073709551615"
BINARY = {"bi", "vb", "bl", "p"}


def printed(database: MariaDatabase, column: str) -> list[str | None]:
    """Return a column as the client prints it, ordered by id; bytes in hex."""
    value = f"HEX({column})" if column in BINARY else ASKED.get(column, column)
    lines = database.client(f"{PLAIN}; SELECT {column} IS NULL, {value} FROM t ORDER BY id").split("\n")
    cells = [line.split("\t", 1) for line in lines]
    unescape = {"\\t": "\t", "\\n": "\n", "\\\\": "\\", "\\0": "\0"}
    return [None if null == "1" else _unescaped(cell, unescape) for null, cell in cells]


def _unescaped(cell: str, escapes: dict[str, str]) -> str:
    out, at = "", 0
    while at < len(cell):
        step = 2 if cell[at : at + 2] in escapes else 1
        out += escapes.get(cell[at : at + step], cell[at : at + step])
        at += step
    return out


def as_printed(kind: pa.DataType) -> Callable[[str], Any]:
    """Return how a cell that the client printed is read, by nothing that the code under test uses."""
    if kind == pa.float32():
        return lambda text: struct.unpack("f", struct.pack("f", float(text)))[0]
    readers: dict[pa.DataType, Callable[[str], Any]] = {
        pa.float64(): float,
        pa.binary(): bytes.fromhex,
        pa.date32(): date.fromisoformat,
        pa.timestamp("us"): datetime.fromisoformat,
        pa.timestamp("us", tz="UTC"): lambda text: datetime.fromisoformat(text).replace(tzinfo=UTC),
        pa.string(): str,
    }
    return readers.get(kind, Decimal if pa.types.is_decimal(kind) else int)


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize("dialect", ["mariadb", "mysql"])
def test_every_type_lands_as_the_client_prints_it_whatever_the_servers_settings(reading: Reading, dialect: str) -> None:
    """Also the traps: tinyint(1) of 2, unsigned, bits, floats beyond six digits, times over 24 h, the days around 1582."""
    reading.database.client(TYPES)
    reading.dialect = dialect
    asked = "@@tx_isolation AS i, @@tx_read_only AS r, @@sql_mode AS m, @@time_zone AS z"
    (session,) = reading.land(query_sql=f"SELECT {asked}").to_pylist()
    assert (session["i"], session["r"], session["m"], session["z"]) == ("READ-COMMITTED", 1, "", "+00:00")
    landed = reading.land().sort_by("id")
    assert landed.num_rows == 4
    for column in landed.schema:
        read = as_printed(column.type)
        expected = [None if cell is None else read(cell) for cell in printed(reading.database, column.name)]
        assert landed.column(column.name).to_pylist() == expected, column.name
    rows = {row["id"]: row for row in landed.to_pylist()}
    assert rows[1]["t1"] == 2
    assert rows[1]["bu"] == 2**64 - 1
    assert rows[7]["f"] == 16777216.0
    assert rows[1]["f"] == struct.unpack("f", struct.pack("f", 1.1))[0]
    assert rows[-(2**63)]["g"] == 5e-324
    assert rows[-(2**63)]["tm"] == "-838:59:59.000000"
    assert rows[1]["j"] == '{"b":1,  "a":2}'
    assert rows[1]["p"][:4] == (4326).to_bytes(4, "little")
    types = {column.name: str(column.type) for column in landed.schema}
    assert types["bu"] == types["b64"] == "decimal128(20, 0)"
    assert types["iu"] == types["b1"] == types["b63"] == "int64"
    assert types["w"] == types["tm"] == types["ui"] == types["j"] == "string"
    assert (types["f"], types["dt"], types["ts"]) == ("float", "timestamp[us]", "timestamp[us, tz=UTC]")


def test_moments_that_share_a_wall_clock_stay_apart(reading: Reading) -> None:
    """TIMESTAMP is stored in UTC: the hour that a zone has twice in autumn is two hours."""
    reading.database.client("""CREATE TABLE t (id int, ts timestamp(3));
        SET time_zone = '+02:00'; INSERT INTO t VALUES (1, '2024-10-27 02:30:00.123');
        SET time_zone = '+01:00'; INSERT INTO t VALUES (2, '2024-10-27 02:30:00.123')""")
    landed = {row["id"]: row["ts"] for row in reading.land().to_pylist()}
    assert landed == {1: datetime(2024, 10, 27, 0, 30, 0, 123000, UTC), 2: datetime(2024, 10, 27, 1, 30, 0, 123000, UTC)}


BAD = """
SET sql_mode = 'ALLOW_INVALID_DATES';
CREATE TABLE t (id int, d date, dt datetime, ts timestamp NULL, gb varchar(9) CHARACTER SET gbk, ok date);
INSERT INTO t VALUES (1, '0000-00-00', '2023-00-10', '0000-00-00', 'a', '2024-02-29'),
 (2, '2023-02-31', '2024-01-00', '2024-01-01', 'a', '2024-02-29'), (3, '0000-05-05', NULL, NULL, NULL, NULL),
 (4, '0001-01-01', '9999-12-31', NULL, x'FEFE', NULL), (5, NULL, '0000-01-01', NULL, '中', NULL);
"""


def test_values_that_nothing_can_hold_are_refused_with_column_and_count(reading: Reading) -> None:
    reading.database.client(BAD)
    with pytest.raises(TerminalError) as caught:
        reading.land()
    assert caught.value.values["columns"] == {"d": 3, "dt": 3, "ts": 1, "gb": 1}
    assert "'d' (date): 3 values are zero or partial dates" in str(caught.value)
    assert "gbk text with characters that Unicode does not have" in str(caught.value)
    assert not (reading.root / "landed-1").exists()


@pytest.mark.parametrize("column", ["d", "dt", "ts", "gb"])
def test_a_bad_value_that_comes_between_check_and_read_cannot_land(
    reading: Reading, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    """The statement that reads fails by itself, and the second look names the column."""
    reading.database.client(BAD)
    looks: list[object] = []
    original = JdbcExtract.refuse_bad_values

    def second_look_only(extract: JdbcExtract, *arguments: Any) -> None:
        looks.append(extract)
        if len(looks) > 1:
            original(extract, *arguments)

    monkeypatch.setattr(JdbcExtract, "refuse_bad_values", second_look_only)
    query = f"SELECT id, {column} FROM t"
    with pytest.raises(TerminalError, match=f"column '{column}'"):
        reading.land(query_sql=query)
    assert len(looks) == 2
    assert not list((reading.root / "landed-1").rglob("*.parquet")) or not (reading.root / "landed-1" / "_SUCCESS").exists()


@pytest.mark.parametrize(
    ("column", "declared", "kind", "fits", "late"),
    [
        ("v", "decimal(20,6)", pa.decimal128(10, 2), "-99999999.990000", "1.234567"),
        ("n", "decimal(65,30)", pa.int64(), "9223372036854775807", "8.5"),
        ("b", "bigint unsigned zerofill", pa.int64(), "9223372036854775807", "9223372036854775808"),
        ("u", "bigint unsigned", pa.decimal128(19, 0), "9999999999999999999", "10000000000000000000"),
        ("i", "int", pa.decimal128(5, 2), "-999", "1000"),
        ("t", "bit(40)", pa.int32(), "2147483647", "2147483648"),
    ],
)
def test_a_number_that_does_not_fit_and_comes_between_check_and_read_cannot_land(
    reading: Reading, monkeypatch: pytest.MonkeyPatch, column: str, declared: str, kind: pa.DataType, fits: str, late: str
) -> None:
    """It would be rounded: there is no view that check and read could share. What fits lands, digit by digit."""
    reading.database.client(f"CREATE TABLE t (id int, {column} {declared}); INSERT INTO t VALUES (1, {fits}), (2, NULL);")
    original = JdbcExtract.refuse_bad_values
    arrivals = ["", f"INSERT INTO t VALUES (3, {late});", ""]

    def check_and_then(extract: JdbcExtract, *arguments: Any) -> None:
        original(extract, *arguments)
        reading.database.client(arrivals.pop(0) or "SELECT 1;")

    monkeypatch.setattr(JdbcExtract, "refuse_bad_values", check_and_then)
    extract = reading.source().read_full().shaped(Shape(landing=(pa.field(column, kind),)))
    extract.write_parquet(str(reading.root / "fits"))
    landed = pq.read_table(reading.root / "fits").sort_by("id")
    assert landed.field(column).type == kind
    assert [None if value is None else Decimal(value) for value in landed[column].to_pylist()] == [Decimal(fits), None]

    with pytest.raises(TerminalError, match=f"column '{column}'"):
        extract.write_parquet(str(reading.root / "late"))


def test_text_of_every_character_set_arrives(reading: Reading) -> None:
    sets = {"latin1": "é€", "latin2": "ł", "cp1251": "Ж", "greek": "Ω", "gbk": "中", "sjis": "日", "big5": "漢", "ucs2": "é",
            "utf32": "🚲", "utf16le": "🚲", "ascii": "a", "swe7": "a", "euckr": "한", "utf8mb3": "€"}  # fmt: skip
    columns = ", ".join(f"{name} text CHARACTER SET {name}, c_{name} char(5) CHARACTER SET {name}" for name in sets)
    values = ", ".join(f"'{text}', '{text}'" for text in sets.values())
    reading.database.client(
        f"SET sql_mode = 'STRICT_ALL_TABLES'; CREATE TABLE t ({columns}); INSERT INTO t VALUES ({values})"
    )
    expected = {column: text for name, text in sets.items() for column in (name, f"c_{name}")}
    assert reading.land().to_pylist() == [expected]
    assert reading.land(query_sql="SELECT * FROM t").to_pylist() == [expected]


def test_current_rows_with_invisible_and_generated_columns(reading: Reading) -> None:
    """Of a system-versioned table what SELECT without more gives; columns that SELECT * hides are data too."""
    reading.database.client("""CREATE TABLE t (id int PRIMARY KEY, v int, hidden int INVISIBLE DEFAULT 5,
        twice int AS (v * 2) STORED, thrice int AS (v * 3) VIRTUAL) WITH SYSTEM VERSIONING;
        INSERT INTO t (id, v) VALUES (1, 1), (2, 2); UPDATE t SET v = 7 WHERE id = 1; DELETE FROM t WHERE id = 2;
        CREATE TABLE p (id int, a date, b date, PERIOD FOR x (a, b));
        INSERT INTO p VALUES (1, '2024-01-01', '2024-02-01')""")
    assert reading.land().to_pylist() == [{"id": 1, "v": 7, "hidden": 5, "twice": 14, "thrice": 21}]
    assert reading.land("p").to_pylist() == [{"id": 1, "a": date(2024, 1, 1), "b": date(2024, 2, 1)}]


HOSTILE_COLUMNS = ['a"b', "a b", "sélect", "select", "a.b", "a``b", "a'b", "?", "{fn x}", "%s", ":x", "a;b(c)", "-- x", "#y"]


def test_hostile_names_and_literals_reach_the_server_unchanged(reading: Reading) -> None:
    """What the JDBC driver takes for parameters, escapes or comments stands in names and texts too."""
    listed = ", ".join(f"`{name}` varchar(20)" for name in HOSTILE_COLUMNS)
    values = ", ".join(f"'{place}'" for place in range(len(HOSTILE_COLUMNS)))
    reading.database.client(f"CREATE TABLE `o'dd ``table``?` ({listed}); INSERT INTO `o'dd ``table``?` VALUES ({values})")
    (row,) = reading.land("o'dd `table`?").to_pylist()
    assert row == {name.replace("``", "`"): str(place) for place, name in enumerate(HOSTILE_COLUMNS)}
    reading.database.client(
        "CREATE TABLE t (id int, v varchar(60)); INSERT INTO t VALUES (1, '{fn now()} ? -- # \\\\ '' \"')"
    )
    query = """SELECT v, '{d ''2024-01-01''} ? \\\\ -- #' AS a, "it's ?" AS b FROM t -- ? {fn x} '
        WHERE v = '{fn now()} ? -- # \\\\ '' "' # '"""
    (row,) = reading.land(query_sql=query).to_pylist()
    assert row == {"v": "{fn now()} ? -- # \\ ' \"", "a": "{d '2024-01-01'} ? \\ -- #", "b": "it's ?"}


def test_expressions_of_a_query_have_exact_types(reading: Reading) -> None:
    reading.database.client("CREATE TABLE t (id int, u bigint unsigned, n decimal(10,2)); INSERT INTO t VALUES (3, 5, 1.25)")
    query = """SELECT id + 1 AS a, u, u + 1 AS u1, n * n AS nn, sum(n) OVER () AS s, CAST(u AS decimal(65,30)) AS w,
        1e0 / 3 AS e, TIMESTAMP'2024-01-01 00:00:00.5' AS dt, TIME'25:00:00' AS tm, CONCAT(id) AS c,
        x'00ff' AS x, id = 3 AS yes FROM t"""
    landed = reading.land(query_sql=query)
    assert landed.to_pylist() == [
        {
            "a": 4,
            "u": 5,
            "u1": 6,
            "nn": Decimal("1.5625"),
            "s": Decimal("1.25"),
            "w": "5." + "0" * 30,
            "e": 1 / 3,
            "dt": datetime.fromisoformat("2024-01-01 00:00:00.5"),
            "tm": "25:00:00",
            "c": "3",
            "x": b"\x00\xff",
            "yes": 1,
        }
    ]
    assert str(landed.schema.field("u").type) == "decimal128(20, 0)"


def test_slices_of_a_text_cursor_follow_the_columns_collation(reading: Reading) -> None:
    reading.database.client("""CREATE TABLE t (id int, c varchar(9) COLLATE utf8mb4_general_ci);
        INSERT INTO t VALUES (1, 'a'), (2, 'B'), (3, 'C'), (4, 'é'), (5, NULL)""")
    source = reading.source(incremental_column="c", incr_col_type=CursorType.TEXT)
    bounds = source.probe_bounds(Watermark(CursorType.TEXT, "A"))
    assert (bounds.low, bounds.high) == (Watermark(CursorType.TEXT, "B"), Watermark(CursorType.TEXT, "é"))
    window = Interval(Watermark(CursorType.TEXT, "A"), Watermark(CursorType.TEXT, "c"))
    landed = reading.land(piece=Slice(0, window=window), incremental_column="c", incr_col_type=CursorType.TEXT)
    assert sorted(landed.select(["id", "_ingest_cursor_rank"]).to_pylist(), key=lambda row: row["id"]) == [
        {"id": 2, "_ingest_cursor_rank": 1},
        {"id": 3, "_ingest_cursor_rank": 2},
    ]


@pytest.mark.parametrize(
    ("value", "words"),
    [("0000-00-00", "1 values that are not spelled"), ("2024-00-10", "holds '2024-00-10 00:00:00.000000'")],
)
def test_a_cursor_that_is_no_day_is_refused(reading: Reading, value: str, words: str) -> None:
    """A zero date lies below every window and would never be read."""
    reading.database.client(f"SET sql_mode = ''; CREATE TABLE t (c datetime); INSERT INTO t VALUES ('{value}')")
    source = reading.source(incremental_column="c", incr_col_type=CursorType.TIMESTAMP)
    with pytest.raises(TerminalError, match=words):
        source.probe_bounds(Watermark(CursorType.TIMESTAMP, "1900-01-01 00:00:00.000000"))


def test_a_fingerprint_sees_the_last_bit_and_the_character_set(reading: Reading) -> None:
    """Floats beyond six digits, bytes, bits; and a zero date does not make it fail."""
    everything = ReRead(Watermark(CursorType.INT, "0"), Watermark(CursorType.INT, "9"), nulls=True)
    reading.database.client("""SET sql_mode = ''; CREATE TABLE t (c int, f float, g double, b bit(8), y blob, d date,
        l varchar(9) CHARACTER SET latin1) ; INSERT INTO t VALUES (1, 16777215, 0.3, 1, x'00', '0000-00-00', 'é')""")
    source = reading.source(incremental_column="c", incr_col_type=CursorType.INT)
    seen = {source.fingerprint(everything).digest}
    changes = ("f = 16777214", "g = 0.30000000000000004", "b = 2", "y = x'0000'", "d = '2023-00-00'", "l = 'è'", "l = NULL")
    for change in changes:
        reading.database.client(f"SET sql_mode = ''; UPDATE t SET {change}")
        seen.add(source.fingerprint(everything).digest)
    assert len(seen) == 1 + len(changes)


def test_a_read_that_loses_its_server_is_worth_a_retry(reading: Reading, mariadb_server: MariaServer) -> None:
    """The query is killed in the midst of the read: an error of ours with the server's words, and no stack."""
    reading.database.client("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
    found: list[IngestionError] = []

    def read() -> None:
        with pytest.raises(TransientError) as caught:
            reading.land(query_sql="SELECT id, SLEEP(60) AS z FROM t")
        found.append(caught.value)

    reader = threading.Thread(target=read)
    reader.start()
    ask = "SELECT id FROM information_schema.processlist WHERE info LIKE '%SLEEP(60)%' AND info NOT LIKE '%processlist%'"
    while reader.is_alive():
        for number in mariadb_server.client(ask).split():
            mariadb_server.client(f"KILL {number}")
    reader.join()
    assert "run the same command again" in str(found[0])
    assert "(conn=" not in str(found[0])


def test_an_interrupt_ends_probes_and_reads_at_once(reading: Reading, mariadb_server: MariaServer) -> None:
    """Also a read that streams: the driver would otherwise take in the rest of a statement before it lets go of it."""
    reading.database.client("CREATE TABLE t (id int); INSERT INTO t SELECT seq FROM seq_1_to_5000")
    queries = (
        "SELECT a.id FROM t a CROSS JOIN t b CROSS JOIN t c",
        "SELECT count(*) AS id FROM seq_1_to_9000000000 WHERE seq % 7 = 3",
    )
    for place, query in enumerate(queries):
        source = reading.source(query_sql=f"{query} -- interrupt me")
        found: list[BaseException] = []

        def read(source: JdbcSource = source, found: list[BaseException] = found, place: int = place) -> None:
            with pytest.raises(TransientError) as caught:
                source.read_full().write_parquet(str(reading.root / f"endless-{place}"))
            found.append(caught.value)

        reader = threading.Thread(target=read)
        reader.start()
        ask = "SELECT count(*) FROM information_schema.processlist WHERE info LIKE '%AS c0%interrupt me%' "
        ask += " AND id <> connection_id()"
        while mariadb_server.client(ask) == "0":
            assert reader.is_alive()
        source._database.interrupt()
        reader.join(20)
        assert not reader.is_alive()
        assert "interrupted" in str(found[0])


def test_tls_that_a_server_does_not_have_is_not_done_without(reading: Reading) -> None:
    """This server has no TLS: a mode that wants it fails, and does not go on in the clear."""
    spec = reading.spec
    missing = reading.root / "no-such-ca.pem"
    for tls, words in ((Tls("require"), "SSL is required"), (Tls("verify-full", ca=missing), "no-such-ca")):
        with pytest.raises(ConfigError, match=words):
            Database(replace(spec, tls=tls), dialect_for("mariadb")).check()
    target = dialect_for("mariadb").jdbc(spec)
    assert target.url.startswith("jdbc:mysql://")
    assert dict(target.options)["sslMode"] == "disable"
    assert spec.password is not None
    assert spec.password.resolve() not in json.dumps([target.url, target.options])


def certificates(root: Path) -> dict[str, str]:
    """Make a certificate authority and a server's certificate for 127.0.0.1; return the server's settings."""
    now = datetime.now(UTC)
    keys = [rsa.generate_private_key(65537, 2048) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("ca", "server")]
    for place, name in enumerate(("ca", "server")):
        builder = x509.CertificateBuilder(names[0], names[place], keys[place].public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=place == 0, path_length=None), critical=True)
        host = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        made = (builder.add_extension(host, critical=False) if place else builder).sign(keys[0], hashes.SHA256())
        (root / f"{name}.pem").write_bytes(made.public_bytes(Encoding.PEM))
    plain = keys[1].private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (root / "server.key").write_bytes(plain)
    for path in (root, root / "server.key"):
        path.chmod(0o755)  # the server runs as another user
    return {
        f"ssl-{key}": str(root / file) for key, file in (("ca", "ca.pem"), ("cert", "server.pem"), ("key", "server.key"))
    }


def test_both_connections_are_encrypted_and_verified_as_configured(reading: Reading) -> None:
    """Probes and reads alike: TLS where the server has it, and nothing but the right authority will do."""
    with (
        TemporaryDirectory() as folder,
        MariaServer({**certificates(Path(folder)), "require-secure-transport": "ON"}) as server,
    ):
        reading.database = server.create_database()
        ca, other = Path(folder) / "ca.pem", Path(folder) / "other.pem"
        (reading.root / "more").mkdir()
        certificates(reading.root / "more")
        other.write_bytes((reading.root / "more" / "ca.pem").read_bytes())
        for tls in (Tls("prefer"), Tls("require"), Tls("verify-ca", ca=ca), Tls("verify-full", ca=ca)):
            reading.tls = tls
            landed = reading.land(query_sql="SELECT VARIABLE_VALUE AS v FROM information_schema.SESSION_STATUS"
                                  " WHERE VARIABLE_NAME = 'SSL_CIPHER'")  # fmt: skip
            assert landed.to_pylist()[0]["v"]
            assert Database(reading.spec, dialect_for("mariadb")).rows("SHOW STATUS LIKE 'Ssl_cipher'")[0][1]
        for tls in (Tls("disable"), Tls("verify-full", ca=other)):
            reading.tls = tls
            with pytest.raises(ConfigError, match=r"tls|TLS|secure|certificate"):
                Database(reading.spec, dialect_for("mariadb")).check()

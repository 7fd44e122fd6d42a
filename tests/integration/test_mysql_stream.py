"""Rows of MariaDB as record batches: every value as the client prints it, or an error, and never a part for the whole."""

import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import psutil
import pyarrow as pa
import pytest

from ingestion_runtime.endpoints.jdbc.columns import RawColumn, SourceColumn
from ingestion_runtime.endpoints.jdbc.dialects import dialect_for
from ingestion_runtime.endpoints.jdbc.dialects.mysql import MySQL
from ingestion_runtime.endpoints.jdbc.dialects.mysql_horizon import mark_own
from ingestion_runtime.endpoints.jdbc.dialects.mysql_stream import stream_rows
from ingestion_runtime.endpoints.jdbc.landing import lander
from ingestion_runtime.model.connection import ConnectionSpec
from ingestion_runtime.model.errors import TerminalError, TransientError
from tests.readings import Reference
from tests.servers.mariadb import MariaDatabase, MariaServer

MARIADB = dialect_for("mariadb")
assert isinstance(MARIADB, MySQL)
BOTH = pytest.mark.parametrize("lines", [True, False], ids=["lines", "values"])


@dataclass(frozen=True)
class Streaming:
    """A database and the connections to it that the dialect opens."""

    database: MariaDatabase

    def connect(self, port: int | None = None) -> Any:
        server = self.database
        address = (server.database, server.host, port or server.port, server.user, Reference(server.password))
        return MARIADB.connect(ConnectionSpec("shop", "mariadb", *address))

    def read(self, sql: str, *, lines: bool = True, batch_rows: int = 1000) -> pa.Table:
        with closing(self.connect()) as connection, stream_rows(connection, sql, batch_rows, lines=lines) as reader:
            return reader.read_all()

    def run(self, *statements: tuple[str, Any]) -> None:
        """Run statements with values; the driver escapes those, and nothing of the code under test is in it."""
        import pymysql

        server = self.database
        address = {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
        with closing(pymysql.connect(**address, database=server.database, charset="utf8mb4", autocommit=True)) as opened:
            for sql, rows in statements:
                opened.cursor().executemany(sql, rows)


@pytest.fixture
def streaming(mariadb: MariaDatabase) -> Streaming:
    return Streaming(mariadb)


@contextmanager
def packet_limit(server: MariaServer, size: int) -> Iterator[None]:
    """Set the server's max_allowed_packet for connections that are opened within."""
    before = server.client("SELECT @@global.max_allowed_packet")
    server.client(f"SET GLOBAL max_allowed_packet = {size}")
    try:
        yield
    finally:
        server.client(f"SET GLOBAL max_allowed_packet = {before}")


# Per column: the SQL type, how the dialect describes it, and its values as SQL.
TYPES: dict[str, tuple[RawColumn, tuple[str, ...]]] = {
    native: (RawColumn("v", native, kind, arguments, nullable=True), values)
    for native, kind, arguments, values in [
        ("tinyint(1)", "tinyint", (), ("2", "-128", "127")),
        ("tinyint unsigned", "tinyint unsigned", (), ("255", "0")),
        ("smallint", "smallint", (), ("-32768", "32767")),
        ("smallint unsigned", "smallint unsigned", (), ("65535",)),
        ("mediumint", "mediumint", (), ("-8388608", "8388607")),
        ("mediumint unsigned", "mediumint unsigned", (), ("16777215",)),
        ("int", "int", (), ("-2147483648", "2147483647")),
        ("int unsigned zerofill", "int unsigned", (), ("4294967295", "7")),
        ("bigint", "bigint", (), ("-9223372036854775808", "9223372036854775807")),
        ("bigint unsigned", "bigint unsigned", (), ("18446744073709551615", "0")),
        ("bigint unsigned zerofill", "bigint unsigned", (), ("42", "18446744073709551615")),
        ("decimal(15,2)", "decimal", (15, 2), ("0.01", "-9999999999999.99", "0")),
        ("decimal(38,10)", "decimal", (38, 10), ("9999999999999999999999999999.9999999999", "-0.0000000001")),
        ("decimal(38,0)", "decimal", (38, 0), ("-99999999999999999999999999999999999999",)),
        ("decimal(38,38)", "decimal", (38, 38), ("0.00000000000000000000000000000000000001",)),
        ("decimal(5) unsigned zerofill", "decimal", (5, 0), ("99999", "3")),
        ("decimal(65,30)", "decimal", (65, 30), (f"-{'9' * 35}.{'9' * 30}", "1e-30")),
        ("float", "float", (), ("1.1", "16777217", "-3.4028234e38", "1.4e-45", "0")),
        ("float(10,3)", "float", (), ("1234567.125",)),
        (
            "double",
            "double",
            (),
            ("0.1", "5e-324", "1.7976931348623157e308", "-2.2250738585072014e-308", "1e15", "123456789e9"),
        ),
        ("double(12,2)", "double", (), ("1234567890.12",)),
        ("bit", "bit", (1,), ("1", "0")),
        ("bit(63)", "bit", (63,), ("9223372036854775807",)),
        ("bit(64)", "bit", (64,), ("0xFFFFFFFFFFFFFFFF", "0")),
        ("year", "year", (), ("0", "1901", "2155")),
        ("date", "date", (), ("'0001-01-01'", "'1582-10-10'", "'9999-12-31'")),
        ("datetime", "datetime", (), ("'0001-01-01 00:00:00'", "'1900-02-28 23:59:59'")),
        ("datetime(6)", "datetime", (), ("'9999-12-31 23:59:59.999999'", "'1582-10-05 12:00:00.000001'")),
        ("timestamp(6) NULL", "timestamp", (), ("'2038-01-19 03:14:07.999999'", "'1970-01-01 00:00:01'")),
        ("time(6)", "time", (), ("'-838:59:59'", "'838:59:59'", "'-00:00:00.000001'")),
        ("char(5)", "char", (), ("'a  '", "''", "'\\''")),
        ("varchar(40)", "varchar", (), ("''", "'\"'", "'\"\"'", "'NULL'", "'a,b\\n\\r\\n\\t\\\\\\0'", "'🚲 é '", "'\\\\N'")),
        ("varchar(9) CHARACTER SET latin1", "varchar", (), ("'é€ÿ\"'",)),
        ("varchar(9) CHARACTER SET utf16", "varchar", (), ("'🚲,\"'",)),
        ("varchar(9) CHARACTER SET ucs2 COLLATE ucs2_general_ci", "varchar", (), ("'é,\"'",)),
        ("text COLLATE utf8mb4_general_ci", "text", (), ("'é\"'", "''")),
        ("longtext", "longtext", (), ("'é\"'", "''", "REPEAT('x', 70000)")),
        ("enum('a','it''s','')", "enum", (), ("'it''s'", "''")),
        ("set('x','\"')", "set", (), ("'x,\"'", "''")),
        ("json", "longtext", (), ('\'{"b":1,  "a":2}\'',)),
        ("binary(4)", "binary", (), ("x'00ff'", "x'2c220a0d'")),
        ("varbinary(300)", "varbinary", (), ("x'00'", "x''", "x'ff22'", "REPEAT('\"', 250)", "REPEAT('\"', 251)")),
        ("blob", "blob", (), ("x''", "x'efbbbf'", "x'0a'", "REPEAT('\"', 65535)")),
        ("uuid", "uuid", (), ("'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'",)),
        ("inet6", "inet6", (), ("'::ffff:10.0.0.1'",)),
        ("point", "point", (), ("ST_GeomFromText('POINT(1 2)', 4326)",)),
    ]
}
_READ: dict[pa.DataType, Callable[[str], Any]] = {
    pa.float64(): float,
    pa.binary(): bytes.fromhex,
    pa.date32(): date.fromisoformat,
    pa.timestamp("us"): datetime.fromisoformat,
    pa.timestamp("us", tz="UTC"): lambda text: datetime.fromisoformat(text).replace(tzinfo=UTC),
    pa.string(): str,
}
PLAIN = "SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES'"


def printed(database: MariaDatabase, ways: list[SourceColumn], carriers: list[pa.DataType]) -> list[list[Any]]:
    """Return columns as the client prints them, read by nothing that the code under test uses; text and bytes in hex."""
    asked = []
    for way, carrier in zip(ways, carriers, strict=True):
        full = f"{way.name} * 1e0" if pa.types.is_floating(carrier) else f"{way.name} + 0"
        plain = full if way.native_type.startswith(("float", "double", "bit")) else way.name
        text = way.name if pa.types.is_binary(way.lands_as) else f"CONVERT(CAST({way.name} AS CHAR) USING utf8mb4)"
        asked.append(f"HEX({text})" if pa.types.is_binary(carrier) else plain)
    lines = database.client(f"{PLAIN}; SELECT {', '.join(asked)} FROM t ORDER BY id").split("\n")
    cells = list(zip(*[line.split("\t") for line in lines], strict=True))
    readers = [_READ.get(carrier, Decimal if pa.types.is_decimal(carrier) else int) for carrier in carriers]
    # NULL is no number, no date and no hex.
    return [[None if c == "NULL" else read(c) for c in column] for read, column in zip(readers, cells, strict=True)]


@BOTH
@pytest.mark.parametrize("spelling", ["select", "stream"])
def test_every_type_arrives_as_the_client_prints_it(streaming: Streaming, lines: bool, spelling: str) -> None:
    """NULL beside empty, 65 digits, unsigned maxima, extremes of floats, quotes, commas, line ends, NUL, other charsets.

    As streams spell a column, also the type is that in which it lands, but for text, floats and narrow bits.
    """
    named = [(replace(raw, name=f"v{place}"), values) for place, (raw, values) in enumerate(TYPES.values())]
    ways = [MARIADB.column(raw) for raw, _ in named]
    declared = ", ".join(f"{raw.name} {raw.native_type}" for raw, _ in named)
    high = max(len(values) for _, values in named)
    rows = [", ".join(values[row] if row < len(values) else "NULL" for _, values in named) for row in range(high + 1)]
    inserted = ", ".join(f"({number}, {row})" for number, row in enumerate(rows))
    streaming.database.client(f"{PLAIN}; CREATE TABLE t (id int, {declared}); INSERT INTO t VALUES {inserted}")
    chosen = [way.stream or way.select if spelling == "stream" else way.select for way in ways]
    listed = ", ".join(f"{value} AS c{place}" for place, value in enumerate(chosen))
    found = streaming.read(f"SELECT {listed}, id FROM t", lines=lines).sort_by("id").drop_columns("id")
    expected = printed(streaming.database, ways, found.schema.types)
    for way, column, values in zip(ways, found.columns, expected, strict=True):
        assert column.to_pylist() == values, way.native_type
        landed = {pa.string(): pa.binary(), pa.float32(): pa.float64()}.get(way.lands_as, way.lands_as)
        assert column.type == landed or spelling == "select" or way.native_type == "bit", way.native_type


FITTED = [
    ("decimal", (10, 2), pa.int64(), ("12.00", "-99999999.00"), [12, -99999999]),
    ("decimal", (10, 2), pa.decimal128(18, 4), ("12.34",), [Decimal("12.34")]),
    ("decimal", (65, 30), pa.decimal128(38, 10), ("1.5", "-0.0000000001"), [Decimal("1.5"), Decimal("-0.0000000001")]),
    ("decimal", (65, 30), pa.int32(), ("15",), [15]),
    ("bigint unsigned", (), pa.int64(), ("9223372036854775807",), [2**63 - 1]),
    ("bigint", (), pa.int16(), ("-32768",), [-32768]),
    ("int", (), pa.int64(), ("-7",), [-7]),
    ("year", (), pa.int32(), ("2155",), [2155]),
    ("bit", (64,), pa.int64(), ("7",), [7]),
    ("float", (), pa.float64(), ("1.1",), [struct.unpack("f", struct.pack("f", 1.1))[0]]),
    ("double", (), pa.float32(), ("0.5",), [0.5]),
    ("double", (), pa.string(), ("0.1",), ["0.1"]),
    ("date", (), pa.string(), ("'1582-10-10'",), ["1582-10-10"]),
    ("decimal", (65, 30), pa.string(), ("1",), [f"1.{'0' * 30}"]),
]


@BOTH
def test_a_column_that_lands_in_another_type_arrives_in_it(streaming: Streaming, lines: bool) -> None:
    """What a table in the lake already has as wider or other numbers, or as text, goes on in them."""
    for kind, arguments, wanted, values, expected in FITTED:
        native = f"{kind}({','.join(map(str, arguments))})" if arguments else kind
        rows = ", ".join(f"({value})" for value in values)
        streaming.database.client(f"{PLAIN}; CREATE OR REPLACE TABLE t (v {native}); INSERT INTO t VALUES {rows}, (NULL)")
        way = MARIADB.landing(RawColumn("v", native, kind, arguments, nullable=True), wanted)
        assert way is not None
        found = streaming.read(f"SELECT {way.stream or way.select} AS c0 FROM t", lines=lines)["c0"].combine_chunks()
        assert lander(found.type, way)(found).to_pylist() == [*expected, None], (native, wanted)


HOSTILE = [
    '"',
    '""',
    ",",
    "\n",
    "\r",
    "\r\n",
    "\\",
    "\\N",
    "\0",
    "'",
    " ",
    "\t",
    "é",
    "🚲",
    "\ufeff",
    "\x1a",
    "NULL",
    "%s",
    "x",
]


@BOTH
def test_random_hostile_text_and_bytes_arrive_as_they_were_written(streaming: Streaming, lines: bool) -> None:
    """2,000 rows of what means something in lines, packets or SQL, in three character sets, NULL and empty among them."""
    chance = random.Random(5)  # noqa: S311 - no secret

    def text(allowed: list[str]) -> str | None:
        return None if chance.random() < 0.1 else "".join(chance.choices(allowed, k=chance.choice((0, 1, 2, 5, 60))))

    narrow = [part for part in HOSTILE if part not in ("🚲", "\ufeff")]
    written = []
    for number in range(2000):
        blob = None if chance.random() < 0.1 else chance.randbytes(chance.choice((0, 1, 250, 251, 300)))
        written.append((number, text(HOSTILE), text(narrow), text(HOSTILE), blob, text(HOSTILE)))
    streaming.database.client(
        "CREATE TABLE t (id int NOT NULL, u varchar(800), l varchar(800) CHARACTER SET latin1, w text CHARACTER SET utf16,"
        " b varbinary(300), m longtext)"
    )
    streaming.run(("INSERT INTO t VALUES (%s, %s, %s, %s, %s, %s)", written))
    found = streaming.read("SELECT id, u, l, w, b, m FROM t", lines=lines, batch_rows=300).sort_by("id")
    arrived = [tuple(row.values()) for row in found.to_pylist()]
    assert arrived == [tuple(v.encode() if isinstance(v, str) else v for v in row) for row in written]


@BOTH
def test_random_doubles_and_floats_arrive_bit_by_bit(streaming: Streaming, lines: bool) -> None:
    """The server spells each with as many digits as it takes to read the same one."""
    chance = random.Random(7)  # noqa: S311 - no secret
    doubles = [struct.unpack("<d", chance.randbytes(8))[0] for _ in range(3000)]
    floats = [struct.unpack("<f", chance.randbytes(4))[0] for _ in range(3000)]
    finite = [(i, d, f) for i, (d, f) in enumerate(zip(doubles, floats, strict=True)) if abs(d) < 1e308 and abs(f) < 3e38]
    streaming.database.client("CREATE TABLE t (id int, g double, f float)")
    streaming.run(("INSERT INTO t VALUES (%s, %s, %s)", [(i, repr(d), repr(f)) for i, d, f in finite]))
    found = streaming.read("SELECT id, g * 1e0 AS g, f * 1e0 AS f FROM t", lines=lines).sort_by("id").to_pylist()
    assert [struct.pack("<d", row["g"]) for row in found] == [struct.pack("<d", d) for _, d, _ in finite]
    assert [struct.pack("<d", row["f"]) for row in found] == [struct.pack("<d", f) for _, _, f in finite]


@BOTH
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("date", "0000-00-00"),
        ("date", "2024-02-00"),
        ("date", "2023-02-31"),
        ("datetime(6)", "0000-00-00 00:00:00"),
        ("datetime", "2024-00-10 01:00:00"),
        ("timestamp", "0000-00-00 00:00:00"),
    ],
)
def test_no_day_of_a_calendar_is_refused_by_the_columns_name(
    streaming: Streaming, kind: str, value: str, lines: bool
) -> None:
    """Zero and partial dates stop the read; they neither become NULL nor another day."""
    streaming.database.client(
        f"SET sql_mode = 'ALLOW_INVALID_DATES'; CREATE TABLE t (id int, d {kind} NULL); INSERT INTO t VALUES (1, '{value}')"
    )
    with pytest.raises(TerminalError, match="Column d of the read") as refused:
        streaming.read("SELECT id, d FROM t", lines=lines)
    assert refused.value.values["column"] == "d"


@BOTH
def test_a_column_that_is_null_throughout_keeps_its_rows(streaming: Streaming, lines: bool) -> None:
    """A row of one NULL is an empty line."""
    streaming.database.client("CREATE TABLE t (v varchar(9)); INSERT INTO t VALUES (NULL), (''), (NULL), ('a'), (NULL)")
    found = streaming.read("SELECT v FROM t", lines=lines)
    assert sorted(map(str, found["v"].to_pylist())) == ["None", "None", "None", "b''", "b'a'"]


def test_values_around_the_size_of_a_packet_arrive_whole(streaming: Streaming, mariadb_server: MariaServer) -> None:
    """A packet holds 16 MiB less a byte: rows of exactly that, a little more, and of exactly twice that."""
    full = 0xFFFFFF
    sizes = [250, 251, 65535, 65536, full - 4, full - 3, 2 * full - 9]
    with packet_limit(mariadb_server, 64 << 20):
        values = ", ".join(f"({size}, CONCAT(REPEAT(x'ff', {size - 3}), '\"\\n,'))" for size in sizes)
        streaming.database.client(f"CREATE TABLE t (size int NOT NULL, b longblob); INSERT INTO t VALUES {values}")
        alone = streaming.read("SELECT b FROM t")
        beside = streaming.read("SELECT size, b FROM t WHERE size < 20000000")
    assert sorted(len(value.as_py()) for value in alone["b"]) == sizes
    assert sorted(beside["size"].to_pylist()) == sizes[:-1]
    for arrived in (alone, beside):
        assert all(value.as_py().strip(b"\xff") == b'"\n,' for value in arrived["b"])


def test_rows_longer_than_a_function_may_return_arrive_whole(streaming: Streaming, mariadb_server: MariaServer) -> None:
    """Where max_allowed_packet is small, longer columns come by themselves: a function's result above it would be NULL."""
    text = 'é"' * 500
    rows = ", ".join(f"({number}, REPEAT('é\"', 500), REPEAT('é\"', 500), NULL)" for number in range(3))
    streaming.database.client(f"CREATE TABLE t (id int, a varchar(1000), b text, c text); INSERT INTO t VALUES {rows}")
    with packet_limit(mariadb_server, 1024):
        found = streaming.read("SELECT id, a, b, c FROM t ORDER BY id")
    assert found.to_pylist() == [{"id": n, "a": text.encode(), "b": text.encode(), "c": None} for n in range(3)]


LONG = "SELECT seq AS c0, REPEAT('x', 200) AS c1, IF(seq MOD 2, NULL, '') AS c2 FROM seq_1_to_1000000"


def test_a_million_rows_pass_in_little_memory_and_in_order(streaming: Streaming) -> None:
    """200 MB stream through less than 96 MiB, by a statement that the horizon knows as ours."""
    own, before, seen = psutil.Process(), 0, 0
    with closing(streaming.connect()) as connection, stream_rows(connection, LONG, 20_000) as reader:
        for batch in reader:
            before = before or own.memory_info().rss
            first, last = batch.column(0)[0].as_py(), batch.column(0)[-1].as_py()
            assert (first, last) == (seen + 1, seen + batch.num_rows)
            seen = last
            assert own.memory_info().rss - before < 96 << 20
            if seen == batch.num_rows:
                shown = streaming.database.client(
                    "SELECT info FROM information_schema.processlist WHERE info LIKE '%seq_1_to%'"
                )
                assert mark_own("").strip() in shown
        assert seen == 1_000_000


def test_a_read_that_is_interrupted_ends_with_an_error_that_is_worth_a_retry(streaming: Streaming) -> None:
    """A killed query says so in the midst of its rows."""
    with closing(streaming.connect()) as connection, stream_rows(connection, LONG, 1000) as reader:
        reader.read_next_batch()
        MARIADB.interrupt(connection)
        with pytest.raises(Exception) as stopped:  # noqa: PT011 - the driver's error is judged by the dialect
            reader.read_all()
        fault = MARIADB.fault(stopped.value)
        assert fault is not None
        assert isinstance(MARIADB.classify(fault, "shop"), TransientError)


def test_a_connection_that_the_server_ends_is_an_error(streaming: Streaming) -> None:
    """What came before is not taken for all."""
    with closing(streaming.connect()) as connection, stream_rows(connection, LONG, 1000) as reader:
        reader.read_next_batch()
        streaming.database.client(f"KILL CONNECTION {connection.thread_id()}", superuser=True)
        with pytest.raises(Exception) as lost:  # noqa: PT011 - as above
            reader.read_all()
        fault = MARIADB.fault(lost.value)
        assert fault is not None
        assert isinstance(MARIADB.classify(fault, "shop"), TransientError)


class Cutter:
    """Lets a connection to the server through until ``limit`` bytes have come back from it; then both ends are closed."""

    def __init__(self, database: MariaDatabase, limit: int) -> None:
        self.passed = 0
        self._limit = limit
        self._address = (database.host, database.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "Cutter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client, socket.create_connection(self._address) as server:
            up = threading.Thread(target=self._forward, args=(client, server))
            up.start()
            while self.passed < self._limit and (data := server.recv(min(65536, self._limit - self.passed))):
                self.passed += len(data)
                client.sendall(data)
            for end in (client, server):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            up.join()

    @staticmethod
    def _forward(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)


@BOTH
def test_a_connection_lost_anywhere_never_passes_for_the_end(streaming: Streaming, lines: bool) -> None:
    """Cut after any byte, also between two rows and just before the last packet: an error, which is worth a retry."""
    streaming.database.client(
        "CREATE TABLE t (id int, v varchar(300)); INSERT INTO t SELECT seq, REPEAT('x', seq) FROM seq_1_to_300"
    )

    def read(limit: int) -> tuple[int, int]:
        with Cutter(streaming.database, limit) as cutter, closing(streaming.connect(cutter.port)) as connection:
            start = cutter.passed
            with stream_rows(connection, "SELECT id, v FROM t", 10, lines=lines) as reader:
                rows = reader.read_all().num_rows
            assert rows == 300
            return start, cutter.passed

    start, whole = read(1 << 30)
    chance = random.Random(3)  # noqa: S311 - no secret
    for limit in [*range(whole - 12, whole), *(chance.randrange(start + 1, whole) for _ in range(20))]:
        with pytest.raises(Exception) as lost:  # noqa: PT011 - as above
            read(limit)
        fault = MARIADB.fault(lost.value)
        assert fault is not None, lost.value
        assert isinstance(MARIADB.classify(fault, "shop"), TransientError)


def test_after_the_last_row_the_connection_serves_on_and_after_less_it_is_closed(streaming: Streaming) -> None:
    """The server would send the rest of the rows before it answers anything else."""
    with closing(streaming.connect()) as connection:
        for _ in range(2):
            with stream_rows(connection, "SELECT seq AS c0 FROM seq_1_to_10", 3) as reader:
                assert reader.read_all()["c0"].to_pylist() == list(range(1, 11))
        assert connection.open
        with stream_rows(connection, LONG, 1000) as reader:
            reader.read_next_batch()
        assert not connection.open
    with closing(streaming.connect()) as connection:
        with pytest.raises(KeyError), stream_rows(connection, LONG, 1000) as reader:  # noqa: PT012 - the reader fails within
            reader.read_next_batch()
            raise KeyError
        assert not connection.open


def test_a_query_with_a_comment_at_its_end_and_a_rank_is_read(streaming: Streaming) -> None:
    """The statement is wrapped, and means the same."""
    streaming.database.client("CREATE TABLE t (v varchar(9)); INSERT INTO t VALUES ('b'), (NULL), ('a'), ('b')")
    found = streaming.read("SELECT v, DENSE_RANK() OVER (ORDER BY (v IS NOT NULL), v) AS r FROM t -- all of them")
    assert sorted(found["r"].to_pylist()) == [1, 2, 3, 3]
    assert dict(zip(found["r"].to_pylist(), found["v"].to_pylist(), strict=True)) == {1: None, 2: b"a", 3: b"b"}


def test_an_error_of_the_query_is_the_drivers(streaming: Streaming) -> None:
    """An overflow is found when its row is made, behind rows that were fine."""
    with pytest.raises(Exception) as failed:  # noqa: PT011 - as above
        streaming.read("SELECT IF(seq = 90000, 18446744073709551615 + seq, seq) AS c0 FROM seq_1_to_100000")
    fault = MARIADB.fault(failed.value)
    assert fault is not None
    assert fault.code == 1690

"""MySQL and MariaDB: how they are reached, quoted, probed and described, and what their errors mean.

A table's schema is the name of a database on the server; the connection's own database is the one it logs in to, and
where query_sql looks names up. Sessions are set the same way for probes and reads, so that no setting of server or user
changes what a value, a literal or a filter means: UTC, utf8mb4, no sql_mode (double quotes are strings, a backslash
escapes), and each statement sees its own newest state: a held one would hide what came after it.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar
from urllib.parse import quote as percent

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import RawColumn, SourceColumn
from ingestion_runtime.endpoints.jdbc.design import TableDesign
from ingestion_runtime.endpoints.jdbc.dialect import (
    Fault,
    JdbcTarget,
    Measures,
    RawTable,
    ServerFacts,
    Streamer,
    fetch,
)
from ingestion_runtime.endpoints.jdbc.dialects.mysql_catalog import (
    describe_fields,
    describe_relations,
    list_relations,
    relation_names,
)
from ingestion_runtime.endpoints.jdbc.dialects.mysql_design import describe_designs, describe_server
from ingestion_runtime.endpoints.jdbc.dialects.mysql_errors import advice, fault_of
from ingestion_runtime.endpoints.jdbc.dialects.mysql_horizon import (
    mark_own,
    read_horizon,
    remember_own,
    resolution,
    unseen_horizon,
)
from ingestion_runtime.endpoints.jdbc.dialects.mysql_login import log_in, ssl_mode
from ingestion_runtime.endpoints.jdbc.dialects.mysql_names import quoted, text
from ingestion_runtime.endpoints.jdbc.dialects.mysql_spelling import key_hash, row_hash, spelled
from ingestion_runtime.endpoints.jdbc.dialects.mysql_streamer import MySQLStreamer
from ingestion_runtime.endpoints.jdbc.dialects.mysql_types import MEASURES, land, land_as
from ingestion_runtime.endpoints.jdbc.pool import is_quiet
from ingestion_runtime.model.connection import ConnectionSpec
from ingestion_runtime.model.cursor import CursorType, Watermark
from ingestion_runtime.model.errors import IngestionError, TerminalError
from ingestion_runtime.model.horizon import Horizon
from ingestion_runtime.model.schema import Listing
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.watermark import from_ticks, to_ticks

_READ_SECONDS = 3600  # silence of a server in the midst of an answer
_LOCK_SECONDS = 300
_SILENT_SECONDS = 600  # of a reader that has no time to read on

# What of a session's settings changes values, their meaning or their number.
_VARIABLES = (
    "time_zone='+00:00',sql_mode='',sql_select_limit=18446744073709551615,"
    f"lock_wait_timeout={_LOCK_SECONDS},net_write_timeout={_SILENT_SECONDS}"
)
_TRANSACTIONS = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY"

# Two 64-bit halves of every row's md5, summed: order does not matter, and a change cannot cancel another by accident.
# Each column by an md5 of its own: as long as any other, so that no two rows spell the same, and of any size.
_FINGERPRINT = """
SELECT count(*), CAST(coalesce(sum(CAST(CONV(SUBSTR(h, 1, 16), 16, 10) AS DECIMAL(20))), 0) AS CHAR),
       CAST(coalesce(sum(CAST(CONV(SUBSTR(h, 17, 16), 16, 10) AS DECIMAL(20))), 0) AS CHAR)
FROM (SELECT MD5(CONCAT_WS(',', {columns})) AS h {source}) AS hashed
"""

_READS = "SELECT id FROM information_schema.processlist WHERE info LIKE '%{mark}%' AND id <> CONNECTION_ID()"

_CONNECTED = re.compile(r"^\(conn=\d+\) ")  # what the JDBC driver puts before the server's words


@dataclass(frozen=True, slots=True)
class MySQL:
    """The MySQL family over its wire; no state, only what differs between its members."""

    name: str
    #: Session variables that make every session of ours alike, as SET takes them.
    variables: str
    #: The statement that makes transactions read-only, each of their statements with the newest state; None: cannot.
    transactions: str | None
    #: SQL for the time zone in which the server itself tells the time.
    server_zone: str = "@@global.time_zone"
    #: Whether the server lists its open transactions, at least for a user with the grant.
    shows_transactions: bool = True
    #: Whether the server can be asked to spell whole rows; tried out on MariaDB.
    spells_lines: bool = True
    #: Whether a transaction can keep one view for all of its statements.
    freezes: bool = True
    default_port: int = 3306

    shares_snapshots: ClassVar[bool] = False
    streams: ClassVar[bool] = True
    # A LIMIT would keep values from being computed twice, and put a copy of all rows on the server's disk instead.
    fence: ClassVar[str] = ""
    hashes_in_reads: ClassVar[bool] = True
    lone_session: ClassVar[str | None] = None
    measures: ClassVar[Measures] = MEASURES

    def connect(self, connection: ConnectionSpec) -> Any:
        opened = log_in(connection, self.name, self.default_port)
        cursor = opened.cursor()
        cursor.execute(f"SET {self.variables}")
        if self.transactions is not None:
            cursor.execute(self.transactions)
        cursor.close()
        # So far a server that says nothing was given up soon; from now on it may have to think.
        opened._read_timeout = _READ_SECONDS
        # A query is ended through a second connection, and `interrupt` is given the first one only.
        opened.ingest_reopen = partial(log_in, connection, self.name, self.default_port)
        remember_own(opened)
        return opened

    def is_usable(self, connection: Any) -> bool:
        return bool(connection.open) and is_quiet(connection._sock.fileno())

    def place(self, connection: ConnectionSpec) -> str:
        return f"{connection.host or 'localhost'}:{connection.port or self.default_port}/{connection.database}"

    def jdbc(self, connection: ConnectionSpec) -> JdbcTarget:
        host = connection.host or "localhost"
        host = f"[{host}]" if ":" in host else host
        options = {
            "connectTimeout": str(connection.connect_timeout_seconds * 1000),
            "socketTimeout": str(_READ_SECONDS * 1000),
            "tcpKeepAlive": "true",
            **dict(connection.jdbc_properties),
            "sslMode": ssl_mode(connection, self.name, self.default_port),
            "sessionVariables": self.variables,
            "tinyInt1isBit": "false",
            "yearIsDateType": "false",
            "allowLocalInfile": "false",
            "allowPublicKeyRetrieval": "true",
        }
        if self.transactions is not None:
            options["initSql"] = self.transactions
        if connection.tls.ca is not None:
            options["serverSslCert"] = str(connection.tls.ca)
        return JdbcTarget(
            # As jdbc:mysql, whatever the server: for jdbc:mariadb Spark quotes names with double quotes, which are
            # strings here, and every row would read its columns' names.
            url=f"jdbc:mysql://{host}:{connection.port or self.default_port}"
            f"/{percent(connection.database, safe='')}?permitMysqlScheme",
            driver="org.mariadb.jdbc.Driver",
            options=tuple(options.items()),
        )

    def jdbc_text(self, sql: str) -> str:
        return mark_own(sql)  # so that a read does not hold back the horizon of other tables

    def stream(self, connection: ConnectionSpec) -> Streamer:
        opened = self.connect(connection)
        freeze = partial(self.freeze, opened)
        return MySQLStreamer(opened, lambda: _end_query(opened), freeze, lines=self.spells_lines)

    def scan_parts(self, connection: Any, table: TableSpec, condition: str | None, parts: int) -> tuple[str, ...]:  # noqa: ARG002
        return ()  # each connection would read a state of its own

    def hold_relations(self, connection: Any, statement: str) -> bool:  # noqa: ARG002 - nothing to hold
        return False  # each statement sees the newest state

    def hold_snapshot(self, connection: Any) -> str | None:  # noqa: ARG002 - a view of its own is all a connection can have
        return None

    def freeze(self, connection: Any, source: str) -> None:
        if not self.freezes:
            raise TerminalError(
                f"{self.name} has no transaction in which several statements see one state: its rows cannot be compared.",
                remedy="Leave the table out with --only-tables.",
            )
        fetch(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        fetch(connection, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        # Locks it against being emptied or altered; what was, after the snapshot, is an error that is worth a retry.
        fetch(connection, f"SELECT 1 {source} LIMIT 1")

    def unbuffered(self, connection: Any) -> Any:
        from pymysql.cursors import SSCursor  # validating a configuration must not load a driver

        return connection.cursor(SSCursor)

    def interrupt(self, connection: Any) -> None:
        _end_query(connection)
        with closing(connection.ingest_reopen()) as second, closing(second.cursor()) as cursor:
            # Spark's reads too: the JDBC driver reads a statement to its end before it closes it, however long that is
            # (measured: more than ten minutes after the job was cancelled; 0.1 s with this).
            cursor.execute(_READS.format(mark=mark_own("").strip()))
            for (number,) in cursor.fetchall():
                with suppress(Exception):  # it may have ended by itself meanwhile
                    cursor.execute(f"KILL QUERY {int(number)}")

    def fault(self, error: BaseException) -> Fault | None:
        return fault_of(error)

    def classify(self, fault: Fault, place: str) -> IngestionError:
        kind, remedy = advice(fault)
        said = _CONNECTED.sub("", fault.text).rstrip(".")
        return kind(f"{place}: {said}.", remedy=remedy, sqlstate=fault.state, code=fault.code)

    def quote(self, name: str) -> str:
        return quoted(name)

    def relation(self, table: TableSpec) -> str:
        return f"{self.quote(table.schema)}.{self.quote(table.table)}"

    def literal(self, value: Watermark, column: SourceColumn, *, floor: bool = False) -> str:  # noqa: ARG002 - one spelling each
        if value.type is CursorType.TEXT:
            # Compared in the character set and by the collation of the column: a literal yields to it.
            return text(value.literal)
        # Through ticks and back: only digits reach the statement, whatever a receipt holds.
        spelled = from_ticks(value.type, to_ticks(value)).literal
        if value.type is CursorType.DATE:
            return f"DATE'{spelled}'"
        return f"TIMESTAMP'{spelled}'" if value.type is CursorType.TIMESTAMP else f"({spelled})"

    def spell(self, expression: str, column: SourceColumn, kind: CursorType) -> str:  # noqa: ARG002 - sessions are in UTC
        if kind is CursorType.TIMESTAMP:
            return f"DATE_FORMAT({expression}, '%Y-%m-%d %H:%i:%s.%f')"
        return expression if kind is CursorType.TEXT else f"CAST({expression} AS CHAR)"

    def now(self, column: SourceColumn, kind: CursorType) -> str | None:
        # A clock without a zone may show UTC or the server's time: the later of both holds nothing back that exists.
        utc = "UTC_TIMESTAMP(6)"
        local = f"GREATEST({utc}, coalesce(CONVERT_TZ({utc}, '+00:00', {self.server_zone}), {utc}))"
        if kind is CursorType.TIMESTAMP:
            return "NOW(6)" if column.lands_as.tz is not None else local
        return {
            CursorType.DATE: f"DATE({local})",
            CursorType.EPOCH_SECONDS: "CEIL(UNIX_TIMESTAMP(NOW(6)))",
            CursorType.EPOCH_MILLIS: "CEIL(UNIX_TIMESTAMP(NOW(6)) * 1000)",
        }.get(kind)

    def horizon(self, connection: Any) -> Horizon | None:
        return read_horizon(connection) if self.shows_transactions else unseen_horizon(connection)

    def resolution(self, column: SourceColumn) -> int:
        return resolution(column.native_type)

    def misfit(self, column: SourceColumn, kind: CursorType) -> str | None:
        # Zero dates lie below every window and are no NULL. (A partial date within a window is refused when it is read.)
        # One comparison, for an index to serve: the calendar functions would read every row at every probe.
        return f"{self.quote(column.name)} < DATE'0001-01-01'" if kind in (CursorType.TIMESTAMP, CursorType.DATE) else None

    def key_hash(self, columns: Sequence[SourceColumn]) -> str:
        return key_hash(columns, [self.quote(column.name) for column in columns])

    def row_hash(self, columns: Sequence[SourceColumn]) -> str:
        return row_hash(columns, [self.quote(column.name) for column in columns])

    def spelled(self, column: SourceColumn, length: int | None = None) -> str:
        value = spelled(column, self.quote(column.name))
        # As bytes: collations fold letters.
        return f"CAST({value if length is None else f'SUBSTR({value}, 1, {length})'} AS BINARY)"

    def hex_number(self, digits: str) -> str:
        return f"CAST(CONV({digits}, 16, 10) AS UNSIGNED)"

    def hex_sum(self, digits: str) -> str:
        return f"sum({self.hex_number(digits)})"

    def column(self, raw: RawColumn) -> SourceColumn:
        return land(raw, self.quote(raw.name))

    def landing(self, raw: RawColumn, kind: pa.DataType) -> SourceColumn | None:
        return land_as(raw, self.quote(raw.name), kind)

    def describe_tables(self, connection: Any, tables: Sequence[TableSpec]) -> Mapping[str, RawTable]:
        return describe_relations(connection, tables)

    def describe_query(self, connection: Any, sql: str) -> RawTable:
        return RawTable(describe_fields(connection, sql), (), None)

    def table_names(self, connection: Any) -> list[str]:
        return relation_names(connection)

    def list_tables(self, connection: Any, schema: str | None) -> Listing:
        return list_relations(connection, schema)

    def describe_designs(self, connection: Any, tables: Sequence[TableSpec]) -> Mapping[str, TableDesign]:
        return describe_designs(connection, tables)

    def describe_server(self, connection: Any) -> ServerFacts:
        return describe_server(connection)

    def fingerprint(self, connection: Any, columns: Sequence[SourceColumn], source: str) -> tuple[int, str]:
        # The columns themselves: the expressions that are read fail on a zero date. Floats would be cut to six digits.
        listed = [
            f"{self.quote(column.name)}{' * 1e0' if pa.types.is_floating(column.lands_as) else ''}" for column in columns
        ]
        hashed = ", ".join(f"coalesce(MD5({value}), '-')" for value in listed)
        ((rows, first, second),) = fetch(connection, _FINGERPRINT.format(columns=hashed, source=source))
        return int(rows), f"{first}:{second}"


def _end_query(connection: Any) -> None:
    """End what runs on this connection, and nothing else: through a second one, for the first is waiting."""
    with closing(connection.ingest_reopen()) as second, closing(second.cursor()) as cursor:
        cursor.execute(f"KILL QUERY {int(connection.thread_id())}")


MYSQL = MySQL("mysql", _VARIABLES, _TRANSACTIONS)
MARIADB = MySQL("mariadb", f"{_VARIABLES},system_versioning_asof=DEFAULT", _TRANSACTIONS)

"""PostgreSQL: how it is reached, quoted, probed and described, and what its errors mean."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote as percent
from urllib.parse import urlencode

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
from ingestion_runtime.endpoints.jdbc.dialects.postgresql_catalog import (
    describe_query,
    describe_tables,
    list_relations,
    table_names,
)
from ingestion_runtime.endpoints.jdbc.dialects.postgresql_design import describe_designs, describe_server
from ingestion_runtime.endpoints.jdbc.dialects.postgresql_errors import classify, with_state
from ingestion_runtime.endpoints.jdbc.dialects.postgresql_horizon import own_name, read_horizon, resolution
from ingestion_runtime.endpoints.jdbc.dialects.postgresql_names import quoted, text
from ingestion_runtime.endpoints.jdbc.dialects.postgresql_spelling import key_hash, row_hash, spelled
from ingestion_runtime.endpoints.jdbc.dialects.postgresql_stream import PostgresStreamer, storage_ranges, stream_fault
from ingestion_runtime.endpoints.jdbc.dialects.postgresql_types import MEASURES, land, land_as
from ingestion_runtime.endpoints.jdbc.pool import is_quiet
from ingestion_runtime.endpoints.jdbc.sql import source
from ingestion_runtime.model.connection import ConnectionSpec
from ingestion_runtime.model.cursor import CursorType, Watermark
from ingestion_runtime.model.errors import IngestionError, TransientError
from ingestion_runtime.model.horizon import Horizon
from ingestion_runtime.model.schema import Listing
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.watermark import from_ticks, to_ticks

# The session of probes and of reads: spellings must not depend on how a role, a database or this machine is configured.
_SESSION = (
    "SET TimeZone TO 'UTC'; SET DateStyle TO 'ISO'; SET IntervalStyle TO 'postgres'; SET extra_float_digits TO 3;"
    # Rows that a policy hides would be missing, and deleted in the target: the server refuses the query instead.
    " SET bytea_output TO 'hex'; SET row_security TO off"
)
# Who wants the table for himself waits for the connection that holds it for us, and new readers queue up behind him: our own
# too, if they come later. The server cannot see that each then waits for the other; this ends it.
_LOCK_WAIT = "SET LOCAL lock_timeout = '10s'"
# Spark asks for the columns in a transaction of its own, before the one that joins the view.
_JDBC_LOCK_WAIT = "-c lock_timeout=10s"
# A transaction of a read lies idle while others read, and while its own last rows are written: nobody may end it meanwhile.
_UNHURRIED = "SET LOCAL idle_in_transaction_session_timeout = 0"
# Whoever alters a table for hours would keep us waiting as long. What the role or the server sets is theirs to know better.
_PATIENCE = "SELECT pg_catalog.set_config('lock_timeout', '300s', false) WHERE current_setting('lock_timeout') = '0'"
_LOCAL_NOW = "now() AT TIME ZONE (SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'TimeZone')"

# Relations of which a transaction's view knows another file than there is now: it holds locks on them, so that this stays.
# Some of the catalog have the number 0 for theirs, which is kept elsewhere.
_REWRITTEN = """
SELECT 1 FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_class AS c ON c.oid = l.relation
WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation'
  AND c.relfilenode NOT IN (0, pg_catalog.pg_relation_filenode(c.oid))
LIMIT 1
"""
_FREEZES = 5
_BATCH = 10_000

_QUOTED_OR_MARK = re.compile(
    r"""\b[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*" | (\$\w*\$).*?\1 | --[^\n]* | /\*.*?\*/ | \?""",
    re.DOTALL | re.VERBOSE,
)

# Two 64-bit halves of every row's md5, summed: order does not matter, and a change cannot cancel another by accident.
_FINGERPRINT = """
SELECT count(*), coalesce(sum(('x' || substr(h, 1, 16))::bit(64)::bigint::numeric), 0)::text,
       coalesce(sum(('x' || substr(h, 17, 16))::bit(64)::bigint::numeric), 0)::text
FROM (SELECT md5(ROW({columns})::text) AS h {source}) AS hashed
"""


@dataclass(frozen=True, slots=True)
class PostgreSQL:
    """The PostgreSQL dialect; it has no state."""

    name: ClassVar[str] = "postgresql"
    shares_snapshots: ClassVar[bool] = True
    streams: ClassVar[bool] = True
    fence: ClassVar[str] = "OFFSET 0"
    hashes_in_reads: ClassVar[bool] = True
    # The statement's view is taken when it is executed: its locks, which it got when it was parsed and planned, are older.
    lone_session: ClassVar[str | None] = (
        f"BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; {_UNHURRIED}; {_PATIENCE}; {_SESSION}"
    )
    measures: ClassVar[Measures] = MEASURES

    def connect(self, connection: ConnectionSpec) -> Any:
        import psycopg  # validating a configuration must not load a driver

        opened = psycopg.connect(**_parameters(connection), autocommit=True)
        opened.execute(f"{_SESSION}; {_PATIENCE}")
        opened.set_autocommit(False)
        opened.set_read_only(True)
        return opened

    def is_usable(self, connection: Any) -> bool:
        return not connection.closed and is_quiet(connection.fileno())

    def place(self, connection: ConnectionSpec) -> str:
        return f"{connection.host or 'localhost'}:{connection.port or 5432}/{connection.database}"

    def jdbc(self, connection: ConnectionSpec) -> JdbcTarget:
        host = connection.host or "localhost"
        host = f"[{host}]" if ":" in host else host
        properties = dict(connection.jdbc_properties)
        options = {
            "connectTimeout": str(connection.connect_timeout_seconds),
            "tcpKeepAlive": "true",
            "sslmode": connection.tls.mode,
            "options": _JDBC_LOCK_WAIT,
            **_tls_files(connection),
            **properties,
            "ApplicationName": own_name(properties.get("ApplicationName")),
        }
        # Spark hands options on in lower case when it reads by predicates, and the driver does not know its own names
        # spelled so: the application's name and every timeout were lost. Those with capitals go with the address.
        address = {name: value for name, value in options.items() if name != name.lower()}
        return JdbcTarget(
            url=f"jdbc:postgresql://{host}:{connection.port or 5432}/{percent(connection.database, safe='')}"
            f"?{urlencode(address, quote_via=percent)}",
            driver="org.postgresql.Driver",
            options=tuple((name, value) for name, value in options.items() if name not in address),
        )

    def jdbc_text(self, sql: str) -> str:
        # The driver takes a bare ? for a parameter and ?? for the operator (jsonb has several of them).
        return _QUOTED_OR_MARK.sub(lambda match: "??" if match[0] == "?" else match[0], sql)

    def stream(self, connection: ConnectionSpec) -> Streamer:
        from psycopg.conninfo import make_conninfo  # as above

        return PostgresStreamer(make_conninfo(**_parameters(connection)), self.lone_session or "")

    def scan_parts(self, connection: Any, table: TableSpec, condition: str | None, parts: int) -> tuple[str, ...]:
        if table.query_sql is not None:
            return ()
        relation = self.relation(table)
        return storage_ranges(connection, text(relation), source(self, table, condition), parts)

    def hold_relations(self, connection: Any, statement: str) -> bool:
        cursor = connection.cursor()
        cursor.execute(_UNHURRIED)
        cursor.close()
        # To plan a statement takes the locks that reading takes, on tables, views and what lies below them alike.
        plan = fetch(connection, f"EXPLAIN {statement}")
        # Each connection would open a transaction of its own on a foreign table's server.
        return not any("Foreign Scan" in line for (line,) in plan)

    def hold_snapshot(self, connection: Any) -> str | None:
        cursor = connection.cursor()
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor.execute(f"{_UNHURRIED}; {_LOCK_WAIT}")
        cursor.close()
        ((snapshot,),) = fetch(connection, "SELECT pg_catalog.pg_export_snapshot()")
        # With BEGIN: without it the statement tears silently where the driver reads in autocommit.
        join = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {text(snapshot)}"
        return f"{join}; {_UNHURRIED}; {_LOCK_WAIT}; {_SESSION}"

    def freeze(self, connection: Any, source: str) -> None:
        for _ in range(_FREEZES):
            self.hold_snapshot(connection)
            # The locks are younger than the view: what was emptied or rewritten in between is another file by now.
            self.hold_relations(connection, f"SELECT 1 {source}")
            if not fetch(connection, _REWRITTEN):
                return
            connection.rollback()
        raise TransientError(
            "A table that is read was emptied or rewritten again and again while a view of it was being taken.",
            remedy="Run the same command again.",
        )

    def unbuffered(self, connection: Any) -> Any:
        # All rows are fetched: a plan that gives the first ones soon would give the last ones late.
        fetch_nothing = connection.cursor()
        fetch_nothing.execute("SET LOCAL cursor_tuple_fraction = 1")
        fetch_nothing.close()
        opened = connection.cursor(name="ingest_rows")
        opened.itersize = _BATCH
        return opened

    def interrupt(self, connection: Any) -> None:
        connection.cancel()

    def fault(self, error: BaseException) -> Fault | None:
        import psycopg  # as above

        if isinstance(error, psycopg.Error):
            words = error.diag.message_primary or " ".join(str(error).split())
            lost = "08000" if isinstance(error, psycopg.OperationalError) else None
            return with_state(Fault(error.sqlstate or lost, None, words))
        fault = stream_fault(error)
        return None if fault is None else with_state(fault)

    def classify(self, fault: Fault, place: str) -> IngestionError:
        return classify(fault, place)

    def quote(self, name: str) -> str:
        return quoted(name)

    def relation(self, table: TableSpec) -> str:
        return f"{self.quote(table.schema)}.{self.quote(table.table)}"

    def literal(self, value: Watermark, column: SourceColumn, *, floor: bool = False) -> str:  # noqa: ARG002 - one spelling each
        if value.type is CursorType.TEXT:
            return text(value.literal)
        # Through ticks and back: only digits reach the statement, whatever a receipt holds.
        spelled = from_ticks(value.type, to_ticks(value)).literal
        if value.type is CursorType.DATE:
            return f"DATE '{spelled}'"
        if value.type is CursorType.TIMESTAMP:
            zoned = column.lands_as.tz is not None
            return f"TIMESTAMPTZ '{spelled}+00'" if zoned else f"TIMESTAMP '{spelled}'"
        return f"({spelled})"

    def spell(self, expression: str, column: SourceColumn, kind: CursorType) -> str:
        if kind is CursorType.TIMESTAMP:
            zoned = " AT TIME ZONE 'UTC'" if column.lands_as.tz is not None else ""
            return f"to_char({expression}{zoned}, 'YYYY-MM-DD HH24:MI:SS.US')"
        if kind is CursorType.DATE:
            return f"to_char({expression}, 'YYYY-MM-DD')"
        return expression if kind is CursorType.TEXT else f"({expression})::text"

    def now(self, column: SourceColumn, kind: CursorType) -> str | None:
        # A clock without a zone may show UTC or the database's time: the later of both holds nothing back that exists.
        local = f"greatest(now() AT TIME ZONE 'UTC', {_LOCAL_NOW})"
        if kind is CursorType.TIMESTAMP:
            return "now()" if column.lands_as.tz is not None else local
        return {
            CursorType.DATE: f"({local})::date",
            CursorType.EPOCH_SECONDS: "ceil(extract(epoch FROM now()))::bigint",
            CursorType.EPOCH_MILLIS: "ceil(extract(epoch FROM now()) * 1000)::bigint",
        }.get(kind)

    def horizon(self, connection: Any) -> Horizon | None:
        return read_horizon(connection)

    def resolution(self, column: SourceColumn) -> int:
        return resolution(column.native_type)

    def misfit(self, column: SourceColumn, kind: CursorType) -> str | None:  # noqa: ARG002 - columns are typed
        return None

    def key_hash(self, columns: Sequence[SourceColumn]) -> str:
        return key_hash(columns, [self.quote(column.name) for column in columns])

    def row_hash(self, columns: Sequence[SourceColumn]) -> str:
        return row_hash(columns, [self.quote(column.name) for column in columns])

    def spelled(self, column: SourceColumn, length: int | None = None) -> str:
        value = spelled(column, self.quote(column.name))
        return f'({value if length is None else f"substr({value}, 1, {length})"}) COLLATE "C"'

    def hex_number(self, digits: str) -> str:
        return f"('x' || {digits})::bit(44)::bigint"

    def hex_sum(self, digits: str) -> str:
        return f"sum({self.hex_number(digits)})"

    def column(self, raw: RawColumn) -> SourceColumn:
        return land(raw, self.quote(raw.name))

    def landing(self, raw: RawColumn, kind: pa.DataType) -> SourceColumn | None:
        return land_as(raw, self.quote(raw.name), kind)

    def describe_tables(self, connection: Any, tables: Sequence[TableSpec]) -> Mapping[str, RawTable]:
        return describe_tables(connection, tables)

    def describe_query(self, connection: Any, sql: str) -> RawTable:
        return describe_query(connection, sql)

    def table_names(self, connection: Any) -> list[str]:
        return table_names(connection)

    def list_tables(self, connection: Any, schema: str | None) -> Listing:
        return list_relations(connection, schema)

    def describe_designs(self, connection: Any, tables: Sequence[TableSpec]) -> Mapping[str, TableDesign]:
        return describe_designs(connection, tables)

    def describe_server(self, connection: Any) -> ServerFacts:
        return describe_server(connection)

    def fingerprint(self, connection: Any, columns: Sequence[SourceColumn], source: str) -> tuple[int, str]:
        # The columns themselves, as the session spells them: the expressions that are read fail on an infinite date.
        listed = ", ".join(self.quote(column.name) for column in columns)
        ((rows, first, second),) = fetch(connection, _FINGERPRINT.format(columns=listed, source=source))
        return rows, f"{first}:{second}"


def _parameters(connection: ConnectionSpec) -> dict[str, Any]:
    """Return what libpq has to know; the password is resolved here."""
    return {
        "host": connection.host or "localhost",
        "port": connection.port or 5432,
        "dbname": connection.database,
        "user": connection.user,
        "password": connection.password.resolve() if connection.password else None,
        "connect_timeout": connection.connect_timeout_seconds,
        "application_name": own_name(),
        "sslmode": connection.tls.mode,
        # A server that is gone without a word is given up after two minutes; by default after two hours.
        "keepalives_idle": 60,
        "keepalives_interval": 10,
        "keepalives_count": 6,
        "client_encoding": "UTF8",  # as the JDBC driver; a server of SQL_ASCII would hand over bytes
        **_tls_files(connection),
    }


def _tls_files(connection: ConnectionSpec) -> dict[str, Any]:
    files = {"sslrootcert": connection.tls.ca, "sslcert": connection.tls.cert, "sslkey": connection.tls.key}
    return {name: str(path) for name, path in files.items() if path is not None}

"""PostgreSQL: how it is reached, quoted, probed and described, and what its errors mean."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote as percent
from urllib.parse import urlencode

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import RawColumn, SourceColumn
from ingestion_runtime.endpoints.jdbc.dialect import Fault, JdbcTarget, Measures, RawTable, Streamer, fetch
from ingestion_runtime.endpoints.jdbc.dialects.postgresql_horizon import own_name, read_horizon, resolution
from ingestion_runtime.endpoints.jdbc.dialects.postgresql_keys import key_hash
from ingestion_runtime.endpoints.jdbc.dialects.postgresql_stream import PostgresStreamer, storage_ranges, stream_fault
from ingestion_runtime.endpoints.jdbc.dialects.postgresql_types import MEASURES, UNCHECKED, land, land_as
from ingestion_runtime.endpoints.jdbc.pool import is_quiet
from ingestion_runtime.endpoints.jdbc.sql import source
from ingestion_runtime.model.cursor import CursorType, Watermark
from ingestion_runtime.model.errors import ConfigError, IngestionError, OversizedReadError, TerminalError, TransientError
from ingestion_runtime.model.horizon import Horizon
from ingestion_runtime.model.spec import ConnectionSpec, TableSpec
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

_QUOTED_OR_MARK = re.compile(
    r"""\b[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*" | (\$\w*\$).*?\1 | --[^\n]* | /\*.*?\*/ | \?""",
    re.DOTALL | re.VERBOSE,
)

_DESCRIBE = """
WITH RECURSIVE listed(oid, place, name, typid, mod, filled) AS ({listed}), base(oid, place, typid, mod) AS (
  SELECT oid, place, typid, mod FROM listed
  UNION ALL
  SELECT b.oid, b.place, t.typbasetype, t.typtypmod
  FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.typid WHERE t.typtype = 'd'
)
SELECT l.oid, l.name, pg_catalog.format_type(l.typid, l.mod), pg_catalog.format_type(b.typid, b.mod), l.filled,
       CASE WHEN n.nspname = 'pg_catalog' AND t.typtype = 'b' THEN t.typname::text ELSE '' END,
       pg_catalog.current_setting('server_encoding') = 'SQL_ASCII', l.place
FROM listed l JOIN base b ON b.oid = l.oid AND b.place = l.place JOIN pg_catalog.pg_type t ON t.oid = b.typid
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE t.typtype <> 'd' ORDER BY l.oid, l.place
"""

_ATTRIBUTES = (
    "SELECT attrelid::bigint, attnum::int, attname::text, atttypid, atttypmod, attnotnull FROM pg_catalog.pg_attribute"
    " WHERE attrelid IN ({oids}) AND attnum > 0 AND NOT attisdropped"
)

# Rows of foreign tables and of subscriptions are written by transactions that this server does not show.
# The size is that of the last ANALYZE or VACUUM: pg_table_size would wait for the lock of whoever alters one of the tables,
# and with it the description of all of them.
_RELATIONS = """
SELECT n.nspname::text, c.relname::text, c.oid::bigint, c.reltuples::bigint, CASE
         WHEN c.relkind = 'f' OR EXISTS (SELECT FROM pg_catalog.pg_inherits i
           JOIN pg_catalog.pg_class f ON f.oid = i.inhrelid WHERE i.inhparent = c.oid AND f.relkind = 'f')
         THEN 'a foreign table, or has one for a part'
         WHEN EXISTS (SELECT FROM pg_catalog.pg_subscription_rel r WHERE r.srrelid = c.oid)
         THEN 'filled by a subscription' ELSE '' END,
       CASE WHEN c.relkind IN ('r', 'm') AND c.relpages > 0
         THEN (c.relpages::bigint + coalesce(t.relpages, 0)) * pg_catalog.current_setting('block_size')::bigint END
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid
WHERE (n.nspname::text, c.relname::text) IN ({names}) AND c.relkind IN ('r', 'v', 'm', 'f', 'p')
"""

_KEYS = """
SELECT i.indrelid::bigint, a.attname::text FROM pg_catalog.pg_index i
CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, place)
JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid IN ({oids}) AND i.indisprimary AND k.place <= i.indnkeyatts ORDER BY i.indrelid, k.place
"""

# Two 64-bit halves of every row's md5, summed: order does not matter, and a change cannot cancel another by accident.
_FINGERPRINT = """
SELECT count(*), coalesce(sum(('x' || substr(h, 1, 16))::bit(64)::bigint::numeric), 0)::text,
       coalesce(sum(('x' || substr(h, 17, 16))::bit(64)::bigint::numeric), 0)::text
FROM (SELECT md5(ROW({columns})::text) AS h {source}) AS hashed
"""

# A failed connection attempt carries no SQLSTATE in libpq, only the server's words.
_CONNECT_WORDS = (
    (re.compile(r"password authentication failed|no password supplied|role .* does not exist|pg_hba\.conf"), "28000"),
    (
        re.compile(r"authentication method|[Pp]eer authentication|certificate|does not support SSL|match host name"),
        "28000",
    ),
    (re.compile(r"database .* does not exist"), "3D000"),
    (re.compile(r"permission denied for database"), "42501"),
)
_TIMEOUT = "Raise statement_timeout for this user (ALTER ROLE ... SET statement_timeout), or add an index on the cursor."
# Of a snapshot whose holder is gone: by now the server knows it no more, or knows that the holder has ended.
_NO_SNAPSHOT = re.compile(r"invalid snapshot identifier|could not import the requested snapshot|snapshot .* does not exist")
_HIDDEN_ROWS = (
    "Give the connection's user BYPASSRLS, or read a view that belongs to the table's owner; which rows are read is said by"
    " source_filter or by that view."
)
_COLUMNS = "Check the column names in the configuration against the source. If it was altered just now, run again."
_ADVICE: tuple[tuple[str, type[IngestionError], str], ...] = (
    ("28", ConfigError, "Check user, password reference and tls of this connection, and the server's pg_hba.conf."),
    ("3D000", ConfigError, "Check database of this connection."),
    ("42501", TerminalError, "Grant the connection's user SELECT on it (and USAGE on its schema)."),
    ("42P01", TerminalError, "Check schema and table, or query_sql, against the source."),
    ("3F000", TerminalError, "Check schema and table, or query_sql, against the source."),
    ("42703", TerminalError, _COLUMNS),
    ("42601", TerminalError, "Check source_filter and query_sql of this table."),
    ("53200", OversizedReadError, "The server lacks memory for so much at once; run the same command again later."),
    ("53400", OversizedReadError, "Raise temp_file_limit for this user at the server."),
    ("53", TransientError, "The server is short of disk, memory or connections; run the same command again later."),
    ("40", TransientError, "The source was busy with conflicting work; run the same command again."),
    ("55P03", TransientError, "The source is locked by other work; run the same command again."),
    ("57", TransientError, "The server is starting, stopping or cancelled the query; run the same command again."),
    ("58", TransientError, "The server met a system error; check its log, then run the same command again."),
    ("25P0", TransientError, "The server ended the transaction by a timeout; run the same command again."),
    ("08", TransientError, "Check that the server runs and is reachable, then run the same command again."),
)


@dataclass(frozen=True, slots=True)
class PostgreSQL:
    """The PostgreSQL dialect; it has no state."""

    name: ClassVar[str] = "postgresql"
    shares_snapshots: ClassVar[bool] = True
    streams: ClassVar[bool] = True
    hashes_in_reads: ClassVar[bool] = True
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

        return PostgresStreamer(make_conninfo(**_parameters(connection)), _SESSION)

    def scan_parts(self, connection: Any, table: TableSpec, condition: str | None, parts: int) -> tuple[str, ...]:
        if table.query_sql is not None:
            return ()
        relation = self.relation(table)
        return storage_ranges(connection, _text(relation), source(self, table, condition), parts)

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
        join = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {_text(snapshot)}"
        return f"{join}; {_UNHURRIED}; {_LOCK_WAIT}; {_SESSION}"

    def interrupt(self, connection: Any) -> None:
        connection.cancel()

    def fault(self, error: BaseException) -> Fault | None:
        import psycopg  # as above

        if isinstance(error, psycopg.Error):
            text = error.diag.message_primary or " ".join(str(error).split())
            lost = "08000" if isinstance(error, psycopg.OperationalError) else None
            fault: Fault | None = Fault(error.sqlstate or lost, None, text)
        else:
            fault = stream_fault(error)
        if fault is None or fault.state not in (None, "08000"):
            return fault
        state = next((state for words, state in _CONNECT_WORDS if words.search(fault.text)), fault.state)
        return Fault(state, None, fault.text)

    def classify(self, fault: Fault, place: str) -> IngestionError:
        # A person who cancels has the same SQLSTATE as a clock; only the words tell them apart.
        if fault.state == "57014" and "user request" not in fault.text:
            return OversizedReadError(f"{place}: {fault.text.rstrip('.')}.", remedy=_TIMEOUT, sqlstate=fault.state)
        if _NO_SNAPSHOT.search(fault.text):
            remedy = "The connection that kept the view of this read was lost; run the same command again."
            return TransientError(f"{place}: {fault.text.rstrip('.')}.", remedy=remedy, sqlstate=fault.state)
        if fault.state == "42501" and "row-level security" in fault.text:
            return TerminalError(f"{place}: {fault.text.rstrip('.')}.", remedy=_HIDDEN_ROWS, sqlstate=fault.state)
        for prefix, kind, remedy in _ADVICE:
            if (fault.state or "").startswith(prefix):
                return kind(f"{place}: {fault.text.rstrip('.')}.", remedy=remedy, sqlstate=fault.state)
        return TerminalError(
            f"{place}: {fault.text.rstrip('.')}.",
            remedy="Check the table's settings against the source; the server's log may say more.",
            sqlstate=fault.state,
        )

    def quote(self, name: str) -> str:
        _refuse_nul(name)
        return '"' + name.replace('"', '""') + '"'

    def relation(self, table: TableSpec) -> str:
        return f"{self.quote(table.schema)}.{self.quote(table.table)}"

    def literal(self, value: Watermark, column: SourceColumn, *, floor: bool = False) -> str:  # noqa: ARG002 - one spelling each
        if value.type is CursorType.TEXT:
            return _text(value.literal)
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

    def hex_number(self, digits: str) -> str:
        return f"('x' || {digits})::bit(44)::bigint"

    def column(self, raw: RawColumn) -> SourceColumn:
        return land(raw, self.quote(raw.name))

    def landing(self, raw: RawColumn, kind: pa.DataType) -> SourceColumn | None:
        return land_as(raw, self.quote(raw.name), kind)

    def describe_tables(self, connection: Any, tables: Sequence[TableSpec]) -> Mapping[str, RawTable]:
        names = ", ".join(f"({_text(table.schema)}, {_text(table.table)})" for table in tables)
        found = {(schema, name): rest for schema, name, *rest in fetch(connection, _RELATIONS.format(names=names))}
        oids = ", ".join(str(rest[0]) for rest in found.values())
        columns = _columns(connection, _ATTRIBUTES.format(oids=oids)) if found else {}
        keys: dict[int, list[str]] = {}
        for oid, name in fetch(connection, _KEYS.format(oids=oids)) if found else ():
            keys.setdefault(oid, []).append(name)
        return {
            table.name: _raw_table(columns, keys, *found[table.schema, table.table])
            for table in tables
            if (table.schema, table.table) in found
        }

    def describe_query(self, connection: Any, sql: str) -> RawTable:
        cursor = connection.cursor()
        cursor.execute(f"SELECT * FROM {sql} LIMIT 0")
        result, names = cursor.pgresult, [column.name for column in cursor.description]
        rows = [
            f"(0::bigint, {place}, {_text(name)}, {result.ftype(place)}::oid, {result.fmod(place)}, false)"
            for place, name in enumerate(names)
        ]
        cursor.close()
        listed = f"VALUES {', '.join(rows)}"
        return RawTable(_columns(connection, listed)[0] if rows else (), (), None)

    def table_names(self, connection: Any) -> list[str]:
        rows = fetch(
            connection,
            "SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
            " ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p')"
            " AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') LIMIT 10000",
        )
        return [name for (name,) in rows]

    def fingerprint(self, connection: Any, columns: Sequence[SourceColumn], source: str) -> tuple[int, str]:
        # The columns themselves, as the session spells them: the expressions that are read fail on an infinite date.
        listed = ", ".join(self.quote(column.name) for column in columns)
        ((rows, first, second),) = fetch(connection, _FINGERPRINT.format(columns=listed, source=source))
        return rows, f"{first}:{second}"


def _columns(connection: Any, listed: str) -> dict[int, tuple[RawColumn, ...]]:
    """Return the columns by the oid of their relation; 0 stands for a query."""
    columns: dict[int, list[RawColumn]] = {}
    for oid, name, native, base, filled, kind, unchecked, place in fetch(connection, _DESCRIBE.format(listed=listed)):
        modifiers = re.search(r"\((\d+)(?:,(-?\d+))?\)", base) if kind == "numeric" else None
        arguments = tuple(int(part) for part in modifiers.groups() if part) if modifiers else ()
        base_kind = UNCHECKED + kind if unchecked else kind
        # The number of a column is its own for good: it survives a rename, and a column made anew gets another one.
        identity = f"{oid}.{place}" if oid else None
        columns.setdefault(oid, []).append(RawColumn(name, native, base_kind, arguments, not filled, identity))
    return {oid: tuple(listed) for oid, listed in columns.items()}


def _raw_table(
    columns: Mapping[int, tuple[RawColumn, ...]],
    keys: Mapping[int, Sequence[str]],
    oid: int,
    estimate: int,
    elsewhere: str,
    size: int | None,
) -> RawTable:
    # -1: never analysed, and 0 is what a fresh table and a view say.
    rows = estimate if estimate > 0 else None
    return RawTable(columns.get(oid, ()), tuple(keys.get(oid, ())), rows, elsewhere, size or None)


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


def _text(value: str) -> str:
    _refuse_nul(value)
    # E'' spells backslashes in one way whatever standard_conforming_strings says.
    return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _refuse_nul(value: str) -> None:
    if "\0" in value:
        raise TerminalError(
            f"{value!r} holds a NUL character, which PostgreSQL knows in no text.",
            remedy="Correct the name or the watermark.",
        )

"""PostgreSQL's rows as record batches: binary COPY, decoded in C by ADBC, over several connections under one snapshot.

Measured on 3 million rows of 17 columns: ADBC's low-level interface takes 2 ms to import, its other one up to a second.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from threading import Lock
from typing import Any, NoReturn

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import SourceColumn
from ingestion_runtime.endpoints.jdbc.dialect import Fault, Rows, fetch
from ingestion_runtime.model.errors import TerminalError

# Every expression that is read gives a built-in type. By default the driver would first read the types of every column
# of the database: 0.1 s a connection in an empty one, minutes in one with a million columns.
_KNOWN_TYPES = {"adbc.postgresql.type_resolver_mode": "builtin"}
_BATCH_BYTES = "adbc.postgresql.batch_size_hint_bytes"

# What the driver puts around the server's words; behind them it quotes the statement, with its literals.
_BEFORE, _BEHIND = re.compile(r"^.*?\[libpq\] ", re.DOTALL), re.compile(r"\s*(?:Query was:|\. SQLSTATE:).*$", re.DOTALL)

# What one more connection costs (30 ms of login and thread) is read in the time of some megabytes.
_PART_BYTES = 16 * 2**20
_TID_SCANS = 140000  # before PostgreSQL 14 a range of rows was found by reading them all


class PostgresStreamer:
    """One connection. Implements ``Streamer``; ``conninfo`` is libpq's, with the password, and ``alone`` begins a
    transaction that joins no view."""

    def __init__(self, conninfo: str, alone: str) -> None:
        from adbc_driver_manager import AdbcConnection  # validating a configuration must not load a driver
        from adbc_driver_postgresql import connect  # type: ignore[import-untyped]

        self._alone = alone
        self._locks = False
        self._lock = Lock()  # a statement is not closed while another thread cancels it
        self._statement: Any = None
        self._reader: Any = None
        self._database = connect(conninfo, _KNOWN_TYPES)
        try:
            self._connection = AdbcConnection(self._database)
        except BaseException:
            self._database.close()
            raise

    def begin(self, join: str | None) -> None:
        self._do(join or self._alone)
        self._locks = join is None

    def run(self, sql: str, columns: Sequence[SourceColumn], batch_bytes: int) -> Rows:  # noqa: ARG002 - typed by the server
        from adbc_driver_manager import AdbcStatement
        from adbc_driver_manager._reader import AdbcRecordBatchReader  # its errors keep their SQLSTATE

        self._release()
        if self._locks:
            # COPY takes its view before it is planned, which is when it waits for the locks of a table's parts: of one that
            # is emptied meanwhile it found nothing, without an error. To plan the statement takes all locks beforehand.
            self._do(f"EXPLAIN {sql}")
        statement = AdbcStatement(self._connection)
        statement.set_options(**{_BATCH_BYTES: batch_bytes})
        statement.set_sql_query(sql)
        self._statement = statement
        stream, _ = statement.execute_query()
        self._reader = AdbcRecordBatchReader._import_from_c(stream.address)
        return Rows(self._reader.schema, self._batches(self._reader))

    def testify(self, source: str, question: str) -> NoReturn:  # noqa: ARG002 - the protocol's
        raise TerminalError(
            "before_publish wants the source's word on the rows as they are read, and this read of PostgreSQL joins no view"
            " that another statement could see.",
            remedy="Set max_connections to 3 at least, read no foreign tables, or leave before_publish out.",
        )

    def cancel(self) -> None:
        with self._lock:
            if self._statement is not None:
                self._statement.cancel()

    def end(self) -> None:
        self._release()
        self._do("ROLLBACK")

    def close(self) -> None:
        self._release()
        self._connection.close()
        self._database.close()

    def _do(self, sql: str) -> None:
        from adbc_driver_manager import AdbcStatement

        with AdbcStatement(self._connection) as statement:
            statement.set_sql_query(sql)
            statement.execute_update()

    def _batches(self, reader: Any) -> Iterator[pa.RecordBatch]:
        yield from reader

    def _release(self) -> None:
        with self._lock:
            opened = (self._reader, self._statement)
            self._reader = self._statement = None
            for each in opened:
                if each is not None:
                    each.close()


def stream_fault(error: BaseException) -> Fault | None:
    """Return an error of ADBC as data, without SQLSTATE where it never reached a server; None when it is none of ADBC's."""
    from adbc_driver_manager import AdbcStatusCode, Error

    if not isinstance(error, Error):
        return None
    details = {_text(name): _text(value) for name, value in error.details or ()}
    words = _BEHIND.sub("", _BEFORE.sub("", str(error)))
    text = " ".join((details.get("PG_DIAG_MESSAGE_PRIMARY") or words).split())
    lost = error.status_code in (AdbcStatusCode.IO, AdbcStatusCode.CANCELLED, AdbcStatusCode.TIMEOUT)
    return Fault(error.sqlstate or ("08000" if lost else None), None, text)


def storage_ranges(connection: Any, relation: str, source: str, parts: int) -> tuple[str, ...]:
    """Return conditions that cut the rows of ``source`` (FROM ... WHERE ...) by where they lie in the table's file.

    The connection's transaction keeps the table from being rewritten until it ends. None for what is not read from end to
    end (an index leads to it), not stored as one file, or small.
    """
    # To plan a statement takes the lock that reading it takes: from here on no row changes its place under our snapshot.
    # With all columns: of a table that has just been vacuumed the key's index alone could tell how many rows there are.
    ((plan,),) = fetch(connection, f"EXPLAIN (FORMAT JSON) SELECT * {source}")
    if not _reads_all(plan[0]["Plan"]):
        return ()
    found = fetch(
        connection,
        "SELECT pg_catalog.pg_relation_size(c.oid), pg_catalog.current_setting('block_size')::int,"
        " pg_catalog.current_setting('server_version_num')::int FROM pg_catalog.pg_class c"
        f" WHERE c.oid = {relation}::pg_catalog.regclass AND c.relkind IN ('r', 'm') AND NOT c.relhassubclass",
    )
    if not found or found[0][2] < _TID_SCANS:
        return ()
    size, block, _ = found[0]
    pages, count = size // block, min(parts, size // _PART_BYTES)
    cuts = [f"'({pages * part // count},0)'::tid" for part in range(1, count)]
    if not cuts:
        return ()
    inner = [f"ctid >= {low} AND ctid < {high}" for low, high in pairwise(cuts)]
    # The last one has no end: what lies behind the size that was measured is not lost.
    return (f"ctid < {cuts[0]}", *inner, f"ctid >= {cuts[-1]}")


def _reads_all(plan: dict[str, Any]) -> bool:
    """Whether a plan is one scan of a whole table, perhaps by several workers."""
    while plan["Node Type"] == "Gather":
        (plan,) = plan["Plans"]
    return bool(plan["Node Type"] == "Seq Scan")


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

"""What one database engine must say of itself: the contract that a file in ``dialects/`` fills.

Everything that differs between engines is asked here, so that no other module ever asks which engine it talks to.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import RawColumn, SourceColumn
from ingestion_runtime.endpoints.jdbc.design import TableDesign
from ingestion_runtime.model.connection import ConnectionSpec
from ingestion_runtime.model.cursor import CursorType, Watermark
from ingestion_runtime.model.errors import IngestionError
from ingestion_runtime.model.horizon import Horizon
from ingestion_runtime.model.schema import Listing
from ingestion_runtime.model.spec import TableSpec


@dataclass(frozen=True, slots=True)
class RawTable:
    """A relation as its catalog describes it. ``estimated_rows`` and ``estimated_bytes`` (in its own storage) are the
    catalog's guess, None where it has none.

    ``elsewhere`` says what it is where transactions write it that this server does not show.
    """

    columns: tuple[RawColumn, ...]
    primary_keys: tuple[str, ...]
    estimated_rows: int | None
    elsewhere: str = ""
    estimated_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server says of itself and of one connection to it.

    ``now`` is its clock, in microseconds since 1970-01-01 UTC. ``protocol`` is that of the encryption, empty for a plain
    connection and None where there is no network between. ``standby``: it follows another server.
    """

    version: str
    now: int
    protocol: str | None
    standby: bool


@dataclass(frozen=True, slots=True)
class Fault:
    """An error of a driver, whichever it was: SQLSTATE and vendor code where there are any, and its first words."""

    state: str | None
    code: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Measures:
    """What a profile asks of a number, as SQL over its quoted name ``{0}``.

    ``finite`` and ``nan`` and ``infinite`` are predicates (None: there can be none), ``fraction`` counts the digits in use
    after the point of an exact number.
    """

    finite: str
    nan: str | None
    infinite: str | None
    fraction: str


@dataclass(frozen=True, slots=True)
class JdbcTarget:
    """Where Spark's JDBC reader connects. Neither URL nor options ever hold the user or the password."""

    url: str
    driver: str
    options: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """The answer to a statement: its columns, and its rows, which are read from the server as they are asked for."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


class Streamer(Protocol):
    """A connection whose rows come as record batches. For one thread, but for ``cancel``; raises the driver's errors.

    The types are those that the client gives; ``landing.py`` makes of them what a column lands as.
    """

    def begin(self, join: str | None) -> None:
        """Start a read-only transaction, in the view that is joined by the statement which ``hold_snapshot`` returned.

        Without one each statement has a view of its own, taken once nobody empties or rewrites what it reads.
        """
        ...

    def run(self, sql: str, columns: Sequence[SourceColumn], batch_bytes: int) -> Rows:
        """Run a statement that selects these columns, and perhaps a rank behind them. One statement at a time.

        Batches are of about ``batch_bytes`` bytes, or of one row.
        """
        ...

    def testify(self, source: str, question: str) -> Sequence[Any]:
        """Return the one row with which a statement answers that is asked of ``FROM ... WHERE ...``; until ``end`` the next
        ``run`` sees the same state of it. Asked after ``begin`` of connections that join no view.

        Raises TerminalError where there is no transaction in which two statements see one state.
        """
        ...

    def cancel(self) -> None:
        """End the statement that runs, from another thread: whoever reads it gets an error that is worth a retry."""
        ...

    def end(self) -> None:
        """End the transaction, and with it the statement: another one may begin."""
        ...

    def close(self) -> None: ...


class Dialect(Protocol):
    """One database engine. ``connection`` below is an open PEP 249 connection."""

    @property
    def name(self) -> str:
        """The name by which the configuration calls it."""
        ...

    #: Several connections can read one snapshot: a read may be split without tearing.
    shares_snapshots: ClassVar[bool]
    #: Its rows can be had as record batches (``stream``), without a JVM.
    streams: ClassVar[bool]
    #: The JDBC driver that reads can evaluate ``key_hash`` too, and so pick keys by their hash.
    hashes_in_reads: ClassVar[bool]
    #: Ends a subquery whose values are computed once a row, and not again wherever they are named.
    fence: ClassVar[str]
    #: What a JDBC session begins with that has no view of another one to join, and reads everything by one statement.
    lone_session: ClassVar[str | None]
    #: How a profile measures numbers.
    measures: ClassVar[Measures]

    # Reaching it

    def connect(self, connection: ConnectionSpec) -> Any:
        """Open a read-only PEP 249 connection; the password is resolved here and kept nowhere."""
        ...

    def is_usable(self, connection: Any) -> bool:
        """Return whether a connection that lay idle can be used again, as far as this side can tell; asks nothing."""
        ...

    def place(self, connection: ConnectionSpec) -> str:
        """Return the address as people write it, without user and password."""
        ...

    def jdbc(self, connection: ConnectionSpec) -> JdbcTarget: ...

    def jdbc_text(self, sql: str) -> str:
        """Return ``sql`` as the JDBC driver must be given it for the server to see it unchanged."""
        ...

    def stream(self, connection: ConnectionSpec) -> Streamer:
        """Open a connection whose rows come as record batches, read-only and set as ``connect`` sets its own."""
        ...

    def scan_parts(self, connection: Any, table: TableSpec, condition: str | None, parts: int) -> tuple[str, ...]:
        """Return at most ``parts`` conditions that cut the rows of ``condition`` into ranges of the table's storage.

        Under the snapshot that ``connection`` holds each row fulfils exactly one of them. None where that is not possible
        (a view, a query) or not worth another connection.
        """
        ...

    def hold_relations(self, connection: Any, statement: str) -> bool:
        """Keep what a statement reads from being emptied or rewritten until the connection's transaction ends.

        Returns whether all of it lies in this database, so that a shared snapshot is one view of it.
        Waits for whoever does so at the moment. Asked of engines that share snapshots, before one is taken.
        """
        ...

    def hold_snapshot(self, connection: Any) -> str | None:
        """Start a transaction with one frozen view; return the statement by which other connections join it, if any."""
        ...

    def freeze(self, connection: Any, source: str) -> None:
        """Start a read-only transaction whose statements all see one state of what ``FROM ... WHERE ...`` reads.

        Until it ends nobody empties or rewrites that: an older view would find nothing left of it. Waits for whoever does so
        at the moment. Raises TerminalError where there is no such transaction, TransientError where it cannot be had now.
        """
        ...

    def unbuffered(self, connection: Any) -> Any:
        """Return a cursor whose rows come from the server as they are fetched. No other one may be used meanwhile."""
        ...

    def interrupt(self, connection: Any) -> None:
        """End the query that another thread runs on the connection; it gets an error that is worth a retry."""
        ...

    def fault(self, error: BaseException) -> Fault | None:
        """Return the driver's error as data; None when it is not one of the driver's errors."""
        ...

    def classify(self, fault: Fault, place: str) -> IngestionError:
        """Return the error of our own tree, with a message that says what to do."""
        ...

    # Naming and spelling

    def quote(self, name: str) -> str: ...

    def relation(self, table: TableSpec) -> str:
        """Return the quoted name of the table."""
        ...

    def literal(self, value: Watermark, column: SourceColumn, *, floor: bool = False) -> str:
        """Return a cursor value as SQL. With ``floor`` no equal value of the column sorts below it, else none above."""
        ...

    def spell(self, expression: str, column: SourceColumn, kind: CursorType) -> str:
        """Return SQL that spells a cursor value as `Watermark` does."""
        ...

    def now(self, column: SourceColumn, kind: CursorType) -> str | None:
        """Return SQL for the source's own now as a value of the cursor; None where the cursor is no clock."""
        ...

    def horizon(self, connection: Any) -> Horizon | None:
        """Look at the open transactions, in a transaction of its own that ends with the look.

        None where no transaction that commits later can have written an earlier value: writers take turns.
        """
        ...

    def resolution(self, column: SourceColumn) -> int:
        """Return the microseconds to which a clock value may have been cut or rounded on its way into the column."""
        ...

    def misfit(self, column: SourceColumn, kind: CursorType) -> str | None:
        """Return a predicate for stored cursor values that would be compared wrongly; None where there can be none."""
        ...

    def key_hash(self, columns: Sequence[SourceColumn]) -> str:
        """Return SQL for the hash of a key, 32 lower-case hex digits: see ``endpoints/spelling.py``."""
        ...

    def row_hash(self, columns: Sequence[SourceColumn]) -> str:
        """Return SQL for the hash of a row over these columns, by the types in which they land: see there."""
        ...

    def spelled(self, column: SourceColumn, length: int | None = None) -> str:
        """Return SQL for the spelling of a column, or so many characters of it; NULL for NULL. Groups tell it byte by byte,
        and it may arrive as bytes, in UTF-8."""
        ...

    def hex_number(self, digits: str) -> str:
        """Return SQL for the number spelled by an expression of at most 11 lower-case hex digits."""
        ...

    def hex_sum(self, digits: str) -> str:
        """Return SQL for the exact sum of such numbers, however many they are; NULL of none."""
        ...

    # Describing

    def column(self, raw: RawColumn) -> SourceColumn: ...

    def landing(self, raw: RawColumn, kind: pa.DataType) -> SourceColumn | None:
        """Return the way of a column that lands as ``kind`` and not as by itself; None where there is none.

        Values that ``kind`` does not hold are refused; as text everything but bytes can land.
        """
        ...

    def describe_tables(self, connection: Any, tables: Sequence[TableSpec]) -> Mapping[str, RawTable]:
        """Return the descriptions of tables by ``schema.table``, by a few queries; those that are not there are left out."""
        ...

    def describe_query(self, connection: Any, sql: str) -> RawTable: ...

    def table_names(self, connection: Any) -> list[str]:
        """Return what could have been meant by a table that does not exist, as ``schema.table`` or ``table``."""
        ...

    def list_tables(self, connection: Any, schema: str | None) -> Listing:
        """Return what the reader may see, of one schema or of all, by one query; ``listing.py`` says what is left out."""
        ...

    def describe_designs(self, connection: Any, tables: Sequence[TableSpec]) -> Mapping[str, TableDesign]:
        """Return how tables are built by ``schema.table``, from the catalog alone; those that are not there are left out."""
        ...

    def describe_server(self, connection: Any) -> ServerFacts:
        """Return what the server says of itself and of this connection."""
        ...

    def fingerprint(self, connection: Any, columns: Sequence[SourceColumn], source: str) -> tuple[int, str]:
        """Return count and order-independent hash of all columns of ``FROM ... WHERE ...``, by one query."""
        ...


def fetch(connection: Any, sql: str) -> list[tuple[Any, ...]]:
    """Run one statement without parameters and return its rows."""
    cursor = connection.cursor()
    try:
        cursor.execute(sql)
        return [tuple(row) for row in cursor.fetchall()]
    finally:
        cursor.close()

"""The rows of a relational source, compared where they are: every answer by one statement, all in one view of the source."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import RawColumn, SourceColumn, arrow_schema, find_column
from ingestion_runtime.endpoints.jdbc.comparison_sql import LATER, NO_CURSOR, UNSETTLED, ComparisonSql
from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialect import fetch
from ingestion_runtime.endpoints.jdbc.profile import fit
from ingestion_runtime.endpoints.jdbc.sql import Cursor, in_reread, source
from ingestion_runtime.model.batch import Receipt
from ingestion_runtime.model.comparison import (
    Basis,
    Checksum,
    ComparedColumn,
    Grouping,
    HashedRow,
    KeyFaults,
    LeftOut,
    RowBucket,
    Scope,
)
from ingestion_runtime.model.cursor import Fingerprint, ReRead
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.spec import TableSpec

_BATCH_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class ComparedTable:
    """What is known of a source's table. ``columns`` are those that are read, the masked ones among them; ``unique``: the
    source itself makes sure that each key has one row."""

    raw: Mapping[str, RawColumn]
    columns: tuple[SourceColumn, ...]
    masked: Collection[str]
    cursor: Cursor | None
    unique: bool


class JdbcComparison:
    """One table of a source database. Implements ``ComparableSource``; ``describe`` is asked when it is first needed."""

    def __init__(self, table: TableSpec, database: Database, describe: Callable[[], ComparedTable]) -> None:
        self._table = table
        self._database = database
        self._describe = describe

    def columns(self, target: pa.Schema | None = None) -> pa.Schema:
        """Return the columns as they land, without masked ones; see ``ComparableSource``."""
        known = self._describe()
        own = (column for column in known.columns if column.name not in known.masked)
        return arrow_schema(column if target is None else self._as_in(target, known, column) for column in own)

    def _as_in(self, target: pa.Schema, known: ComparedTable, column: SourceColumn) -> SourceColumn:
        """Return a column as it was wished to land, or as a guardrail decided: the target's type tells it."""
        kind = target.field(column.name).type if column.name in target.names else column.lands_as
        if pa.types.is_string(kind) == pa.types.is_string(column.lands_as):
            return column
        try:
            return fit(self._database.dialect, known.raw[column.name], kind, self._table.name)
        except TerminalError:
            return column

    @contextmanager
    def view(self, basis: Basis, receipt: Receipt | None, reread: ReRead | None = None) -> Iterator["JdbcView"]:
        """Open one view of the source; see ``ComparableSource``.

        It takes one connection, and keeps the table from being emptied or altered for as long as it is open; a SQLite file
        from being written, where it has no write-ahead log. Raises TerminalError for a column that cannot be compared.
        """
        known = self._describe()
        ways = {column.target: self._way(known, column) for column in (*basis.keys, *basis.columns)}
        cursor = known.cursor if self._table.mode != "full" else None
        if cursor is not None and receipt is not None:
            self._require_type(cursor, receipt)
        with self._database.connect() as connection:
            self._database.dialect.freeze(connection, source(self._database.dialect, self._table))
            statements = ComparisonSql(
                dialect=self._database.dialect,
                table=self._table,
                keys=tuple(ways[key.target] for key in basis.keys),
                columns=tuple(ways[column.target] for column in basis.columns),
                cursor=cursor,
                scope=replace(self._scope(connection, known, cursor, receipt), reread=reread),
                newest=self._table.mode == "scd1" and bool(basis.keys) and not known.unique,
            )
            yield JdbcView(statements, basis, ways, connection)

    def _way(self, known: ComparedTable, compared: ComparedColumn) -> SourceColumn:
        """Return the column as it is spelled: by its type in the target."""
        name = self._table.name
        own = find_column(known.columns, compared.source, "compared columns", name)
        if compared.source in known.masked:
            raise TerminalError(
                f"Column {compared.source!r} of table {name} is masked: the target has no value of it to compare.",
                remedy="Leave it out of the comparison.",
                table=name,
                column=compared.source,
            )
        if _alike(own.lands_as, compared.kind):
            return replace(own, lands_as=compared.kind)
        return fit(self._database.dialect, known.raw[compared.source], compared.kind, name)

    def _scope(self, connection: Any, known: ComparedTable, cursor: Cursor | None, receipt: Receipt | None) -> Scope:
        before = receipt.fingerprint if receipt else None
        if before is None or cursor is None:
            return Scope(receipt)
        dialect = self._database.dialect
        read = source(dialect, self._table, in_reread(dialect, cursor, before.subject))
        return Scope(receipt, Fingerprint(before.subject, *dialect.fingerprint(connection, known.columns, read)))

    def _require_type(self, cursor: Cursor, receipt: Receipt) -> None:
        reached = receipt.watermark
        if reached is not None and reached.type is not cursor.kind:
            raise TerminalError(
                f"{self._table.name}: incr_col_type is {cursor.kind}, but its watermark is of type {reached.type}.",
                remedy="Restore incr_col_type, or start over with --reload.",
                table=self._table.name,
            )


class JdbcView:
    """One view of a source, and the rows in it that take part. Implements ``SourceView`` and ``ComparedRows``."""

    def __init__(self, statements: ComparisonSql, basis: Basis, ways: Mapping[str, SourceColumn], connection: Any) -> None:
        self._given = statements
        self._basis = basis
        self._ways = ways
        self._connection = connection
        self._streams = False

    @property
    def scope(self) -> Scope:
        """Up to where the target has read, and what of that has changed since."""
        return self._given.scope

    @property
    def rows(self) -> "JdbcView":
        """The rows that take part."""
        return self

    @cached_property
    def left_out(self) -> LeftOut:
        """What takes no part."""
        ((null_keys, initial),) = self._ask(self._statements.kept_out())
        statement = self._statements.standings()
        found = {int(standing): int(rows) for standing, rows in self._ask(statement)} if statement else {}
        return LeftOut(
            later=found.get(LATER, 0),
            unsettled=found.get(UNSETTLED, 0),
            null_cursors=found.get(NO_CURSOR, 0),
            null_keys=int(null_keys),
            initial=int(initial),
        )

    def left_out_keys(self) -> Iterator[pa.RecordBatch]:
        """Yield the hashes of keys that take no part; see ``SourceView``."""
        statement = self._statements.left_out_keys()
        for rows in self._stream(statement) if statement else ():
            yield pa.record_batch([pa.array([_text(key) for (key,) in rows], pa.string())], names=["key_hash"])

    def count(self) -> int:
        """Return the number of rows."""
        ((rows,),) = self._ask(self._statements.count())
        return int(rows)

    def group_counts(self, groups: Sequence[Grouping]) -> Mapping[tuple[str | None, ...], int]:
        """Return the number of rows by the spellings of the grouped columns."""
        listed = [(self._ways[group.column.target], group.length) for group in groups]
        rows = self._ask(self._statements.group_counts(listed))
        return {tuple(map(_text_or_none, row[:-1])): int(row[-1]) for row in rows}

    def key_faults(self, examples: int) -> KeyFaults:
        """Return what is wrong with the keys of all rows in scope, also of those that are not their key's newest."""
        ((nulls,),) = self._ask(self._statements.null_keys())
        if not self._borne_twice:
            return KeyFaults(0, 0, int(nulls), ())
        ((keys, rows),) = self._ask(self._statements.doubled_keys())
        found = self._ask(self._statements.doubled_examples(examples)) if keys and examples else []
        return KeyFaults(int(keys), int(rows), int(nulls), tuple(", ".join(map(_text, row)) for row in found))

    def checksum(self) -> Checksum:
        """Return the checksum over the compared columns."""
        ((rows, high, low),) = self._ask(self._statements.checksum())
        return Checksum(int(rows), _number(high), _number(low))

    def column_checksums(self, within: Collection[str] | None = None) -> Mapping[str, Checksum]:
        """Return a checksum for each compared column by its name in the target; see ``ComparedRows``."""
        ((rows, *sums),) = self._ask(self._statements.column_checksums(within))
        pairs = zip(self._basis.columns, sums[::2], sums[1::2], strict=True)
        return {column.target: Checksum(int(rows), _number(high), _number(low)) for column, high, low in pairs}

    def buckets(self, digits: int, within: Collection[str] | None = None) -> Mapping[str, RowBucket]:
        """Return the rows by buckets of their keys' hashes; see ``ComparedRows``."""
        rows = self._ask(self._statements.buckets(digits, within))
        return {_text(name): RowBucket(int(count), _number(total)) for name, count, total in rows}

    def hashes(self, within: Collection[str]) -> Iterator[HashedRow]:
        """Yield the rows of these buckets."""
        for rows in self._stream(self._statements.hashes(within)):
            for key, row, *spelled in rows:
                yield HashedRow(tuple(map(_text_or_none, spelled)), _text(key), _text(row))

    def values(self, keys: Collection[str]) -> Iterator[tuple[str, tuple[str | None, ...]]]:
        """Yield the hash of the key, and the spelled columns, of the rows with these hashes."""
        for rows in self._stream(self._statements.values(keys)):
            for key, *spelled in rows:
                yield _text(key), tuple(map(_text_or_none, spelled))

    @cached_property
    def _borne_twice(self) -> bool:
        """Whether several rows of the source bear one key."""
        ((rows,),) = self._ask(self._given.any_doubled())
        return bool(rows)

    @cached_property
    def _statements(self) -> ComparisonSql:
        # Where each key has one row it is the newest: to rank a million of them takes MariaDB four times as long as to ask.
        return replace(self._given, newest=self._given.newest and self._borne_twice)

    def _ask(self, statement: str) -> list[tuple[Any, ...]]:
        self._require_idle()
        return fetch(self._connection, statement)

    def _stream(self, statement: str) -> Iterator[Sequence[Sequence[Any]]]:
        """Yield the rows of a statement, many at a time, as they come from the server."""
        self._require_idle()
        self._streams = True
        try:
            with closing(self._statements.dialect.unbuffered(self._connection)) as cursor:
                cursor.execute(statement)
                while rows := cursor.fetchmany(_BATCH_ROWS):
                    yield rows
        finally:
            self._streams = False

    def _require_idle(self) -> None:
        # A driver would cut off what is still to come, and say nothing.
        if self._streams:
            raise RuntimeError("a view of a source is asked while an answer of it is still being read")


def _alike(own: pa.DataType, kind: pa.DataType) -> bool:
    """Whether values of both types are spelled alike."""
    if pa.types.is_integer(own):
        return bool(pa.types.is_integer(kind))
    if pa.types.is_floating(own):
        return bool(pa.types.is_floating(kind))
    if pa.types.is_decimal(own):
        return bool(pa.types.is_decimal(kind) and own.scale == kind.scale)
    return bool(own == kind)


def _number(value: Any) -> int:
    return 0 if value is None else int(str(value))


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)

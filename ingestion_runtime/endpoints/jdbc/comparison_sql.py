"""The statements by which a source's rows are counted, summed and named for a comparison. Pure text.

Where the source itself does not make sure that each key has one row, a merged target holds the newest by cursor, and so that
one takes part. An older version of it is no row of its own, and nobody can tell which of two newest ones the target has.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ingestion_runtime.endpoints.jdbc.columns import SourceColumn
from ingestion_runtime.endpoints.jdbc.dialect import Dialect
from ingestion_runtime.endpoints.jdbc.sql import Cursor, in_reread, source
from ingestion_runtime.model.comparison import Scope
from ingestion_runtime.model.spec import NullCursor, TableSpec

KEY, ROW = "ingest_key", "ingest_row"
_STANDING, _PLACE, _CURSOR = "ingest_standing", "ingest_place", "ingest_cursor"
_NEXT_ROW, _NEXT_CURSOR = "ingest_next_row", "ingest_next_cursor"
# Where a row stands: it takes part, or why it does not.
PART, LATER, UNSETTLED, NO_CURSOR = range(4)


@dataclass(frozen=True)
class ComparisonSql:
    """Statements over the rows of a table, each spelled by the types in which ``columns`` land; ``keys`` are among them.

    ``cursor`` None: all rows take part. ``newest``: only each key's newest does.
    """

    dialect: Dialect
    table: TableSpec
    keys: tuple[SourceColumn, ...]
    columns: tuple[SourceColumn, ...]
    cursor: Cursor | None
    scope: Scope
    newest: bool

    def count(self) -> str:
        """Return the statement for the number of rows."""
        return f"SELECT count(*) FROM {self._rows({})}"

    def group_counts(self, groups: Sequence[tuple[SourceColumn, int | None]]) -> str:
        """Return the statement for the number of rows by (so many characters of) the spellings of columns."""
        listed = {f"ingest_g{place}": self.dialect.spelled(*group) for place, group in enumerate(groups)}
        names = ", ".join(listed)
        return f"SELECT {names}, count(*) FROM {self._rows(listed)} GROUP BY {names}"

    def checksum(self) -> str:
        """Return the statement for rows, high and low sums."""
        return f"SELECT count(*), {self._sums(ROW)} FROM {self._rows({ROW: self._row_hash})}"

    def column_checksums(self, within: Collection[str] | None) -> str:
        """Return the statement for rows, then high and low sums of every column."""
        listed = {f"ingest_h{place}": self.dialect.row_hash([column]) for place, column in enumerate(self.columns)}
        return f"SELECT count(*), {', '.join(map(self._sums, listed))} FROM {self._rows(listed, self._within(within))}"

    def buckets(self, digits: int, within: Collection[str] | None) -> str:
        """Return the statement for bucket, rows and high sum."""
        name = f"substr({KEY}, 12, {digits})"
        total = self.dialect.hex_sum(f"substr({ROW}, 1, 11)")
        rows = self._rows({KEY: self._key_hash, ROW: self._row_hash}, self._within(within))
        return f"SELECT {name}, count(*), {total} FROM {rows} GROUP BY {name}"

    def hashes(self, within: Collection[str]) -> str:
        """Return the statement for hash of the key, hash of the row, and the key's columns."""
        listed = {KEY: self._key_hash, ROW: self._row_hash, **self._spelled("ingest_k", self.keys)}
        return f"SELECT {', '.join(listed)} FROM {self._rows(listed, self._within(within))}"

    def values(self, keys: Collection[str]) -> str:
        """Return the statement for hash of the key and the spelled columns, of the rows with these hashes."""
        listed = {KEY: self._key_hash, **self._spelled("ingest_v", self.columns)}
        return f"SELECT {', '.join(listed)} FROM {self._rows(listed, self._among(self._key_hash, keys))}"

    def any_doubled(self) -> str:
        """Return the statement for the number of rows whose key an other one bears too, whether they take part or not."""
        # Of a million keys to group takes MariaDB 4 s more.
        return f"SELECT count(*) - count(DISTINCT {self._key_hash}) {self._source()}"

    def doubled_keys(self) -> str:
        """Return the statement for the number of keys that several rows bear, and that of these rows."""
        inner = f"SELECT {self._key_hash} AS {KEY} {self._source(self._takes_part)} {self.dialect.fence}"
        groups = f"SELECT count(*) AS ingest_n FROM ({inner}) AS ingest_keys GROUP BY {KEY} HAVING count(*) > 1"
        return f"SELECT count(*), coalesce(sum(ingest_n), 0) FROM ({groups}) AS ingest_doubled"

    def doubled_examples(self, limit: int) -> str:
        """Return the statement for a few of those keys, column by column."""
        listed = {KEY: self._key_hash, **self._spelled("ingest_k", self.keys)}
        inner = f"SELECT {_named(listed)} {self._source(self._takes_part)} {self.dialect.fence}"
        shown = ", ".join(f"min({name})" for name in listed if name != KEY)
        return (
            f"SELECT {shown} FROM ({inner}) AS ingest_keys GROUP BY {KEY} HAVING count(*) > 1"
            f" ORDER BY {KEY} LIMIT {int(limit)}"
        )

    def null_keys(self) -> str:
        """Return the statement for the number of rows that would take part, had they no NULL in the key."""
        return f"SELECT count(*) {source(self.dialect, self.table, _all(self._keyless, self._takes_part))}"

    def kept_out(self) -> str:
        """Return the statement for the numbers of rows with a NULL in the key, and of those at the initial watermark."""
        keyless = f"coalesce(sum(CASE WHEN {self._keyless} THEN 1 ELSE 0 END), 0)" if self.keys else "0"
        early = _all(self._keyed, self._initial) if self._initial else None
        counted = f"coalesce(sum(CASE WHEN {early} THEN 1 ELSE 0 END), 0)" if early else "0"
        # Nothing to be counted: without a sum there would be a line for every row.
        rows = source(self.dialect, self.table) if self.keys or early else ""
        return f"SELECT {keyless}, {counted} {rows}"

    def standings(self) -> str | None:
        """Return the statement for rows by where they stand, but for those that ``kept_out`` counts; None: all take part."""
        if not self._left_out:
            return None
        return f"SELECT {_STANDING}, count(*) FROM {self._ranked({}, None)} GROUP BY {_STANDING}"

    def left_out_keys(self) -> str | None:
        """Return the statement for the hashes of the keys whose (newest) row does not take part; None: there are none."""
        if not self._left_out:
            return None
        if not self.newest:
            return f"SELECT {self._key_hash} {self._source(self._left_out)}"
        return f"SELECT {KEY} FROM {self._ranked({KEY: self._key_hash}, None)} WHERE {_STANDING} <> {PART}"

    @cached_property
    def _key_hash(self) -> str:
        return self.dialect.key_hash(self.keys)

    @cached_property
    def _row_hash(self) -> str:
        return self.dialect.row_hash(self.columns)

    @cached_property
    def _keyed(self) -> str:
        return " AND ".join(f"{self.dialect.quote(key.name)} IS NOT NULL" for key in self.keys)

    @cached_property
    def _keyless(self) -> str:
        return " OR ".join(f"{self.dialect.quote(key.name)} IS NULL" for key in self.keys)

    @cached_property
    def _initial(self) -> str:
        """The condition for rows that a person has drawn the line above; empty where there are none."""
        if self.cursor is None or self.table.initial_watermark is None:
            return ""
        bound = self.dialect.literal(self.table.initial_watermark, self.cursor.column)
        return f"{self._cursor} <= {bound}"

    @property
    def _cursor(self) -> str:
        return self.dialect.quote(self.cursor.column.name) if self.cursor else "NULL"

    @property
    def _reads_nulls(self) -> bool:
        # Without a key nobody can tell which rows without a cursor have been read: they are refused, or left out.
        return self.table.null_cursor is NullCursor.READ and self.table.mode != "append"

    @cached_property
    def _standing(self) -> Mapping[int, str]:
        """The conditions under which rows do not take part, in the order in which they are asked."""
        found: dict[int, str] = {}
        if self.cursor is None:
            return found
        if not self._reads_nulls:
            found[NO_CURSOR] = f"{self._cursor} IS NULL"
        watermark = self.scope.receipt.watermark if self.scope.receipt else None
        if watermark is not None:
            found[LATER] = f"{self._cursor} > {self.dialect.literal(watermark, self.cursor.column)}"
        if self.scope.unsettled is not None:
            found[UNSETTLED] = in_reread(self.dialect, self.cursor, self.scope.unsettled)
        return found

    @cached_property
    def _left_out(self) -> str:
        return " OR ".join(f"({condition})" for condition in self._standing.values())

    @cached_property
    def _takes_part(self) -> str:
        # By CASE: of a row without a cursor a comparison is neither true nor false.
        return f"CASE WHEN {self._left_out} THEN 0 ELSE 1 END = 1" if self._left_out else ""

    def _source(self, condition: str = "") -> str:
        """Return ``FROM ... WHERE ...`` with what holds for every row that may take part."""
        initial = f"CASE WHEN {self._initial} THEN 0 ELSE 1 END = 1" if self._initial else ""
        return source(self.dialect, self.table, _all(self._keyed, initial, condition) or None)

    def _rows(self, listed: Mapping[str, str], condition: str = "") -> str:
        """Return a subquery of the rows that take part; ``condition`` may only be one on the key."""
        if self.newest:
            ranked = self._ranked(listed, condition)
            return f"(SELECT {', '.join(listed) or '1'} FROM {ranked} WHERE {_STANDING} = {PART}) AS ingest_rows"
        taken = self._source(_all(self._takes_part, condition))
        return f"(SELECT {_named(listed)} {taken} {self.dialect.fence}) AS ingest_rows"

    def _ranked(self, listed: Mapping[str, str], condition: str | None) -> str:
        """Return a subquery of rows and where they stand, of each key's newest where only those count."""
        standing = " ".join(f"WHEN {when} THEN {number}" for number, when in self._standing.items())
        standing = f"CASE {standing} ELSE {PART} END" if standing else str(PART)
        if not self.newest:
            inner = f"SELECT {_named({**listed, _STANDING: standing})} {self._source(condition or '')}"
            return f"({inner} {self.dialect.fence}) AS ingest_ranked"
        known = {**listed, KEY: self._key_hash, ROW: self._row_hash, _STANDING: standing, _CURSOR: self._cursor}
        base = f"(SELECT {_named(known)} {self._source(condition or '')} {self.dialect.fence}) AS ingest_known"
        # By the row's hash as well, so that every statement takes the same one. NULL first on every engine.
        order = f"OVER (PARTITION BY {KEY} ORDER BY ({_CURSOR} IS NOT NULL) DESC, {_CURSOR} DESC, {ROW} DESC)"
        ranked = f"SELECT {', '.join(known)}, ROW_NUMBER() {order} AS {_PLACE}, LEAD({ROW}) {order} AS {_NEXT_ROW}"
        ranked += f", LEAD({_CURSOR}) {order} AS {_NEXT_CURSOR} FROM {base}"
        same = f"({_NEXT_CURSOR} = {_CURSOR} OR ({_NEXT_CURSOR} IS NULL AND {_CURSOR} IS NULL))"
        told = f"CASE WHEN {_STANDING} = {PART} AND {_NEXT_ROW} <> {ROW} AND {same} THEN {UNSETTLED} ELSE {_STANDING} END"
        names = ", ".join([*listed, f"{told} AS {_STANDING}"])
        return f"(SELECT {names} FROM ({ranked}) AS ingest_placed WHERE {_PLACE} = 1) AS ingest_ranked"

    def _spelled(self, prefix: str, columns: Sequence[SourceColumn]) -> dict[str, str]:
        return {f"{prefix}{place}": self.dialect.spelled(column) for place, column in enumerate(columns)}

    def _sums(self, name: str) -> str:
        return ", ".join(self.dialect.hex_sum(f"substr({name}, {start}, 11)") for start in (1, 12))

    def _within(self, buckets: Collection[str] | None) -> str:
        if buckets is None:
            return ""
        digits = len(next(iter(buckets), ""))
        return self._among(f"substr({self._key_hash}, 12, {digits})", buckets)

    def _among(self, expression: str, names: Collection[str]) -> str:
        """Return the condition that an expression is one of these texts of hex digits."""
        listed = ", ".join(f"'{int(name, 16):0{len(name)}x}'" for name in sorted(names))
        return f"{expression} IN ({listed})" if listed else "1 = 0"


def _named(listed: Mapping[str, str]) -> str:
    return ", ".join(f"{expression} AS {name}" for name, expression in listed.items()) or "1 AS ingest_one"


def _all(*conditions: str) -> str:
    return " AND ".join(f"({condition})" for condition in conditions if condition)

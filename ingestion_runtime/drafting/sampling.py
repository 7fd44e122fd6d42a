"""A bounded look at the rows of a table: at most ``BOUND`` of them are read, by one statement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ingestion_runtime.endpoints.jdbc.columns import CLOCK_CURSORS, NUMBER_CURSORS, RawColumn, SourceColumn
from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialect import Dialect, RawTable
from ingestion_runtime.endpoints.jdbc.sql import relation
from ingestion_runtime.model.cursor import CursorType
from ingestion_runtime.model.spec import TableSpec

#: Rows of a table that are looked at. A scan of so many takes some tenths of a second, also of wide ones.
BOUND = 200_000

_AT_ONCE = 150  # columns in one statement: engines take some 1,600 results
_SECONDS = range(10**9, 10**11)  # of today in seconds since 1970, with a thousand years to spare
_MILLIS = range(10**12, 10**14)


@dataclass(frozen=True, slots=True)
class ColumnSample:
    """What the rows that were looked at hold in one column.

    ``unfit`` values cannot land as the column does by itself; ``unfit_as_text`` cannot even land as text (None: nothing but
    bytes can). ``future`` and ``misfits`` are of the cursor type in question: later than the source's own now, and not
    spelled so that the source compares them rightly.
    """

    filled: int
    unfit: int = 0
    unfit_as_text: int | None = None
    future: Mapping[CursorType, int] = field(default_factory=dict)
    misfits: Mapping[CursorType, int] = field(default_factory=dict)
    largest: int | None = None

    def epoch(self) -> CursorType | None:
        """Return which clock the numbers of a column could be, by the largest of them."""
        if self.largest is None:
            return None
        kinds = {CursorType.EPOCH_SECONDS: _SECONDS, CursorType.EPOCH_MILLIS: _MILLIS}
        return next((kind for kind, span in kinds.items() if self.largest in span), None)


@dataclass(frozen=True, slots=True)
class Sample:
    """The rows that were looked at; ``whole``: they are all."""

    rows: int
    whole: bool
    columns: Mapping[str, ColumnSample]

    def column(self, name: str) -> ColumnSample:
        """Return what is known of a column; all filled, where nothing was asked."""
        return self.columns.get(name, ColumnSample(self.rows))


def take_sample(database: Database, table: TableSpec, raw: RawTable, columns: Sequence[SourceColumn]) -> Sample:
    """Return what the first rows of a table hold, ``BOUND`` of them at most; raises what reading the table raises."""
    dialect = database.dialect
    asked = [
        _Asked(dialect, described, column)
        for described, column in zip(raw.columns, columns, strict=True)
        # Of other texts and bytes nothing is asked: they would only be fetched.
        if column.bad_when or column.cursors & (CLOCK_CURSORS | NUMBER_CURSORS)
    ]
    rows = 0
    samples: dict[str, ColumnSample] = {}
    for start in range(0, max(1, len(asked)), _AT_ONCE):
        part = asked[start : start + _AT_ONCE]
        inner = ", ".join(dialect.quote(one.name) for one in part) or "1 AS ingest_one"
        listed = ", ".join(["count(*)", *(text for one in part for _, text in one.expressions)])
        limited = f"(SELECT {inner} FROM {relation(dialect, table)} LIMIT {BOUND + 1}) AS ingest_sample"
        ((counted, *values),) = database.rows(f"SELECT {listed} FROM {limited}")
        rows, answers = int(counted), iter(values)
        samples |= {one.name: one.read({what: next(answers) for what, _ in one.expressions}) for one in part}
    return Sample(min(rows, BOUND), rows <= BOUND, samples)


def beyond_now(database: Database, table: TableSpec, column: SourceColumn, kind: CursorType) -> bool:
    """Return whether the largest value of a column lies in the future; cheap where an index begins with the column."""
    now = database.dialect.now(column, kind)
    if now is None:
        return False
    top = f"max({database.dialect.quote(column.name)})"
    ((later,),) = database.rows(f"SELECT CASE WHEN {top} > {now} THEN 1 ELSE 0 END FROM {relation(database.dialect, table)}")
    return bool(later)


class _Asked:
    """What is asked of one column, and how the answer is read."""

    def __init__(self, dialect: Dialect, raw: RawColumn, column: SourceColumn) -> None:
        self.name = column.name
        name = dialect.quote(column.name)
        self.expressions = [("filled", f"count({name})")]
        if column.bad_when:
            import pyarrow as pa  # the dialects have imported it

            text = dialect.landing(raw, pa.string())
            self._count("unfit", column.bad_when)
            if text is not None:
                self._count("text", text.bad_when)
        self._kinds = [kind for kind in CursorType if kind in column.cursors and kind in CLOCK_CURSORS]
        for kind in self._kinds:
            now = dialect.now(column, kind)
            self._count(f"future_{kind}", f"{name} > {now}" if now else None)
            self._count(f"misfits_{kind}", dialect.misfit(column, kind))
        if CursorType.EPOCH_SECONDS in column.cursors:
            self.expressions.append(("largest", f"max({name})"))

    def _count(self, what: str, condition: str | None) -> None:
        counted = f"coalesce(sum(CASE WHEN {condition} THEN 1 ELSE 0 END), 0)" if condition else "0"
        self.expressions.append((what, counted))

    def read(self, found: Mapping[str, object]) -> ColumnSample:
        """Return the answers about this column."""

        def number(what: str) -> int | None:
            value = found.get(what)
            try:
                return None if value is None else int(str(value))
            except ValueError:  # SQLite holds whatever it was given, also in a column of numbers
                return None

        return ColumnSample(
            filled=number("filled") or 0,
            unfit=number("unfit") or 0,
            unfit_as_text=number("text"),
            future={kind: number(f"future_{kind}") or 0 for kind in self._kinds},
            misfits={kind: number(f"misfits_{kind}") or 0 for kind in self._kinds},
            largest=number("largest"),
        )

"""Is what arrived what stood in the source? Told by readers that have no part in what is measured.

psql prints the source, DuckDB reads that as the declared types, and reduces it to a count and checksums that do not depend
on the order. pyiceberg reads the table's current snapshot, deletes applied, and DuckDB reduces it in the same way.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import duckdb
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table

Verdict = Literal["exact", "other types", "WRONG", "not checked"]
MEMORY = "2GB"


@dataclass(frozen=True, slots=True)
class Content:
    """What a table holds: the number of rows, the sum of a hash of each row, and that of each column's values."""

    rows: int
    checksum: int
    columns: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """How a target compares with its source. ``note`` says what differs: of values, or only of types."""

    verdict: Verdict
    note: str = ""

    def and_also(self, other: "Finding") -> "Finding":
        """The worse of two findings, with the notes of both kinds of difference."""
        order = ("exact", "not checked", "other types", "WRONG")
        return max(self, other, key=lambda finding: order.index(finding.verdict))


def source_content(export: Path, columns: Mapping[str, str]) -> Content:
    """Return the content of psql's print of a table."""
    declared = ", ".join(f"'{name}': '{kind}'" for name, kind in columns.items())
    options = "header = false, delim = ',', quote = '\"', nullstr = '\\N', auto_detect = false"
    with _connect() as connection:
        return _reduce(connection, columns, {}, f"read_csv('{export}', {options}, columns = {{{declared}}})")[0]


def parquet_content(files: str, columns: Mapping[str, str]) -> Content:
    """Return the content of Parquet files, named by a pattern."""
    with _connect() as connection:
        return _reduce(connection, columns, {}, f"read_parquet('{files}')")[0]


def compare(place: Path, table: str, columns: Mapping[str, str], expected: Content) -> Finding:
    """Compare the Iceberg table below ``place`` with what its source holds."""
    try:
        iceberg = open_table(place, table)
    except NoSuchTableError:
        return Finding("WRONG", "there is no table")
    names = {field.name for field in iceberg.schema().fields}
    missing = [name for name in columns if name not in names]
    if missing:
        return Finding("WRONG", f"columns are missing: {', '.join(missing)}")
    reader = iceberg.scan(selected_fields=tuple(columns)).to_arrow_batch_reader()
    with _connect() as connection:
        connection.register("arrived", reader)
        kinds = {row[0]: row[1] for row in connection.execute("DESCRIBE arrived").fetchall()}
        other = {name: kinds[name] for name, kind in columns.items() if not _same(kinds[name], kind)}
        found, lost = _reduce(connection, columns, other, "arrived")
    return _judge(columns, other, found, expected, lost)


def _judge(columns: Mapping[str, str], other: Mapping[str, str], found: Content, expected: Content, lost: int) -> Finding:
    if found.rows != expected.rows:
        return Finding("WRONG", f"{found.rows:,} rows for {expected.rows:,}")
    if found != expected:
        pairs = zip(columns, found.columns, expected.columns, strict=True)
        return Finding(
            "WRONG", f"values differ in {', '.join(name for name, a, b in pairs if a != b) or 'how rows pair them'}"
        )
    if lost:
        return Finding("WRONG", f"{lost} rows have values that do not survive the way back to the source's types")
    if other:
        name, kind = next(iter(other.items()))
        return Finding("other types", f"{len(other)} columns, {name} is {kind} for {columns[name]}")
    return Finding("exact")


def _reduce(connection: Any, columns: Mapping[str, str], other: Mapping[str, str], relation: str) -> tuple[Content, int]:
    """One pass over a relation: its content, and the rows of which the declared types lose something that the others had."""
    plain = [f"CAST({name} AS {kind})" for name, kind in columns.items()]
    sums = ", ".join(f"coalesce(sum(hash({value})::HUGEINT), 0)" for value in [", ".join(plain), *plain])
    lossy = " OR ".join(
        f"CAST(CAST({name} AS {columns[name]}) AS {kind}) IS DISTINCT FROM {name}" for name, kind in other.items()
    )
    row = connection.execute(
        f"SELECT count(*), count(*) FILTER (WHERE {lossy or 'false'}), {sums} FROM {relation}"
    ).fetchone()
    rows, lost, checksum, *parts = (int(value) for value in row)
    return Content(rows, checksum, tuple(parts)), lost


def _same(found: str, declared: str) -> bool:
    return found == declared or (found, declared) == ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")


def _connect() -> Any:
    connection = duckdb.connect()
    connection.execute(f"SET memory_limit = '{MEMORY}'")
    with suppress(duckdb.Error):
        connection.execute("SET TimeZone = 'UTC'")
    return connection


def open_table(place: Path, table: str) -> Table:
    """Return an Iceberg table of the catalog below ``place``."""
    catalog = SqlCatalog(
        "lake", uri=f"sqlite:///{place / 'catalog.db'}?timeout=30", warehouse=(place / "warehouse").as_uri()
    )
    return catalog.load_table(f"public.{table}")


def snapshots(place: Path, tables: Iterable[str]) -> int:
    """Return how many snapshots the tables have; none where there is no table."""
    total = 0
    for table in tables:
        with suppress(NoSuchTableError):
            total += len(open_table(place, table).snapshots())
    return total

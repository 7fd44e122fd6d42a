"""The rows of one table proven by raw: what the published batches add up to against what readers see.

Imported only where rows are compared: pyiceberg costs 1.2 s.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from ingestion_runtime.endpoints.published import PublishedRows, SpoiltFile
from ingestion_runtime.endpoints.spelling import spelled
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.provenance.chain import Chain
from ingestion_runtime.provenance.comparing import Comparison
from ingestion_runtime.provenance.findings import Finding, Hindrance, Kind
from ingestion_runtime.provenance.raw_rows import RawRows
from ingestion_runtime.provenance.replay import Replay, UnprovableError
from ingestion_runtime.provenance.row_findings import (
    Doubts,
    RowFindings,
    Values,
    describe,
    origin_of,
    standing_rows,
    tell,
    wanted_places,
)
from ingestion_runtime.tools.local_sql import quote
from ingestion_runtime.tools.nearby import NearFiles

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Session = Callable[[], AbstractContextManager["DuckDBPyConnection"]]


@dataclass(frozen=True, slots=True)
class RowProof:
    """What came of comparing rows. ``rows`` is how many the batches add up to, None where they were not compared."""

    rows: int | None = None
    findings: tuple[Finding, ...] = ()
    unseen: tuple[Hindrance, ...] = ()


class RowProver:
    """Compares the rows of tables. ``session`` lends SQL (see ``LocalSql``), ``near`` files that are not on a local disk.
    ``most`` keys are named for each finding."""

    def __init__(self, session: Session, near: NearFiles, most: int) -> None:
        self._session = session
        self._near = near
        self._most = most

    def prove(self, table: TableSpec, published: PublishedRows, chain: Chain, damaged: Sequence[str]) -> RowProof:
        """Compare what readers see with what the chain adds up to without the ``damaged`` files (paths).

        Raises OutgrownError where the memory is too small, and TransientError where the disk is.
        """
        findings = tuple(_tell_spoilt(file) for file in published.spoilt)
        if any(file.deletes for file in published.spoilt):
            return RowProof(findings=findings, unseen=(Hindrance("which rows are deleted stands in a file that is spoilt"),))
        with self._session() as sql:
            try:
                replay = Replay(sql, table, published.schema, chain, self._near, skip=damaged)
                # Where no file can be opened nothing says what the columns are.
                differing = _differing(replay.columns, published.columns) if published.paths else ()
                if differing:
                    return RowProof(findings=(*findings, *differing))
                replay.expect()
            except UnprovableError as error:
                return RowProof(findings=findings, unseen=(Hindrance(error.message.rstrip(".")),))
            doubts = Doubts(chain, damaged)
            return self._compare(
                sql, replay, Comparison(sql, published, replay.columns, table.primary_keys), doubts, findings
            )

    def _compare(
        self,
        sql: "DuckDBPyConnection",
        replay: Replay,
        comparison: Comparison,
        doubts: Doubts,
        findings: tuple[Finding, ...],
    ) -> RowProof:
        compared, unreadable = comparison.compare()
        findings += tuple(_tell_spoilt(replace(file, reason=self._near.told(file.reason))) for file in unreadable)
        if not compared.differ:
            return RowProof(compared.expected, findings)
        rows = RowFindings([origin_of(file.link, file.path) for file in replay.files], doubts, self._most)
        for difference in comparison.differences():
            rows.add(difference)
        groups = rows.groups
        wanted = _wanted_values(sql, replay, [(place.file, place.row) for place in wanted_places(groups)])
        standing = comparison.values(standing_rows(groups))
        told = []
        for group in groups:
            examples = []
            for found in group.first:
                ours = wanted.get((found.wanted.file, found.wanted.row)) if found.wanted else None
                theirs = standing.get((found.standing.path, found.standing.place)) if found.standing else None
                examples.append(describe(found, ours, theirs, comparison.keys))
            told.append(tell(group, tuple(examples)))
        return RowProof(compared.expected, (*findings, *told))


def _wanted_values(
    sql: "DuckDBPyConnection", replay: Replay, places: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], Values]:
    """Return rows of raw by their places, spelled as those of the table are."""
    if not places:
        return {}
    looked = RawRows(sql, replay).look_up(places)
    names = replay.columns.names
    listed = ", ".join(f"CAST({spelled(quote(field.name), field.type)} AS VARCHAR)" for field in replay.columns)
    sql.register("ingest_looked", looked)
    found = sql.execute(f"SELECT ingest_file, ingest_row, {listed} FROM ingest_looked").fetchall()
    sql.unregister("ingest_looked")
    return {(file, row): dict(zip(names, values, strict=True)) for file, row, *values in found}


def _differing(wanted: pa.Schema, found: pa.Schema) -> tuple[Finding, ...]:
    """Return the columns of raw that the table does not have, or not in the type in which they landed."""
    there = dict(zip(found.names, found.types, strict=True))
    findings = []
    for field in wanted:
        kind = there.get(field.name)
        if kind is None:
            message = f"the table has no column {field.name}, which its batches brought: its rows cannot be compared"
            findings.append(Finding(Kind.TABLE_DAMAGED, message))
        elif kind != field.type:
            message = f"the column {field.name} is {kind} in the table, and its batches brought {field.type}"
            findings.append(Finding(Kind.TABLE_DAMAGED, message))
    return tuple(findings)


def _tell_spoilt(file: SpoiltFile) -> Finding:
    what = "names deleted rows of the table" if file.deletes else "holds rows of the table"
    return Finding(Kind.TABLE_FILE_SPOILT, f"{file.path} {what}, and {file.reason}", file=file.path)

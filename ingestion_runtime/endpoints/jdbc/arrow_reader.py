"""This process as a reader: record batches stream from the source into Parquet files, over several connections at once."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import find_column
from ingestion_runtime.endpoints.jdbc.crew import Crew
from ingestion_runtime.endpoints.jdbc.cuts import ColumnRows, cut_conditions, partition_line
from ingestion_runtime.endpoints.jdbc.database import Snapshot
from ingestion_runtime.endpoints.jdbc.dialect import Streamer
from ingestion_runtime.endpoints.jdbc.extract import JdbcExtract
from ingestion_runtime.endpoints.jdbc.landed_rows import LandedRows
from ingestion_runtime.endpoints.jdbc.sql import PARTITION_ALIAS, RANK_ALIAS, extraction, source
from ingestion_runtime.model.endpoint import Reading
from ingestion_runtime.model.errors import IngestionError, OversizedReadError, TerminalError, TransientError
from ingestion_runtime.model.testimony import Testimony
from ingestion_runtime.tools.files import Files
from ingestion_runtime.tools.parquet_writer import ParquetSettings, ParquetWriter, Splitter

# As many as there are cores: on two of them three and four were slower, for the server needs cores too.
_MOST_CONNECTIONS = 4
_LEAST_GROUP = 4 * 2**20
_MOST_BATCH = 8 * 2**20

#: Returns what cuts rows of a schema into files; None where one file may hold them all.
SplitterOf = Callable[[pa.Schema], Splitter | None]


def _unsplit(schema: pa.Schema) -> Splitter | None:  # noqa: ARG001 - rows of every schema may lie together
    return None


@dataclass(frozen=True, slots=True)
class ArrowReader:
    """Reads extracts over the source's own client. Implements ``Reader``.

    All connections of a read together hold ``settings.group_bytes`` of rows, and as much again while they write.
    """

    settings: ParquetSettings
    files: Files
    splitter: SplitterOf = _unsplit
    judges: ClassVar[bool] = True
    testifies: ClassVar[bool] = True

    def prepare(self) -> None:
        """Nothing takes time to start."""

    def read(self, extract: JdbcExtract, snapshot: Snapshot, condition: str | None, directory: str) -> None:
        """Write the rows of a condition into a directory; see ``Reader.read``."""
        statements = _statements(extract, snapshot, condition)
        Path(directory).mkdir(parents=True)
        try:
            said = self._read(extract, snapshot, statements, directory, condition)
        except Exception as error:
            ours = error if isinstance(error, IngestionError) else _outside(error, extract)
            if ours is None or isinstance(ours, TerminalError):
                extract.refuse_bad_values(snapshot)  # if it was for them: with all columns, counts and reasons
            if ours is None or ours is error:
                raise
            raise ours from error
        if extract.witness is not None and said is not None:
            extract.witness.add(said)

    def foresee(self, extract: JdbcExtract, snapshot: Snapshot, condition: str | None) -> Reading:
        """Return the statements of a read; see ``Reader.foresee``."""
        statements = _statements(extract, snapshot, condition)
        return Reading(statements, snapshot.readers(min(len(statements), _connections())))

    def discard(self, directory: str) -> None:
        """Remove what a failed read left in its directory."""
        self.files.remove_tree(directory)

    def _read(
        self, extract: JdbcExtract, snapshot: Snapshot, statements: Sequence[str], directory: str, condition: str | None
    ) -> Testimony | None:
        """Write the rows of the statements; return what the source says of them where they join no view."""
        said: list[Testimony] = []
        workers = snapshot.readers(min(len(statements), _connections()))
        share = replace(self.settings, group_bytes=max(_LEAST_GROUP, self.settings.group_bytes // workers))

        def write(streamer: Streamer, number: int, sql: str, check: Callable[[], None]) -> int:
            if not snapshot.shared:  # then this is the one statement that there is
                said.extend(_heard(streamer, extract, condition))
            rows = streamer.run(sql, extract.columns, min(_MOST_BATCH, share.group_bytes // 2))
            landed = LandedRows(extract, rows.schema)
            # One of them leaves a file in any case, so that no rows have a schema too.
            writer = ParquetWriter(directory, f"part-{number:05d}", landed.schema, share, self.splitter(landed.schema))
            with writer:
                for batch in rows.batches:
                    check()
                    writer.write(landed.land(batch))
                    extract.meter.add(batch.num_rows, batch.get_total_buffer_size())
                return sum(file.rows for file in writer.close(at_least_one=number == 0))

        extract.meter.opened(workers)
        Crew(extract.database, snapshot.join, workers).work(statements, write)
        return said[0] if said else None


def _statements(extract: JdbcExtract, snapshot: Snapshot, condition: str | None) -> tuple[str, ...]:
    """Return the queries that together give every row of the condition once, each over a connection of its own."""
    dialect, table, split = extract.database.dialect, extract.table, extract.table.partition_read
    columns = [replace(column, select=column.stream or column.select) for column in extract.columns]
    # Without a snapshot to share, several connections would read several states: one reads all.
    if not snapshot.shared:
        return (extraction(dialect, table, columns, condition, ranked=extract.ranked),)
    if split is not None:
        column = find_column(extract.columns, split.column, "partition_read", table.name)
        rows = ColumnRows(snapshot.connection, dialect, table, partition_line(column, split), condition)
        inner = extraction(dialect, table, columns, condition, ranked=extract.ranked, partitioned=column)
        names = [f"c{place}" for place in range(len(columns))] + ([RANK_ALIAS] if extract.ranked else [])
        outer = f"SELECT {', '.join(names)} FROM ({inner}) ingest_q WHERE"
        return tuple(f"{outer} {cut}" for cut in cut_conditions(rows, split.partitions, PARTITION_ALIAS))
    most = snapshot.readers(_connections())
    # A rank is that among all rows.
    cuts = () if extract.ranked else dialect.scan_parts(snapshot.connection, table, condition, most)
    parts = tuple(f"({condition}) AND ({cut})" if condition else cut for cut in cuts)
    return tuple(extraction(dialect, table, columns, part, ranked=extract.ranked) for part in parts or (condition,))


def _heard(streamer: Streamer, extract: JdbcExtract, condition: str | None) -> Iterator[Testimony]:
    """Yield what the source says of the rows of a condition, where that is demanded: in the state that is read next."""
    if extract.witness is not None:
        dialect, table, columns = extract.database.dialect, extract.table, extract.plain_columns
        question = extract.witness.question(dialect, table, columns, condition)
        yield extract.witness.understand(streamer.testify(source(dialect, table, condition), question), columns)


def _connections() -> int:
    return min(os.cpu_count() or 1, _MOST_CONNECTIONS)


def _outside(error: Exception, extract: JdbcExtract) -> IngestionError | None:
    """Return what an error means that is not the source's; None for one that nobody expects."""
    place = extract.database.place
    if isinstance(error, MemoryError):
        return OversizedReadError(
            f"{place}: the read was too large: memory ran out.",
            remedy="Lower runtime.memory_mb or max_parallel_tables, or give this process more memory.",
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TransientError(
            f"{extract.table.name}: the disk is full: no space is left for staging.root.",
            remedy="Make room on the disk, then run the same command again.",
        )
    return None

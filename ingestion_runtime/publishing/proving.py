"""What was staged against what its source said of it, before anything of it can be published."""

from collections.abc import Sequence

from ingestion_runtime.endpoints.testimony import measure
from ingestion_runtime.model.cursor import Slice
from ingestion_runtime.model.errors import RefusedBatchError, TerminalError
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.testimony import Testimony
from ingestion_runtime.tools.files import is_hdfs
from ingestion_runtime.tools.local_sql import LocalSql


class SliceProver:
    """Judges the staged slices of one table, by the spellings that reconciliation has, in this process."""

    def __init__(self, table: TableSpec, sql: LocalSql) -> None:
        self._table = table
        self._sql = sql

    @property
    def demanded(self) -> bool:
        """Whether the table demands its source's word before anything is published."""
        return bool(self._table.reconciliation.before_publish)

    def prove(self, piece: Slice, files: Sequence[str], said: Testimony) -> None:
        """Raise RefusedBatchError unless the rows in these files (absolute) are those of which the source spoke.

        TerminalError for files on HDFS, which this process does not read.
        """
        if any(map(is_hdfs, files)):
            raise TerminalError(
                f"{self._table.name}: before_publish reads what was staged in this process, and staging.root is on HDFS.",
                remedy="Stage on a local disk, or leave before_publish out.",
                table=self._table.name,
            )
        with self._sql.session() as sql:
            found = measure(sql, files, said)
        if found == said:
            return
        differ = _differ(said, found)
        raise RefusedBatchError(
            f"{self._table.name}: what was staged for slice {piece.ordinal} is not what the source has: {differ}.",
            remedy="Nothing was published. Something changed rows between the source and the staged files, or a view or"
            " query gives another value each time it is asked: for such a table leave before_publish out. Else run again,"
            " and if this stays, report it with the source's and the driver's version.",
            table=self._table.name,
            slice=piece.ordinal,
            source_rows=said.rows,
            staged_rows=found.rows,
        )


def _differ(said: Testimony, found: Testimony) -> str:
    if said.rows != found.rows:
        return f"{found.rows:,} rows, and the source counted {said.rows:,}"
    return f"of {said.rows:,} rows some hold other values than at the source ({len(said.columns)} columns were compared)"

"""One question with everything that was found, and the phrases of which the answers are made."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ingestion_runtime.model.cursor import CursorType
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.state import BatchEnd
from ingestion_runtime.tracing.cause import Cause, Verdict
from ingestion_runtime.tracing.evidence import Evidence, SourceRow
from ingestion_runtime.tracing.values import show
from ingestion_runtime.tracing.wanted import Wanted

AGAIN: Final = "Run the table; then ask again."
CORRECT: Final = "Correct that and run the table."
_BAD: Final = (TableStatus.FAILED, TableStatus.INTERRUPTED)


@dataclass(frozen=True, slots=True)
class Case:
    """A row of a table that is asked for, and what was found of it."""

    table: TableSpec
    wanted: Wanted
    found: Evidence

    @property
    def who(self) -> str:
        """The row, as a sentence begins with it."""
        return f"{self.table.name} {self.wanted.spelled()}"

    @property
    def rows(self) -> tuple[SourceRow, ...]:
        """The rows at the source that filter and query let through."""
        return self.found.source.rows

    @property
    def there(self) -> bool:
        """Whether readers see a row of the key."""
        return bool(self.found.target.rows)

    @property
    def incremental(self) -> bool:
        """Whether the table has a watermark."""
        return self.table.mode != "full"

    @property
    def reload(self) -> str:
        """What reads the table anew."""
        return f"--reload {self.table.name}"

    @property
    def again(self) -> str:
        """What reads rows below the watermark again; a cursor of texts has no window."""
        if self.table.incr_col_type is CursorType.TEXT:
            return f"Read the table anew with {self.reload}"
        return "Read its window again with --start-date"

    @property
    def restore(self) -> str:
        """What helps where somebody else changed the table."""
        return f"Bring back the snapshot tagged ingest_last, or replace the table from the source with {self.reload}."

    @property
    def gone(self) -> str:
        """That the source lacks a row that it had; of a query nobody knows what it leaves out."""
        return "the source no longer has it" if self.table.query_sql is None else "query_sql no longer gives it"

    @property
    def cursor(self) -> str:
        """The cursor of the source's row."""
        cursor = self.rows[0].cursor if self.rows else None
        return f"{self.table.incremental_column} {'NULL' if cursor is None else show(cursor.literal)}"

    @property
    def since(self) -> str:
        """Since when the row stands in the target as it is; empty where that is not known."""
        era = next((era for era in self.found.target.eras if era.there), None)
        if era is None or not self.there:
            return ""
        batch = f"batch {era.batch}, " if era.batch else ""
        return f" since {batch}snapshot {era.snapshot} of {moment(era.at)}"

    @property
    def failure(self) -> str:
        """How the last run of the table failed; empty where it did not."""
        last = self.found.state.last
        if last is None or last.end.status not in _BAD:
            return ""
        return f"its last run of {moment(last.end.at)} failed: {short(last.end.error or last.end.status.value)}"

    def absent(self, cause: Cause, why: str, remedy: str = "") -> Verdict:
        """Return the verdict on a row that readers do not see; they may see an older one of its key."""
        equal = False if self.rows else None
        return Verdict(
            cause, in_target=self.there, equals_source=equal, sentence=f"{self._not_there} because {why}.", remedy=remedy
        )

    def unequal(self, cause: Cause, sentence: str, remedy: str) -> Verdict:
        """Return the verdict on a row that is otherwise at the source than in the target, there or not."""
        return Verdict(cause, in_target=self.there, equals_source=False, sentence=f"{sentence}.", remedy=remedy)

    @property
    def lead(self) -> str:
        """How a sentence begins about a row that is missing, or there in another version."""
        if not self.there:
            return f"{self.who} is not in the target"
        if self.surplus:
            return f"{self.who} is in the target with {self._rows_there} rows, of which the source has {len(self.rows)}"
        if not self.table.primary_keys:
            only = f"with only {self._rows_there} of its {len(self.rows)} rows"
            return f"{self.who} is in the target{f' {only}' if self._rows_there else ', but not as the source has it'}"
        names = ", ".join(name for name, _, _ in self.found.differing) or "its rows"
        return f"{self.who} is in the target, but not as the source has it ({names})"

    @property
    def surplus(self) -> bool:
        """Whether a table without a key has all rows that the source has, and more."""
        return not self.table.primary_keys and self._rows_there > len(self.rows)

    @property
    def _rows_there(self) -> int:
        """How many of its rows the target has of a table without a key; more than there are: all of them, and others."""
        return next((int(there or 0) for _, _, there in self.found.differing), 0)

    @property
    def _not_there(self) -> str:
        older = self.there and self.table.primary_keys
        return f"{self.who} is in the target only as it was before" if older else self.lead


def why(end: BatchEnd | None) -> str:
    """Return what went wrong with a batch, to follow a clause; empty where nothing did."""
    return f": {short(end.error)}" if end is not None and end.error else ""


def short(text: str) -> str:
    """Return an error in one line, without the full stop."""
    return " ".join(text.split()).rstrip(".")


def moment(at: datetime) -> str:
    """Return a time for people."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"

"""What readers see of a target, pinned: its living rows as SQL for DuckDB, and the files in which they lie.

Nothing here changes a target. Columns of a table in Iceberg are read by their ids, those of a directory by name.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from ingestion_runtime.tools.local_sql import file_list, quote

#: The columns that ``PublishedRows.relation`` adds: a row's file, and its place in it, from 0.
FILE_COLUMN, PLACE_COLUMN = "_ingest_path", "_ingest_pos"


@dataclass(frozen=True, slots=True)
class SpoiltFile:
    """A file of the target that readers cannot read: its absolute path, and why. ``deletes``: it names rows that are
    deleted, so that without it nobody knows which rows live."""

    path: str
    reason: str
    deletes: bool = False


class PublishedRows(Protocol):
    """The rows of one state of a target; readers of this moment or of an earlier one."""

    @property
    def columns(self) -> pa.Schema:
        """All columns, housekeeping included, in the types in which rows land."""
        ...

    @property
    def schema(self) -> Any:
        """The table's schema in Iceberg's words, None for a directory."""
        ...

    @property
    def paths(self) -> tuple[str, ...]:
        """The files with rows that are there and can be opened."""
        ...

    @property
    def spoilt(self) -> tuple[SpoiltFile, ...]:
        """The files that are not as they were written: missing, cut, or without a footer."""
        ...

    def relation(self, columns: Sequence[str], within: Collection[str] | None = None) -> str:
        """Return what may stand after FROM in DuckDB: the living rows with these columns and where they lie.

        ``within``: only those of some of ``paths``. They have to be lent for as long as it is read: see ``portions``.
        """
        ...

    def portions(self, within: Sequence[str]) -> Iterator[Sequence[str]]:
        """Yield some of ``paths`` in pieces, each lent on this machine until the next one is asked for.

        Those of a local disk are one piece. Raises TransientError where the disk has no room for a piece.
        """
        ...


class PublishedDirectory:
    """A directory of Parquet files. Implements ``PublishedRows``."""

    def __init__(self, folder: Path) -> None:
        import pyarrow.parquet as pq

        found: list[tuple[str, pa.Schema]] = []
        spoilt: list[SpoiltFile] = []
        for path in sorted(folder.glob("*.parquet")):
            try:
                found.append((str(path), pq.read_schema(path)))
            except (OSError, pa.ArrowInvalid, UnicodeDecodeError) as error:
                spoilt.append(SpoiltFile(str(path), f"it cannot be opened ({error})"))
        self.schema = None
        self.spoilt = tuple(spoilt)
        self.paths = tuple(path for path, _ in found)
        self.columns = found[0][1].remove_metadata() if found else pa.schema([])

    def relation(self, columns: Sequence[str], within: Collection[str] | None = None) -> str:
        """Return the rows as SQL; see ``PublishedRows.relation``."""
        listed = "".join(f"{quote(name)}, " for name in columns)
        paths = [path for path in self.paths if within is None or path in within]
        if not paths:
            nothing = "".join(f"NULL AS {quote(name)}, " for name in columns)
            return f"(SELECT {nothing}NULL AS {FILE_COLUMN}, NULL AS {PLACE_COLUMN} WHERE false)"
        return (
            f"(SELECT {listed}filename AS {FILE_COLUMN}, file_row_number AS {PLACE_COLUMN} FROM read_parquet("
            f"{file_list(paths)}, filename = true, file_row_number = true, hive_partitioning = false))"
        )

    def portions(self, within: Sequence[str]) -> Iterator[Sequence[str]]:
        """Yield all of them: they are here."""
        yield within

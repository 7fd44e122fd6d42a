"""A table's files on HDFS as pyiceberg and Arrow look at them: its lists, and footers. Through the JVM; rows are not for it.

Imported only when rows are compared: pyiceberg costs 1.2 s.
"""

from typing import TYPE_CHECKING, Any

from pyiceberg.io import FileIO, InputFile, OutputFile
from pyiceberg.table import Table

from ingestion_runtime.endpoints.iceberg.snapshot_files import UnfitSnapshot
from ingestion_runtime.tools.files import Files, is_hdfs

if TYPE_CHECKING:
    import pyarrow.parquet as pq


class Hdfs:
    """HDFS. Implements ``Storage``."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def path(self, location: str) -> str:
        """Return a location as it is spelled."""
        if not is_hdfs(location):
            raise UnfitSnapshot(f"its files are not on HDFS ({location.partition(':')[0]})")
        return location

    def footer(self, path: str) -> "pq.FileMetaData":
        """Return the footer of a file, by two reads."""
        import pyarrow.parquet as pq

        with self._files.open(path) as stream:
            return pq.read_metadata(stream)


def within_reach(table: Table, files: Files) -> Table:
    """Return the same table, whose lists of its files are read through the JVM: its own reader needs Hadoop's C library."""
    return Table(table.name(), table.metadata, table.metadata_location, _FarIO(files), table.catalog)


class _FarIO(FileIO):
    """Reads files; nothing is ever written."""

    def __init__(self, files: Files) -> None:
        super().__init__()
        self._files = files

    def new_input(self, location: str) -> InputFile:
        return _FarInput(location, self._files)

    def new_output(self, location: str) -> OutputFile:
        raise self._mistake(location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        raise self._mistake(str(location))

    def _mistake(self, location: str) -> RuntimeError:
        return RuntimeError(f"{location} is only looked at")


class _FarInput(InputFile):
    def __init__(self, location: str, files: Files) -> None:
        super().__init__(location)
        self._files = files

    def __len__(self) -> int:
        return self._files.size(self.location)

    def exists(self) -> bool:
        return self._files.exists(self.location)

    def open(self, seekable: bool = True) -> Any:  # noqa: ARG002 - pyiceberg's
        return self._files.open(self.location)

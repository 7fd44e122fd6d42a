"""The rows of a rebuild on their way to staging. Imported only where a table is rebuilt: pyiceberg costs 1.2 s."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from ingestion_runtime.model.testimony import Testimony
from ingestion_runtime.provenance.raw_rows import RawRows
from ingestion_runtime.tools.files import Files, is_hdfs
from ingestion_runtime.tools.nearby import NearFiles
from ingestion_runtime.tools.parquet_writer import ParquetSettings, ParquetWriter, Splitter, WrittenFile, numbered

# Beside the copies, whose folders are called like hosts.
_WRITTEN = "_written"


@dataclass(frozen=True, slots=True)
class RebuiltRows:
    """Every row that a replay expects. Implements ``Landing``.

    Where they are staged on HDFS, ``files`` puts them there, and each file is written in the folder of ``near`` before.
    ``ids`` are the field ids of the columns, and ``split`` cuts the rows into the partitions of their table: so the files
    can become the table's own. ``check`` is asked now and then, and raises where the work is to end.
    """

    rows: RawRows
    files: Files
    near: NearFiles
    settings: ParquetSettings
    check: Callable[[], None]
    split: Splitter | None = None
    ids: Mapping[str, int] | None = None

    @property
    def schema(self) -> pa.Schema:
        """The columns, housekeeping and marks of deleted rows included: no later run fills them in."""
        return self.rows.schema.remove_metadata()

    @property
    def renamed(self) -> Mapping[str, str]:
        """What a table that was set back has under names of before."""
        return self.rows.renamed

    @property
    def testimony(self) -> Testimony | None:
        """None: no source is asked."""
        return None

    def with_field_ids(self, ids: Mapping[str, int]) -> "RebuiltRows":
        """Return the same rows in files whose columns carry these ids."""
        return replace(self, ids=ids)

    def write_parquet(self, directory: str) -> None:
        """Write the rows, in the order of raw; one file after the other goes to HDFS, and is here no longer."""
        schema, far = numbered(self.schema, self.ids or {}), is_hdfs(directory)
        folder = str(self.near.folder / _WRITTEN) if far else directory

        def put(file: WrittenFile) -> None:
            self.files.adopt(file.path, f"{directory}/{Path(file.path).name}")
            Path(file.path).unlink()

        with ParquetWriter(folder, "part", schema, self.settings, self.split, put if far else None) as writer:
            for batch in self.rows.all():
                self.check()
                writer.write(batch.cast(schema))
            writer.close(at_least_one=True)

"""This process as a reader: record batches stream from the source into Parquet files."""

from dataclasses import dataclass

from ingestion_runtime.endpoints.jdbc.database import Snapshot
from ingestion_runtime.endpoints.jdbc.extract import JdbcExtract
from ingestion_runtime.endpoints.jdbc.sql import extraction
from ingestion_runtime.tools.files import Files
from ingestion_runtime.tools.parquet_writer import ParquetSettings, ParquetWriter


@dataclass(frozen=True, slots=True)
class ArrowReader:
    """Reads extracts over the source's own client. Implements ``Reader``."""

    settings: ParquetSettings
    files: Files

    def prepare(self) -> None:
        """Nothing takes time to start."""

    def read(self, extract: JdbcExtract, snapshot: Snapshot, condition: str | None, directory: str) -> None:
        """Write the rows of a condition into a directory; see ``Reader.read``."""
        dialect = extract.database.dialect
        query = extraction(dialect, extract.table, extract.columns, condition, ranked=extract.ranked)
        with dialect.stream(extract.database.spec, query, snapshot.join) as reader:
            writer = ParquetWriter(directory, "part-0", reader.schema, self.settings)
            for batch in reader:
                writer.write(batch)
            writer.close(at_least_one=True)

    def discard(self, directory: str) -> None:
        """Remove what a failed read left in its directory."""
        self.files.remove_tree(directory)

"""What writing rows in this process needs besides the table."""

from dataclasses import dataclass

from ingestion_runtime.tools.files import Files
from ingestion_runtime.tools.local_sql import LocalSql
from ingestion_runtime.tools.parquet_writer import ParquetSettings


@dataclass(frozen=True, slots=True)
class LocalTools:
    """How Parquet files are written, SQL within the memory of a table, and the file system."""

    settings: ParquetSettings
    sql: LocalSql
    files: Files

    @property
    def codec(self) -> str:
        """The compression, as Iceberg's table property has it."""
        return "uncompressed" if self.settings.codec == "none" else self.settings.codec

"""Extracts that need no source: rows in memory on their way to Parquet."""

from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ingestion_runtime.model.endpoint import IngestColumns, Shape


@dataclass(frozen=True)
class MemoryExtract:
    """Each table becomes a file. Implements ``Extract``; counts how often it was read."""

    parts: tuple[pa.Table, ...]
    reads: list[str]

    @property
    def schema(self) -> pa.Schema:
        return self.parts[0].schema

    def with_missing(self, fields: tuple[pa.Field, ...]) -> "MemoryExtract":
        parts = self.parts
        for field in fields:
            parts = tuple(part.append_column(field, pa.nulls(len(part), field.type)) for part in parts)
        return replace(self, parts=parts)

    @property
    def renamed(self) -> dict[str, str]:
        return {}

    def shaped(self, shape: Shape) -> "MemoryExtract":
        kept = tuple(part.drop_columns(list(shape.skipped)) for part in self.parts)
        return replace(self, parts=kept).with_missing(shape.missing)

    def with_ingest_cols(self, columns: IngestColumns) -> "MemoryExtract":
        return replace(
            self,
            parts=tuple(part.append_column("_ingest_slice", pa.array([columns.slice] * len(part))) for part in self.parts),
        )

    @property
    def testimony(self) -> None:
        """Nobody was asked."""

    def write_parquet(self, directory: str) -> None:
        self.reads.append(directory)
        Path(directory).mkdir(parents=True)
        for number, part in enumerate(self.parts):
            pq.write_table(part, Path(directory, f"part-{number:05d}.parquet"))


def extract_of(*parts: pa.Table) -> MemoryExtract:
    """Return an extract that writes these files."""
    return MemoryExtract(parts, [])

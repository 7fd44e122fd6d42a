"""What Parquet footers say without reading the rows, and the one rewrite that staging needs.

Arrow's Parquet and compute modules are imported by what uses them: 0.04 s that a run without rows does not need.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import pyarrow as pa

from ingestion_runtime.model.batch import SchemaField, StagedFile
from ingestion_runtime.tools.files import Files

if TYPE_CHECKING:
    from pyarrow.parquet import FileMetaData

_BATCH_ROWS = 65_536


def list_parquet(files: Files, directory: str) -> tuple[str, ...]:
    """Return the names of the Parquet files in a directory, sorted."""
    return tuple(name for name in files.names(directory) if name.endswith(".parquet") and name[0] not in "._")


def measure_file(files: Files, directory: str, path: str) -> StagedFile:
    """Return size, hash and rows (from the footer) of one file."""
    import pyarrow.parquet as pq

    full = f"{directory}/{path}"
    with files.open(full) as stream:
        rows = pq.read_metadata(stream).num_rows
    return StagedFile(path=path, size=files.size(full), sha256=files.sha256(full), rows=rows)


def read_schema(files: Files, path: str) -> pa.Schema:
    """Return the columns of a file, without the engine's own key-value metadata."""
    import pyarrow.parquet as pq

    with files.open(path) as stream:
        return pq.read_schema(stream).remove_metadata()


def schema_fields(schema: pa.Schema, renamed: Mapping[str, str] = MappingProxyType({})) -> tuple[SchemaField, ...]:
    """Return the columns as a manifest records them; ``renamed`` are former names by present ones."""
    return tuple(SchemaField(field.name, str(field.type), renamed.get(field.name)) for field in schema)


def count_null_keys(files: Files, directory: str, names: tuple[str, ...], keys: tuple[str, ...]) -> int:
    """Return how many rows have a NULL in a key column; from footers, unless they show that there are some."""
    return sum(_null_rows(files, f"{directory}/{name}", keys) for name in names) if keys else 0


def set_null_keys_aside(files: Files, directory: str, names: tuple[str, ...], aside: str, keys: tuple[str, ...]) -> None:
    """Rewrite the files that hold NULL keys: whole rows stay in place, the others move to the directory ``aside``."""
    for name in names:
        path = f"{directory}/{name}"
        if _null_rows(files, path, keys):
            _split(files, path, f"{aside}/{name}", keys)


def _null_rows(files: Files, path: str, keys: tuple[str, ...]) -> int:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with files.open(path) as stream, pq.ParquetFile(stream) as file:
        if not _may_hold_nulls(file.metadata, keys):
            return 0
        batches = file.iter_batches(_BATCH_ROWS, columns=list(keys))
        return sum(pc.sum(_null_mask(batch, keys)).as_py() or 0 for batch in batches)


def _may_hold_nulls(metadata: "FileMetaData", keys: tuple[str, ...]) -> bool:
    for group in range(metadata.num_row_groups):
        for index in range(metadata.num_columns):
            column = metadata.row_group(group).column(index)
            if column.path_in_schema in keys:
                statistics = column.statistics
                if statistics is None or not statistics.has_null_count or statistics.null_count:
                    return True
    return False


def _null_mask(batch: pa.RecordBatch, keys: tuple[str, ...]) -> pa.Array:
    import pyarrow.compute as pc

    mask = pc.is_null(batch.column(keys[0]))
    for key in keys[1:]:
        mask = pc.or_(mask, pc.is_null(batch.column(key)))
    return mask


def _split(files: Files, path: str, aside: str, keys: tuple[str, ...]) -> None:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with (
        files.replacing(path) as keeping,
        files.replacing(aside) as moving,
        files.open(path) as stream,
        pq.ParquetFile(stream) as file,
        pq.ParquetWriter(keeping, file.schema_arrow) as kept,
        pq.ParquetWriter(moving, file.schema_arrow) as moved,
    ):
        for batch in file.iter_batches(_BATCH_ROWS):
            mask = _null_mask(batch, keys)
            kept.write_batch(batch.filter(pc.invert(mask)))
            moved.write_batch(batch.filter(mask))

"""What a table keeps out of the lake, put to the columns that its source has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import SourceColumn, did_you_mean
from ingestion_runtime.endpoints.jdbc.dialect import RawTable
from ingestion_runtime.endpoints.jdbc.masking import masked_type
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.privacy import Mask, MaskMethod
from ingestion_runtime.model.schema import ColumnSnapshot
from ingestion_runtime.model.spec import TableSpec


@dataclass(frozen=True, slots=True)
class Hidden:
    """Masked columns by name: ``masks`` are put to values that are read, ``emptied`` columns are never read."""

    masks: Mapping[str, Mask]
    emptied: tuple[pa.Field, ...]
    types: Mapping[str, pa.DataType]

    def read(self, columns: Sequence[SourceColumn]) -> tuple[SourceColumn, ...]:
        """Return the columns that are read."""
        emptied = {item.name for item in self.emptied}
        return tuple(column for column in columns if column.name not in emptied)

    def described(self, column: ColumnSnapshot) -> ColumnSnapshot:
        """Return a column as it lands: masked, it is no number whose values anybody may look at."""
        if column.name not in self.types:
            return column
        empty = column.name not in self.masks
        kind = str(self.types[column.name])
        return replace(column, landed_type=kind, number=False, nullable=column.nullable or empty)


def hide(table: TableSpec, columns: Sequence[SourceColumn]) -> Hidden:
    """Return how the columns of a table are masked; raises TerminalError for one whose type its mask cannot take."""
    found = {column.name: (column, mask) for column in columns if (mask := table.privacy.mask_of(column.name)) is not None}
    types = {name: masked_type(column, mask, table.name) for name, (column, mask) in found.items()}
    if all(column.name in found and found[column.name][1].method is MaskMethod.NULL for column in columns):
        raise TerminalError(
            f"Table {table.name} has no column left to read: all of them are masked by 'null'.",
            remedy="Leave the table out, or let one column arrive.",
            table=table.name,
        )
    return Hidden(
        masks={name: mask for name, (_, mask) in found.items() if mask.method is not MaskMethod.NULL},
        emptied=tuple(pa.field(name, types[name]) for name, (_, m) in found.items() if m.method is MaskMethod.NULL),
        types=types,
    )


def without_excluded(table: TableSpec, raw: RawTable) -> RawTable:
    """Return the relation without its excluded columns, and without a key of which something is hidden.

    Raises TerminalError for an exclusion or a mask that meets no column (whose values would be read), and for one that
    meets a column by which rows are told apart.
    """
    privacy = table.privacy
    if not (privacy.exclusions or privacy.masks):
        return raw
    names = [column.name for column in raw.columns]
    _refuse_needless(table, names)
    _refuse_vital(table)
    kept = tuple(column for column in raw.columns if not privacy.excludes(column.name))
    hidden = any(privacy.excludes(name) or privacy.mask_of(name) for name in raw.primary_keys)
    return replace(raw, columns=kept, primary_keys=() if hidden else raw.primary_keys)


def _refuse_needless(table: TableSpec, names: Sequence[str]) -> None:
    wanted = [("exclude_columns", item.pattern, item.matches) for item in table.privacy.exclusions if item.required]
    wanted += [("mask", mask.column, mask.matches) for mask in table.privacy.masks if mask.required]
    for key, spelled, matches in wanted:
        if not any(map(matches, names)):
            raise TerminalError(
                f"Table {table.name} has no column {spelled!r} ({key}).{did_you_mean(spelled, names)}",
                remedy=f"Correct {key} in the configuration: nothing was read. Is the column gone? Leave it out.",
                table=table.name,
                column=spelled,
            )


def _refuse_vital(table: TableSpec) -> None:
    roles = [("primary_keys", name) for name in table.primary_keys]
    roles += [("incremental_column", table.incremental_column)] if table.incremental_column else []
    roles += [("partition_read", table.partition_read.column)] if table.partition_read else []
    roles += [("intermediate.partition", part.column) for part in table.partition]
    for role, name in roles:
        excluded = table.privacy.excludes(name)
        if excluded or table.privacy.mask_of(name):
            raise TerminalError(
                f"Column {name!r} of table {table.name} is {'excluded' if excluded else 'masked'} and needed ({role}).",
                remedy=f"Take it out of {'exclude_columns' if excluded else 'mask'}, or out of {role}.",
                table=table.name,
                column=name,
            )

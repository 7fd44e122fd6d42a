"""Which columns of a source and its target are compared, and why the others are not."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from ingestion_runtime.model.columns import is_ingest_column
from ingestion_runtime.model.comparison import Basis, ComparedColumn
from ingestion_runtime.model.schema import TableSnapshot
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.reconciliation.report import NotCompared


@dataclass(frozen=True, slots=True)
class Pairing:
    """The columns that are compared and those that are not. ``keyless`` says why there is no key to compare by."""

    basis: Basis
    left: tuple[NotCompared, ...]
    keyless: str | None = None

    def find(self, name: str) -> ComparedColumn | None:
        """Return the compared column of this name, at the source or in the target."""
        return _column(self.basis.columns, name)

    def why_not(self, name: str) -> str | None:
        """Return why the column of this name is not compared; None for one that neither side has."""
        return next((left.reason for left in self.left if left.column.casefold() == name.casefold()), None)


def pair_columns(table: TableSpec, source: pa.Schema, target: pa.Schema, live: TableSnapshot) -> Pairing:
    """Pair the columns that the source has now with those of the target.

    ``source`` are those that are read, as they land; ``live`` knows under which names they were accepted before: a column
    that was renamed since the last publish has its former name in the target.
    """
    former = {name: column.name for column in live.columns for name in column.former}
    columns: list[ComparedColumn] = []
    left: list[NotCompared] = []
    taken: set[str] = set()
    for field in target:
        if is_ingest_column(field.name):
            continue
        name = _at_source(field.name, source, target, former)
        taken.add(name or field.name)
        reason = _reason(table, field, None if name is None else source.field(name))
        if reason is None and name is not None:
            columns.append(ComparedColumn(name, field.name, field.type))
        else:
            left.append(NotCompared(field.name, reason or ""))
    left += [NotCompared(name, "only at the source") for name in source.names if name not in taken]
    keys, keyless = _keys(table, columns)
    return Pairing(Basis(keys, tuple(columns)), tuple(left), keyless)


def _at_source(name: str, source: pa.Schema, target: pa.Schema, former: Mapping[str, str]) -> str | None:
    """Return the source's name of a column of the target; None where it has none."""
    if name in source.names:
        return name
    renamed = former.get(name)
    return renamed if renamed in source.names and renamed not in target.names else None


def _reason(table: TableSpec, field: pa.Field, source: pa.Field | None) -> str | None:
    """Return why a column of the target is not compared; None where it is."""
    names = [field.name, *([] if source is None else [source.name])]
    if any(table.privacy.excludes(name) for name in names):
        return "excluded: it is not read"
    if any(table.privacy.mask_of(name) for name in names):
        return "masked: its values are not those of the source"
    if source is None:
        return "only in the target"
    if not can_hold(field.type, source.type):
        return f"its type differs: {source.type} at the source, {field.type} in the target"
    return None


def _keys(table: TableSpec, columns: list[ComparedColumn]) -> tuple[tuple[ComparedColumn, ...], str | None]:
    if not table.primary_keys:
        return (), "the table has no primary key"
    keys = [_column(columns, name) for name in table.primary_keys]
    lacking = [name for name, key in zip(table.primary_keys, keys, strict=True) if key is None]
    if lacking:
        return (), f"the key column {lacking[0]} is not compared"
    return tuple(key for key in keys if key is not None), None


def _column(columns: "tuple[ComparedColumn, ...] | list[ComparedColumn]", name: str) -> ComparedColumn | None:
    exact = next((c for c in columns if name in (c.source, c.target)), None)
    folded = name.casefold()
    return exact or next((c for c in columns if folded in (c.source.casefold(), c.target.casefold())), None)


_INTEGERS = (pa.int8(), pa.int16(), pa.int32(), pa.int64())
# Types that hold the same values and differ in how much of them fits into one column of a file.
_LARGE = {pa.large_string(): pa.string(), pa.large_binary(): pa.binary()}


def can_hold(target: pa.DataType, source: pa.DataType) -> bool:
    """Whether a type of the target holds every value of a type of the source, and both can be spelled in it."""
    target, source = _LARGE.get(target, target), _LARGE.get(source, source)
    if target == source or (source == pa.float32() and target == pa.float64()):
        return True
    if pa.types.is_integer(source) and pa.types.is_integer(target):
        return _INTEGERS.index(source) <= _INTEGERS.index(target)
    if not pa.types.is_decimal(target):
        return False
    whole: int = target.precision - target.scale
    if pa.types.is_integer(source):
        return whole >= len(str(2 ** (source.bit_width - 1)))
    return bool(pa.types.is_decimal(source) and whole >= source.precision - source.scale and target.scale >= source.scale)

"""Which landed type holds the values of which other one, unchanged."""

import pyarrow as pa

from ingestion_runtime.model.policy import ChangeKind

_INT_DIGITS = {pa.int32(): 10, pa.int64(): 19}
_SMALL = (pa.int8(), pa.int16())


def in_the_lake(kind: pa.DataType) -> pa.DataType:
    """Return the type that a column of ``kind`` has in the lake, which knows whole numbers of 32 and of 64 bits."""
    return pa.int32() if kind in _SMALL else kind


def promotes(held: pa.DataType, holder: pa.DataType) -> bool:
    """Whether a table's column may grow from ``held`` to ``holder`` in place: Iceberg's rules."""
    if pa.types.is_decimal128(held) and pa.types.is_decimal128(holder):
        return bool(held.scale == holder.scale and held.precision < holder.precision)
    return (held, holder) in {(pa.int32(), pa.int64()), (pa.float32(), pa.float64())}


def holds(holder: pa.DataType, held: pa.DataType) -> bool:
    """Whether every value of ``held`` is one of ``holder``, or (in a string) its text, by the types alone."""
    if holder == held or promotes(held, holder) or holder == pa.string():
        return True
    if pa.types.is_decimal128(holder):
        whole, fraction = digits(held)
        return whole is not None and holder.scale >= fraction and holder.precision - holder.scale >= whole
    # 53 bits: every whole number of 32 is a double.
    return bool(holder == pa.float64() and held == pa.int32())


def digits(kind: pa.DataType) -> tuple[int | None, int]:
    """Return how many digits values of an exact number type have before and after the point; (None, 0) for others."""
    if pa.types.is_decimal128(kind):
        return kind.precision - kind.scale, kind.scale
    return _INT_DIGITS.get(in_the_lake(kind)), 0


def type_change(before: pa.DataType, after: pa.DataType) -> ChangeKind | None:
    """Return what kind of change it is when a column of one landed type arrives in another; None where none is seen."""
    old, new = in_the_lake(before), in_the_lake(after)
    if old == new:
        return None
    if promotes(old, new):
        return ChangeKind.WIDENED
    return ChangeKind.NARROWED if promotes(new, old) else ChangeKind.RETYPED

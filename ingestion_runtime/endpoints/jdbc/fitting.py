"""A column in another type than the one in which it lands by itself: only ever with the check that it fits."""

from dataclasses import replace

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import SourceColumn, spark_type

_LIMITS = {pa.int16(): 2**15, pa.int32(): 2**31, pa.int64(): 2**63}
_FLOATS = (pa.float32(), pa.float64())
# Kinds that every dialect gives to exact numbers, whatever their digits.
_EXACT_KINDS = ("numeric", "decimal")


def is_exact_number(column: SourceColumn, kind: str) -> bool:
    """Whether a column holds exact numbers, also where it lands as text for want of a decimal that holds its digits."""
    landed = column.lands_as
    own = pa.types.is_decimal(landed) or pa.types.is_integer(landed)
    return bool(own or (kind.split() or [""])[-1] in _EXACT_KINDS)


def fit_number(column: SourceColumn, name: str, kind: pa.DataType, *, exact: bool) -> SourceColumn | None:
    """Return the way of a number that lands as ``kind``, None where there is none. For engines with typed columns.

    ``column`` is its own way, ``name`` its quoted name, ``exact`` what `is_exact_number` says. What does not fit is
    refused at the source; only a double that is no float is found by Spark, because engines do not agree on the cast.
    """
    if exact and (pa.types.is_decimal128(kind) or kind in _LIMITS):
        return _fit_exact(column, name, kind)
    if column.lands_as in _FLOATS and kind in _FLOATS:
        return _fit_float(column, kind)
    return None


def _fit_exact(column: SourceColumn, name: str, kind: pa.DataType) -> SourceColumn:
    fraction = 0
    if pa.types.is_decimal128(kind):
        bound, fraction = 10 ** (kind.precision - kind.scale), kind.scale
        # In whole digits: 1e28 would be a double in some engines. NaN sorts above every bound, and abs() may overflow.
        beyond = f"{name} >= {bound} OR {name} <= -{bound}"
        reason = f"no numbers of {kind.precision} digits, {fraction} of them after the point"
    else:
        bound = _LIMITS[kind]
        beyond = f"{name} >= {bound} OR {name} < -{bound}"
        reason = f"no whole numbers from {-bound} to {bound - 1}"
    whole = pa.types.is_integer(column.lands_as)
    bad = beyond if whole else f"{beyond} OR {name} <> round({name}, {fraction})"
    wide = f"DECIMAL({kind.precision},{kind.scale})" if pa.types.is_decimal128(kind) else "DECIMAL(38,0)"
    return replace(
        column,
        select=name,
        read_as=column.read_as if whole else wide,
        convert=f"CAST({{}} AS {spark_type(kind)})",
        lands_as=kind,
        bad_when=bad,
        reason=reason,
    )


def _fit_float(column: SourceColumn, kind: pa.DataType) -> SourceColumn:
    narrowed = "CAST({0} AS FLOAT)"
    if kind == pa.float64():
        return replace(column, lands_as=kind, convert=f"CAST({column.convert} AS DOUBLE)")
    words = f"Column {column.name} holds a number that is no float".replace("'", "''").replace("{", "(").replace("}", ")")
    same = f"CAST({narrowed} AS DOUBLE) <=> CAST({{0}} AS DOUBLE)"
    return replace(column, lands_as=kind, convert=f"CASE WHEN {same} THEN {narrowed} ELSE raise_error('{words}') END")

"""Iceberg's partition values, computed over whole columns: how rows are split while they are written, and which partition
a file belongs to.

pyiceberg computes them value by value, or with a library of its own; here Arrow does, by the rules of Iceberg's
specification. Needs no table: a reader splits rows before there is one.
"""

import struct
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from ingestion_runtime.model.errors import ConfigError, TerminalError
from ingestion_runtime.model.spec import PartitionField
from ingestion_runtime.tools.parquet_writer import Splitter

_EPOCH_YEAR = 1970
_MONTHS = 12
_MICROS_PER_DAY = 86_400_000_000
# Parts of a batch are copied out of it: as slices they would keep the whole of it in memory. Copying costs 0.2 ms a part of
# 18 columns; where a batch has more parts than this, they are slices of one sorted copy (65,536 rows in 10,000 parts: 2.6 s
# the one way, 0.1 s the other).
_COPIED = 64

#: What a partition is told by: one value a field, as Iceberg stores it (days and microseconds as numbers), but numbers with
#: a fraction by their bits.
PartitionKey = tuple[Any, ...]


def splitter(partition: Sequence[PartitionField], schema: pa.Schema) -> Splitter | None:
    """Return what cuts batches of ``schema`` into partitions, None where the table has none.

    The key of a part is its partition's values. Raises TerminalError for a column that is not there, ConfigError for
    one whose type the transform does not know.
    """
    if not partition:
        return None
    places = [(_place(field, schema), _transform(field, schema)) for field in partition]

    def split(batch: pa.RecordBatch) -> Iterable[tuple[Hashable, pa.RecordBatch]]:
        return _parts(batch, [transform(batch.column(place)) for place, transform in places])

    return split


def partition_key(partition: Sequence[PartitionField], batch: pa.RecordBatch) -> PartitionKey | None:
    """Return the values of the one partition to which all rows belong; None when there are several."""
    keys = None
    split = splitter(partition, batch.schema)
    for found, _ in split(batch) if split and batch.num_rows else ():
        if keys is not None:
            return None
        keys = found
    return keys if isinstance(keys, tuple) else None


def stored_values(partition: Sequence[PartitionField], schema: pa.Schema, key: PartitionKey) -> tuple[Any, ...]:
    """Return a partition's values as they are stored."""
    return tuple(
        _FLOATS[schema.field(item.column).type](value)
        if value is not None and item.transform == "identity" and schema.field(item.column).type in _FLOATS
        else value
        for item, value in zip(partition, key, strict=True)
    )


def _place(field: PartitionField, schema: pa.Schema) -> int:
    place: int = schema.get_field_index(field.column)
    if place < 0:
        raise TerminalError(
            f"The partition column {field.column} is not a column of the source.",
            remedy=f"Choose one of {', '.join(schema.names)} in intermediate.partition.",
        )
    return place


def _parts(batch: pa.RecordBatch, values: Sequence[pa.Array]) -> Iterator[tuple[PartitionKey, pa.RecordBatch]]:
    import pyarrow.compute as pc

    coded = [column.dictionary_encode(null_encoding="encode") for column in values]
    codes = coded[0].indices.cast(pa.int64())
    for column in coded[1:]:
        # Each combination has a number of its own; made dense again, so that many fields do not overflow it.
        codes = pc.add(pc.multiply(codes, len(column.dictionary)), column.indices.cast(pa.int64()))
        codes = codes.dictionary_encode().indices.cast(pa.int64())
    present = codes.dictionary_encode()
    if len(present.dictionary) == 1:
        yield _key(coded, 0), batch
        return
    order = pc.array_sort_indices(present.indices)
    counts = sorted(pc.value_counts(present.indices).to_pylist(), key=lambda item: item["values"])
    whole = batch.take(order) if len(counts) > _COPIED else None
    begin = 0
    for count in (entry["counts"] for entry in counts):
        rows = order.slice(begin, count)
        yield _key(coded, rows[0].as_py()), batch.take(rows) if whole is None else whole.slice(begin, count)
        begin += count


def _key(coded: Sequence[pa.DictionaryArray], row: int) -> PartitionKey:
    return tuple(column.dictionary[column.indices[row].as_py()].as_py() for column in coded)


def _transform(field: PartitionField, schema: pa.Schema) -> Callable[[pa.Array], pa.Array]:
    kind = schema.field(field.column).type
    if pa.types.is_dictionary(kind):
        plain = _transform(field, pa.schema([(field.column, kind.value_type)]))
        return lambda column: plain(column.dictionary_decode())
    made = _MAKERS[field.transform](kind, field.width or 0)
    if made is None:
        width = f"[{field.width}]" if field.width else ""
        raise ConfigError(
            f"Column {field.column} is {kind}, which Iceberg's transform {field.transform}{width} does not know.",
            remedy="Choose another transform or column in intermediate.partition.",
        )
    return made


Made = Callable[[pa.Array], pa.Array] | None


def _identity(kind: pa.DataType, _: int) -> Made:
    if pa.types.is_date32(kind):
        return lambda column: column.cast(pa.int32())
    if pa.types.is_timestamp(kind):
        return lambda column: column.cast(pa.int64())
    if pa.types.is_floating(kind):
        return _bits
    return lambda column: column


def _bits(column: pa.Array) -> pa.Array:
    """Return numbers by their bits, all NaN as one: a reader takes the value of a partition for that of its rows, and so
    0.0 and -0.0 must not share one."""
    import pyarrow.compute as pc

    told = pc.if_else(pc.is_nan(column), pa.scalar(float("nan"), column.type), column)
    return told.view(pa.int64() if pa.types.is_float64(column.type) else pa.int32())


def _year(kind: pa.DataType, _: int) -> Made:
    import pyarrow.compute as pc

    return (lambda column: pc.subtract(pc.year(_wall(column)), _EPOCH_YEAR).cast(pa.int32())) if _is_day(kind) else None


def _month(kind: pa.DataType, _: int) -> Made:
    import pyarrow.compute as pc

    def months(column: pa.Array) -> pa.Array:
        wall = _wall(column)
        years = pc.multiply(pc.subtract(pc.year(wall), _EPOCH_YEAR), _MONTHS)
        return pc.subtract(pc.add(years, pc.month(wall)), 1).cast(pa.int32())

    return months if _is_day(kind) else None


def _day(kind: pa.DataType, _: int) -> Made:
    if pa.types.is_date32(kind):
        return lambda column: column.cast(pa.int32())
    if pa.types.is_timestamp(kind):
        return lambda column: _floor_divided(column.cast(pa.int64()), _MICROS_PER_DAY).cast(pa.int32())
    return None


def _is_day(kind: pa.DataType) -> bool:
    return bool(pa.types.is_date32(kind) or pa.types.is_timestamp(kind))


def _wall(column: pa.Array) -> pa.Array:
    """Return instants as their UTC wall clock: without a zone no database of zones is asked."""
    return column.cast(pa.timestamp("us")) if pa.types.is_timestamp(column.type) else column


def _floor_divided(column: pa.Array, by: int) -> pa.Array:
    """Return the quotient rounded down, where Arrow's division rounds towards zero."""
    import pyarrow.compute as pc

    quotient = pc.divide(column, by)
    short = pc.and_(pc.less(column, 0), pc.not_equal(pc.multiply(quotient, by), column))
    return pc.subtract(quotient, short.cast(pa.int64()))


def _truncate(kind: pa.DataType, width: int) -> Made:
    import pyarrow.compute as pc

    if pa.types.is_integer(kind):
        # In 64 bits, and down to them again: the value before the smallest integer's wraps around, as Java's does.
        return lambda column: pc.multiply(_floor_divided(column.cast(pa.int64()), width), width).cast(kind, safe=False)
    if pa.types.is_string(kind):
        return lambda column: pc.utf8_slice_codeunits(column, 0, width)
    if pa.types.is_binary(kind):
        return lambda column: pc.binary_slice(column, 0, width)
    if pa.types.is_decimal(kind):
        return lambda column: _by_value(column, lambda value: _truncated(value, width, kind), kind)
    return None


def _truncated(value: Decimal, width: int, kind: pa.Decimal128Type) -> Decimal:
    unscaled = _unscaled(value, kind.scale)
    sign, digits, _ = Decimal(unscaled - unscaled % width).as_tuple()
    if len(digits) > kind.precision:
        raise TerminalError(
            f"The partition of {value}, truncated to multiples of {width}, has more digits than {kind} holds.",
            remedy="Choose another width or column in intermediate.partition, or exclude the value with source_filter.",
        )
    return Decimal((sign, digits, -kind.scale))


def _bucket(kind: pa.DataType, buckets: int) -> Made:
    import pyarrow.compute as pc

    def modulo(hashes: pa.Array) -> pa.Array:
        positive = pc.bit_wise_and(hashes.cast(pa.int64()), 0x7FFFFFFF)
        return pc.subtract(positive, pc.multiply(pc.divide(positive, buckets), buckets)).cast(pa.int32())

    if pa.types.is_integer(kind):
        return lambda column: modulo(_murmur_of_longs(column.cast(pa.int64())))
    if _is_day(kind):
        days = pa.types.is_date32(kind)
        return lambda column: modulo(_murmur_of_longs(column.cast(pa.int32() if days else pa.int64()).cast(pa.int64())))
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return lambda column: modulo(_by_value(column, _murmur, pa.uint32()))
    if pa.types.is_decimal(kind):
        return lambda column: modulo(
            _by_value(column, lambda value: _murmur(_decimal_bytes(value, kind.scale)), pa.uint32())
        )
    return None


_FLOATS: dict[pa.DataType, Callable[[int], float]] = {
    pa.float64(): lambda bits: float(struct.unpack("<d", struct.pack("<q", bits))[0]),
    pa.float32(): lambda bits: float(struct.unpack("<f", struct.pack("<i", bits))[0]),
}
_MAKERS: dict[str, Callable[[pa.DataType, int], Made]] = {
    "identity": _identity,
    "year": _year,
    "month": _month,
    "day": _day,
    "truncate": _truncate,
    "bucket": _bucket,
}


def _by_value(column: pa.Array, compute: Callable[[Any], Any], kind: pa.DataType) -> pa.Array:
    """Compute each distinct value once, in Python."""
    coded = column.dictionary_encode()
    values = [None if value is None else compute(value) for value in coded.dictionary.to_pylist()]
    return pa.array(values, kind).take(coded.indices)


def _unscaled(value: Decimal, scale: int) -> int:
    sign, digits, exponent = value.as_tuple()
    number = int("".join(map(str, digits))) * int(10 ** (int(exponent) + scale))
    return -number if sign else number


def _decimal_bytes(value: Decimal, scale: int) -> bytes:
    """Return the shortest two's complement of a decimal's digits, as Java's BigInteger has it."""
    number = _unscaled(value, scale)
    return number.to_bytes((number if number >= 0 else ~number).bit_length() // 8 + 1, "big", signed=True)


def _murmur(value: str | bytes) -> int:
    import mmh3  # pyiceberg's own

    return int(mmh3.hash(value, signed=False))


def _murmur_of_longs(column: pa.Array) -> pa.Array:
    """Return Murmur3's 32 bits (seed 0) of the eight little-endian bytes of each number, by arithmetic that wraps around."""
    import pyarrow.compute as pc

    word = pa.uint32()
    bits = pa.Array.from_buffers(pa.uint64(), len(column), column.buffers(), column.null_count, column.offset)
    low = pc.bit_wise_and(bits, pa.scalar(0xFFFFFFFF, pa.uint64())).cast(word)
    high = pc.shift_right(bits, pa.scalar(32, pa.uint64())).cast(word)
    hashed: Any = pa.scalar(0, word)
    for part in (low, high):
        mixed = _times(_rotated(_times(part, 0xCC9E2D51), 15), 0x1B873593)
        turned = _rotated(pc.bit_wise_xor(mixed, hashed), 13)
        hashed = pc.add(_times(turned, 5), pa.scalar(0xE6546B64, word))
    hashed = pc.bit_wise_xor(hashed, pa.scalar(struct.calcsize("q"), word))
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        hashed = _times(pc.bit_wise_xor(hashed, pc.shift_right(hashed, pa.scalar(shift, word))), factor)
    return pc.bit_wise_xor(hashed, pc.shift_right(hashed, pa.scalar(16, word)))


def _times(column: pa.Array, factor: int) -> pa.Array:
    import pyarrow.compute as pc

    return pc.multiply(column, pa.scalar(factor, pa.uint32()))


def _rotated(column: pa.Array, by: int) -> pa.Array:
    import pyarrow.compute as pc

    left = pc.shift_left(column, pa.scalar(by, pa.uint32()))
    return pc.bit_wise_or(left, pc.shift_right(column, pa.scalar(32 - by, pa.uint32())))

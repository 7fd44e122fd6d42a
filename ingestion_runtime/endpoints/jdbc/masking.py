"""Values as they are masked: behind the landing of a column and before anything of it is written."""

import hashlib
from collections.abc import Callable, Mapping

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import SourceColumn
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.privacy import Mask, MaskMethod


def masked_type(column: SourceColumn, mask: Mask, table: str) -> pa.DataType:
    """Return the type in which a masked column lands; raises TerminalError for one that the method cannot take."""
    landed = column.lands_as
    match mask.method:
        case MaskMethod.NULL:
            return landed
        case MaskMethod.TRUNCATE if not pa.types.is_string(landed):
            raise _unfit(column, mask, table, "its characters are counted in text")
        case MaskMethod.HASH if not _has_one_text(landed):
            raise _unfit(column, mask, table, "text, whole numbers and dates have one spelling to be hashed")
    return pa.string()


def _has_one_text(kind: pa.DataType) -> bool:
    whole = pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0)
    return bool(whole or pa.types.is_string(kind) or pa.types.is_date32(kind))


def _unfit(column: SourceColumn, mask: Mask, table: str, reason: str) -> TerminalError:
    return TerminalError(
        f"Column {column.name!r} of table {table} is {column.native_type or 'without a type'} and lands as"
        f" {column.lands_as}: it cannot be masked by {mask.method.value!r}, for {reason}.",
        remedy="Use the method null, exclude the column, or cast it to text in query_sql.",
        table=table,
        column=column.name,
    )


def masker(mask: Mask) -> Callable[[pa.Array], pa.Array]:
    """Return what masks landed arrays of a column; raises ConfigError for a salt that cannot be read."""
    if mask.method is MaskMethod.TRUNCATE:
        return _truncated(mask.length or 0)
    if mask.salt is None:
        raise ValueError("only a hash is made of the values, and it has a salt")
    sign = _signer(mask.salt.key)

    def hashed(array: pa.Array) -> pa.Array:
        texts = array.cast(pa.string()).cast(pa.binary()).to_pylist()
        return pa.array([None if text is None else sign(text) for text in texts], pa.string())

    return hashed


def _signer(key: bytes) -> Callable[[bytes], str]:
    """Return HMAC-SHA-256 in hex (RFC 2104) under a key.

    From states that have taken the key already a million texts take 1.1 s of processor time, by ``hmac.digest`` 2.6 s.
    """
    block = hashlib.sha256().block_size
    padded = (key if len(key) <= block else hashlib.sha256(key).digest()).ljust(block, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))

    def sign(text: bytes) -> str:
        first, second = inner.copy(), outer.copy()
        first.update(text)
        second.update(first.digest())
        return second.hexdigest()

    return sign


def _truncated(length: int) -> Callable[[pa.Array], pa.Array]:
    import pyarrow.compute as pc

    return lambda array: pc.utf8_slice_codeunits(array, 0, length)


def spark_masked(mask: Mask, expression: str) -> str:
    """Return a Spark expression of the masked value. A hash has none: its salt would stand in the plan, which Spark logs."""
    if mask.method is not MaskMethod.TRUNCATE:
        raise TerminalError(
            f"Column {mask.column!r} cannot be hashed by Spark: the salt would stand in its plans and logs.",
            remedy="Read the table with the engine arrow, or mask the column by truncate or null.",
            column=mask.column,
        )
    return f"substring({expression}, 1, {mask.length})"


def refuse_other_types(landing: Mapping[str, pa.DataType], masks: Mapping[str, Mask], table: str) -> None:
    """Raise TerminalError where a masked column should land as something else than the text that masking makes of it."""
    for name, kind in landing.items():
        if name in masks and not pa.types.is_string(kind):
            raise TerminalError(
                f"Column {name!r} of table {table} is masked, which makes text of it; in the target it is {kind}.",
                remedy="Let the target's column give way to text with schema_policy.retyped: evolve, by a full refresh or"
                " --reload.",
                table=table,
                column=name,
            )

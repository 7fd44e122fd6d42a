"""Partitioned reads: strides between two bounds, as conditions that together take every row exactly once."""

from itertools import pairwise

from ingestion_runtime.endpoints.jdbc.columns import SourceColumn
from ingestion_runtime.endpoints.jdbc.dialect import Dialect
from ingestion_runtime.endpoints.jdbc.sql import PARTITION_ALIAS
from ingestion_runtime.model.cursor import CursorType
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.spec import PartitionRead
from ingestion_runtime.model.watermark import from_ticks, parse_watermark, to_ticks

_KINDS = (CursorType.TIMESTAMP, CursorType.DATE, CursorType.INT)


def stride_conditions(dialect: Dialect, column: SourceColumn, split: PartitionRead) -> tuple[str, ...]:
    """Return one condition per partition; one that takes everything when the bounds leave nothing to split.

    The bounds only say where to cut: the first partition also takes what lies below and NULL, the last what lies above.
    """
    kind = next((kind for kind in _KINDS if kind in column.cursors), None)
    if kind is None:
        raise TerminalError(
            f"Column {column.name!r} ({column.native_type}) cannot split a read: no whole number, date or time.",
            remedy="Name another column in partition_read, or remove it.",
            column=column.name,
        )
    low, high = (to_ticks(parse_watermark(kind, bound)) for bound in (split.lower, split.upper))
    steps = range(1, split.partitions)
    cuts = sorted({low + (high - low) * step // split.partitions for step in steps} if high > low else set())
    if not cuts:
        return ("1 = 1",)
    spelled = [dialect.literal(from_ticks(kind, cut), column) for cut in cuts]
    middle = [f"{PARTITION_ALIAS} >= {lower} AND {PARTITION_ALIAS} < {upper}" for lower, upper in pairwise(spelled)]
    first = f"{PARTITION_ALIAS} < {spelled[0]} OR {PARTITION_ALIAS} IS NULL"
    return (first, *middle, f"{PARTITION_ALIAS} >= {spelled[-1]}")

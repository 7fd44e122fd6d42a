"""The slices of a plan, with the statements that would read them and the rows that they would bring."""

from collections.abc import Mapping

from ingestion_runtime.explaining.forecast import Piece, SliceForecast
from ingestion_runtime.model.batch import IngestionPlan
from ingestion_runtime.model.cursor import Interval, KeyRange, Slice
from ingestion_runtime.model.endpoint import Reading, Shape, SourceEndpoint
from ingestion_runtime.model.watermark import to_ticks
from ingestion_runtime.planning.slices import is_splittable
from ingestion_runtime.strategies.context import ExecutionContext


def foresee_slices(context: ExecutionContext, plan: IngestionPlan, shape: Shape) -> tuple[SliceForecast, ...]:
    """Return the slices of a plan as a run would read them in this shape. Windows are counted by one statement."""
    rows = _count(context.source, plan)
    return tuple(_foresee(context, piece, shape, rows.get(piece.ordinal)) for piece in plan.slices)


def _foresee(context: ExecutionContext, piece: Slice, shape: Shape, rows: int | None) -> SliceForecast:
    reading = Reading((), 1) if piece.tombstones else context.extract(piece).shaped(shape).foresee()
    ends = piece.window or piece.reread
    return SliceForecast(
        ordinal=piece.ordinal,
        covers=_covers(piece),
        low=ends.low.literal if ends is not None and ends.low is not None else None,
        high=ends.high.literal if ends is not None and ends.high is not None else None,
        nulls=piece.reread is not None and piece.reread.nulls,
        keys=None if piece.keys is None else _spell(piece.keys),
        estimated_rows=rows,
        connections=reading.connections,
        statements=reading.statements,
    )


def _covers(piece: Slice) -> Piece:
    if piece.tombstones:
        return Piece.TOMBSTONES
    if piece.window is not None:
        return Piece.WINDOW
    return Piece.WHOLE if piece.reread is None else Piece.REREAD


def _spell(keys: KeyRange) -> str:
    low = f"above {keys.low.literal}" if keys.low else ""
    high = f"up to {keys.high.literal}" if keys.high else ""
    return f"{keys.column} {' '.join(filter(None, (low, high))) or 'of any value'}"


def _count(source: SourceEndpoint, plan: IngestionPlan) -> Mapping[int, int]:
    """Return the rows of slices by ordinal, of those whose rows somebody knows at little cost."""
    windows = [(piece.ordinal, piece.window) for piece in plan.reads if piece.window is not None and piece.keys is None]
    whole = [piece for piece in plan.reads if piece.window is None and piece.reread is None]
    if whole:
        guessed = source.described().estimated_rows
        return {} if guessed is None else {whole[0].ordinal: guessed}
    if len(windows) == 1 and plan.metadata.estimated_rows is not None:
        return {windows[0][0]: plan.metadata.estimated_rows}
    if not windows:
        return {}
    return dict(zip((place for place, _ in windows), _count_windows(source, [w for _, w in windows]), strict=True))


def _count_windows(source: SourceEndpoint, windows: list[Interval]) -> list[int]:
    if not is_splittable(windows[0].low.type):
        return [source.count_rows(window) for window in windows]
    edges = [to_ticks(windows[0].low), *(to_ticks(window.high) for window in windows)]
    return [cell.rows for cell in source.histogram(edges)]

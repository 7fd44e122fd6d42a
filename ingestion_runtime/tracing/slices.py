"""Whether a cursor lies in a slice, for cursors whose order is known here: of texts only their source knows it."""

from ingestion_runtime.model.cursor import CursorType, Slice, Watermark
from ingestion_runtime.tracing.values import is_later


def covers(piece: Slice, cursor: Watermark | None) -> bool | None:
    """Return whether a row with this cursor (None: NULL) belongs to a slice; None where only the source can say it."""
    if piece.tombstones:
        return False
    if piece.window is None and piece.reread is None:
        return True
    if cursor is None:
        return piece.reread is not None and piece.reread.nulls
    ends = [end for part in (piece.window, piece.reread) if part is not None for end in (part.low, part.high) if end]
    if cursor.type is CursorType.TEXT or any(end.type is not cursor.type for end in ends):
        return None
    if piece.window is not None:
        return is_later(cursor, piece.window.low) and not is_later(cursor, piece.window.high)
    low, high = (piece.reread.low, piece.reread.high) if piece.reread is not None else (None, None)
    return high is not None and not is_later(cursor, high) and (low is None or not is_later(low, cursor))

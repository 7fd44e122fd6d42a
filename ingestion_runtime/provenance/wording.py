"""What a slice covers, in words for people."""

from ingestion_runtime.model.cursor import KeyRange, ReRead, Slice


def spell_slice(piece: Slice) -> str:
    """Return what of the source a slice holds."""
    if piece.tombstones:
        return "keys that the source no longer had"
    keys = f", {_spell_keys(piece.keys)}" if piece.keys else ""
    if piece.window is not None:
        return f"above {piece.window.low.literal} up to {piece.window.high.literal}{keys}"
    return f"{'the whole table' if piece.reread is None else _spell_reread(piece.reread)}{keys}"


def _spell_reread(again: ReRead) -> str:
    span = ""
    if again.high is not None:
        span = f"up to {again.high.literal}" if again.low is None else f"from {again.low.literal} to {again.high.literal}"
    nulls = "rows without a cursor" if again.nulls else ""
    return f"again: {' and '.join(filter(None, (span, nulls))) or 'no rows'}"


def _spell_keys(keys: KeyRange) -> str:
    low = "" if keys.low is None else f" above {keys.low.literal}"
    high = "" if keys.high is None else f" up to {keys.high.literal}"
    return f"{keys.column}{low}{high}" if low or high else f"every {keys.column}"

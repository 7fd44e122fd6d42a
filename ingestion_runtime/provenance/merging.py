"""By which settings batches became rows: which of their rows share a key, and which of these is the newest."""

from collections.abc import Mapping

_MERGING = ("primary_keys", "incremental_column", "incr_col_type")


def merged_otherwise(former: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """Return the settings that differ between two readings (see ``spec.reading``) and decide how rows are merged; a former
    one without entries says nothing."""
    return tuple(name for name in _MERGING if former.get(name, now[name]) != now[name])

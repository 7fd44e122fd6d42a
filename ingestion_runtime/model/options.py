"""What the command line adds to a configuration, for one run."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class AskedWindow:
    """A window of the cursor as it was asked for: from ``start`` up to ``end``, which does not belong to it (None: up to the
    watermark). Texts, because each table reads them as its cursor is spelled."""

    start: str
    end: str | None = None


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line adds to a configuration, for one run.

    ``backfill``: read what lies at or below the watermark again and merge it; ``backfill_columns`` must be there.
    ``allow_shrink``: tables whose shrink guard is lifted. ``window``: nothing new is read, but the rows of a window again.
    """

    run_id: str
    load_date: date
    wm_lag_seconds: int | None = None
    heartbeat_seconds: int = 120
    notify_interval_seconds: int = 300
    reload: frozenset[str] = frozenset()
    backfill: bool = False
    backfill_columns: tuple[str, ...] = ()
    allow_shrink: frozenset[str] = frozenset()
    window: AskedWindow | None = None

"""Rows at or below the watermark that have to be looked at again."""

from ingestion_runtime.model.cursor import CursorType, Fingerprint, ReRead, Watermark
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.planning.watermark import subtract_lag


def effective_lag(table: TableSpec, command_line: int | None, runtime: int = 0) -> int:
    """Return the lag in seconds: the command line's, else the table's, else the runtime's.

    What holds for all tables of a run is not meant for a cursor that is no clock: an int one has its table's ``lag``, in
    its own units, a text one has none.
    """
    if table.incr_col_type is CursorType.INT:
        return table.lag or 0
    if table.incr_col_type is CursorType.TEXT:
        return table.lag_seconds or 0
    if command_line is not None:
        return command_line
    return runtime if table.lag_seconds is None else table.lag_seconds


def reread_set(watermark: Watermark | None, lag_seconds: int, nulls: bool) -> ReRead | None:
    """Return the re-read set of a table that stands at ``watermark`` (None: before its first batch).

    It reaches from ``lag_seconds`` before the watermark up to the watermark, both inclusive: without a lag it still
    holds the ties at the watermark. ``nulls`` adds the rows without a cursor; before the first batch they are all there
    is, and without them there is no set (None). Raises ConfigError for a lag that the cursor's type cannot have.
    """
    if watermark is None:
        return ReRead(None, None, nulls=True) if nulls else None
    return ReRead(subtract_lag(watermark, lag_seconds), watermark, nulls)


def must_reread(now: Fingerprint, recorded: Fingerprint | None, verified: Fingerprint | None) -> bool:
    """Return whether a re-read set may hold something new.

    ``now`` was just taken; ``recorded`` is the receipt's, ``verified`` the last one whose rows were read and brought
    nothing. Equal to either in subject, rows and digest: not read again. An empty set need not be read either.
    """
    return now.rows > 0 and now not in (recorded, verified)

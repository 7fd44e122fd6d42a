"""Rows at the source that the target does not have, or has otherwise: what the window says of their cursor."""

from ingestion_runtime.model.cursor import CursorType, Watermark
from ingestion_runtime.tracing.case import AGAIN, CORRECT, Case
from ingestion_runtime.tracing.cause import Cause, Verdict
from ingestion_runtime.tracing.evidence import Place, Reach
from ingestion_runtime.tracing.values import apart


def unfit(case: Case, reason: str) -> Verdict:
    """Return that a value of the row cannot land."""
    remedy = "Correct it at the source, exclude the row with source_filter, or cast the column in query_sql."
    return case.absent(Cause.CANNOT_LAND, f"its row holds a value that cannot land: {reason}", remedy)


def not_reached(case: Case) -> Verdict | None:
    """Return why a row is not read, or not yet; None where it lies below the watermark, or nobody knows."""
    window = case.found.window
    match window.reach:
        case Reach.READS:
            return _not_yet(case)
        case Reach.HELD:
            words = f"{case.lead}: its row ({case.cursor}) waits above the horizon: {window.held_by}"
            remedy = "It is read once that transaction has ended; if nobody will end it, end it at the source."
            return case.unequal(Cause.HELD_BY_HORIZON, words, remedy)
        case Reach.BEYOND:
            words = f"{case.lead}: its {case.cursor} is later than the source's own now"
            return case.unequal(Cause.BEYOND_NOW, words, "It is read once its time has come; or correct the value.")
        case Reach.IGNORED:
            words = f"{case.lead}: its {case.table.incremental_column} is NULL, and null_cursor is ignore"
            remedy = 'Give it a value at the source or in query_sql, or set "null_cursor": "read".'
            return case.unequal(Cause.NULL_CURSOR_IGNORED, words, remedy)
        case Reach.INITIAL:
            first = case.table.initial_watermark
            words = f"{case.lead}: its {case.cursor} is at or below initial_watermark {first.literal if first else ''}"
            remedy = f"Lower initial_watermark or leave it out, and read the table anew with {case.reload}."
            if case.table.incr_col_type is not CursorType.TEXT:
                remedy = f"Read its window with --start-date, which may lie below it. {remedy}"
            return case.unequal(Cause.BELOW_INITIAL_WATERMARK, words, remedy)
    return None


def _not_yet(case: Case) -> Verdict:
    window = case.found.window
    mark = window.watermark.literal if window.watermark else "not there yet"
    words = f"{case.lead}: its row ({case.cursor}) has not been read yet, the watermark is {mark}"
    stopped = window.refusal or case.failure
    if stopped:
        return case.unequal(Cause.RUN_FAILED, f"{words}, and {stopped}", CORRECT)
    return case.unequal(Cause.NOT_READ_YET, f"{words}; the next run reads it", AGAIN)


def too_late(case: Case) -> Verdict | None:
    """Return since when a row below the watermark is too late; None where it does not lie there."""
    window = case.found.window
    if window.reach is not Reach.BELOW or window.watermark is None:
        return None
    mark, cursor = window.watermark, case.rows[0].cursor
    if window.changed:
        return case.absent(
            Cause.SETTINGS_CHANGED,
            f"it lies below the watermark {mark.literal}, and what is read has changed since that was reached:"
            f" {'; '.join(window.changed)}",
            f"Restore the former settings, or replace the table with {case.reload}.",
        )
    measured = cursor is not None and cursor.type is mark.type and cursor.type is not CursorType.TEXT
    late = f" by {apart(mark, cursor)}" if measured and cursor is not None else ""
    lag = f", where the lag begins at {window.reread_from.literal}" if window.reread_from else ""
    return case.absent(
        Cause.LATE_BEYOND_LAG,
        f"it came {_how_late(case)}: its {case.cursor} lies below the watermark {mark.literal}{late}{lag}{_unseen(case)}",
        f"{case.again}{_later_on(case)}",
    )


def _later_on(case: Case) -> str:
    """What keeps it from happening again, to follow what mends it."""
    if case.table.incr_col_type is CursorType.TEXT:
        return "; a text cursor has no lag: let new and changed rows have larger ones, or use mode full."
    delay = f", and raise the lag of {case.table.name} above that delay; a cursor that the clock of an application sets"
    return f"{delay} needs one."


def _how_late(case: Case) -> str:
    """A row that had been there came back; any other one came."""
    last = case.found.lake.newest(Place.PUBLISHED)
    if last is None or not last.tombstone:
        return "too late"
    return f"back too late, after batch {last.batch_id} of {last.load_date} had removed it"


def _unseen(case: Case) -> str:
    """Who read its window without it; nobody where a batch has brought it before."""
    reader = case.found.window.covered_by
    seen = case.table.primary_keys and case.found.lake.newest(Place.PUBLISHED) is not None
    return f"; batch {reader} had read that window without it" if reader and not seen else ""


def changed_unseen(case: Case) -> Verdict | None:
    """Return why a change was not read, most often because it did not move the cursor; None where the row lies above the
    watermark."""
    window = case.found.window
    if window.reach is not Reach.BELOW or window.watermark is None:
        return None
    if window.changed:
        words = f"{case.lead}, and what is read has changed since the last publish: {'; '.join(window.changed)}"
        remedy = f"Restore the former settings, or replace the table with {case.reload}."
        return case.unequal(Cause.SETTINGS_CHANGED, words, remedy)
    return _unfilled(case) or _moved(case, window.watermark) or _unmoved(case, window.watermark)


def _unfilled(case: Case) -> Verdict | None:
    """The row differs in nothing but columns that its batch did not have yet."""
    last = case.found.lake.newest(Place.PUBLISHED)
    if last is None or last.tombstone or not last.columns:
        return None
    names = [name for name, _, there in case.found.differing if name not in last.columns and there == "NULL"]
    if len(names) < len(case.found.differing):
        return None
    told = f"the column {names[0]}" if len(names) == 1 else f"the columns {', '.join(names)}"
    words = f"{case.lead}: {told} came to the table after batch {last.batch_id} of {last.load_date} had brought its row"
    remedy = f"Fill it in: ingestion backfill --table {case.table.name} --columns {','.join(names)}"
    return case.unequal(Cause.COLUMN_NOT_FILLED, words, remedy)


def _moved(case: Case, mark: Watermark) -> Verdict | None:
    """The change did move the cursor, to where nothing is read any more."""
    before = next(
        (there or "another" for name, _, there in case.found.differing if name == case.table.incremental_column), ""
    )
    if not before:
        return None
    words = f"{case.lead}: it was changed too late: its {case.cursor} was {before} when the row was read"
    words += f", and is not above the watermark {mark.literal}"
    remedy = f"{case.again}{_later_on(case)}"
    return case.unequal(Cause.LATE_BEYOND_LAG, words, remedy)


def _unmoved(case: Case, mark: Watermark) -> Verdict:
    words = f"{case.lead}: it was changed without a cursor that moved: {case.cursor} is not above the watermark"
    remedy = f"{case.again}; let every change move {case.table.incremental_column} (a trigger), or use mode full."
    return case.unequal(Cause.CHANGE_WITHOUT_CURSOR, f"{words} {mark.literal}", remedy)

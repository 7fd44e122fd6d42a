"""Rows that a batch has read and that are not published: it is under way, was given up, or its publish never happened."""

from ingestion_runtime.model.state import BatchEnd
from ingestion_runtime.tracing.case import CORRECT, Case, short, why
from ingestion_runtime.tracing.cause import Cause, Verdict
from ingestion_runtime.tracing.evidence import Place, Reach, Sighting
from ingestion_runtime.tracing.slices import covers


def on_its_way(case: Case) -> Verdict | None:
    """Return which batch has the row and why it is not published; None where none has it."""
    lake, ends = case.found.lake, case.found.state.ends
    staged = lake.newest(Place.STAGED)
    if staged is not None:
        opened = next((end for end in ends if end.outcome == "open"), None)
        return case.absent(
            Cause.BATCH_NOT_PUBLISHED,
            f"batch {staged.batch_id} has staged {_what(case, staged)} (slice {staged.slice}) and is not published"
            f"{why(opened)}",
            f"{CORRECT[:-1] if why(opened) else 'Run the table'}: the batch is finished first.",
        )
    loose, published = lake.newest(Place.LANDED, Place.ABANDONED), lake.newest(Place.PUBLISHED)
    newest = ends[0] if ends else None
    if newest is not None and _refused(case, newest):
        return case.absent(
            Cause.BATCH_REFUSED,
            f"batch {newest.batch.id}, which read it, was given up: {short(newest.error or '')}",
            CORRECT,
        )
    if loose is not None and (published is None or loose.sequence >= published.sequence):
        return _unpublished(case, loose)
    return None


def _what(case: Case, one: Sighting) -> str:
    """The row as it is, or as it was when the batch read it."""
    now = case.rows[0].cursor if case.rows and case.table.primary_keys else None
    return "it" if now is None or one.cursor is None or one.cursor == now else "an earlier version of it"


def _refused(case: Case, end: BatchEnd) -> bool:
    """Whether the last batch was given up for what it had read, and must have read this row: nothing of it is left."""
    if end.outcome != "abandoned" or end.error is None or not case.rows:
        return False
    if any(one.batch_id == end.batch.id for one in case.found.lake.sightings):
        return False  # it is seen in raw
    known = [covers(piece, case.rows[0].cursor) for piece in end.batch.plan.reads]
    return any(known) or (None in known and case.found.window.reach is Reach.READS)


def _unpublished(case: Case, loose: Sighting) -> Verdict:
    end = next((end for end in case.found.state.ends if end.batch.id == loose.batch_id), None)
    if loose.place is Place.ABANDONED:
        return case.absent(
            Cause.BATCH_ABANDONED,
            f"batch {loose.batch_id}, which landed it in raw, was given up{why(end)}",
            "Run the table: the next batch reads it again, if the source still has it.",
        )
    going_on = end is not None and end.outcome == "open"
    return case.absent(
        Cause.LANDED_NOT_PUBLISHED,
        f"batch {loose.batch_id} landed {_what(case, loose)} in raw (slice {loose.slice}), and its publish never happened"
        f"{why(end)}",
        "Run the table: the batch is finished first." if going_on else "Run the table: it is read again.",
    )

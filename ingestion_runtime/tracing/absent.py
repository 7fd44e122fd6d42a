"""Keys of which readers see no row: taken away, on their way, or never read."""

from ingestion_runtime.model.spec import NullKeys
from ingestion_runtime.tracing.case import CORRECT, Case, moment
from ingestion_runtime.tracing.cause import Cause, Verdict
from ingestion_runtime.tracing.evidence import Era, Place, Sighting
from ingestion_runtime.tracing.pending import on_its_way
from ingestion_runtime.tracing.standing import filtered
from ingestion_runtime.tracing.unread import not_reached, too_late, unfit


def absent(case: Case) -> Verdict | None:
    """Return why no row of the key is there; None where nothing explains it."""
    if case.wanted.has_null:
        null = _null_key(case)
        if null is not None:
            return null
    hidden = bool(case.found.source.hidden and not case.rows)
    taken = _by_another_hand(case) or (filtered(case) if hidden else _deleted(case))
    if taken is not None:
        return taken
    pending = on_its_way(case)
    if pending is not None:
        return pending
    return _unread(case) if case.rows else _nowhere(case)


def without_table(case: Case) -> Verdict:
    """Return why there is no table at all."""
    known, landed = case.found.state.receipt, case.found.lake.newest(Place.PUBLISHED)
    if known is not None:
        return case.absent(
            Cause.TABLE_GONE,
            f"its table is gone, although batch {known.batch_id} of {known.load_date} was published into it",
            f"Restore the table, rebuild it from raw, or read it anew with {case.reload}.",
        )
    pending = on_its_way(case)
    if pending is not None:
        return pending
    if landed is not None and not case.incremental:
        return case.absent(
            Cause.LANDED_NOT_PUBLISHED,
            f"batch {landed.batch_id} landed it in raw, and there is no table (finalize_full_refresh is off, or it is gone)",
            "Switch runtime.finalize_full_refresh on and run the table.",
        )
    stopped = case.found.window.refusal or case.failure
    told = f": {stopped}" if stopped else ""
    return case.absent(Cause.NEVER_LOADED, f"the table was never loaded{told}", CORRECT if stopped else "Run the table.")


def _null_key(case: Case) -> Verdict | None:
    aside = case.found.lake.quarantined
    if aside:
        last = aside[-1]
        rows = "1 row" if last.rows == 1 else f"{last.rows} rows"
        return case.absent(
            Cause.NULL_KEY_QUARANTINED,
            f"its key is NULL: {rows} of batch {last.batch_id} {'was' if last.rows == 1 else 'were'} set aside in"
            f" {last.directory}",
            "Give the row a key at the source; it arrives when its cursor moves.",
        )
    if not case.rows or not case.table.primary_keys or case.table.null_keys is not NullKeys.REFUSE:
        return None
    told = f"; {case.failure}" if case.failure else ""
    return case.absent(
        Cause.NULL_KEY_REFUSED,
        f"its key is NULL, which ends every run that reads it{told}",
        'Give it a key at the source, or set "null_keys": "quarantine" to keep such rows beside raw.',
    )


def _by_another_hand(case: Case) -> Verdict | None:
    """The last publish had it, and what readers see is something else."""
    target, last = case.found.target, case.found.lake.newest(Place.PUBLISHED)
    had_it = target.published
    if had_it is None:  # it cannot be looked at any more: raw says it
        had_it = last is not None and not last.tombstone
    if target.damage is None or not had_it:
        return None
    if target.rewound:
        return case.absent(
            Cause.ROLLED_BACK,
            f"the table was rolled back to snapshot {target.snapshot}, which is older than the last publish",
            case.restore,
        )
    gone = _gone(case)
    if gone is not None and not gone.ours:
        return _removed(case, gone)
    words = f"the table left the last publish, which had it: {target.damage}"
    return case.absent(Cause.REMOVED_BY_ANOTHER_WRITER, words, case.restore)


def _deleted(case: Case) -> Verdict | None:
    """It was published, and a batch took it away: by a tombstone, or by reading its window again."""
    target, last = case.found.target, case.found.lake.newest(Place.PUBLISHED)
    if target.marked is not None and not case.rows:
        by = f" by batch {last.batch_id}" if last is not None and last.tombstone else ""
        when = f"the source no longer had it on {moment(target.marked)}, and it was marked as deleted{by}"
        return case.absent(Cause.MARKED_AS_DELETED, when)
    if target.marked is not None or last is None:
        return None
    if last.tombstone:
        return None if case.rows else _by_batch(case, last)
    gone = _gone(case)
    if gone is None or case.rows or target.damage is not None:
        return None
    batch = f"batch {gone.batch}" if gone.batch else f"the batch of snapshot {gone.snapshot}"
    words = f"{batch} of {moment(gone.at)} read its window again, and the source had it no more"
    return case.absent(Cause.DELETED_AT_SOURCE, words)


def _by_batch(case: Case, last: Sighting) -> Verdict:
    words = f"the source no longer had it, and batch {last.batch_id} of {last.load_date} removed it"
    return case.absent(Cause.DELETED_AT_SOURCE, words)


def _gone(case: Case) -> Era | None:
    """Return the snapshot as of which readers see it no more."""
    eras = case.found.target.eras
    return eras[0] if eras and not eras[0].there else None


def _removed(case: Case, gone: Era) -> Verdict:
    return case.absent(
        Cause.REMOVED_BY_ANOTHER_WRITER,
        f"snapshot {gone.snapshot} of {moment(gone.at)} ({gone.operation}) of another writer removed it",
        case.restore,
    )


def _unread(case: Case) -> Verdict | None:
    if case.found.source.unfit is not None:
        return unfit(case, case.found.source.unfit)
    if case.incremental:
        return not_reached(case) or too_late(case)
    if case.failure:
        return case.absent(Cause.RUN_FAILED, f"the last full refresh did not have it, and {case.failure}", CORRECT)
    return case.absent(
        Cause.NOT_READ_YET, "it came to the source after the last full refresh", "The next full refresh brings it."
    )


def _nowhere(case: Case) -> Verdict:
    """Neither source nor target has it."""
    lake, near = case.found.lake, case.found.source.near
    alike = f"; the source has {', '.join(near)}, which is another key" if near else ""
    last = lake.newest(Place.PUBLISHED, Place.REPLACED)
    if last is None:
        gaps = " (raw is not complete)" if lake.gaps or lake.unread else ""
        nothing = "the source has no such row" if case.table.query_sql is None else "query_sql gives no such row"
        return case.absent(Cause.NOT_AT_SOURCE, f"{nothing}, and no batch in raw ever brought it{gaps}{alike}")
    words = f"{case.gone}; batch {last.batch_id} of {last.load_date} was the last that"
    words += " removed it" if last.tombstone else " had it, and the table was replaced since"
    return case.absent(Cause.DELETED_AT_SOURCE, f"{words}{alike}")

"""Keys of which readers see a row: as the source has it, or otherwise, or although the source has it no more."""

from ingestion_runtime.model.spec import Deletes
from ingestion_runtime.tracing.case import AGAIN, CORRECT, Case, moment
from ingestion_runtime.tracing.cause import Cause, Verdict
from ingestion_runtime.tracing.evidence import Era, Place, Sighting
from ingestion_runtime.tracing.pending import on_its_way
from ingestion_runtime.tracing.unread import changed_unseen, not_reached, too_late, unfit


def standing(case: Case) -> Verdict | None:
    """Return why the row that readers see is there, and whether it is what the source has."""
    if not case.rows:
        return _without_source(case)
    # Of a row that cannot land not all columns were compared.
    if case.found.compared and not case.found.differing and case.found.source.unfit is None:
        return _equal(case)
    return _unequal(case)


def filtered(case: Case) -> Verdict:
    """Return that the table's filter or query hides a row that the source has."""
    by = "query_sql" if case.table.query_sql is not None else "source_filter"
    if not case.there:
        last = case.found.lake.newest(Place.PUBLISHED)
        taken = "" if last is None or not last.tombstone else f": batch {last.batch_id} of {last.load_date} took it away"
        return case.absent(
            Cause.FILTERED_OUT,
            f"{by} does not let its row through{taken}",
            f"If it belongs into the target, correct {by} and read the table anew with {case.reload}.",
        )
    kept = "rows that leave the filter stay" if case.table.deletes is Deletes.IGNORE else "the next run counts it as deleted"
    words = f"{case.who} is in the target, although {by} no longer lets its row at the source through: {kept}"
    return case.unequal(Cause.FILTERED_OUT, words, f"Read the table anew with {case.reload} if it should go.")


def _equal(case: Case) -> Verdict:
    asked, brought = [row for row in case.rows if row.fits], _brought(case)
    if case.table.primary_keys:
        if len(case.rows) > 1 and not (case.wanted.version and case.rows[0].fits):
            return _beaten(case, f"the source has {len(case.rows)} rows of this key")
        if not asked:
            return _former_version(case)
    # What a lag window brings again is no other version: the cursor tells them apart.
    former = len({one.cursor for one in brought}) - 1 if case.table.primary_keys else 0
    told = f"; {former} earlier {'version was' if former == 1 else 'versions were'} overwritten" if former > 0 else ""
    rows = f" ({len(case.found.target.rows)} rows)" if len(case.found.target.rows) > 1 else ""
    words = f"{case.who} is in the target{rows} and equals the source{case.since}{told}."
    return Verdict(Cause.PRESENT, in_target=True, equals_source=True, sentence=words)


def _brought(case: Case) -> list[Sighting]:
    """The rows of the key that published batches brought, the newest last."""
    return [one for one in case.found.lake.sightings if one.place is Place.PUBLISHED and not one.tombstone]


def _former_version(case: Case) -> Verdict:
    lake = case.found.lake
    asked = [one for one in _brought(case) if one.fits]
    if asked:
        return _beaten(case, f"the version that was asked for came with batch {asked[-1].batch_id}")
    stands = f"{case.who} is in the target and equals the source, and the version that was asked for"
    former = [one for one in lake.sightings if one.place is Place.REPLACED and one.fits and not one.tombstone]
    if former:
        words = f"{stands} came with batch {former[-1].batch_id} of {former[-1].load_date}: the table was replaced since."
        return Verdict(Cause.OVERWRITTEN, in_target=True, equals_source=True, sentence=words)
    partly = " as far as raw goes back" if lake.gaps or lake.unread else ""
    remedy = "Between two runs only the last version of a row can be seen."
    words = f"{stands} was never read{partly}."
    return Verdict(Cause.NOT_AT_SOURCE, in_target=True, equals_source=True, sentence=words, remedy=remedy)


def _beaten(case: Case, reason: str) -> Verdict:
    """A version that gave way to a newer one: in the same batch, or in a later one."""
    brought, newest = _brought(case), case.rows[0].cursor
    # Later batches may have read the same version again: the first one that brought it won.
    winner = next((one for one in brought if one.cursor == newest), brought[-1] if brought else None)
    together = winner is not None and sum(one.batch_id == winner.batch_id for one in brought) > 1
    cursor = f" with {case.table.incremental_column} {newest.literal}" if newest else ""
    if winner is None:
        how = "by a newer one"
    elif together:
        how = f"in batch {winner.batch_id}, which read several of its versions"
    else:
        how = f"by batch {winner.batch_id} of {winner.load_date}"
    words = f"{case.who} is in the target as its newest row{cursor}; the older one was overwritten {how}: {reason}."
    remedy = "A key has one row in the target: make it unique at the source." if len(case.rows) > 1 else ""
    cause = Cause.LOST_IN_BATCH if together else Cause.OVERWRITTEN
    return Verdict(cause, in_target=True, equals_source=True, sentence=words, remedy=remedy)


def _without_source(case: Case) -> Verdict:
    if case.found.source.hidden:
        return filtered(case)
    gone = f"{case.who} is in the target{case.since}, and {case.gone}"
    if not case.incremental:
        words = f"{gone}: it went after the last full refresh"
        return case.unequal(Cause.DELETE_NOT_READ_YET, words, "The next full refresh leaves it out.")
    if case.table.mode == "append":
        return case.unequal(Cause.DELETES_IGNORED, f"{gone}: an append table keeps what it has", f"{case.again}.")
    if case.table.deletes is Deletes.IGNORE:
        remedy = f'Set "deletes" to hard or soft, or read the table anew with {case.reload}.'
        return case.unequal(Cause.DELETES_IGNORED, f"{gone}: deletes are ignored", remedy)
    words = f"{gone}: the next run that publishes {'marks' if case.table.deletes is Deletes.SOFT else 'removes'} it"
    if case.failure:
        return case.unequal(Cause.RUN_FAILED, f"{words}, but {case.failure}", CORRECT)
    return case.unequal(Cause.DELETE_NOT_READ_YET, words, AGAIN)


def _unequal(case: Case) -> Verdict | None:
    foreign = _changed_by_another(case)
    if foreign is not None:
        when = f"snapshot {foreign.snapshot} of {moment(foreign.at)} ({foreign.operation})"
        return case.unequal(
            Cause.CHANGED_BY_ANOTHER_WRITER, f"{case.lead}: {when} of another writer changed it", case.restore
        )
    pending = on_its_way(case)
    if pending is not None:
        return pending
    if case.found.source.unfit is not None:
        return unfit(case, case.found.source.unfit)
    if case.surplus:
        return _surplus(case)
    if not case.incremental:
        return _unrefreshed(case)
    # Without a key nothing is changed, only missing.
    return not_reached(case) or (changed_unseen if case.table.primary_keys else too_late)(case)


def _unrefreshed(case: Case) -> Verdict:
    """A full table that is otherwise than its source."""
    changed = case.found.window.changed
    if changed:
        words = f"{case.lead}: what is read has changed since the last full refresh: {'; '.join(changed)}"
        return case.unequal(Cause.SETTINGS_CHANGED, words, "The next full refresh brings it.")
    words = f"{case.lead}: it changed after the last full refresh"
    if case.failure:
        return case.unequal(Cause.RUN_FAILED, f"{words}, and {case.failure}", CORRECT)
    return case.unequal(Cause.NOT_READ_YET, words, "The next full refresh brings it.")


def _surplus(case: Case) -> Verdict:
    """All rows that the source has are there, and some that it has no more."""
    if case.incremental:
        return case.unequal(Cause.DELETES_IGNORED, f"{case.lead}: an append table keeps what it has", f"{case.again}.")
    words = f"{case.lead}: the others went after the last full refresh"
    return case.unequal(Cause.DELETE_NOT_READ_YET, words, "The next full refresh leaves them out.")


def _changed_by_another(case: Case) -> Era | None:
    """Return the snapshot of another writer by which the row got the values that readers see."""
    target = case.found.target
    if target.damage is None or target.rewound or not target.eras:
        return None
    return target.eras[0] if target.eras[0].there and not target.eras[0].ours else None

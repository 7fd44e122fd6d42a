"""From how a table stands to findings in words, and to what ``apply`` would make of it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from ingestion_runtime.maintenance.looking import TableLook
from ingestion_runtime.maintenance.report import Finding, FindingKind, Status, some
from ingestion_runtime.maintenance.retention import Remains
from ingestion_runtime.model.errors import LostFileError, StaleMainError, TerminalError
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.upkeep import Survey
from ingestion_runtime.provenance.chain import Link, LinkState
from ingestion_runtime.state.processes import is_at_work
from ingestion_runtime.telling import counted

_HOUR = 3600.0
_BACKUP = "ingest_backup_"


def find_all(table: TableSpec, look: TableLook, owner: str, now: datetime) -> tuple[Finding, ...]:
    """Return everything that is worth saying of a table, what stops it first; nothing is seen to where something does."""
    found = (
        *_standing(look, owner),
        *_configuration(table, look),
        *_files(table, look.survey),
        *_attempts(table, look, now),
        *_raw(look),
    )
    return found if hindrance(look, owner) is None else tuple(replace(finding, apply=False) for finding in found)


def foresee(table: TableSpec, look: TableLook, owner: str, now: datetime) -> Status:
    """Return how ``apply`` would end now."""
    survey = look.survey
    if hindrance(look, owner) is not None:
        return Status.ERROR
    if survey is not None and survey.wants_rewrite:
        return Status.REPARTITIONED if survey.partition else Status.REWRITTEN
    if needs_lease(table, look, now):
        return Status.APPLIED
    return Status.NO_DATA if survey is None and not look.chain.links else Status.NOOP


def needs_lease(table: TableSpec, look: TableLook, now: datetime) -> bool:
    """Whether there is something to do under the table's lease; also where a dead run did not give it back."""
    survey, raw = look.survey, look.raw
    around = survey is not None and (
        survey.expirable or survey.removable.files or stale_branches(look) or stale_backups(table, look)
    )
    below = raw.marks or any(part.directories for part in (raw.landings, raw.abandoned, raw.old, raw.quarantine))
    stale = look.lease is not None and not is_at_work(look.lease, now)
    return bool(stale or around or below or removable_slices(look))


def hindrance(look: TableLook, owner: str) -> TerminalError | None:
    """Return why nothing may be done to a table; None where nothing is in the way."""
    head, receipt = look.head, look.receipt
    if look.unreadable is not None:
        return TerminalError(
            f"What the state knows of this table cannot be read: {look.unreadable}",
            remedy="Restore the state database from a backup; then maintain the table.",
        )
    if receipt is not None and receipt.owner != owner:
        return _foreign(receipt.owner, owner)
    if head is not None and head.damage:
        return _damaged(head.damage)
    if look.lost is not None:
        return LostFileError(
            f"{look.lost}.",
            remedy="Nothing is rewritten or removed. Restore it from a backup of the warehouse; or replace the table, from"
            " raw with --maintenance-mode rebuild-from-raw, or from the source with --reload.",
        )
    return _set_back(look)


def _set_back(look: TableLook) -> TerminalError | None:
    """Return by what the target is known to be earlier than it was; None for one that is not."""
    if _is_behind_state(look):
        return TerminalError(
            f"The target is not as the state knows it: {_behind_state(look)}.",
            remedy="Nothing is rewritten or removed. Restore the table, replace it from the source with --reload, or rebuild"
            " it by --maintenance-mode rebuild-from-raw.",
        )
    if look.ahead_in_raw is not None:
        return TerminalError(
            f"The target is not as raw knows it: {_behind_raw(look.ahead_in_raw)}.",
            remedy="Nothing is rewritten or removed, so that it can be brought back: by restoring the catalog as it was, or"
            " by --maintenance-mode rebuild-from-raw. To go on from where the table stands, let it be ingested first.",
        )
    return None


def _foreign(found: str, owner: str) -> TerminalError:
    return TerminalError(
        f"The target is published by the configuration {found!r}, this one is {owner!r}.",
        remedy="Let that configuration maintain it.",
        owner=found,
    )


def _damaged(damage: str) -> StaleMainError:
    return StaleMainError(
        f"The target is not as the last run left it: {damage}.",
        remedy="Nothing is rewritten or removed, so that it can be brought back: by --maintenance-mode rebuild-from-raw, by"
        " hand (the snapshot tagged ingest_last), or from the source with --reload.",
        damage=damage,
    )


def _standing(look: TableLook, owner: str) -> Iterator[Finding]:
    head, receipt, known = look.head, look.receipt, look.known
    if receipt is not None and receipt.owner != owner:
        yield Finding(FindingKind.FOREIGN, _foreign(receipt.owner, owner).message)
    if head is not None and head.damage:
        yield Finding(FindingKind.DAMAGED, f"the target is not as the last run left it: {head.damage}")
    if look.unreadable is not None:
        yield Finding(FindingKind.STATE_UNREADABLE, look.unreadable)
    if look.lost is not None:
        yield Finding(FindingKind.FILE_LOST, look.lost)
    if _is_behind_state(look):
        yield Finding(FindingKind.STATE_AHEAD, _behind_state(look))
    elif look.ahead_in_raw is not None:
        yield Finding(FindingKind.RAW_AHEAD, _behind_raw(look.ahead_in_raw), names=(look.ahead_in_raw.raw.directory,))
    elif receipt is not None and (known is None or known.receipt.sequence < receipt.sequence):
        has = f"batch {known.receipt.sequence}" if known else "none"
        message = f"the table has batch {receipt.sequence}, the state knows {has}: the next run brings it up"
        yield Finding(FindingKind.STATE_BEHIND, message)


def _is_behind_state(look: TableLook) -> bool:
    """Whether the state knows a later batch than the table."""
    return look.known is not None and look.known.receipt.sequence > (look.receipt.sequence if look.receipt else 0)


def _behind_state(look: TableLook) -> str:
    knows = look.known.receipt.sequence if look.known else 0
    stands = f"batch {look.receipt.sequence}" if look.receipt else "no receipt"
    return f"the state knows batch {knows}, the table has {stands}: it was dropped, restored or replaced"


def _behind_raw(last: Link) -> str:
    return f"raw has batch {last.sequence}, published after the one that the table's receipt names: the catalog was set back"


def _configuration(table: TableSpec, look: TableLook) -> Iterator[Finding]:
    survey = look.survey
    if survey is not None and survey.partition:
        how = "written anew" if table.spec_mode.value == "replace" else "left as they are, new files follow it"
        kind, files = FindingKind.PARTITION_DIFFERS, survey.former
        message = f"the partition differs: {survey.partition}; files would be {how}"
        yield Finding(kind, message, survey.unfit is None, files.files, files.size)
    if look.columns is not None:
        present = {name.casefold() for name in look.columns}
        for key, column in _named_columns(table):
            if column.casefold() not in present:
                yield Finding(FindingKind.COLUMN_MISSING, f"{key} names {column}, which is no column of the table")


def _named_columns(table: TableSpec) -> Iterator[tuple[str, str]]:
    """Yield the settings that name columns of the target, and the columns."""
    yield from (("primary_keys", name) for name in table.primary_keys)
    if table.incremental_column is not None:
        yield "incremental_column", table.incremental_column
    yield from (("intermediate.partition", field.column) for field in table.partition)
    if table.merge_filter is not None:
        from sqlglot import exp, parse_one

        columns = parse_one(table.merge_filter, dialect="spark").find_all(exp.Column)
        yield from (("intermediate.merge_filter", name) for name in dict.fromkeys(column.name for column in columns))


def _files(table: TableSpec, survey: Survey | None) -> Iterator[Finding]:
    if survey is None:
        return
    settings = table.maintenance
    # Fewer than that is how a healthy table looks.
    if survey.small.files and (survey.rewritable.files or survey.small.files >= settings.min_small_files > 0):
        wanted = survey.rewritable.files > 0 and survey.unfit is None
        all_files = counted(survey.data.files, "data file")
        message = f"{survey.small.files:,} of {all_files} below {settings.small_file_mb} MiB"
        yield Finding(FindingKind.SMALL_FILES, message, wanted, survey.small.files, survey.small.size)
    if survey.deletes.files:
        hidden = "" if survey.dead_rows is None else f" for {counted(survey.dead_rows, 'deleted row')}"
        wanted = survey.rewritable.files > 0 and survey.unfit is None
        message = f"{counted(survey.deletes.files, 'delete file')}{hidden}"
        yield Finding(FindingKind.DELETE_FILES, message, wanted, survey.deletes.files, survey.deletes.size)
    if survey.unfit is not None and (survey.partition or survey.rewritable.files):
        yield Finding(FindingKind.REWRITE_BLOCKED, f"files cannot be written anew: {survey.unfit}")
    if survey.expirable:
        oldest = f", the oldest of {survey.oldest:%Y-%m-%d %H:%M}" if survey.oldest else ""
        message = f"{survey.expirable:,} of {counted(survey.snapshots, 'snapshot')} may expire{oldest}"
        yield Finding(FindingKind.SNAPSHOTS, message, apply=True, count=survey.expirable)
    if survey.orphans:
        yield _orphans(survey)


def _orphans(survey: Survey) -> Finding:
    young = len(survey.orphans) - survey.removable.files
    message = f"{counted(len(survey.orphans), 'file')} in the table's folder that nothing names"
    if survey.unclear is not None:
        message += f"; none would be removed: {survey.unclear}"
    elif young:
        message += f"; too young to be removed: {young:,}"
    wanted = survey.unclear is None and survey.removable.files > 0
    size = sum(orphan.size for orphan in survey.orphans)
    names = some([orphan.path for orphan in survey.orphans])
    return Finding(FindingKind.ORPHANS, message, wanted, len(survey.orphans), size, names)


def _attempts(table: TableSpec, look: TableLook, now: datetime) -> Iterator[Finding]:
    lease, opened = look.lease, look.opened
    if lease is not None:
        holder, busy = lease.holder, is_at_work(lease, now)
        how = "is at work" if busy else "has died, or its lease ran out"
        message = f"run {holder.run_id} (process {holder.pid} on {holder.host}) holds the lease and {how}"
        yield Finding(FindingKind.LEASE, message, apply=not busy)
    if opened is not None:
        busy = lease is not None and is_at_work(lease, now)
        what = "that run is at work on it" if busy else "the next run finishes it or gives it up"
        message = f"batch {opened.id} of run {opened.run_id} is open: {what}"
        yield Finding(FindingKind.OPEN_BATCH, message, names=(opened.id,))
    stale = stale_branches(look)
    if stale:
        kept = len(look.survey.attempts) - len(stale) if look.survey else 0
        message = f"{len(stale)} branches of attempts that are over" + (
            f"; {kept} of the open batch are kept" if kept else ""
        )
        yield Finding(FindingKind.STALE_BRANCHES, message, apply=True, count=len(stale), names=some(stale))
    backups = stale_backups(table, look)
    if backups:
        message = f"{counted(len(backups), 'backup')} of rebuilds, though keep_backup is false"
        yield Finding(FindingKind.BACKUPS, message, apply=True, count=len(backups), names=some(backups))
    yield from _slices(look)


def _slices(look: TableLook) -> Iterator[Finding]:
    open_id = look.opened.id if look.opened else None
    mine = [piece for piece in look.staged if open_id is not None and piece.batch_id == open_id]
    over = [piece for piece in look.staged if piece not in mine]
    removable = removable_slices(look)
    if mine:
        whole = sum(piece.staged for piece in mine)
        message = f"{counted(len(mine), 'slice')} of the open batch {open_id} in staging, whole: {whole}"
        yield Finding(FindingKind.STAGED_OPEN, message, count=len(mine), names=some([piece.directory for piece in mine]))
    if over:
        whose = sorted({piece.batch_id or "unreadable" for piece in over})
        oldest = max(piece.age_seconds for piece in over) / _HOUR
        message = (
            f"{counted(len(over), 'slice')} of batches that are over in staging ({', '.join(some(whose))}), the oldest for"
            f" {oldest:.0f} h; past staging.ttl_hours: {removable}"
        )
        names = some([piece.directory for piece in over])
        yield Finding(FindingKind.STAGED_OVER, message, removable > 0, len(over), names=names)


def stale_branches(look: TableLook) -> list[str]:
    """Return the branches of attempts at other batches than the open one."""
    if look.survey is None:
        return []
    return [name for name in look.survey.attempts if look.opened is None or look.opened.id not in name]


def stale_backups(table: TableSpec, look: TableLook) -> list[str]:
    """Return the tags of what rebuilds replaced that are not to be kept, but for one of an open rebuild."""
    if look.survey is None or table.maintenance.keep_backup:
        return []
    tags = [found.name for found in look.survey.references if found.kind == "tag" and found.name.startswith(_BACKUP)]
    return [tag for tag in tags if look.opened is None or look.opened.id not in tag]


def removable_slices(look: TableLook) -> int:
    """Return how many staged slices of batches that are over are old enough to go."""
    open_id = look.opened.id if look.opened else None
    return sum(piece.expired and (open_id is None or piece.batch_id != open_id) for piece in look.staged)


def _raw(look: TableLook) -> Iterator[Finding]:
    chain, work = look.chain, look.raw
    open_id = look.opened.id if look.opened else None  # told as such
    for gap in chain.gaps:
        yield Finding(FindingKind.RAW_GAP, f"raw lacks {gap}: the table cannot be rebuilt from raw")
    for unreadable in chain.unreadable:
        yield Finding(FindingKind.RAW_UNREADABLE, str(unreadable), names=(unreadable.directory,))
    for copy in chain.misplaced:
        yield Finding(FindingKind.RAW_MISPLACED, str(copy), names=(copy.directory,))
    for altered in chain.altered:
        yield Finding(FindingKind.RAW_CHANGED, str(altered), names=(altered.link.raw.directory,))
    if work.marks:
        message = f"{counted(len(work.marks), 'raw batch', 'raw batches')} published and not marked so"
        names = some([mark.batch_id for mark in work.marks])
        yield Finding(FindingKind.RAW_UNMARKED, message, apply=True, count=len(work.marks), names=names)
    for state, kind, words in (
        (LinkState.OPEN, FindingKind.RAW_LOOSE, "without a receipt and not given up"),
        (LinkState.ABANDONED, FindingKind.RAW_ABANDONED, "that were given up"),
    ):
        found = [link for link in chain.loose if link.state is state and link.batch_id != open_id]
        if found:
            removable = work.abandoned.directories if state is LinkState.ABANDONED else ()
            size = sum(file.size for link in found for file in link.raw.manifest.files)
            message = f"{counted(len(found), 'raw batch', 'raw batches')} {words}"
            names = some([link.raw.directory for link in found])
            yield Finding(kind, message, bool(removable), len(found), size, names)
    yield from _removable(FindingKind.RAW_LANDINGS, work.landings, "half-landed directory", "half-landed directories")
    old = "past raw_days that no rebuild needs"
    yield from _removable(FindingKind.RAW_OLD, work.old, f"raw batch {old}", f"raw batches {old}")
    aside = "of rows set aside, past raw_days"
    yield from _removable(FindingKind.QUARANTINE_OLD, work.quarantine, f"batch {aside}", f"batches {aside}")
    if work.kept is not None:
        yield Finding(FindingKind.RAW_OLD, f"raw batches past raw_days that stay: {work.kept}")


def _removable(kind: FindingKind, remains: Remains, one: str, many: str) -> Iterator[Finding]:
    count = len(remains.directories)
    if count:
        names = some(remains.directories)
        yield Finding(kind, counted(count, one, many), apply=True, count=count, bytes=remains.bytes, names=names)

"""Upkeep of one table: files are written anew beside running ingests, what is not needed goes under the table's lease."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from ingestion_runtime.events.types.table import LeaseTakenOver
from ingestion_runtime.maintenance.judging import (
    find_all,
    hindrance,
    needs_lease,
    removable_slices,
    stale_backups,
    stale_branches,
)
from ingestion_runtime.maintenance.looking import TableLook, look_at
from ingestion_runtime.maintenance.report import Action, ActionKind, Figures, Finding, some
from ingestion_runtime.maintenance.retention import Remains
from ingestion_runtime.maintenance.workshop import Piece, Workshop
from ingestion_runtime.model.batch import Batch, PublishedMark
from ingestion_runtime.model.errors import IngestionError, LeaseHeldError, PublishRaceError
from ingestion_runtime.model.upkeep import Removed, Rewritten
from ingestion_runtime.publishing.grip import Grip
from ingestion_runtime.telling import counted

# Each try writes the files again; then it is done under the lease, where nobody publishes.
_TRIES = 3


class Upkeep:
    """The upkeep of one table; what was done and found so far can be read at any time, also after an error."""

    def __init__(self, shop: Workshop, piece: Piece) -> None:
        self._shop = shop
        self._piece = piece
        self._emitter = shop.emitter.bind(table=piece.table.name)
        self.findings: tuple[Finding, ...] = ()
        self.figures: Figures | None = None
        self.actions: list[Action] = []
        self.remarks: list[str] = []
        self.has_data = False

    def apply(self) -> None:
        """Do what is to be done. Raises what stopped it; what was done before stands."""
        look = self._look()
        self.findings = find_all(self._piece.table, look, self._shop.owner, self._shop.clock())
        self.figures = look.figures
        self.has_data = look.survey is not None or bool(look.chain.links)
        self._refuse(look)
        raced = look.survey is not None and look.survey.wants_rewrite and not self._rewrite_beside()
        if raced or self.actions:
            look = self._look()  # files that nobody needs any more may have come
        if raced or needs_lease(self._piece.table, look, self._shop.clock()):
            self._work_under_lease(rewrite=raced)

    def _look(self) -> TableLook:
        return look_at(self._shop, self._piece)

    def _refuse(self, look: TableLook) -> None:
        found = hindrance(look, self._shop.owner)
        if found is not None:
            raise found

    def _rewrite_beside(self) -> bool:
        """Write files anew while others may publish; False when they did, every time."""
        for attempt in range(_TRIES):
            self._shop.check()
            stood = self._piece.target.location()
            try:
                self._rewrite()
            except Exception as error:
                # Another maintenance may have let go of files that this one was reading.
                if not isinstance(error, PublishRaceError) and self._piece.target.location() == stood:
                    raise
                self._shop.interrupted.wait(0.1 * 2**attempt)
            else:
                return True
        return False

    def _rewrite(self) -> None:
        begun = time.monotonic()
        done = self._piece.upkeep.rewrite()
        if done is not None:
            self.actions.append(_rewritten(done, time.monotonic() - begun))

    def _work_under_lease(self, *, rewrite: bool) -> None:
        try:
            grip = self._shop.hold(self._piece.key)
        except LeaseHeldError as held:
            self._shop.check()  # it may have been the signal that ended the waiting
            raise self._left(held) from held
        try:
            self._shop.failpoints.hit("maintenance-lease", self._piece.table.name)
            look = self._settle(grip)
            if rewrite:
                self._rewrite()
            self._clear(grip, look)
        finally:
            self.remarks += release(grip)

    def _left(self, held: LeaseHeldError) -> LeaseHeldError:
        values, waited = held.values, self._shop.configuration.runtime.maintenance.wait_seconds
        holder = f"run {values.get('run_id')} (process {values.get('pid')} on {values.get('host')})"
        return LeaseHeldError(
            f"{self._piece.table.name}: {holder} holds the table, and was waited for {waited} s. What needs the table's"
            " lease was left.",
            remedy="What was done stands. Run it again when that run has ended; if they meet every time, let maintenance"
            " begin at another hour, or raise runtime.maintenance.wait_seconds.",
            **values,
        )

    def _settle(self, grip: Grip) -> TableLook:
        """Look again, now that nobody moves the table, and shut out whoever held the lease and did not release it."""
        look = self._look()
        self._refuse(look)
        if look.head is not None:
            grip.raise_above(look.head.fence)
            if grip.taken_over:
                self._piece.target.guard(grip.token, ())
        if grip.taken_over:
            self._emitter.emit(LeaseTakenOver(grip.token))
            self.actions.append(Action(ActionKind.TAKE_OVER_LEASE, "lease taken over that a run did not give back", 1))
        return look

    def _clear(self, grip: Grip, look: TableLook) -> None:
        """Remove what nobody needs. First what says that a batch is published, then what goes by that."""
        raw, survey, upkeep = look.raw, look.survey, self._piece.upkeep
        if raw.marks:
            self._do(grip, lambda: self._mark(raw.marks))
        if stale_branches(look):
            self._do(grip, lambda: self._drop(grip, look.opened))
        backups = stale_backups(self._piece.table, look)
        if backups:
            self._do(grip, lambda: self._drop_backups(backups))
        if survey is not None and (survey.expirable or backups):
            self._do(grip, lambda: self._expire(grip))
        if survey is not None and survey.removable.files:
            self._do(grip, lambda: self._remove_orphans(upkeep.remove_orphans(grip.token)))
        for kind, remains, words in (
            (ActionKind.REMOVE_LANDINGS, raw.landings, "half-landed in raw"),
            (ActionKind.REMOVE_RAW, raw.abandoned, "in raw that were given up"),
            (ActionKind.REMOVE_RAW, raw.old, "in raw that no rebuild needs"),
            (ActionKind.REMOVE_QUARANTINE, raw.quarantine, "of rows that had been set aside"),
        ):
            if remains.directories:
                self._do(grip, partial(self._remove, grip, kind, remains, words))
        if removable_slices(look):
            self._do(grip, lambda: self._clean_staging(look.opened))

    def _do(self, grip: Grip, work: Callable[[], Action | None]) -> None:
        """Do one thing while the lease is ours, and remember it if something came of it."""
        self._shop.check()
        grip.require()
        begun = time.monotonic()
        done = work()
        if done is not None:
            self.actions.append(replace(done, seconds=round(time.monotonic() - begun, 3)))

    def _mark(self, marks: tuple[PublishedMark, ...]) -> Action:
        for mark in marks:
            self._piece.raw.mark_published(mark)
        names = some([mark.batch_id for mark in marks])
        message = f"{counted(len(marks), 'raw batch', 'raw batches')} marked as published"
        return Action(ActionKind.MARK_PUBLISHED, message, len(marks), names=names)

    def _drop(self, grip: Grip, opened: Batch | None) -> Action | None:
        keep = () if opened is None else (opened.id,)
        dropped = self._piece.upkeep.drop_stale(keep, grip.token)
        message = f"{counted(len(dropped), 'branch', 'branches')} dropped of attempts that are over"
        return Action(ActionKind.DROP_BRANCHES, message, len(dropped), names=some(dropped)) if dropped else None

    def _drop_backups(self, tags: list[str]) -> Action:
        self._piece.target.drop_backups(lambda name: name in tags)
        message = f"{counted(len(tags), 'backup')} of rebuilds dropped"
        return Action(ActionKind.DROP_BACKUPS, message, len(tags), names=some(tags))

    def _expire(self, grip: Grip) -> Action | None:
        expired = self._piece.upkeep.expire(grip.token)
        self._keep(expired.kept)
        removed = expired.removed
        files = counted(removed.files, "file")
        message = f"{counted(expired.snapshots, 'snapshot')} expired, with {files} that only they named"
        return Action(ActionKind.EXPIRE, message, expired.snapshots, removed.size) if expired.snapshots else None

    def _remove_orphans(self, done: Removed) -> Action | None:
        self._keep(done.kept)
        removed = done.removed
        message = f"{counted(removed.files, 'file')} removed that nothing named"
        return Action(ActionKind.REMOVE_ORPHANS, message, removed.files, removed.size) if removed.files else None

    def _keep(self, reason: str | None) -> None:
        if reason is not None:
            self.remarks.append(f"no file was removed: {reason}")

    def _remove(self, grip: Grip, kind: ActionKind, remains: Remains, words: str) -> Action:
        for directory in remains.directories:
            self._shop.check()
            grip.require()
            self._piece.raw.remove(directory)
            self._shop.failpoints.hit("maintenance-removed", self._piece.table.name)
        message = f"{counted(len(remains.directories), 'batch', 'batches')} removed {words}"
        return Action(kind, message, len(remains.directories), remains.bytes, names=some(remains.directories))

    def _clean_staging(self, opened: Batch | None) -> Action | None:
        keep = frozenset[str]() if opened is None else frozenset({opened.id})
        removed = self._shop.staging.ttl_cleanup([self._piece.table], keep)
        message = f"{counted(removed, 'slice')} removed from staging of batches that are over"
        return Action(ActionKind.CLEAN_STAGING, message, removed) if removed else None


def release(grip: Grip) -> tuple[str, ...]:
    """Give the lease back; what went wrong with that is a remark, for what was done stands."""
    try:
        grip.release()
    except IngestionError as error:
        # It runs out by itself, and the next run takes it over.
        return (f"the lease was not released: {error.message}",)
    return ()


def _rewritten(done: Rewritten, seconds: float) -> Action:
    kind = ActionKind.REPARTITION if done.repartitioned else ActionKind.REWRITE
    hidden = f"; {counted(done.dead_rows, 'deleted row')} left behind" if done.dead_rows else ""
    files, rows = counted(done.removed.files, "file"), counted(done.rows, "row")
    message = f"{files} written anew as {done.added.files:,}, with {rows}{hidden}"
    return Action(kind, message, done.removed.files, done.removed.size, round(seconds, 3))

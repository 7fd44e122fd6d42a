"""Publishing one batch: branch, write, audit, land raw, compare-and-set.

A refused publish is never retried: the staged files are written again, on the table as it is now.
"""

import dataclasses
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress

import pyarrow as pa

from ingestion_runtime.events.event import Emitter
from ingestion_runtime.events.types.batch import BatchPublished, DuplicatesResolved, PublishRetried
from ingestion_runtime.model.batch import Batch, Publication, Receipt
from ingestion_runtime.model.errors import (
    IngestionError,
    OutcomeUnknownError,
    PublishRaceError,
    StaleMainError,
    TransientError,
)
from ingestion_runtime.model.target import Payload, TargetHead, TargetTable, Written
from ingestion_runtime.publishing.audit import audit
from ingestion_runtime.publishing.identity import Identity
from ingestion_runtime.publishing.shrink import ShrinkGuard
from ingestion_runtime.tools.failpoints import Failpoints

# Each attempt writes the staged files again; a compaction that wins five times in a row is a schedule to correct.
MAX_ATTEMPTS = 5


class Publisher:
    """Publishes batches of one table under one lease."""

    def __init__(
        self,
        target: TargetTable,
        identity: Identity,
        fence: Callable[[], int],
        emitter: Emitter,
        failpoints: Failpoints,
        guard: ShrinkGuard | None = None,
    ) -> None:
        self._target = target
        self._guard = guard
        self._owner = identity.owner
        self._reading = identity.reading
        self._fence = fence
        self._emitter = emitter
        self._failpoints = failpoints
        self._table = identity.table

    def columns(self) -> pa.Schema | None:
        """Return the target's columns; see ``TargetTable.columns``."""
        return self._target.columns()

    def field_ids(self, schema: pa.Schema, renamed: Mapping[str, str]) -> Mapping[str, int]:
        """Return the ids of columns in the target; see ``TargetTable.field_ids``."""
        return self._target.field_ids(schema, renamed)

    def publish(self, batch: Batch, payload: Payload, land: Callable[[], str]) -> Publication:
        """Make the payload visible with its receipt, or leave everything as it was.

        ``land`` puts the files into raw and returns the digest of their manifest; it is called after the audit and before
        the commit, and may be called again.
        Raises TerminalError when the audit refuses, StaleMainError when the table is not what its receipt describes,
        TransientError when another run published or holds a higher fence, OutcomeUnknownError when the answer was lost.
        """
        refused: PublishRaceError | None = None
        for attempt in range(MAX_ATTEMPTS):
            watch = _Stopwatch()
            self._require_base(batch, self._target.head())
            if refused is not None:
                self._emitter.emit(PublishRetried(attempt, refused.message))
            try:
                head = self._target.prepare(payload)
                self._require_base(batch, head)
                return self._attempt(batch, payload, head, land, watch)
            except PublishRaceError as race:
                refused = race
        raise TransientError(
            f"{self._table}: the table moved {MAX_ATTEMPTS} times while batch {batch.id} was written.",
            remedy="Run again when its compaction has ended.",
            batch=batch.id,
        )

    def _attempt(
        self, batch: Batch, payload: Payload, head: TargetHead, land: Callable[[], str], watch: "_Stopwatch"
    ) -> Publication:
        if payload.files or payload.deleted:
            written = self._target.write(batch, uuid.uuid4().hex[:8], payload, head)
        else:
            written = _nothing(head)
        watch.lap("write")
        try:
            self._failpoints.hit("after-branch", self._table)
            audit(batch, payload, written)
            if self._guard is not None:
                self._guard.judge(batch, payload, written, self._target)
            watch.lap("audit")
            if not written.changed and head.receipt and _says_the_same(head.receipt, batch, payload):
                publication = self._leave_as_it_was(batch, head, written)
                self._tell(batch, publication, watch)
                return publication
            manifest = land()
            watch.lap("land")
            self._failpoints.hit("before-publish", self._table)
            publication = self._commit(batch, payload, head, written, manifest)
        except (OutcomeUnknownError, PublishRaceError):
            raise
        except IngestionError:
            self._discard(written.branch)
            raise
        # Outside of the above: what is published is no branch to discard.
        watch.lap("commit")
        self._tell(batch, publication, watch)
        self._failpoints.hit("after-publish", self._table)
        return publication

    def _tell(self, batch: Batch, publication: Publication, watch: "_Stopwatch") -> None:
        """Say that the batch is through; only ever called when it is, and whoever hears it cannot undo it."""
        self._emitter.emit(
            BatchPublished(
                batch_id=batch.id,
                rows=publication.rows,
                deleted=publication.deleted,
                changed=publication.changed,
                write_seconds=watch.seconds("write"),
                audit_seconds=watch.seconds("audit"),
                land_seconds=watch.seconds("land"),
                commit_seconds=watch.seconds("commit"),
            )
        )

    def _commit(self, batch: Batch, payload: Payload, head: TargetHead, written: Written, manifest: str) -> Publication:
        if not written.changed and written.base is not None:
            # The watermark moves over rows that changed nothing, or the source's keys were found to be others and none is
            # to be deleted: a new receipt on the old snapshot.
            written = dataclasses.replace(written, snapshot=written.base)
        receipt = self._receipt(batch, payload, head, written, manifest)
        try:
            location = self._target.publish(batch.base, written, receipt)
        except PublishRaceError:
            self._discard(written.branch)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the table knows whether the commit happened
            location = self._find_out(receipt, error)
        duplicates = _duplicates(batch, written)
        if duplicates:
            self._emitter.emit(DuplicatesResolved(duplicates))
        return Publication(
            receipt,
            location,
            rows=written.added,
            changed=True,
            duplicates=duplicates,
            deleted=payload.deleted + max(0, written.removed - payload.again),
            replaced=written.removed,
        )

    def _leave_as_it_was(self, batch: Batch, head: TargetHead, written: Written) -> Publication:
        self._target.discard(written.branch)
        after = self._target.head()
        # Remembered as "nothing has happened here" only if nothing has: someone may have committed since.
        intact = after is not None and after.receipt == head.receipt and not after.damage
        location = after.location if after and intact else None
        return Publication(head.receipt, location, rows=0, changed=False, duplicates=_duplicates(batch, written))

    def _discard(self, branch: str) -> None:
        """Drop a branch on the way out of an error, which is the one that people must see."""
        with suppress(IngestionError):
            self._target.discard(branch)

    def _require_base(self, batch: Batch, head: TargetHead | None) -> None:
        if head is not None:
            require_base(batch, head, self._fence(), self._table)

    def _receipt(self, batch: Batch, payload: Payload, head: TargetHead, written: Written, manifest: str) -> Receipt:
        return Receipt(
            batch_id=batch.id,
            sequence=batch.sequence,
            previous=head.receipt.batch_id if head.receipt else None,
            mode=batch.mode,
            write=batch.write,
            load_date=batch.load_date,
            watermark=batch.plan.watermark,
            # A key that was deleted may have been in the re-read set when its fingerprint was taken: were it to come back
            # as it was, the set would look the same, and the key would be missed.
            fingerprint=None if payload.deleted else batch.plan.fingerprint,
            fence=self._fence(),
            owner=self._owner,
            rows=written.rows,
            reading=self._reading,
            keys=payload.keys,
            manifest=manifest,
        )

    def _find_out(self, receipt: Receipt, error: Exception) -> str:
        """The commit failed in an unforeseen way: only the table knows whether it happened."""
        try:
            head = self._target.head()
        except Exception:  # noqa: BLE001 - the same outage, most likely; the next run asks again
            head = None
        if head is not None and head.receipt is not None and head.receipt.batch_id == receipt.batch_id:
            return head.location
        raise OutcomeUnknownError(
            f"{self._table}: the commit of batch {receipt.batch_id} was not answered ({_told(error)}).",
            remedy="Run again: the table's receipt tells the next run whether it happened.",
            batch=receipt.batch_id,
        ) from error


class _Stopwatch:
    """How long each step took; one that was left out took no time."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._laps: dict[str, float] = {}

    def lap(self, step: str) -> None:
        now = time.monotonic()
        self._laps[step] = now - self._last
        self._last = now

    def seconds(self, step: str) -> float:
        return round(self._laps.get(step, 0.0), 3)


def require_base(batch: Batch, head: TargetHead, fence: int, table: str) -> None:
    """Raise unless the table is what the batch was frozen on, and no other run has announced a higher fence."""
    if head.fence > fence:
        raise TransientError(
            f"{table}: another run took the table over (its fence is {head.fence}, ours {fence}).",
            remedy="Let it finish, then run again.",
            fence=head.fence,
        )
    found = head.receipt.batch_id if head.receipt else None
    if found != batch.base:
        what = "the table was dropped or replaced" if found is None else f"another run published batch {found}"
        raise TransientError(
            f"{table}: {what} while batch {batch.id} was under way.",
            remedy="Run again; the new run starts from there.",
            batch=batch.id,
        )
    if head.damage and not batch.reload:
        raise damaged(table, head.damage)


def damaged(table: str, damage: str) -> StaleMainError:
    """Return the error for a table that left the path its receipt describes."""
    return StaleMainError(
        f"{table}: the target is not as the last run left it: {damage}.",
        remedy=f"Bring back the snapshot tagged ingest_last, or replace the table from the source with --reload {table}.",
        table=table,
        damage=damage,
    )


def _told(error: Exception) -> str:
    """Return what an error says in one line: a catalog's own goes on with its statement and every parameter of it."""
    text = error.message if isinstance(error, IngestionError) else f"{type(error).__name__}: {error}"
    return text.strip().split("\n", 1)[0].rstrip(".")


def _nothing(head: TargetHead) -> Written:
    """What a batch writes that brought neither rows nor tombstones: no branch."""
    return Written(
        branch="",
        base=head.snapshot,
        snapshot=None,
        rows=0,
        keys=0,
        found=0,
        null_keys=0,
        total=0,
        added=0,
        changed=False,
    )


def _says_the_same(receipt: Receipt, batch: Batch, payload: Payload) -> bool:
    """Whether a receipt for this batch, which changes no row, would tell the next run nothing new."""
    return receipt.watermark == batch.plan.watermark and payload.keys in (None, receipt.keys)


def _duplicates(batch: Batch, written: Written) -> int:
    return written.rows - written.keys if batch.mode == "scd1" else 0

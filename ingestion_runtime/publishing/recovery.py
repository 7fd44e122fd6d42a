"""The beginning of every table's run: whose table is it, where does it stand, what did an earlier run leave open?"""

from dataclasses import dataclass

from ingestion_runtime.events.event import Emitter
from ingestion_runtime.events.types.batch import BatchRecovered
from ingestion_runtime.events.types.table import LeaseTakenOver, StateRebuilt
from ingestion_runtime.model.batch import Batch, Publication, PublishedMark, Receipt
from ingestion_runtime.model.cursor import Fingerprint
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.state import PhaseStatus, TableHead
from ingestion_runtime.model.target import TargetHead, TargetTable
from ingestion_runtime.publishing.grip import Hold
from ingestion_runtime.publishing.identity import Identity, changed_reading
from ingestion_runtime.publishing.ledger import PHASES, Ledger
from ingestion_runtime.publishing.publisher import damaged
from ingestion_runtime.publishing.sink import LakeSink


@dataclass(frozen=True, slots=True)
class Settled:
    """Where a table stands: its receipt (None before the first publish), the fingerprint last seen to bring nothing, the
    batch to go on with, and the sequence of the next one."""

    receipt: Receipt | None
    verified: Fingerprint | None
    open: Batch | None
    sequence: int


class Recovery:
    """Settles one table before its strategy runs. The table's receipt decides; the state is brought up to it."""

    def __init__(
        self, target: TargetTable, sink: LakeSink, ledger: Ledger, grip: Hold, identity: Identity, emitter: Emitter
    ) -> None:
        self._target = target
        self._sink = sink
        self._ledger = ledger
        self._grip = grip
        self._identity = identity
        self._table = identity.table
        self._emitter = emitter

    def settle(self, *, reload: bool) -> Settled:
        """Return where the table stands.

        Raises StaleMainError when the table is not what its receipt describes, TerminalError when the state knows more than
        the table, or when the table belongs to another configuration or was read otherwise than it would be now. A reload
        accepts all of these: it replaces the table.
        """
        state = self._ledger.state
        known = self._known(reload=reload)
        opened = state.open_batch(self._ledger.key)
        location = self._target.location()
        untouched = known is not None and known.location is not None and known.location == location
        if known is not None and untouched and opened is None and not self._grip.taken_over:
            if not reload:
                self._judge_receipt(known.receipt)
            stands: tuple[Receipt | None, Fingerprint | None] = known.receipt, known.verified
        else:
            stands = self._look(known, reload=reload, opened=opened)
        receipt, verified = stands
        going_on = self._resume(opened, receipt, reload=reload) if opened else None
        sequence = max(receipt.sequence if receipt else 0, state.last_sequence(self._ledger.key)) + 1
        return Settled(receipt, verified, going_on, going_on.sequence if going_on else sequence)

    def foresee(self, *, reload: bool, remembered: bool = False) -> Settled:
        """Return where ``settle`` would find the table now, by looking alone; raises what it would raise.

        ``remembered``: the state is believed, and the table, which could only be looked at with an engine, is not.
        """
        known = self._known(reload=reload)
        opened = self._ledger.state.open_batch(self._ledger.key)
        receipt: Receipt | None = None
        if known is not None and (remembered or known.location == self._target.location()):
            receipt = known.receipt
            if not reload:
                self._judge_receipt(receipt)
        elif not remembered:
            receipt = self._foresee_receipt(known, reload=reload)
        verified = known.verified if known is not None and known.receipt == receipt else None
        over = opened is None or _is_published(opened, receipt) or self._is_outdated(opened, receipt, reload=reload)
        going_on = None if over else opened
        sequence = max(receipt.sequence if receipt else 0, self._ledger.state.last_sequence(self._ledger.key)) + 1
        return Settled(receipt, verified, going_on, going_on.sequence if going_on else sequence)

    def _foresee_receipt(self, known: TableHead | None, *, reload: bool) -> Receipt | None:
        head = self._target.head()
        if head is None:
            if known is not None and not reload:
                raise self._state_knows_more(known, None)
            return None
        if not reload:
            if head.receipt is not None:
                self._judge_receipt(head.receipt)
            self._judge_head(known, head)
        return head.receipt

    def _known(self, *, reload: bool) -> TableHead | None:
        try:
            return self._ledger.state.head(self._ledger.key)
        except TerminalError:
            if not reload:
                raise
            return None

    def _look(
        self, known: TableHead | None, *, reload: bool, opened: Batch | None
    ) -> tuple[Receipt | None, Fingerprint | None]:
        """Read the table's own head, judge it, and bring the state up to it."""
        head = self._target.head()
        if head is None:
            if known is not None and not reload:
                raise self._state_knows_more(known, None)
            return None, None
        if not reload and head.receipt is not None:
            # Before anything is written: a copy of a configuration must not fence the owner out.
            self._judge_receipt(head.receipt)
        self._grip.raise_above(head.fence)
        ours = head.receipt is not None or head.snapshot is None
        left = opened is not None and bool(head.branches or self._is_littered(opened, head))
        if ours and (self._grip.taken_over or left):
            # From here on the former holder cannot publish, should it still be alive somewhere, nor can a commit of its
            # that is still under way: the token is above every earlier one, so that something is always committed.
            # A batch that failed before it wrote anything costs the table no commit, however many nights it fails.
            head = self._target.guard(self._grip.token, head.branches)
            if opened is not None:
                self._target.sweep(opened.id)
        if self._grip.taken_over:
            self._emitter.emit(LeaseTakenOver(self._grip.token))
        if not reload:
            self._judge_head(known, head)
        if head.receipt is None:
            return None, None
        verified = known.verified if known and known.receipt == head.receipt else None
        self._bring_up(known, head, head.receipt, verified)
        return head.receipt, verified

    def _is_littered(self, opened: Batch, head: TargetHead) -> bool:
        return not _is_published(opened, head.receipt) and self._target.is_littered(opened.id)

    def _judge_head(self, known: TableHead | None, head: TargetHead) -> None:
        receipt = head.receipt
        if known is not None and (receipt is None or receipt.sequence < known.receipt.sequence):
            raise self._state_knows_more(known, receipt)
        if head.damage:
            raise damaged(self._table, head.damage)

    def _judge_receipt(self, receipt: Receipt) -> None:
        judge_receipt(receipt, self._identity, self._ledger.mode)

    def _bring_up(self, known: TableHead | None, head: TargetHead, receipt: Receipt, verified: Fingerprint | None) -> None:
        if known is None or known.receipt.batch_id != receipt.batch_id:
            # The run that published it may have died before it could say so anywhere else.
            self._sink.mark_published(receipt.mark)
            for phase in PHASES[receipt.mode]:
                self._ledger.mark(phase, PhaseStatus.SUCCESS, receipt=receipt, rows=receipt.rows)
            watermark = receipt.watermark.literal if receipt.watermark else None
            self._emitter.emit(StateRebuilt(receipt.batch_id, receipt.sequence, watermark))
        if known is None or known.receipt != receipt or known.location != head.location:
            self._ledger.record_head(receipt, None if head.damage else head.location, verified)

    def _resume(self, opened: Batch, receipt: Receipt | None, *, reload: bool) -> Batch | None:
        """Decide what becomes of an open batch: finished already, given up, or gone on with."""
        if _is_published(opened, receipt):
            # The head has been recorded above; what is left is the batch itself.
            self._emitter.emit(BatchRecovered(opened.id, "published before the crash; recorded now"))
            self._sink.mark_published(PublishedMark(opened.id, opened.sequence, opened.base, opened.load_date))
            self._ledger.state.close_batch(opened, "published")
            self._sink.remove_staging(opened)
            return None
        if self._is_outdated(opened, receipt, reload=reload):
            self._emitter.emit(BatchRecovered(opened.id, "given up: the table has moved on, or is read anew"))
            abandon(self._sink, self._ledger, opened)
            return None
        self._emitter.emit(BatchRecovered(opened.id, "gone on with, under its frozen plan"))
        return opened

    def _is_outdated(self, opened: Batch, receipt: Receipt | None, *, reload: bool) -> bool:
        """Whether an open batch that was not published is given up."""
        moved_on = opened.base != (receipt.batch_id if receipt else None)
        outdated = opened.mode == "full" and opened.load_date != self._ledger.load_date
        return reload or moved_on or outdated or opened.spec != self._identity.digest

    def _state_knows_more(self, known: TableHead, receipt: Receipt | None) -> TerminalError:
        found = f"batch {receipt.sequence}" if receipt else "no receipt at all"
        return TerminalError(
            f"{self._table}: the state knows batch {known.receipt.sequence} ({known.receipt.batch_id}),"
            f" the table has {found}. It was dropped, restored or replaced.",
            remedy=f"Restore the table, or replace it from the source with --reload {self._table}.",
            table=self._table,
        )


def judge_receipt(receipt: Receipt, identity: Identity, mode: str) -> None:
    """Raise TerminalError for a table that another configuration publishes, or that was read otherwise than it would be."""
    table = identity.table
    if receipt.owner != identity.owner:
        raise TerminalError(
            f"{table}: the target is published by the configuration {receipt.owner!r}, this one is {identity.owner!r}.",
            remedy=f"Let only one of them write it. Renamed? Set runtime.job_name to {receipt.owner!r}. To take the"
            f" table over for good, run with --reload {table}.",
            table=table,
            owner=receipt.owner,
        )
    incremental = mode != "full" and receipt.watermark is not None
    changed = changed_reading(receipt.reading, identity.reading) if incremental else ()
    if changed:
        raise TerminalError(
            f"{table}: what is read has changed since the last publish: {'; '.join(changed)}. Rows below the watermark were"
            " chosen by the former settings and would never be looked at again.",
            remedy=f"Restore the former settings, or replace the table from the source with --reload {table}. Is it the"
            " same database under a new address? Set the connection's identity to the former address.",
            table=table,
            changed=changed,
        )


def _is_published(batch: Batch, receipt: Receipt | None) -> bool:
    return receipt is not None and batch.id in (receipt.batch_id, receipt.previous)


def finish(sink: LakeSink, ledger: Ledger, batch: Batch, publication: Publication) -> None:
    """Record a batch that is over, in the order of durable effects: raw marker, state, and last the staging."""
    sink.close(batch, publication)
    ledger.record_publication(batch, publication)
    sink.remove_staging(batch)


def abandon(sink: LakeSink, ledger: Ledger, batch: Batch) -> None:
    """Give a batch up: it was never visible and never will be."""
    sink.close(batch, None)
    ledger.state.close_batch(batch, "abandoned")
    sink.remove_staging(batch)

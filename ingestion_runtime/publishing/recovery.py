"""The beginning of every table's run: whose table is it, where does it stand, what did an earlier run leave open?"""

from dataclasses import dataclass

from ingestion_runtime.events.types import BatchRecovered, Emitter, LeaseTakenOver, StateRebuilt
from ingestion_runtime.model.batch import Batch, Lease, Publication, Receipt, TableKey
from ingestion_runtime.model.cursor import Fingerprint
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.state import PhaseStatus, TableHead
from ingestion_runtime.model.target import TargetHead, TargetTable
from ingestion_runtime.publishing.ledger import PHASES, Ledger
from ingestion_runtime.publishing.publisher import damaged
from ingestion_runtime.publishing.sink import LakeSink
from ingestion_runtime.state.leases import LeaseKeeper


@dataclass(frozen=True, slots=True)
class Settled:
    """Where a table stands: its receipt (None before the first publish), the fingerprint last seen to bring nothing, the
    batch to go on with, and the sequence of the next one."""

    receipt: Receipt | None
    verified: Fingerprint | None
    open: Batch | None
    sequence: int


class Grip:
    """A lease on a target, and the fencing token under which its batches are published."""

    def __init__(self, keeper: LeaseKeeper, key: TableKey) -> None:
        self._keeper = keeper
        self._key = key
        self._lease = keeper.hold(key, 0)
        self.taken_over = self._lease.taken_over

    @property
    def token(self) -> int:
        """The fencing token."""
        return self._lease.token

    @property
    def lease(self) -> Lease:
        """The lease as it stands."""
        return self._lease

    def raise_above(self, fence: int) -> None:
        """Take a token above the table's fence: another state database has been at work on this table."""
        if fence >= self._lease.token:
            self._keeper.release(self._lease)
            self._lease = self._keeper.hold(self._key, fence)

    def lost(self) -> bool:
        """Whether the lease ran out or went to someone else."""
        return self._keeper.lost(self._lease)

    def release(self) -> None:
        """Give the lease back."""
        self._keeper.release(self._lease)


class Recovery:
    """Settles one table before its strategy runs. The table's receipt decides; the state is brought up to it."""

    def __init__(
        self, target: TargetTable, sink: LakeSink, ledger: Ledger, grip: Grip, owner: str, table: TableSpec, emitter: Emitter
    ) -> None:
        self._target = target
        self._sink = sink
        self._ledger = ledger
        self._grip = grip
        self._owner = owner
        self._spec = table
        self._table = table.name
        self._emitter = emitter

    def settle(self, *, reload: bool) -> Settled:
        """Return where the table stands.

        Raises StaleMainError when the table is not what its receipt describes, TerminalError when the state knows more than
        the table or the table belongs to another configuration. A reload accepts all of these: it replaces the table.
        """
        state = self._ledger.state
        known = self._known(reload=reload)
        opened = state.open_batch(self._ledger.key)
        untouched = known is not None and known.location is not None and known.location == self._target.location()
        if known is not None and untouched and opened is None and not self._grip.taken_over:
            stands: tuple[Receipt | None, Fingerprint | None] = known.receipt, known.verified
        else:
            stands = self._look(known, reload=reload, stale=opened is not None)
        receipt, verified = stands
        going_on = self._resume(opened, receipt, reload=reload) if opened else None
        sequence = max(receipt.sequence if receipt else 0, state.last_sequence(self._ledger.key)) + 1
        return Settled(receipt, verified, going_on, going_on.sequence if going_on else sequence)

    def _known(self, *, reload: bool) -> TableHead | None:
        try:
            return self._ledger.state.head(self._ledger.key)
        except TerminalError:
            if not reload:
                raise
            return None

    def _look(self, known: TableHead | None, *, reload: bool, stale: bool) -> tuple[Receipt | None, Fingerprint | None]:
        """Read the table's own head, judge it, and bring the state up to it."""
        head = self._target.head()
        if head is None:
            if known is not None and not reload:
                raise self._state_knows_more(known, None)
            return None, None
        self._grip.raise_above(head.fence)
        ours = head.receipt is not None or head.snapshot is None
        if ours and (self._grip.taken_over or (stale and head.branches)):
            # Before anything else: from here on the former holder cannot publish, should it still be alive somewhere.
            head = self._target.guard(self._grip.token, head.branches)
        if self._grip.taken_over:
            self._emitter.emit(LeaseTakenOver(self._grip.token))
        if not reload:
            self._judge(known, head)
        if head.receipt is None:
            return None, None
        verified = known.verified if known and known.receipt == head.receipt else None
        self._bring_up(known, head, head.receipt, verified)
        return head.receipt, verified

    def _judge(self, known: TableHead | None, head: TargetHead) -> None:
        receipt = head.receipt
        if known is not None and (receipt is None or receipt.sequence < known.receipt.sequence):
            raise self._state_knows_more(known, receipt)
        if head.damage:
            raise damaged(self._table, head.damage)
        if receipt is not None and receipt.owner != self._owner:
            raise TerminalError(
                f"{self._table}: the target is published by the configuration {receipt.owner!r},"
                f" this one is {self._owner!r}.",
                remedy=f"Let only one of them write it; to take it over for good, run with --reload {self._table}.",
                table=self._table,
                owner=receipt.owner,
            )

    def _bring_up(self, known: TableHead | None, head: TargetHead, receipt: Receipt, verified: Fingerprint | None) -> None:
        if known is None or known.receipt.batch_id != receipt.batch_id:
            for phase in PHASES[receipt.mode]:
                self._ledger.mark(phase, PhaseStatus.SUCCESS, receipt=receipt, rows=receipt.rows)
            watermark = receipt.watermark.literal if receipt.watermark else None
            self._emitter.emit(StateRebuilt(receipt.batch_id, receipt.sequence, watermark))
        if known is None or known.receipt != receipt or known.location != head.location:
            self._ledger.record_head(receipt, head.location, verified)

    def _resume(self, opened: Batch, receipt: Receipt | None, *, reload: bool) -> Batch | None:
        """Decide what becomes of an open batch: finished already, given up, or gone on with."""
        if receipt is not None and receipt.batch_id == opened.id:
            self._emitter.emit(BatchRecovered(opened.id, "published before the crash; recorded now"))
            publication = Publication(receipt, self._target.location(), receipt.rows, changed=True)
            finish(self._sink, self._ledger, opened, publication)
            return None
        moved_on = opened.base != (receipt.batch_id if receipt else None)
        outdated = opened.mode == "full" and opened.load_date != self._ledger.load_date
        if reload or moved_on or outdated or opened.spec != self._spec.digest:
            self._emitter.emit(BatchRecovered(opened.id, "given up: the table has moved on, or is read anew"))
            abandon(self._sink, self._ledger, opened)
            return None
        self._emitter.emit(BatchRecovered(opened.id, "gone on with, under its frozen plan"))
        return opened

    def _state_knows_more(self, known: TableHead, receipt: Receipt | None) -> TerminalError:
        found = f"batch {receipt.sequence}" if receipt else "no receipt at all"
        return TerminalError(
            f"{self._table}: the state knows batch {known.receipt.sequence} ({known.receipt.batch_id}),"
            f" the table has {found}. It was dropped, restored or replaced.",
            remedy=f"Restore the table, or replace it from the source with --reload {self._table}.",
            table=self._table,
        )


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

"""What one table's run records: phase marks, heads, batches. Each is durable before the call returns."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

from ingestion_runtime.events.event import Emitter
from ingestion_runtime.events.types.table import PhaseMarked
from ingestion_runtime.model.batch import Batch, Publication, Receipt, TableKey
from ingestion_runtime.model.cursor import Fingerprint
from ingestion_runtime.model.state import DayStatus, Phase, PhaseStatus, StateRecord, TableHead
from ingestion_runtime.state.buffered import BufferedState


@dataclass(frozen=True, slots=True)
class Ledger:
    """The state of one table, in one run."""

    state: BufferedState
    key: TableKey
    source_id: str
    run_id: str
    load_date: date
    mode: str
    emitter: Emitter
    clock: Callable[[], datetime]

    def mark(
        self,
        phase: Phase,
        status: PhaseStatus,
        batch: Batch | None = None,
        *,
        receipt: Receipt | None = None,
        rows: int | None = None,
        location: str | None = None,
        error: str | None = None,
    ) -> None:
        """Write a phase mark and tell the subscribers. It names the batch or the receipt it is about, where there is one."""
        record = self._record(phase, status, batch, receipt, rows, location, error)
        self.state.mark(record)
        self._tell(record)

    def _record(
        self,
        phase: Phase,
        status: PhaseStatus,
        batch: Batch | None,
        receipt: Receipt | None = None,
        rows: int | None = None,
        location: str | None = None,
        error: str | None = None,
    ) -> StateRecord:
        about = receipt or batch
        mark = receipt.watermark if receipt else batch.plan.watermark if batch else None
        return StateRecord(
            key=self.key,
            source_id=self.source_id,
            run_id=self.run_id,
            load_date=about.load_date if about else self.load_date,
            mode=self.mode,
            phase=phase,
            status=status,
            at=self.clock(),
            strategy=self.mode,
            batch_id=receipt.batch_id if receipt else batch.id if batch else None,
            sequence=about.sequence if about else 0,
            rows_written=rows,
            watermark=mark.literal if mark else None,
            location=location,
            error=error,
        )

    def _tell(self, record: StateRecord) -> None:
        self.emitter.emit(
            PhaseMarked(
                record.phase,
                record.status,
                rows=record.rows_written,
                location=record.location,
                batch_id=record.batch_id,
                sequence=record.sequence,
                watermark=record.watermark,
            )
        )

    def day(self) -> DayStatus:
        """Which phases of this run's load date succeeded."""
        return self.state.day(self.key)

    def record_head(self, receipt: Receipt, location: str | None, verified: Fingerprint | None = None) -> None:
        """Remember what the table's receipt says, and where the table stood when it said so."""
        self.state.record_head(TableHead(self.key, self.source_id, receipt, location, verified))

    def record_publication(self, batch: Batch, publication: Publication) -> None:
        """Record a batch that is over, all or nothing: a mark without its head would claim too much."""
        receipt, head, records = publication.receipt, None, []
        if receipt is not None:
            # Nothing changed although the re-read set had been read: remember that, or it is read every night.
            verified = None if publication.changed else batch.plan.fingerprint
            head = TableHead(self.key, self.source_id, receipt, publication.location, verified)
        if publication.changed and receipt is not None:
            rows, location = publication.rows, publication.location
            records = [
                self._record(phase, PhaseStatus.SUCCESS, batch, rows=rows, location=location) for phase in PHASES[batch.mode]
            ]
        self.state.settle_batch(batch, "published" if publication.changed else "unchanged", head, records)
        for record in records:
            self._tell(record)


_INCREMENTAL = (Phase.INTERMEDIATE, Phase.RAW, Phase.WATERMARK)
PHASES = {"full": (Phase.FINALIZE,), "scd1": _INCREMENTAL, "append": _INCREMENTAL}

"""What a strategy works with: one table, in one run, with everything it may touch."""

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from ingestion_runtime.events.types import ColumnMissing, Emitter, PlanMade, SchemaDrift, SliceStaged, SliceStarted
from ingestion_runtime.metadata.runtime import MetadataAccess
from ingestion_runtime.model.batch import Batch, IngestionPlan, Publication, StagedSlice, WriteMode
from ingestion_runtime.model.cursor import Slice
from ingestion_runtime.model.endpoint import Extract, IngestColumns, SourceEndpoint
from ingestion_runtime.model.errors import InterruptedRunError, TerminalError
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.spec import RunOptions, SlicingPolicy, TableSpec
from ingestion_runtime.planning.adaptive import Planner
from ingestion_runtime.publishing.grip import Grip
from ingestion_runtime.publishing.ledger import Ledger
from ingestion_runtime.publishing.recovery import Settled, abandon, finish
from ingestion_runtime.publishing.sink import LakeSink
from ingestion_runtime.tools.failpoints import Failpoints


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a strategy ended: rows as read from the source and as written, and where the table stands now."""

    status: TableStatus
    rows_read: int = 0
    rows_written: int = 0
    duplicates: int = 0
    quarantined: int = 0
    slices: int = 0
    watermark: str | None = None

    def followed_by(self, later: "Outcome") -> "Outcome":
        """Return both as one: counts add up, the later watermark stands."""
        return Outcome(
            status=TableStatus.DONE if TableStatus.DONE in (self.status, later.status) else later.status,
            rows_read=self.rows_read + later.rows_read,
            rows_written=self.rows_written + later.rows_written,
            duplicates=self.duplicates + later.duplicates,
            quarantined=self.quarantined + later.quarantined,
            slices=self.slices + later.slices,
            watermark=later.watermark,
        )


@dataclass(frozen=True, slots=True)
class ExecutionContext:
    """One table in one run.

    ``lag_seconds`` is the lag in effect; ``digest`` changes with every setting of the table and its connection;
    ``prepare_engine`` raises what is missing on the machine before a plan has its
    first effect.
    """

    table: TableSpec
    options: RunOptions
    slicing: SlicingPolicy
    lag_seconds: int
    digest: str
    finalize: bool
    reload: bool
    settled: Settled
    source: SourceEndpoint
    sink: LakeSink
    planner: Planner
    ledger: Ledger
    grip: Grip
    metadata: MetadataAccess
    emitter: Emitter
    failpoints: Failpoints
    interrupted: threading.Event
    prepare_engine: Callable[[], None]
    clock: Callable[[], datetime]

    def begin(self, plan: IngestionPlan, write: WriteMode) -> Batch:
        """Freeze and persist a batch. Nothing has been read yet, and Java has been found."""
        self.check_interrupted()
        self.prepare_engine()
        settled = self.settled
        batch = Batch(
            id=f"{self.options.load_date:%Y%m%d}_{settled.sequence:06d}_{uuid.uuid4().hex[:8]}",
            sequence=settled.sequence,
            key=self.ledger.key,
            mode=self.table.mode,
            write=write,
            load_date=self.options.load_date,
            run_id=self.options.run_id,
            base=settled.receipt.batch_id if settled.receipt else None,
            plan=plan,
            reload=self.reload,
            spec=self.digest,
        )
        self.ledger.state.begin_batch(batch)
        about = plan.metadata
        self.emitter.emit(
            PlanMade(
                lower=about.lower_literal,
                upper=about.upper_literal,
                slices=len(plan.slices),
                estimated_rows=about.estimated_rows,
                probed=about.probed,
                reason=about.reason,
            )
        )
        self.failpoints.hit("after-plan", self.table.name)
        return batch

    def stage(self, batch: Batch) -> tuple[StagedSlice, ...]:
        """Stage all slices of a batch, in order; those that this batch staged before a crash are verified and reused."""
        told = False
        staged: list[StagedSlice] = []
        for piece in batch.plan.slices:
            self.check_interrupted()
            found = self.sink.find_staged(batch, piece)
            staged.append(self._stage_slice(batch, piece, found, tell=not told))
            told = told or found is None
        self.failpoints.hit("after-stage", self.table.name)
        return tuple(staged)

    def validate_schema(self, extract: Extract, *, tell: bool = True) -> Extract:
        """Compare the live columns with the snapshot; allowed missing columns come back as NULL.

        With ``tell`` what differs becomes an event: once a batch is enough.
        """
        self._check_keys(extract)
        check = self.metadata.check(self.table.connection, self.table, extract.schema)
        difference = check.difference
        if tell and (difference.added or difference.missing or difference.retyped):
            self.emitter.emit(
                SchemaDrift(
                    added=tuple(column.name for column in difference.added),
                    missing=tuple(column.name for column in difference.missing),
                    retyped=tuple(column.name for column in difference.retyped),
                )
            )
        if check.missing and tell:
            self.emitter.emit(ColumnMissing(tuple(field.name for field in check.missing)))
        return extract.with_missing(check.missing) if check.missing else extract

    def finish(self, batch: Batch, publication: Publication) -> None:
        """Record a batch that is over; see ``publishing.recovery.finish``."""
        finish(self.sink, self.ledger, batch, publication)

    def give_up(self, batch: Batch) -> None:
        """Give a batch up whose staged rows must not be published; the next run reads again."""
        abandon(self.sink, self.ledger, batch)

    def after(self, publication: Publication) -> "ExecutionContext":
        """Return the context for a next batch of the same table in the same run."""
        receipt = publication.receipt
        verified = self.ledger.state.head(self.ledger.key)
        settled = Settled(
            receipt=receipt,
            verified=verified.verified if verified else None,
            open=None,
            sequence=receipt.sequence + 1 if receipt else self.settled.sequence,
        )
        return replace(self, settled=settled)

    def require_lease(self) -> None:
        """Raise before a publish that the fence would refuse anyway."""
        self.check_interrupted()
        self.grip.require()

    def check_interrupted(self) -> None:
        """Raise InterruptedRunError when the run was asked to stop."""
        if self.interrupted.is_set():
            raise InterruptedRunError(
                f"{self.table.name}: the run was interrupted.",
                remedy="Run again; it goes on where this one stopped.",
                table=self.table.name,
            )

    def _stage_slice(self, batch: Batch, piece: Slice, found: StagedSlice | None, *, tell: bool) -> StagedSlice:
        label = f"{batch.id}/{piece.ordinal:05d}"
        emitter = self.emitter.bind(slice=label)
        begun = self.clock()
        if found is None:
            emitter.emit(SliceStarted(piece.ordinal))
            whole = piece.window is None and piece.reread is None
            live = self.source.read_full() if whole else self.source.read_slice(piece)
            extract = self.validate_schema(live, tell=tell)
            columns = IngestColumns(
                run_id=self.options.run_id,
                load_date=batch.load_date,
                loaded_at=begun,
                source=self.table.connection,
                slice=label,
            )
            staged = self.sink.stage_incremental_slice(batch, piece, extract.with_ingest_cols(columns))
        else:
            staged = found
        emitter.emit(
            SliceStaged(
                ordinal=piece.ordinal,
                rows=staged.manifest.rows,
                bytes=sum(file.size for file in staged.manifest.files),
                seconds=(self.clock() - begun).total_seconds(),
                reused=found is not None,
            )
        )
        return staged

    def _check_keys(self, extract: Extract) -> None:
        wanted = (*self.table.primary_keys, *filter(None, [self.table.incremental_column]))
        gone = [name for name in wanted if name not in extract.schema.names]
        if gone:
            raise TerminalError(
                f"{self.table.name}: the source has no column {', '.join(gone)}.",
                remedy=f"Correct primary_keys or incremental_column; the source has {', '.join(extract.schema.names)}.",
                table=self.table.name,
                columns=tuple(gone),
            )

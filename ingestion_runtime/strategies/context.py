"""What a strategy works with: one table, in one run, with everything it may touch."""

import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa

from ingestion_runtime.events.event import Emitter
from ingestion_runtime.events.types.batch import SliceProgress, SliceSplit, SliceStaged, SliceStarted
from ingestion_runtime.events.types.source import ColumnMissing, PrecisionJudged, PrecisionNoted, SchemaDrift
from ingestion_runtime.events.types.table import PlanMade
from ingestion_runtime.metadata.privacy import refuse_former_values
from ingestion_runtime.metadata.runtime import MetadataAccess
from ingestion_runtime.model.batch import Batch, IngestionPlan, Publication, StagedSlice, WriteMode
from ingestion_runtime.model.cursor import Slice
from ingestion_runtime.model.endpoint import Extract, IngestColumns, OnRead, OnSplit, ReadSplit, Shape, SourceEndpoint
from ingestion_runtime.model.errors import InterruptedRunError, TerminalError
from ingestion_runtime.model.options import RunOptions
from ingestion_runtime.model.policy import Guardrail
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.schema import TableSnapshot
from ingestion_runtime.model.spec import SlicingPolicy, TableSpec
from ingestion_runtime.planning.adaptive import Planner
from ingestion_runtime.publishing.deletes import DeleteFinder
from ingestion_runtime.publishing.grip import Hold
from ingestion_runtime.publishing.ledger import Ledger
from ingestion_runtime.publishing.recovery import Settled, abandon, finish
from ingestion_runtime.publishing.sink import LakeSink
from ingestion_runtime.tools.failpoints import Failpoints


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a strategy ended: rows as read from the source and as written, and where the table stands now. ``remark`` is a
    sentence that people should read beside the numbers."""

    status: TableStatus
    rows_read: int = 0
    rows_written: int = 0
    rows_deleted: int = 0
    duplicates: int = 0
    quarantined: int = 0
    slices: int = 0
    watermark: str | None = None
    remark: str = ""

    def followed_by(self, later: "Outcome") -> "Outcome":
        """Return both as one: counts add up, the later watermark stands."""
        return Outcome(
            status=TableStatus.DONE if TableStatus.DONE in (self.status, later.status) else later.status,
            rows_read=self.rows_read + later.rows_read,
            rows_written=self.rows_written + later.rows_written,
            rows_deleted=self.rows_deleted + later.rows_deleted,
            duplicates=self.duplicates + later.duplicates,
            quarantined=self.quarantined + later.quarantined,
            slices=self.slices + later.slices,
            watermark=later.watermark,
            remark=later.remark,
        )


@dataclass(frozen=True, slots=True)
class Intent:
    """What a strategy is about to do, with nothing of it done: the plan of a batch and how that is written.

    ``otherwise`` is how the table ends where the plan has no slices, or there is none; its remark holds in any case.
    """

    write: WriteMode
    otherwise: Outcome
    plan: IngestionPlan | None = None


@dataclass(frozen=True, slots=True)
class ExecutionContext:
    """One table in one run.

    ``lag_seconds`` is the lag in effect (in its own units for an int cursor), ``horizon_wait`` the seconds that open
    transactions are waited for where the cursor is no clock; ``digest`` changes with every setting of the table and its
    connection; ``prepare_engine`` raises what is missing on the machine before a plan has its first effect.
    """

    table: TableSpec
    options: RunOptions
    slicing: SlicingPolicy
    lag_seconds: int
    horizon_wait: int
    digest: str
    finalize: bool
    reload: bool
    settled: Settled
    source: SourceEndpoint
    deletes: DeleteFinder | None
    sink: LakeSink
    planner: Planner
    ledger: Ledger
    grip: Hold
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
            base_manifest=settled.receipt.manifest if settled.receipt else None,
        )
        self.ledger.state.begin_batch(batch)
        about = plan.metadata
        self.emitter.emit(
            PlanMade(
                lower=about.lower_literal,
                upper=about.upper_literal,
                slices=len(plan.reads),
                estimated_rows=about.estimated_rows,
                probed=about.probed,
                reason=about.reason,
            )
        )
        self.failpoints.hit("after-plan", self.table.name)
        return batch

    def stage(self, batch: Batch) -> tuple[StagedSlice, ...]:
        """Stage all slices of a batch, in order; those that this batch staged before a crash are verified and reused."""
        shape: Shape | None = None
        staged: list[StagedSlice] = []
        for piece in batch.plan.reads:
            self.check_interrupted()
            found = self.sink.find_staged(batch, piece)
            if found is None and shape is None:
                # Once a batch: all of its slices must land alike.
                shape = self.validate_schema(batch.write)
            staged.append(self._stage_slice(batch, piece, found, shape or Shape()))
        for piece in batch.plan.slices:
            if piece.tombstones:
                staged.append(self._stage_tombstones(batch, piece, tuple(staged)))
        self.failpoints.hit("after-stage", self.table.name)
        return tuple(staged)

    def validate_schema(self, write: WriteMode) -> Shape:
        """Return how the source's columns are to land, judged by guardrails and policy against target and snapshot.

        What differs becomes events. Raises TerminalError, before anything is read, for what the policies forbid.
        """
        live, published = self.source.described(), self.sink.published_columns()
        self._check_keys(live)
        # A reload makes the table anew: types that it had before bind nobody.
        bound = None if self.reload else published
        landing = self.metadata.guardrails.judge(self.table, live, bound, self.source.profile)
        for finding in landing.findings:
            kind = PrecisionNoted if finding.policy is Guardrail.TEXT else PrecisionJudged
            self.emitter.emit(kind(finding.column, finding.wished, finding.landed, finding.policy, finding.reason))
        landed = _landed(live, landing.fields)
        replaces = write is WriteMode.REPLACE
        verdict = self.metadata.check(self.table.connection, self.table, landed, published, replaces=replaces)
        if not replaces and self.settled.receipt is not None:
            refuse_former_values(self.table, live, published, self.settled.receipt.reading, verdict.shape)
        if verdict.changes:
            self.emitter.emit(SchemaDrift(verdict.changes))
        if verdict.shape.missing:
            self.emitter.emit(ColumnMissing(tuple(field.name for field in verdict.shape.missing)))
        return replace(verdict.shape, landing=(*landing.fields, *verdict.shape.landing))

    def extract(self, piece: Slice, on_split: OnSplit | None = None, on_read: OnRead | None = None) -> Extract:
        """Return the rows of a slice as the source gives them."""
        if piece.window is None and piece.reread is None:
            return self.source.read_full(on_split, on_read)
        return self.source.read_slice(piece, on_split, on_read)

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

    def _stage_slice(self, batch: Batch, piece: Slice, found: StagedSlice | None, shape: Shape) -> StagedSlice:
        label = f"{batch.id}/{piece.ordinal:05d}"
        emitter = self.emitter.bind(slice=label)
        begun = self.clock()
        if found is None:
            emitter.emit(SliceStarted(piece.ordinal))
            live = self.extract(piece, self._on_split(piece, emitter), self._on_read(piece, emitter, begun))
            columns = self._columns(batch, label, begun)
            shaped = live.shaped(shape).with_ingest_cols(columns)
            numbered = shaped.with_field_ids(self.sink.field_ids(shaped))
            staged, connections = self.sink.stage_incremental_slice(batch, piece, numbered), numbered.connections
        else:
            staged, connections = found, 0
        self._tell_staged(emitter, staged, begun, reused=found is not None, connections=connections)
        return staged

    def _stage_tombstones(self, batch: Batch, piece: Slice, staged: tuple[StagedSlice, ...]) -> StagedSlice:
        """Look for what the source no longer has; found before a crash and against the same slices, it is reused."""
        if self.deletes is None:
            raise RuntimeError("a plan with tombstones belongs to a table that looks for deletes")
        self.check_interrupted()
        label = f"{batch.id}/{piece.ordinal:05d}"
        begun = self.clock()
        found = self.deletes.find_staged(batch, piece, staged)
        tombstones = found or self.deletes.stage(batch, piece, staged, self._columns(batch, label, begun))
        self._tell_staged(self.emitter.bind(slice=label), tombstones, begun, reused=found is not None)
        return tombstones

    def _columns(self, batch: Batch, label: str, begun: datetime) -> IngestColumns:
        return IngestColumns(
            run_id=self.options.run_id,
            load_date=batch.load_date,
            loaded_at=begun,
            source=self.table.connection,
            slice=label,
        )

    def _tell_staged(
        self, emitter: Emitter, staged: StagedSlice, begun: datetime, *, reused: bool, connections: int = 0
    ) -> None:
        emitter.emit(
            SliceStaged(
                ordinal=staged.manifest.slice.ordinal,
                rows=staged.manifest.rows,
                bytes=sum(file.size for file in staged.manifest.files),
                seconds=(self.clock() - begun).total_seconds(),
                reused=reused,
                connections=connections,
                tombstones=staged.manifest.slice.tombstones,
            )
        )

    def _on_split(self, piece: Slice, emitter: Emitter) -> OnSplit:
        def tell(split: ReadSplit) -> None:
            self.check_interrupted()
            emitter.emit(SliceSplit(piece.ordinal, split.depth, split.reason))

        return tell

    def _on_read(self, piece: Slice, emitter: Emitter, begun: datetime) -> OnRead:
        def tell(rows: int, size: int) -> None:
            emitter.emit(SliceProgress(piece.ordinal, rows, size, round((self.clock() - begun).total_seconds(), 3)))

        return tell

    def _check_keys(self, live: TableSnapshot) -> None:
        wanted = (*self.table.primary_keys, *filter(None, [self.table.incremental_column]))
        names = [column.name for column in live.columns]
        gone = [name for name in wanted if name not in names]
        if gone:
            raise TerminalError(
                f"{self.table.name}: the source has no column {', '.join(gone)}.",
                remedy=f"Correct primary_keys or incremental_column; the source has {', '.join(names)}.",
                table=self.table.name,
                columns=tuple(gone),
            )


def _landed(live: TableSnapshot, fields: Sequence[pa.Field]) -> TableSnapshot:
    """Return the description with these columns in the types in which they land."""
    kinds = {field.name: str(field.type) for field in fields}
    return replace(live, columns=tuple(replace(c, landed_type=kinds.get(c.name, c.landed_type)) for c in live.columns))

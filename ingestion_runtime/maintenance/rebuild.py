"""A table built anew from its raw batches alone, and published as a batch of its own: the source is not asked.

The batch replaces the table by the publish that every batch goes through: lease and fence, audit, its own files in raw,
compare-and-set with a receipt. Watermark, fingerprint and keys stay what they were, so that the next run goes on where the
last one ended; and later rebuilds begin with it.
"""

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ingestion_runtime.endpoints.engine import EngineSwitch
from ingestion_runtime.endpoints.factory import Endpoints, engine_facts
from ingestion_runtime.endpoints.iceberg.partitions import splitter
from ingestion_runtime.endpoints.published import PublishedRows
from ingestion_runtime.events.buffer import TimeAwareBufferedSink
from ingestion_runtime.events.event import Emitter
from ingestion_runtime.events.types.maintenance import TableRebuilt
from ingestion_runtime.ingestion.context import RunContext, build_context
from ingestion_runtime.maintenance.rebuild_terms import REBUILT, require_privacy, require_publishing, require_settings
from ingestion_runtime.maintenance.workshop import Workshop
from ingestion_runtime.metadata.runtime import MetadataAccess
from ingestion_runtime.model.batch import Batch, IngestionPlan, PlannerMetadata, Publication, Receipt, StagedSlice, WriteMode
from ingestion_runtime.model.cursor import Slice
from ingestion_runtime.model.digest import reading, work_digest
from ingestion_runtime.model.errors import IngestionError, OutcomeUnknownError, TransientError
from ingestion_runtime.model.options import RunOptions
from ingestion_runtime.model.spec import Engine, SinkFormat, TableSpec
from ingestion_runtime.model.target import TargetHead
from ingestion_runtime.provenance.chain import Chain, Link, read_chain
from ingestion_runtime.provenance.wholeness import require_files, require_whole
from ingestion_runtime.publishing.grip import Grip
from ingestion_runtime.publishing.identity import Identity
from ingestion_runtime.publishing.recovery import judge_receipt
from ingestion_runtime.state.buffered import BufferedState
from ingestion_runtime.strategies.context import ExecutionContext
from ingestion_runtime.tools.nearby import NearFiles
from ingestion_runtime.tools.spark import TableSession

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from ingestion_runtime.provenance.replay import Replay


@dataclass(frozen=True, slots=True)
class Differences:
    """The rebuilt table against the one that stood before, in rows: by key and values, marks of deleted rows included; by
    values alone where there is no key."""

    equal: int
    only_in_raw: int
    only_in_table: int
    changed: int


@dataclass(frozen=True, slots=True)
class RebuildOutcome:
    """How a rebuild ended: ``rebuilt``, or ``no_data`` where nothing was ever published.

    ``batches`` and ``files`` of raw were read; of the ``rows``, ``marked`` are marked as deleted. ``differences`` is None
    where the former table could not be compared, and ``uncompared`` says why. ``backup`` is the tag under which it stays.
    """

    status: str
    batch_id: str | None = None
    sequence: int | None = None
    batches: int = 0
    files: int = 0
    rows: int = 0
    marked: int = 0
    differences: Differences | None = None
    uncompared: str = ""
    backup: str | None = None
    seconds: float = 0.0


def rebuild_table(shop: Workshop, table: TableSpec, grip: Grip) -> RebuildOutcome:
    """Rebuild a table whose lease is ``grip``.

    The former table stays as it is until the new one is published, and under a tag until everything is recorded, or for as
    long as ``maintenance.keep_backup`` says.

    Raises TerminalError, before anything is written, for raw that does not tell the whole story: gaps, manifests that cannot
    be read, files that are not as they landed, columns that a merge left as they were; for a table of another configuration,
    or one that would be read otherwise by now. Later what a publish raises.
    """
    begun = time.monotonic()
    session = shop.tool.table_session()
    try:
        found = _Rebuild(shop, table, grip, session).carry_out()
    finally:
        session.close()
    return replace(found, seconds=round(time.monotonic() - begun, 3))


class _Rebuild:
    """One rebuild of one table."""

    def __init__(self, shop: Workshop, table: TableSpec, grip: Grip, session: TableSession) -> None:
        connection = shop.configuration.connection(table.connection)
        self._shop = shop
        self._table = table
        self._grip = grip
        self._emitter: Emitter = shop.emitter.bind(table=table.name)
        self._endpoints = _endpoints(shop, table, session)
        self._identity = Identity(table.name, shop.owner, reading(table, connection), work_digest(table, connection))

    def carry_out(self) -> RebuildOutcome:
        """Look, refuse what cannot be right, and only then write."""
        require_publishing(self._shop.configuration, self._table)
        head = self._endpoints.target.head()
        receipt = head.receipt if head else None
        if receipt is not None:
            judge_receipt(receipt, self._identity, self._table.mode)
        chain = read_chain(self._endpoints.raw, receipt)
        if chain.last is None and not chain.gaps:
            return RebuildOutcome("no_data")
        last = require_whole(self._table, chain)
        require_settings(last, receipt, self._identity)
        require_files(self._table, chain, self._shop.files, self._shop.check)
        return self._replay(chain, last, head)

    def _replay(self, chain: Chain, last: Link, head: TargetHead | None) -> RebuildOutcome:
        from ingestion_runtime.provenance.replay import EXPECTED, Replay

        with self._shop.factory.near_files() as near, self._shop.factory.local_sql().session() as sql:
            published, uncompared = self._published(head, near)
            replay = Replay(sql, self._table, published.schema if published else None, chain, near)
            require_privacy(replay.columns.names, head.receipt if head else None, self._identity)
            replay.expect()
            ((marked,),) = sql.execute(f"SELECT count(*) FILTER (WHERE marked) FROM {EXPECTED}").fetchall()
            differences = None
            if published is not None:
                differences, uncompared = _compare(sql, replay, published, self._table)
            self._point("rebuild-compared")
            context = self._context(last, chain, head)
            batch = context.begin(_plan(last, chain, context.settled.receipt), WriteMode.REPLACE)
            try:
                staged = self._stage(context, batch, sql, replay, near)
            except Exception:
                _give_up(context, batch)
                raise
        publication, backup = self._publish(context, batch, staged, last)
        backup = self._conclude(context, batch, publication, backup)
        outcome = RebuildOutcome(
            status="rebuilt",
            batch_id=batch.id,
            sequence=batch.sequence,
            batches=len(chain.links),
            files=len(replay.files),
            rows=staged.manifest.rows,
            marked=int(marked),
            differences=differences,
            uncompared=uncompared,
            backup=backup,
        )
        self._emitter.emit(_event(outcome))
        return outcome

    def _published(self, head: TargetHead | None, near: NearFiles) -> tuple[PublishedRows | None, str]:
        """Return what readers see, or why it cannot be looked at: it may be what is to be mended."""
        from ingestion_runtime.endpoints.iceberg.snapshot_files import UnfitSnapshot

        if head is None or head.snapshot is None:
            return None, "there was no table"
        try:
            return self._shop.factory.build_published(self._table, head.snapshot, near), ""
        except UnfitSnapshot as unfit:
            return None, unfit.reason
        except IngestionError as error:
            return None, f"it cannot be read ({error.message.rstrip('.')})"

    def _context(self, last: Link, chain: Chain, head: TargetHead | None) -> ExecutionContext:
        """Settle the table as for a reload: what an earlier run left open is recorded, or given up."""
        shop, runtime = self._shop, self._shop.configuration.runtime
        self._shop.check()
        only = frozenset({self._table.name})
        # The rows are those of the last batch's day: a full table is no more up to date than it was.
        options = RunOptions(shop.run_id, last.load_date, reload=only, allow_shrink=only)
        buffer = TimeAwareBufferedSink(shop.store.append_records, runtime.state_flush_every, runtime.state_flush_age_seconds)
        state = BufferedState(shop.store, buffer)
        state.preload([self._endpoints.target.key], last.load_date)
        run = RunContext(
            configuration=shop.configuration,
            options=options,
            factory=shop.factory,
            tool=shop.tool,
            staging=shop.staging,
            state=state,
            keeper=shop.keeper,
            metadata=MetadataAccess(None),
            emitter=shop.emitter,
            failpoints=shop.failpoints,
            interrupted=shop.interrupted,
            clock=shop.clock,
            failed_early={},
        )
        context = build_context(run, self._table, self._endpoints, self._grip, self._emitter)
        if context.settled.receipt != (head.receipt if head else None):
            raise TransientError(
                f"{self._table.name}: the table moved while raw was read.",
                remedy="Run the same command again.",
                table=self._table.name,
            )
        sequence = max(context.settled.sequence, 1 + max(link.sequence for link in (*chain.links, *chain.earlier)))
        settled = replace(context.settled, sequence=sequence)
        return replace(context, settled=settled, digest=REBUILT + self._identity.digest)

    def _stage(
        self, context: ExecutionContext, batch: Batch, sql: "DuckDBPyConnection", replay: "Replay", near: NearFiles
    ) -> StagedSlice:
        from ingestion_runtime.maintenance.rebuilt_rows import RebuiltRows
        from ingestion_runtime.provenance.raw_rows import RawRows

        raw = RawRows(sql, replay)
        adopts = self._table.sink is SinkFormat.ICEBERG and self._endpoints.engine.engine is Engine.ARROW
        split = splitter(self._table.partition, raw.schema) if adopts else None
        settings = self._shop.factory.parquet_settings()
        rows = RebuiltRows(raw, self._shop.files, near, settings, self._shop.check, split)
        rows = rows.with_field_ids(context.sink.field_ids(rows))
        staged = context.sink.stage_incremental_slice(batch, batch.plan.slices[0], rows)
        self._point("after-stage")
        return staged

    def _publish(
        self, context: ExecutionContext, batch: Batch, staged: StagedSlice, last: Link
    ) -> tuple[Publication, str | None]:
        target, receipt = self._endpoints.target, context.settled.receipt
        backup = None
        try:
            context.require_lease()
            backup = target.keep_backup(batch.id)
            self._point("rebuild-kept")
            # Keys that were compared with the table as it was meant to be still are what the source had.
            keys = receipt.keys if receipt and receipt.batch_id == last.batch_id else None
            publication = context.sink.replace_table(batch, (staged,), keys)
        except OutcomeUnknownError:
            raise  # the next run asks the table
        except Exception:
            if not self._is_published(batch):
                _give_up(context, batch)
                with suppress(IngestionError):
                    target.drop_backups(lambda name: name == backup)
            raise
        return publication, backup

    def _is_published(self, batch: Batch) -> bool:
        """Whether the table has the batch, or may have it: then the next run records it."""
        try:
            head = self._endpoints.target.head()
        except Exception:  # noqa: BLE001 - whatever keeps the table from being read now, the next run reads it
            return True
        return head is not None and head.receipt is not None and head.receipt.batch_id == batch.id

    def _conclude(self, context: ExecutionContext, batch: Batch, publication: Publication, backup: str | None) -> str | None:
        """Record the batch, and only then let go of what it replaced; return what is kept of it."""
        context.finish(batch, publication)
        self._point("rebuild-recorded")
        kept = backup if self._table.maintenance.keep_backup else None
        target = self._endpoints.target
        target.drop_backups(lambda name: name != kept)
        head = target.head()
        if head is not None and publication.receipt is not None and head.receipt == publication.receipt and not head.damage:
            # Where the table stands now, so that the next run need not look why it moved.
            context.ledger.record_head(publication.receipt, head.location, context.settled.verified)
        return kept

    def _point(self, name: str) -> None:
        self._shop.failpoints.hit(name, self._table.name)


def _endpoints(shop: Workshop, table: TableSpec, session: TableSession) -> Endpoints:
    """Return the table's ends, with a target that is written without asking the source how large it is: by this process,
    or by Spark where HDFS is concerned."""
    found = engine_facts(shop.configuration, table, None)
    # Whatever was to be hidden was hidden when it landed: no salt is needed, and none is in Spark's plans.
    facts = replace(found, wanted=Engine.SPARK if found.far else Engine.ARROW, streams=True, hashes=False)
    switch = EngineSwitch(lambda: facts, lambda _, __: None)
    endpoints = shop.factory.build_endpoints(table, session)
    return replace(endpoints, target=shop.factory.build_target(table, session, switch), engine=switch)


def _compare(
    sql: "DuckDBPyConnection", replay: "Replay", published: PublishedRows, table: TableSpec
) -> tuple[Differences | None, str]:
    from ingestion_runtime.provenance.comparing import Comparison

    lacking = [name for name in replay.columns.names if name not in published.columns.names]
    if lacking:
        return None, f"it has no column {', '.join(lacking)}"
    comparison = Comparison(sql, published, replay.columns, table.primary_keys)
    found, _ = comparison.compare()
    changed, only_in_raw, only_in_table = comparison.tally() if found.differ else (0, 0, 0)
    return Differences(found.expected - changed - only_in_raw, only_in_raw, only_in_table, changed), ""


def _plan(last: Link, chain: Chain, receipt: Receipt | None) -> IngestionPlan:
    """Return a plan that reads nothing, and after which the next run goes on as after the last batch."""
    stands = receipt is not None and receipt.batch_id == last.batch_id
    # As in a receipt: after deletes the re-read set has to be looked at again.
    told = None if last.raw.manifest.tombstones else last.batch.plan.fingerprint
    watermark = receipt.watermark if receipt and stands else last.batch.plan.watermark
    about = PlannerMetadata(
        lower_literal=None,
        upper_literal=watermark.literal if watermark else None,
        estimated_rows=None,
        probed=False,
        reason=f"rebuilt from {len(chain.links)} raw batches",
    )
    return IngestionPlan((Slice(0),), watermark, receipt.fingerprint if receipt and stands else told, about)


def _give_up(context: ExecutionContext, batch: Batch) -> None:
    """Let go of a batch on the way out of an error, which is the one that people must see."""
    with suppress(IngestionError):
        context.give_up(batch)


def _event(outcome: RebuildOutcome) -> TableRebuilt:
    found = outcome.differences
    return TableRebuilt(
        batch_id=outcome.batch_id or "",
        batches=outcome.batches,
        rows=outcome.rows,
        equal=found.equal if found else None,
        only_in_raw=found.only_in_raw if found else None,
        only_in_table=found.only_in_table if found else None,
        changed=found.changed if found else None,
        uncompared=outcome.uncompared,
        backup=outcome.backup,
    )

"""The program with one mechanism of the protocol switched off: ``python sabotage.py NAME [options of ingestion]``.

state-before-publish   the state decides, and is written as soon as a batch is staged: at most once
state-after-publish    the state decides, and is written when a batch is visible: at least once

In both nobody asks the tables for their receipts, neither at the start nor in the publishing commit.
"""

import sys
from typing import Any

import ingestion_runtime
from ingestion_runtime.endpoints.iceberg.target import IcebergTarget
from ingestion_runtime.endpoints.parquet import ParquetTarget
from ingestion_runtime.model.batch import Batch, Receipt, StagedSlice
from ingestion_runtime.model.state import PhaseStatus
from ingestion_runtime.model.target import Written
from ingestion_runtime.publishing import publisher
from ingestion_runtime.publishing.ledger import PHASES
from ingestion_runtime.publishing.recovery import Recovery, Settled, abandon
from ingestion_runtime.strategies.context import ExecutionContext


def ignore_receipts() -> None:
    """Start where the state says the table is, and publish onto whatever is there."""

    def settle(self: Any, *, reload: bool) -> Settled:
        ledger = self._ledger
        known, opened = ledger.state.head(ledger.key), ledger.state.open_batch(ledger.key)
        if opened is not None:
            abandon(self._sink, ledger, opened)
        sequence = ledger.state.last_sequence(ledger.key) + 1
        return Settled(known.receipt if known else None, known.verified if known else None, None, sequence)

    def accept(*_: object) -> None:
        return None

    Recovery.settle = settle  # type: ignore[method-assign]
    publisher.require_base = accept
    _publish_onto_anything(IcebergTarget)
    _publish_onto_anything(ParquetTarget)


def record_when_staged() -> None:
    """Write head and day status into the state before anything is visible."""
    stage = ExecutionContext.stage

    def stage_and_record(self: ExecutionContext, batch: Batch) -> tuple[StagedSlice, ...]:
        staged = stage(self, batch)
        receipt = Receipt(
            batch_id=batch.id,
            sequence=batch.sequence,
            previous=batch.base,
            mode=batch.mode,
            write=batch.write,
            load_date=batch.load_date,
            watermark=batch.plan.watermark,
            fingerprint=batch.plan.fingerprint,
            fence=self.grip.token,
            owner="test",
            rows=0,
        )
        self.ledger.record_head(receipt, None)
        for phase in PHASES[batch.mode]:
            self.ledger.mark(phase, PhaseStatus.SUCCESS, receipt=receipt)
        return staged

    ExecutionContext.stage = stage_and_record  # type: ignore[method-assign]


def _publish_onto_anything(target: Any) -> None:
    publish = target.publish

    def ungated(self: Any, expected: str | None, written: Written, receipt: Receipt) -> str:
        head = self.head()
        found = head.receipt.batch_id if head and head.receipt else None
        location: str = publish(self, found, written, receipt)
        return location

    target.publish = ungated


if __name__ == "__main__":
    name = sys.argv.pop(1)
    ignore_receipts()
    if name == "state-before-publish":
        record_when_staged()
    elif name != "state-after-publish":
        sys.exit(f"unknown sabotage {name!r}")
    ingestion_runtime.run_cli()

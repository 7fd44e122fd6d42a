"""On which terms a table may be rebuilt: its receipt will say by which settings the rows were read, and must not lie."""

from collections.abc import Sequence

from ingestion_runtime.model.batch import Receipt
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.privacy import treatment
from ingestion_runtime.model.spec import Configuration, TableSpec
from ingestion_runtime.provenance.chain import Link
from ingestion_runtime.provenance.merging import merged_otherwise
from ingestion_runtime.publishing.identity import Identity

#: Before the digest of the settings, in a rebuilt batch: an ordinary run that finds one open takes it for a batch of other
#: settings, gives it up and sweeps away what it left.
REBUILT = "rebuild:"


def require_publishing(configuration: Configuration, table: TableSpec) -> None:
    """Raise TerminalError for a table whose batches go into raw alone: nobody asked for a target."""
    if not configuration.publishes(table):
        raise TerminalError(
            f"{table.name}: its batches go into raw alone, so there is no table to be rebuilt.",
            remedy="To have one, set runtime.finalize_full_refresh to true, and run.",
            table=table.name,
        )


def require_settings(last: Link, receipt: Receipt | None, identity: Identity) -> None:
    """Raise TerminalError unless it is known by which settings the rows up to the last batch were chosen, and raw can be put
    together by those of now as it was merged.

    A receipt of that batch says it; without one the batch itself does, if its settings are those of now.
    """
    if receipt is not None and receipt.batch_id == last.batch_id:
        _require_merging(last, receipt, identity)
        return
    if last.batch.spec.removeprefix(REBUILT) != identity.digest:
        raise TerminalError(
            f"{identity.table}: the table has no receipt of batch {last.batch_id}, the last one in raw, and the settings"
            " have changed since that batch: nobody can say whether its watermark holds for them.",
            remedy="Restore the settings of that time, or replace the table from the source with"
            f" --reload {identity.table}.",
            table=identity.table,
            batch=last.batch_id,
        )


def _require_merging(last: Link, receipt: Receipt, identity: Identity) -> None:
    """Raise TerminalError for batches that were merged by another key or cursor; also where the table is replaced whole by
    now, for which any receipt will do."""
    changed = merged_otherwise(dict(receipt.reading), dict(identity.reading)) if last.batch.mode != "full" else ()
    if changed:
        raise TerminalError(
            f"{identity.table}: its batches were merged by other settings than those of now: {', '.join(changed)}.",
            remedy=f"Restore the settings of that time, or let the next run replace the table (--reload {identity.table}).",
            table=identity.table,
            changed=changed,
        )


def require_privacy(columns: Sequence[str], receipt: Receipt | None, identity: Identity) -> None:
    """Raise TerminalError where raw holds values that are to be kept out of the lake by now, or otherwise than then."""
    before, now = dict(receipt.reading if receipt else identity.reading), dict(identity.reading)
    changed = [name for name in columns if treatment(before, name) != treatment(now, name)]
    if changed:
        raise TerminalError(
            f"{identity.table}: what is kept out of the lake has changed for {', '.join(changed)} since the last batch, and"
            " raw holds the rows as they were.",
            remedy=f"Restore the former settings, or replace the table from the source with --reload {identity.table}.",
            table=identity.table,
            columns=tuple(changed),
        )

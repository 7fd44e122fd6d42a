"""What receipt, manifests and markers of a table say of each other: they were written apart, and must tell one story."""

from collections.abc import Iterator
from itertools import pairwise

from ingestion_runtime.model.batch import Receipt, WriteMode
from ingestion_runtime.model.cursor import Fingerprint, Watermark
from ingestion_runtime.provenance.chain import Chain, Link
from ingestion_runtime.provenance.findings import Finding, Kind
from ingestion_runtime.provenance.wording import spell_slice


def check_records(chain: Chain, receipt: Receipt | None) -> tuple[Finding, ...]:
    """Return where the records of a table contradict each other, or something is missing among them; without a ``receipt``
    for batches that go into raw alone."""
    return (
        *_find_missing(chain),
        *_find_altered(chain, receipt),
        *(() if receipt is None else _find_beyond(chain, receipt)),
        *(finding for link in (*chain.earlier, *chain.links) for finding in _find_in(link)),
        *_find_between(chain),
        *(() if receipt is None else _find_in_receipt(chain, receipt)),
    )


def _find_missing(chain: Chain) -> Iterator[Finding]:
    missing = {gap.batch_id for gap in chain.gaps}
    for lost in chain.unreadable:
        if lost.published or lost.batch_id in missing:
            message = f"the records of batch {lost.batch_id} cannot be read: {lost.reason}"
            yield Finding(Kind.MANIFEST_UNREADABLE, message, batch=lost.batch_id, file=lost.directory)
    known = {lost.batch_id for lost in chain.unreadable}
    for copy in chain.misplaced:
        yield Finding(Kind.RECORDS_DISAGREE, str(copy), batch=copy.batch_id, file=copy.directory)
    for gap in chain.gaps:
        if gap.batch_id not in known:
            message = f"raw has no batch {gap.batch_id}, although {gap.named_by} names it: what it brought has no proof"
            yield Finding(Kind.BATCH_MISSING, message, batch=gap.batch_id)


def _find_altered(chain: Chain, receipt: Receipt | None) -> Iterator[Finding]:
    """Yield manifests that are not those of the publish, and a note of those of which it cannot be told."""
    for altered in chain.altered:
        link = altered.link
        yield Finding(Kind.MANIFEST_CHANGED, str(altered), batch=link.batch_id, file=link.raw.directory)
    if chain.unproven and not chain.gaps and receipt is not None:
        last = chain.unproven[-1]
        message = (
            f"no digest is known of the manifests up to batch {last.batch_id} ({len(chain.unproven)} of {len(chain.links)}):"
            " a version published them that took none, so a raw file that was changed together with its manifest is found by"
            " the rows alone"
        )
        yield Finding(Kind.NOTE, message, batch=last.batch_id)


def _find_beyond(chain: Chain, receipt: Receipt) -> Iterator[Finding]:
    """Yield batches that were published after the one that the receipt names: the table was set back."""
    for link in chain.links:
        if link.sequence > receipt.sequence:
            message = (
                f"batch {link.batch_id} was published after batch {receipt.batch_id}, where the table stands: it was"
                " restored, or its metadata set back"
            )
            yield Finding(Kind.TABLE_DAMAGED, message, batch=link.batch_id, file=link.raw.directory)


def _find_in(link: Link) -> Iterator[Finding]:
    batch, mark = link.batch, link.mark
    if mark is None:
        message = f"batch {batch.id} has no marker that it was published; what followed it, or the receipt, says so"
        yield Finding(Kind.NOTE, message, batch=batch.id, file=link.raw.directory)
    elif (mark.batch_id, mark.sequence, mark.load_date) != (batch.id, batch.sequence, batch.load_date):
        yield _disagree(
            link,
            f"its marker names batch {mark.batch_id}, number {mark.sequence} of {mark.load_date}; its manifest"
            f" {batch.id}, number {batch.sequence} of {batch.load_date}",
        )
    elif mark.previous != batch.base:
        said = f"the batch before it is {_told(mark.previous)} by its marker and {_told(batch.base)} by its manifest"
        yield _disagree(link, said)
    windows = [piece for piece in batch.plan.slices if piece.window is not None and piece.keys is None]
    for before, after in pairwise(windows):
        if before.window and after.window and before.window.high != after.window.low:
            yield Finding(
                Kind.RECORDS_DISAGREE,
                f"batch {batch.id}: its slice {after.ordinal} ({spell_slice(after)}) does not begin where slice"
                f" {before.ordinal} ends ({before.window.high.literal})",
                batch=batch.id,
                slice=after.ordinal,
                covers=spell_slice(after),
                file=link.raw.directory,
            )


def _find_between(chain: Chain) -> Iterator[Finding]:
    missing = {gap.batch_id for gap in chain.gaps}
    for before, after in pairwise(chain.links):
        if after.previous in missing:
            continue
        if after.previous != before.batch_id:
            yield _disagree(after, f"it followed batch {after.previous}, and {before.batch_id} stands before it")
        if after.sequence != before.sequence + 1:
            yield _disagree(after, f"it has number {after.sequence}, the batch before it {before.sequence}")
        yield from _find_unread(before, after)


def _find_unread(before: Link, after: Link) -> Iterator[Finding]:
    """Yield a stretch of the cursor that no batch covers: an ordinary one begins where the one before it left off."""
    plan, reached = after.batch.plan, before.batch.plan.watermark
    ordinary = plan.asked is None and all(piece.keys is None for piece in plan.slices)
    first = next((piece for piece in plan.slices if piece.window is not None), None)
    if not ordinary or reached is None or first is None or first.window is None or after.write is WriteMode.REPLACE:
        return
    if first.window.low != reached:
        yield Finding(
            Kind.RECORDS_DISAGREE,
            f"batch {after.batch_id} begins above {first.window.low.literal}, the batch before it reached"
            f" {reached.literal}: what lies between has no slice",
            batch=after.batch_id,
            slice=first.ordinal,
            covers=spell_slice(first),
            file=after.raw.directory,
        )


def _find_in_receipt(chain: Chain, receipt: Receipt) -> Iterator[Finding]:
    link = next((link for link in chain.links if link.batch_id == receipt.batch_id), None)
    if link is None:
        return
    batch, plan = link.batch, link.batch.plan
    fingerprint = None if link.raw.manifest.tombstones else plan.fingerprint
    said = {
        "number": (receipt.sequence, batch.sequence),
        "previous batch": (receipt.previous, link.previous),
        "mode": (receipt.mode, batch.mode),
        "way of writing": (receipt.write.value, batch.write.value),
        "load date": (receipt.load_date, batch.load_date),
        "watermark": (_literal(receipt.watermark), _literal(plan.watermark)),
        "rows": (receipt.rows, link.raw.manifest.rows),
        "fingerprint": (receipt.fingerprint, fingerprint),
    }
    for name, (ours, theirs) in said.items():
        if ours != theirs:
            yield _disagree(link, f"its {name} is {_told(ours)} by the table's receipt and {_told(theirs)} by its manifest")


def _literal(mark: Watermark | None) -> str | None:
    return mark.literal if mark else None


def _told(value: object) -> str:
    if isinstance(value, Fingerprint):
        return f"{value.rows:,} rows ({value.digest})"
    return "none" if value is None else str(value)


def _disagree(link: Link, words: str) -> Finding:
    message = f"the records of batch {link.batch_id} contradict each other: {words}"
    return Finding(Kind.RECORDS_DISAGREE, message, batch=link.batch_id, file=link.raw.directory)

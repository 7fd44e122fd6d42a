"""Does a branch hold what its manifests promise? Judged before anyone can see it."""

from collections.abc import Iterator

from ingestion_runtime.model.batch import Batch, WriteMode
from ingestion_runtime.model.errors import RefusedBatchError
from ingestion_runtime.model.target import Buried, Payload, Written


def audit(batch: Batch, payload: Payload, written: Written) -> None:
    """Raise RefusedBatchError, naming every finding, unless the branch is right."""
    findings = tuple(_find(batch, payload, written))
    if findings:
        raise RefusedBatchError(
            f"{batch.key}: the audit refused batch {batch.id}: {'; '.join(findings)}.",
            remedy="Nothing was published. Correct primary_keys, merge_filter or the source's duplicates, then run again.",
            table=str(batch.key),
            batch=batch.id,
            findings=findings,
        )


def _find(batch: Batch, payload: Payload, written: Written) -> Iterator[str]:
    if written.rows != payload.rows:
        yield f"{written.rows} rows were written, the manifests promise {payload.rows}"
    if written.null_keys:
        yield f"{written.null_keys} rows have a NULL in the primary key"
    if batch.write is WriteMode.MERGE and written.found != written.keys:
        yield (
            f"{written.keys} keys were merged, the table holds {written.found} rows for them (does merge_filter miss some?)"
        )
    if batch.write in (WriteMode.APPEND, WriteMode.OVERWRITE):
        yield from _find_added(written)
    if written.buried is not None:
        yield from _find_buried(payload, written.buried)
    if batch.write is WriteMode.REPLACE:
        keeps_newest = batch.mode == "scd1"
        if not keeps_newest and written.keys != written.rows:
            yield f"{written.rows - written.keys} rows repeat a primary key"
        expected = written.keys if keeps_newest else written.rows
        if written.total != expected:
            yield f"the table would hold {written.total} rows, expected {expected}"


def _find_added(written: Written) -> Iterator[str]:
    if written.added != written.rows:
        yield f"{written.added} rows were added, {written.rows} were staged"
    if written.found != written.rows:
        yield f"{written.found} rows of the table lie where {written.rows} were read"
    expected = written.before - written.removed + written.rows
    if written.total != expected:
        yield f"the table would hold {written.total} rows, expected {expected}"


def _find_buried(payload: Payload, buried: Buried) -> Iterator[str]:
    if buried.tombstones != payload.deleted:
        yield f"{buried.tombstones} tombstones were applied, the manifests promise {payload.deleted}"
    if buried.alive:
        yield f"{buried.alive} keys that the source no longer has would still be there"
    if buried.live != buried.expected:
        yield f"the table would show {buried.live} rows after the deletes, expected {buried.expected}"

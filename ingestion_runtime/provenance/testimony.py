"""What sources said of slices as these were read, held against the raw files: where a table demanded its source's word."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from ingestion_runtime.endpoints.testimony import measure
from ingestion_runtime.provenance.chain import Link, slice_ordinal
from ingestion_runtime.provenance.findings import Finding, Kind
from ingestion_runtime.provenance.raw_files import piece_of
from ingestion_runtime.provenance.wording import spell_slice
from ingestion_runtime.tools.nearby import NearFiles

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def check_testimonies(
    session: "Callable[[], AbstractContextManager[DuckDBPyConnection]]",
    links: Sequence[Link],
    aside: Mapping[str, Sequence[str]],
    damaged: Collection[str],
    near: NearFiles,
) -> tuple[Finding, ...]:
    """Return the slices whose files hold something else than the source said.

    ``aside`` are the files of rows that were set aside, by batch: of these it spoke too, so that batches which lack them
    are left out, and slices with ``damaged`` files (paths). ``near`` lends the files that are not on a local disk.
    """
    complete = (link for link in links if link.batch_id in aside or not link.raw.manifest.quarantined)
    spoken = [link for link in complete if link.raw.manifest.testimonies]
    if not spoken:
        return ()
    with session() as sql:
        return tuple(
            finding
            for link in spoken
            for finding in _check(sql, link, aside.get(link.batch_id, ()), frozenset(damaged), near)
        )


def _check(
    sql: "DuckDBPyConnection", link: Link, aside: Sequence[str], damaged: frozenset[str], near: NearFiles
) -> Iterator[Finding]:
    paths = [*(link.path(file) for file in link.raw.manifest.files), *aside]
    for testimony in link.raw.manifest.testimonies:
        mine = [path for path in paths if slice_ordinal(path) == testimony.ordinal]
        if not mine or not damaged.isdisjoint(mine):
            continue
        with near.lend(mine) as here:
            found = measure(sql, here, testimony.said)
        if found != testimony.said:
            piece = piece_of(link, mine[0])
            yield Finding(
                Kind.RECORDS_DISAGREE,
                f"slice {testimony.ordinal} of batch {link.batch_id} holds other rows than those of which its source spoke",
                batch=link.batch_id,
                slice=testimony.ordinal,
                covers=spell_slice(piece) if piece else None,
                file=mine[0],
            )

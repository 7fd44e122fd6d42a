"""Does raw tell the whole story of a table? What is missing, or not as it landed, is refused by name."""

from collections.abc import Callable

from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.provenance.chain import Chain, Link
from ingestion_runtime.tools.files import Files

_NAMED = 5


def require_whole(table: TableSpec, chain: Chain) -> Link:
    """Return the last batch of a chain that is whole; raises TerminalError, naming everything, for any other."""
    found = [f"raw lacks {gap}" for gap in chain.gaps]
    missing = {gap.batch_id for gap in chain.gaps}
    found += [f"{spoilt}" for spoilt in chain.unreadable if spoilt.published or spoilt.batch_id in missing]
    found += [str(moved) for moved in chain.misplaced if moved.batch_id in missing]
    found += [str(altered) for altered in chain.altered if altered.link in chain.links]
    found += [f"batch {rival.batch_id} may be the last one as well, of another table of that name" for rival in chain.rivals]
    last = chain.last
    if found or last is None:
        raise TerminalError(
            f"{table.name}: raw does not tell what the table must hold: {'; '.join(found)}.",
            remedy="Restore what is missing or was changed (or move the batches of a former table away), or replace the"
            f" table from the source with --reload {table.name}.",
            table=table.name,
            findings=tuple(found),
        )
    return last


def require_files(table: TableSpec, chain: Chain, files: Files, check: Callable[[], None]) -> None:
    """Raise TerminalError, naming them, for files that are not as they landed. Reads all of them; ``check`` is asked before
    each, and raises where the work is to end."""
    spoilt = []
    for link in chain.links:
        for file in (*link.raw.manifest.files, *link.raw.manifest.tombstones):
            check()
            path = link.path(file)
            if not files.exists(path):
                spoilt.append(f"{path} is missing")
            elif files.size(path) != file.size or files.sha256(path) != file.sha256:
                spoilt.append(f"{path} was changed after it landed")
    if spoilt:
        more = f" and {len(spoilt) - _NAMED} more" if len(spoilt) > _NAMED else ""
        raise TerminalError(
            f"{table.name}: {'; '.join(spoilt[:_NAMED])}{more}.",
            remedy="Restore the files from a backup, or replace the table from the source with --reload"
            f" {table.name}. What they held: ingestion verify --only-tables {table.name}.",
            table=table.name,
            files=tuple(spoilt),
        )

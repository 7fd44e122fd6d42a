"""The raw zone: every published batch keeps its files, landed by one directory rename.

{raw_root}/{schema}/{table}/load_date=D/batch=B/          part files and _MANIFEST.json
{raw_root}/{schema}/{table}/_quarantine/load_date=D/batch=B/   rows set aside; the underscore hides them from readers of raw
"""

from ingestion_runtime.documents import dump_document, load_document
from ingestion_runtime.model.batch import Batch, RawBatch, RawManifest, StagedFile, StagedSlice
from ingestion_runtime.model.errors import RefusedBatchError
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.tools.files import Files

MANIFEST = "_MANIFEST.json"
PUBLISHED = "_PUBLISHED"
ABANDONED = "_ABANDONED"


class RawZone:
    """Raw batches of one table."""

    def __init__(self, root: str, table: TableSpec, files: Files) -> None:
        self._base = f"{root}/{table.schema}/{table.table}"
        self._files = files

    def find(self, batch: Batch) -> RawBatch | None:
        """Return the batch if it has landed; raises TerminalError when what lies there cannot be read."""
        directory = self._directory(batch)
        if not self._files.exists(f"{directory}/{MANIFEST}"):
            return None
        manifest = load_document(RawManifest, self._files.read_text(f"{directory}/{MANIFEST}"), directory)
        return RawBatch(directory, manifest)

    def exists(self, batch_id: str, load_date: str) -> bool:
        """Whether a batch of that id has landed for that load date (ISO)."""
        return self._files.exists(f"{self._base}/load_date={load_date}/batch={batch_id}/{MANIFEST}")

    def verify(self, raw: RawBatch) -> None:
        """Raise RefusedBatchError when a file no longer is what the manifest says (size and hash)."""
        for file in raw.manifest.files:
            path = f"{raw.directory}/{file.path}"
            if not self._files.exists(path) or self._files.sha256(path) != file.sha256:
                raise RefusedBatchError(
                    f"{path} is missing or was changed after it landed.",
                    remedy="Run again: the batch is given up and the source read anew.",
                    path=path,
                )

    def land(self, batch: Batch, staged: tuple[StagedSlice, ...]) -> RawBatch:
        """Give the staged files their place in raw; a batch that has landed already is returned as it is."""
        landed = self.find(batch)
        if landed is not None:
            return landed
        files = self._gather(staged, self._directory(batch), quarantined=False)
        self.set_aside(batch, staged)
        return self._move_in(self._directory(batch), batch, files, staged)

    def quarantine(self, batch: Batch) -> str:
        """Return where the rows of a batch lie that were set aside."""
        return self._directory(batch, "_quarantine/")

    def set_aside(self, batch: Batch, staged: tuple[StagedSlice, ...]) -> None:
        """Give quarantined rows their place beside raw, if there are any."""
        if any(piece.manifest.quarantine for piece in staged):
            aside = self.quarantine(batch)
            self._move_in(aside, batch, self._gather(staged, aside, quarantined=True), staged)

    def mark_published(self, batch: Batch) -> None:
        """Leave the marker that a rebuild believes: sequence and previous batch are in the manifest beside it."""
        self._mark(batch, PUBLISHED)

    def mark_abandoned(self, batch: Batch) -> None:
        """Leave the marker that lets maintenance remove a batch that never became visible."""
        self._mark(batch, ABANDONED)

    def _mark(self, batch: Batch, marker: str) -> None:
        directory = self._directory(batch)
        if self._files.exists(directory):
            self._files.write_text(f"{directory}/{marker}", dump_document(batch))

    def _directory(self, batch: Batch, prefix: str = "") -> str:
        return f"{self._base}/{prefix}load_date={batch.load_date.isoformat()}/batch={batch.id}"

    def _gather(self, staged: tuple[StagedSlice, ...], target: str, *, quarantined: bool) -> tuple[StagedFile, ...]:
        """Collect the files under a name that no reader sees, and return them as the manifest will list them."""
        temporary = _temporary(target)
        self._files.remove_tree(temporary)
        self._files.make_directory(temporary)
        gathered: list[StagedFile] = []
        for piece in staged:
            for file in piece.manifest.quarantine if quarantined else piece.manifest.files:
                name = f"slice-{piece.manifest.slice.ordinal:05d}-{len(gathered):05d}.parquet"
                self._files.adopt(f"{piece.directory}/{file.path}", f"{temporary}/{name}")
                gathered.append(StagedFile(name, file.size, file.sha256, file.rows))
        return tuple(gathered)

    def _move_in(
        self, target: str, batch: Batch, files: tuple[StagedFile, ...], staged: tuple[StagedSlice, ...]
    ) -> RawBatch:
        manifest = RawManifest(
            batch=batch,
            files=files,
            fields=staged[0].manifest.fields,
            quarantined=sum(piece.manifest.quarantined for piece in staged),
        )
        temporary = _temporary(target)
        self._files.write_text(f"{temporary}/{MANIFEST}", dump_document(manifest))
        if self._files.exists(target):
            # Only a quarantine can stand here: it lands before the batch, and a crash in between leaves it behind.
            self._files.remove_tree(target)
        self._files.rename(temporary, target)
        return RawBatch(target, manifest)


def _temporary(target: str) -> str:
    parent, _, name = target.rpartition("/")
    return f"{parent}/_landing-{name}"

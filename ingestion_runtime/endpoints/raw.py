"""The raw zone: every published batch keeps its files, landed by one directory rename.

{raw_root}/{schema}/{table}/load_date=D/batch=B/          part files and _MANIFEST.json
{raw_root}/{schema}/{table}/_quarantine/load_date=D/batch=B/   rows set aside; the underscore hides them from readers of raw
{raw_root}/{schema}/{table}/load_date=D/batch=B/_tombstones/   keys that the source no longer had
"""

import hashlib
import uuid
from collections.abc import Iterable
from datetime import date

from ingestion_runtime.documents import dump_document, load_document
from ingestion_runtime.model.batch import Batch, PublishedMark, RawBatch, RawManifest, StagedFile, StagedSlice
from ingestion_runtime.model.errors import SpoiltBatchError, TerminalError, TransientError
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.testimony import SliceTestimony
from ingestion_runtime.tools.files import Files

MANIFEST = "_MANIFEST.json"
PUBLISHED = "_PUBLISHED"
ABANDONED = "_ABANDONED"
TOMBSTONES = "_tombstones"
QUARANTINE = "_quarantine"
_DAY, _BATCH, _LANDING = "load_date=", "batch=", "_landing-"


class RawZone:
    """Raw batches of one table."""

    def __init__(self, root: str, table: TableSpec, files: Files) -> None:
        self._base = f"{root}/{table.schema}/{table.table}"
        self._deletes = table.deletes.value
        self._files = files

    def find(self, batch: Batch) -> RawBatch | None:
        """Return the batch if it has landed; raises TerminalError when what lies there cannot be read."""
        directory = self._batch_directory(batch.load_date, batch.id)
        return self.read(directory) if self._files.exists(f"{directory}/{MANIFEST}") else None

    def batches(self) -> tuple[str, ...]:
        """Return the directory of every batch of the table that landed, by load date and name."""
        days = self._days(self._base)
        return tuple(f"{day}/{name}" for day in days for name in self._files.names(day) if name.startswith(_BATCH))

    def is_there(self, directory: str) -> bool:
        """Whether one of ``batches`` is still there: maintenance removes those that nobody needs."""
        return self._files.exists(directory)

    def read(self, directory: str) -> RawBatch:
        """Return what landed in one of ``batches``; raises TerminalError when its manifest is missing or cannot be read."""
        path = f"{directory}/{MANIFEST}"
        if not self._files.exists(path):
            raise TerminalError(f"{directory} has no {MANIFEST}.", remedy="Restore it from a backup.", path=path)
        text = self._files.read_text(path)
        return RawBatch(directory, load_document(RawManifest, text, directory), _digest(text))

    def published_mark(self, directory: str) -> PublishedMark | None:
        """Return what the marker of a published batch says, None where there is none; raises TerminalError when it cannot be
        read."""
        path = f"{directory}/{PUBLISHED}"
        if not self._files.exists(path):
            return None
        return load_document(PublishedMark, self._files.read_text(path), path)

    def is_marked_published(self, directory: str) -> bool:
        """Whether the batch there has a marker of its publication, readable or not."""
        return self._files.exists(f"{directory}/{PUBLISHED}")

    def is_abandoned(self, directory: str) -> bool:
        """Whether the batch there is marked as given up."""
        return self._files.exists(f"{directory}/{ABANDONED}")

    def landings(self) -> tuple[str, ...]:
        """Return the directories in which attempts gathered files to land them, or which were about to be removed: all that
        attempts left which are over. Whoever holds the table's lease may remove them."""
        days = self._days(self._base) + self._days(f"{self._base}/{QUARANTINE}")
        return tuple(f"{day}/{name}" for day in days for name in self._files.names(day) if name.startswith(_LANDING))

    def quarantined(self) -> tuple[str, ...]:
        """Return the directories of the rows that were set aside, a batch each."""
        days = self._days(f"{self._base}/{QUARANTINE}")
        return tuple(f"{day}/{name}" for day in days for name in self._files.names(day) if name.startswith(_BATCH))

    def remove(self, directory: str) -> None:
        """Remove one of ``batches``, ``quarantined`` or ``landings``: at once for whoever lists them, then file by file."""
        parent, _, name = directory.rpartition("/")
        if not name.startswith(_LANDING):
            aside = f"{_hidden(directory)}-{uuid.uuid4().hex[:8]}"
            self._files.rename(directory, aside)
            directory = aside
        self._files.remove_tree(directory)
        # By the file system's own rule: another configuration may share this place, and be about to land something.
        self._files.remove_empty(parent)

    def age_seconds(self, directory: str, now: float) -> float:
        """Return the seconds since a batch landed, or since something was put into the directory."""
        manifest = f"{directory}/{MANIFEST}"
        return self._files.age_seconds(manifest if self._files.exists(manifest) else directory, now)

    def size(self, directory: str) -> int:
        """Return the bytes of the Parquet files in one of these directories."""
        places = (directory, f"{directory}/{TOMBSTONES}")
        return sum(
            self._files.size(f"{place}/{name}")
            for place in places
            for name in self._files.names(place)
            if name.endswith(".parquet")
        )

    def _days(self, base: str) -> tuple[str, ...]:
        return tuple(f"{base}/{name}" for name in self._files.names(base) if name.startswith(_DAY))

    def is_published(self, load_date: date, batch_id: str) -> bool:
        """Whether that batch stands in raw and its publication is recorded there."""
        return self._files.exists(f"{self._batch_directory(load_date, batch_id)}/{PUBLISHED}")

    def verify(self, raw: RawBatch) -> None:
        """Raise SpoiltBatchError when a file no longer is what the manifest says (size and hash)."""
        for file in (*raw.manifest.files, *raw.manifest.tombstones):
            path = f"{raw.directory}/{file.path}"
            if not self._files.exists(path) or self._files.sha256(path) != file.sha256:
                raise SpoiltBatchError(
                    f"{path} is missing or was changed after it landed.",
                    remedy="Run again: the batch is given up and the source read anew.",
                    path=path,
                )

    def land(self, batch: Batch, staged: tuple[StagedSlice, ...]) -> RawBatch:
        """Give the staged files their place in raw, by one rename.

        A batch that has landed already is returned as it is. One that landed with other rows, because its slices had to be
        read again since, makes room first, unless it is published: then it is not ours to change (TransientError).
        """
        landed = self.find(batch)
        if landed is not None and not _holds(landed, staged):
            self._make_room(batch, landed)
            landed = None
        aside = self.set_aside(batch, staged)
        if landed is not None:
            if landed.manifest.aside == aside:
                return landed
            self._make_room(batch, landed)
        directory = self._batch_directory(batch.load_date, batch.id)
        temporary, files = self._gather(staged, directory, quarantined=False)
        return self._move_in(temporary, directory, batch, files, staged, aside)

    def quarantine(self, batch: Batch) -> str:
        """Return where the rows of a batch lie that were set aside."""
        return self._batch_directory(batch.load_date, batch.id, f"{QUARANTINE}/")

    def set_aside(self, batch: Batch, staged: tuple[StagedSlice, ...]) -> str | None:
        """Give quarantined rows their place beside raw; return the digest of their manifest, None if there are no rows."""
        if not any(piece.manifest.quarantine for piece in staged):
            return None
        aside = self.quarantine(batch)
        temporary, files = self._gather(staged, aside, quarantined=True)
        self._files.remove_tree(aside)  # of an earlier attempt: the same rows, or older ones
        return self._move_in(temporary, aside, batch, files, staged).digest

    def mark_published(self, mark: PublishedMark) -> None:
        """Leave the marker that a rebuild believes."""
        self._mark(self._batch_directory(mark.load_date, mark.batch_id), PUBLISHED, dump_document(mark))

    def mark_abandoned(self, batch: Batch) -> None:
        """Leave the marker that lets maintenance remove a batch, unless it is marked as published."""
        if not self.is_published(batch.load_date, batch.id):
            self._mark(self._batch_directory(batch.load_date, batch.id), ABANDONED, dump_document(batch))

    def _mark(self, directory: str, marker: str, text: str) -> None:
        if self._files.exists(directory):
            self._files.write_text(f"{directory}/{marker}", text)

    def _batch_directory(self, load_date: date, batch_id: str, prefix: str = "") -> str:
        return f"{self._base}/{prefix}load_date={load_date.isoformat()}/batch={batch_id}"

    def _make_room(self, batch: Batch, landed: RawBatch) -> None:
        if self.is_published(batch.load_date, batch.id):
            raise TransientError(
                f"{landed.directory} was published by another run.",
                remedy="Run again; the new run goes on from there.",
                path=landed.directory,
            )
        aside = f"{_hidden(landed.directory)}-{uuid.uuid4().hex[:8]}"
        self._files.rename(landed.directory, aside)
        self._files.remove_tree(aside)

    def _gather(
        self, staged: tuple[StagedSlice, ...], target: str, *, quarantined: bool
    ) -> tuple[str, tuple[StagedFile, ...]]:
        """Collect the files under a name of this attempt that no reader sees; return it and the files for the manifest."""
        temporary = f"{_hidden(target)}-{uuid.uuid4().hex[:8]}"
        gathered: list[StagedFile] = []
        for piece in staged:
            files = piece.manifest.quarantine if quarantined else _lands(piece)
            folder = f"{TOMBSTONES}/" if piece.manifest.slice.tombstones and files else ""
            self._files.make_directory(f"{temporary}/{folder}")
            for file in files:
                name = f"{folder}slice-{piece.manifest.slice.ordinal:05d}-{len(gathered):05d}.parquet"
                self._files.adopt(f"{piece.directory}/{file.path}", f"{temporary}/{name}")
                gathered.append(StagedFile(name, file.size, file.sha256, file.rows))
        return temporary, tuple(gathered)

    def _move_in(
        self,
        temporary: str,
        target: str,
        batch: Batch,
        files: tuple[StagedFile, ...],
        staged: tuple[StagedSlice, ...],
        aside: str | None = None,
    ) -> RawBatch:
        manifest = RawManifest(
            batch=batch,
            files=tuple(file for file in files if not file.path.startswith(TOMBSTONES)),
            fields=next((piece.manifest.fields for piece in staged if not piece.manifest.slice.tombstones), ()),
            quarantined=sum(piece.manifest.quarantined for piece in staged),
            tombstones=tuple(file for file in files if file.path.startswith(TOMBSTONES)),
            deletes=self._deletes,
            testimonies=tuple(
                SliceTestimony(piece.manifest.slice.ordinal, piece.manifest.testimony)
                for piece in staged
                if piece.manifest.testimony is not None
            ),
            aside=aside,
        )
        text = dump_document(manifest)
        self._files.write_text(f"{temporary}/{MANIFEST}", text)
        self._files.rename(temporary, target)
        return RawBatch(target, manifest, _digest(text))


def _digest(text: str) -> str:
    # Of the file's own bytes: a manifest is one line of UTF-8, so reading it as text changes nothing about it.
    return hashlib.sha256(text.encode()).hexdigest()


def _hidden(target: str) -> str:
    parent, _, name = target.rpartition("/")
    return f"{parent}/{_LANDING}{name}"


def _lands(piece: StagedSlice) -> tuple[StagedFile, ...]:
    """The files of a slice that raw keeps: a file of no tombstones is none."""
    manifest = piece.manifest
    return () if manifest.slice.tombstones and not manifest.rows else manifest.files


def _holds(landed: RawBatch, staged: tuple[StagedSlice, ...]) -> bool:
    """Whether these slices are what landed."""
    there = (*landed.manifest.files, *landed.manifest.tombstones)
    return _hashes(there) == _hashes(file for piece in staged for file in _lands(piece))


def _hashes(files: Iterable[StagedFile]) -> list[str]:
    return sorted(file.sha256 for file in files)

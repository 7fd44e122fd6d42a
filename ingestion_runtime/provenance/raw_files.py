"""Raw files against their manifests: each is there, with the size and the hash with which it landed, and none besides."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial

from ingestion_runtime.endpoints.raw import TOMBSTONES, RawZone
from ingestion_runtime.model.batch import RawBatch, StagedFile
from ingestion_runtime.model.cursor import Slice
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.provenance.chain import Link, slice_ordinal
from ingestion_runtime.provenance.findings import Finding, Kind
from ingestion_runtime.provenance.wording import spell_slice
from ingestion_runtime.tools.files import Files

_PARQUET = ".parquet"


@dataclass(slots=True)
class FileCheck:
    """What came of looking at raw files: how many of them, their bytes by the manifests, the paths of those that are not as
    they landed, and the findings. ``aside`` are the files of quarantined rows, by batch."""

    files: int = 0
    bytes: int = 0
    damaged: set[str] = field(default_factory=set)
    aside: dict[str, tuple[str, ...]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


class RawFiles:
    """The raw files of one table. ``pool`` hashes several at the same time. ``forgets``: rows that were set aside go after
    some time."""

    def __init__(self, files: Files, raw: RawZone, pool: Executor, *, forgets: bool) -> None:
        self._files = files
        self._raw = raw
        self._pool = pool
        self._forgets = forgets

    def check(self, links: Iterable[Link]) -> FileCheck:
        """Look at every file of these batches, quarantined ones included."""
        found = FileCheck()
        for link in links:
            self._check_files(found, link, link.raw, (*link.raw.manifest.files, *link.raw.manifest.tombstones))
            self._check_quarantine(found, link)
            found.findings += _lacking(link)
        return found

    def _check_files(self, found: FileCheck, link: Link, raw: RawBatch, files: Sequence[StagedFile]) -> None:
        looks = [(file, self._pool.submit(partial(self._look, f"{raw.directory}/{file.path}", file))) for file in files]
        for file, look in looks:
            found.files += 1
            found.bytes += file.size
            trouble = look.result()
            if trouble is not None:
                kind, words = trouble
                path = f"{raw.directory}/{file.path}"
                if kind is not Kind.RECORDS_DISAGREE:
                    found.damaged.add(path)
                found.findings.append(self._tell(kind, words, link, path))
        for path in self._unknown(raw.directory, {file.path for file in files}):
            words = "is named by no manifest"
            found.findings.append(self._tell(Kind.RAW_FILE_UNKNOWN, words, link, path))

    def _check_quarantine(self, found: FileCheck, link: Link) -> None:
        promised = link.raw.manifest.quarantined
        if not promised:
            return
        directory = self._raw.quarantine(link.batch)
        if self._forgets and not self._files.names(directory):
            return
        try:
            aside = self._raw.read(directory)
        except TerminalError as error:
            message = f"{promised:,} rows were set aside in batch {link.batch_id}, and they are gone: {error.message}"
            found.findings.append(Finding(Kind.RAW_FILE_MISSING, message, batch=link.batch_id, file=directory))
            return
        if link.raw.manifest.aside not in (None, aside.digest):
            message = f"the manifest of the rows set aside in batch {link.batch_id} is not the one that landed with it"
            found.findings.append(Finding(Kind.MANIFEST_CHANGED, message, batch=link.batch_id, file=directory))
        found.aside[link.batch_id] = tuple(f"{directory}/{file.path}" for file in aside.manifest.files)
        self._check_files(found, link, aside, aside.manifest.files)
        if aside.manifest.rows != promised:
            message = f"{directory} holds {aside.manifest.rows:,} rows, the batch's manifest says {promised:,}"
            found.findings.append(Finding(Kind.RECORDS_DISAGREE, message, batch=link.batch_id, file=directory))

    def _look(self, path: str, file: StagedFile) -> tuple[Kind, str] | None:
        """Return what is wrong with a file, None when it is as it landed."""
        try:
            changed = self._changed(path, file)
            rows = file.rows if changed else self._rows(path)
        except FileNotFoundError:
            return Kind.RAW_FILE_MISSING, "is missing"
        except OSError as error:
            return Kind.RAW_FILE_CHANGED, f"cannot be read ({error.strerror or error})"
        if changed is None and rows != file.rows:
            return Kind.RECORDS_DISAGREE, f"holds {rows:,} rows, its manifest says {file.rows:,}"
        return None if changed is None else (Kind.RAW_FILE_CHANGED, changed)

    def _changed(self, path: str, file: StagedFile) -> str | None:
        size = self._files.size(path)
        if size != file.size:
            return f"has {size:,} bytes, it landed with {file.size:,}"
        same = self._files.sha256(path) == file.sha256
        return None if same else "holds other bytes than those that landed (its SHA-256 differs)"

    def _rows(self, path: str) -> int:
        import pyarrow.parquet as pq

        with self._files.open(path) as stream:
            return int(pq.read_metadata(stream).num_rows)

    def _unknown(self, directory: str, named: set[str]) -> Iterator[str]:
        """Yield Parquet files that lie in a batch's directory and are none of its own."""
        for folder in ("", f"{TOMBSTONES}/"):
            for name in self._files.names(f"{directory}/{folder}"):
                if name.endswith(_PARQUET) and not name.startswith((".", "_")) and f"{folder}{name}" not in named:
                    yield f"{directory}/{folder}{name}"

    def _tell(self, kind: Kind, words: str, link: Link, path: str) -> Finding:
        piece = piece_of(link, path)
        where = f"slice {piece.ordinal} of batch {link.batch_id}" if piece else f"batch {link.batch_id}"
        return Finding(
            kind,
            f"{path} {words}: it belongs to {where}",
            batch=link.batch_id,
            slice=piece.ordinal if piece else None,
            covers=spell_slice(piece) if piece else None,
            file=path,
        )


def piece_of(link: Link, path: str) -> Slice | None:
    """Return the slice of a batch whose rows a raw file holds; None where its name or the plan does not tell."""
    try:
        ordinal = slice_ordinal(path)
    except ValueError:
        return None
    return next((piece for piece in link.batch.plan.slices if piece.ordinal == ordinal), None)


def lacking_slices(link: Link) -> tuple[Slice, ...]:
    """Return the slices of which the manifest names no file: each that was read left at least an empty one."""
    present = {piece.ordinal for file in link.raw.manifest.files if (piece := piece_of(link, file.path))}
    return tuple(piece for piece in link.batch.plan.reads if piece.ordinal not in present)


def _lacking(link: Link) -> Iterator[Finding]:
    for piece in lacking_slices(link):
        yield Finding(
            Kind.RECORDS_DISAGREE,
            f"the manifest of batch {link.batch_id} names no file of its slice {piece.ordinal}",
            batch=link.batch_id,
            slice=piece.ordinal,
            covers=spell_slice(piece),
            file=link.raw.directory,
        )

"""The batches of which a table consists, as raw and the table's receipt prove it: nothing is guessed, gaps are named."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from ingestion_runtime.endpoints.raw import RawZone
from ingestion_runtime.model.batch import Batch, PublishedMark, RawBatch, Receipt, StagedFile, WriteMode
from ingestion_runtime.model.errors import TerminalError

_SLICE = re.compile(r"(?:^|/)slice-(\d+)-\d+\.parquet$")
_SEQUENCE = re.compile(r"\d{8}_(\d{6,})_[0-9a-f]{8}")


class LinkState(StrEnum):
    """What proves that a raw batch is in the table, or is not.

    PUBLISHED: its marker. NAMED: it has none, but the table's receipt or the batch that followed names it. ABANDONED: it was
    given up. OPEN: neither; a run is at work on it, or died.
    """

    PUBLISHED = "published"
    NAMED = "named"
    ABANDONED = "abandoned"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Link:
    """A batch in raw, its marker (None: it has none) and what follows from both."""

    raw: RawBatch
    mark: PublishedMark | None
    state: LinkState

    @property
    def batch(self) -> Batch:
        """The batch as it was frozen."""
        return self.raw.manifest.batch

    @property
    def batch_id(self) -> str:
        return self.batch.id

    @property
    def sequence(self) -> int:
        return self.batch.sequence

    @property
    def write(self) -> WriteMode:
        return self.batch.write

    @property
    def load_date(self) -> date:
        return self.batch.load_date

    @property
    def previous(self) -> str | None:
        """The batch that the table held before this one; None: there was no table. The manifest says it, for which there is
        a digest, and not the marker."""
        return self.batch.base

    @property
    def is_start(self) -> bool:
        """Whether nothing that was published before it is needed."""
        return self.write is WriteMode.REPLACE or self.previous is None

    def path(self, file: StagedFile) -> str:
        """Return the absolute path of one of the manifest's files."""
        return f"{self.raw.directory}/{file.path}"


@dataclass(frozen=True, slots=True)
class Gap:
    """A batch that was published and is not in raw, or not readable there; ``named_by`` says what proves that it existed."""

    batch_id: str
    named_by: str

    def __str__(self) -> str:
        return f"batch {self.batch_id} (named by {self.named_by})"


@dataclass(frozen=True, slots=True)
class Altered:
    """A batch whose manifest is not the one by whose digest ``named_by`` knows it."""

    link: Link
    named_by: str

    def __str__(self) -> str:
        return f"the manifest of batch {self.link.batch_id} is not the one that {self.named_by} names (its SHA-256 differs)"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A batch's directory whose manifest or marker cannot be read, and the reason."""

    directory: str
    reason: str
    published: bool

    @property
    def batch_id(self) -> str:
        return self.directory.rpartition("/batch=")[2]

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A directory with the manifest of a batch that landed in another ``place``: somebody has copied or moved it."""

    directory: str
    batch_id: str
    place: str

    def __str__(self) -> str:
        return f"{self.directory} is a copy, or was moved there: its manifest is that of {self.place}"


@dataclass(frozen=True, slots=True)
class Chain:
    """The batches of a table in raw.

    ``links`` are those of which the table consists: from the last one that replaced it on, in the order of publishing.
    ``earlier`` were published before these, or into a table that is no more; a rebuild does not need them. ``loose`` are
    OPEN or ABANDONED. ``gaps`` are missing among ``links``. ``rivals`` were the last of another table of that name, where no
    receipt says which one is meant and neither their numbers nor their dates do. ``altered`` are those of ``links`` and
    ``earlier`` whose manifests are not the ones that were published. ``unproven`` are ``links`` of which no digest can tell,
    because a version published them, or one after them, that took none. ``misplaced`` are none of the table's. ``since``
    were published after the one that the receipt names, oldest first: the table was set back.
    """

    links: tuple[Link, ...]
    earlier: tuple[Link, ...]
    loose: tuple[Link, ...]
    gaps: tuple[Gap, ...]
    unreadable: tuple[Unreadable, ...]
    misplaced: tuple[Misplaced, ...] = ()
    since: tuple[Link, ...] = ()
    rivals: tuple[Link, ...] = ()
    altered: tuple[Altered, ...] = ()
    unproven: tuple[Link, ...] = ()

    @property
    def last(self) -> Link | None:
        """The batch that was published last."""
        return self.links[-1] if self.links else None


def slice_ordinal(path: str) -> int:
    """Return the number of the slice whose rows a raw file holds; raises ValueError for a file that raw did not name."""
    found = _SLICE.search(path)
    if found is None:
        raise ValueError(f"{path} is no file of a slice")
    return int(found[1])


def read_chain(raw: RawZone, receipt: Receipt | None) -> Chain:
    """Return the batches of a table whose receipt this is (None: the table is gone, or has none).

    Lists raw and reads a manifest and a marker for each batch. A batch that the receipt does not lead to although it follows
    the receipt's own belongs to the chain: then the table was set back.
    """
    entries, unreadable, misplaced = _read(raw)
    named = _named(entries, receipt)
    links = [Link(entry.raw, entry.mark, _state(entry, named)) for entry in entries]
    proven = {link.batch_id: link for link in links if link.state in (LinkState.PUBLISHED, LinkState.NAMED)}
    path, gaps = _walk(proven, receipt)
    on_path = {link.batch_id for link in path}
    digests = _digests(proven, receipt)
    return Chain(
        links=path,
        earlier=_ordered(link for link in proven.values() if link.batch_id not in on_path),
        loose=_ordered(link for link in links if link.batch_id not in proven),
        gaps=gaps,
        unreadable=unreadable,
        misplaced=misplaced,
        since=_since(proven, path, receipt),
        rivals=_rivals(proven, path) if receipt is None else (),
        altered=_altered(proven, digests),
        unproven=_unproven([link for link in path if not receipt or link.sequence <= receipt.sequence], digests),
    )


@dataclass(frozen=True, slots=True)
class _Entry:
    raw: RawBatch
    mark: PublishedMark | None
    abandoned: bool


def _read(raw: RawZone) -> tuple[list[_Entry], tuple[Unreadable, ...], tuple[Misplaced, ...]]:
    entries, unreadable, misplaced = [], [], []
    for directory in raw.batches():
        try:
            entry = _Entry(raw.read(directory), raw.published_mark(directory), raw.is_abandoned(directory))
        except (TerminalError, FileNotFoundError) as error:
            if not raw.is_there(directory):
                continue  # nobody needed it, and somebody has removed it since it was listed
            if not isinstance(error, TerminalError):
                raise
            unreadable.append(Unreadable(directory, error.message, raw.is_marked_published(directory)))
            continue
        batch = entry.raw.manifest.batch
        place = f"load_date={batch.load_date.isoformat()}/batch={batch.id}"
        if directory.endswith(f"/{place}"):
            entries.append(entry)
        else:  # the batch itself may lie there as well
            misplaced.append(Misplaced(directory, batch.id, place))
    return entries, tuple(unreadable), tuple(misplaced)


def _named(entries: Iterable[_Entry], receipt: Receipt | None) -> frozenset[str]:
    """Return the batches that must have been published because something published says so."""
    bases = {entry.raw.manifest.batch.id: entry.raw.manifest.batch.base for entry in entries}
    named = {entry.mark.previous for entry in entries if entry.mark}
    if receipt is not None:
        named |= {receipt.batch_id, receipt.previous}
    found = {name for name in named if name is not None}
    waiting = list(found)
    while waiting:
        base = bases.get(waiting.pop())
        if base is not None and base not in found:
            found.add(base)
            waiting.append(base)
    return frozenset(found)


def _state(entry: _Entry, named: frozenset[str]) -> LinkState:
    if entry.mark is not None:
        return LinkState.PUBLISHED
    if entry.raw.manifest.batch.id in named:
        return LinkState.NAMED
    return LinkState.ABANDONED if entry.abandoned else LinkState.OPEN


def _walk(proven: Mapping[str, Link], receipt: Receipt | None) -> tuple[tuple[Link, ...], tuple[Gap, ...]]:
    """Go back from the batch that was published last to the one that needs none before it."""
    path: list[Link] = []
    gaps: list[Gap] = []
    wanted = _tip(proven, receipt)
    named_by = "the table's receipt" if receipt else "its marker"
    while wanted is not None:
        link = proven.get(wanted)
        if link is None:
            gaps.append(Gap(wanted, named_by))
            link = _before(proven, wanted, receipt, path)
        if link is None or link in path:
            break
        path.append(link)
        wanted = None if link.is_start else link.previous
        named_by = f"batch {link.batch_id}"
    return tuple(reversed(path)), tuple(reversed(gaps))


def _tip(proven: Mapping[str, Link], receipt: Receipt | None) -> str | None:
    newest = sorted(proven.values(), key=_order, reverse=True)
    if receipt is None:
        return newest[0].batch_id if newest else None
    for link in newest:
        if link.sequence > receipt.sequence and _follows(proven, link, receipt.batch_id):
            return link.batch_id
    return receipt.batch_id


def _digests(proven: Mapping[str, Link], receipt: Receipt | None) -> Mapping[str, Mapping[str, str]]:
    """Return for each batch the digests by which others know its manifest, and who they are."""
    digests: dict[str, dict[str, str]] = {}
    if receipt is not None and receipt.manifest is not None:
        digests[receipt.batch_id] = {receipt.manifest: "the table's receipt"}
    for link in _ordered(proven.values()):
        base, digest = link.batch.base, link.batch.base_manifest
        if base is not None and digest is not None:
            digests.setdefault(base, {}).setdefault(digest, f"batch {link.batch_id}")
    return digests


def _altered(proven: Mapping[str, Link], digests: Mapping[str, Mapping[str, str]]) -> tuple[Altered, ...]:
    """Return every batch that somebody knows by another digest than the one that its manifest has."""
    return tuple(
        Altered(link, named_by)
        for link in _ordered(proven.values())
        for digest, named_by in digests.get(link.batch_id, {}).items()
        if digest != link.raw.digest
    )


def _unproven(path: Sequence[Link], digests: Mapping[str, Mapping[str, str]]) -> tuple[Link, ...]:
    """Return the batches up to the last one that nobody knows by a digest: what it says of others proves nothing."""
    unknown = [place for place, link in enumerate(path, 1) if link.batch_id not in digests]
    return tuple(path[: unknown[-1]]) if unknown else ()


def _since(proven: Mapping[str, Link], path: Sequence[Link], receipt: Receipt | None) -> tuple[Link, ...]:
    """Return the batches from the one after the receipt's to the last one, as far back as each names the one before."""
    found: dict[str, Link] = {}
    link = path[-1] if path and receipt is not None else None
    while link is not None and receipt is not None and link.sequence > receipt.sequence and link.batch_id not in found:
        found[link.batch_id] = link
        link = proven.get(link.previous or "")
    return _ordered(found.values())


def _rivals(proven: Mapping[str, Link], path: Sequence[Link]) -> tuple[Link, ...]:
    """Return the batches that nothing followed and that may be the last one as well."""
    followed = {link.previous for link in proven.values()}
    ends = [link for link in proven.values() if path and link is not path[-1] and link.batch_id not in followed]
    return _ordered(link for link in ends if link.load_date >= path[-1].load_date)


def _follows(proven: Mapping[str, Link], link: Link, batch_id: str) -> bool:
    """Whether a batch came after another one; where that cannot be told, because one between is missing, it did."""
    seen = {link.batch_id}
    started = link.is_start
    while link.previous is not None and link.previous not in seen:
        if link.previous == batch_id:
            return True
        following = proven.get(link.previous)
        if following is None:
            return not started
        link = following
        seen.add(link.batch_id)
        started = started or link.is_start
    return False


def _before(proven: Mapping[str, Link], missing: str, receipt: Receipt | None, path: list[Link]) -> Link | None:
    """Return the batch that stood before a missing one, as far as that is known: the chain has a gap there in any case."""
    if receipt is not None and missing == receipt.batch_id:
        # The receipt says it for a batch whose own manifest cannot.
        return proven.get(receipt.previous or "") if receipt.write is not WriteMode.REPLACE else None
    number = _SEQUENCE.fullmatch(missing)
    most = int(number[1]) if number else path[-1].sequence if path else 0
    older = [link for link in proven.values() if link.sequence < most and link not in path]
    return max(older, key=_order, default=None)


def _ordered(links: Iterable[Link]) -> tuple[Link, ...]:
    return tuple(sorted(links, key=_order))


def _order(link: Link) -> tuple[int, date, str]:
    return link.sequence, link.load_date, link.batch_id

"""Rows that differ, told by batch, slice and file: which were lost, added or changed, and of which nothing can be said,
because what they rest on is not as it landed."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ingestion_runtime.model.columns import DELETED_AT
from ingestion_runtime.model.cursor import Slice
from ingestion_runtime.provenance.chain import Chain, Link
from ingestion_runtime.provenance.comparing import Difference, Place, Standing, StandingValues
from ingestion_runtime.provenance.findings import Finding, Kind, RowExample
from ingestion_runtime.provenance.raw_files import lacking_slices, piece_of
from ingestion_runtime.provenance.wording import spell_slice

Values = Mapping[str, str | None]
# What a table says of the origin of its rows may be anything: beyond so many origins they are told together.
_MOST_ORIGINS: Final = 200
_SEQUENCE: Final = re.compile(r"\d{8}_(\d{6,})_[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Origin:
    """A file of raw, the batch and the slice (None: unknown) whose rows it holds."""

    path: str
    link: Link
    piece: Slice | None

    @property
    def label(self) -> str:
        """What rows of it say in their housekeeping column."""
        return "" if self.piece is None else f"{self.link.batch_id}/{self.piece.ordinal:05d}"

    @property
    def words(self) -> str:
        """Slice and batch."""
        slice_ = "" if self.piece is None else f"slice {self.piece.ordinal} of "
        return f"{slice_}batch {self.link.batch_id}"


def origin_of(link: Link, path: str) -> Origin:
    """Return where the rows of a raw file of that batch come from."""
    return Origin(path, link, piece_of(link, path))


class Doubts:
    """What a chain cannot vouch for: slices whose files are not as they landed, and batches that raw does not have."""

    def __init__(self, chain: Chain, damaged: Iterable[str]) -> None:
        links = {link.raw.directory: link for link in chain.links}
        self._known = {link.batch_id for link in chain.links}
        owned = [(path, link) for path in damaged if (link := _owner(links, path)) is not None]
        self._spoilt = {origin.label: origin for path, link in owned if (origin := origin_of(link, path)).piece}
        lacking = [Origin(link.raw.directory, link, piece) for link in chain.links for piece in lacking_slices(link)]
        self._spoilt |= {origin.label: origin for origin in lacking}
        self._graves = {
            origin_of(link, link.path(file)).label: link.sequence
            for link in chain.links
            for file in link.raw.manifest.tombstones
        }
        self._missing = {gap.batch_id for gap in chain.gaps}
        # A missing batch may have deleted whatever stood before it.
        buried = [link.sequence for path, link in owned if _is_tombstone(link, path)]
        self._deletes_to = max([*buried, *(_number(name) for name in self._missing)], default=-1)
        self._start = next(
            (origin for origin in self._spoilt.values() if chain.links and origin.link is chain.links[0]), None
        )

    def about(self, standing: Standing, *, known: bool) -> Origin | str | None:
        """Return on what a row of the table rests that nobody can vouch for: a slice, or a batch that is missing. ``known``:
        raw says which row has to stand there."""
        label = standing.slice or ""
        if label in self._spoilt:
            return self._spoilt[label]
        batch = label.partition("/")[0]
        if batch in self._missing:
            return batch
        # A batch that was rebuilt from raw keeps what its rows said before: they do not name its own slices.
        if self._start is not None and batch not in self._known:
            return self._start
        return None if known else self._brought(standing)

    def _brought(self, standing: Standing) -> Origin | None:
        """Return on which spoilt slice a row may rest that is marked as deleted: it names the slice that marked it, and no
        longer the one that brought it."""
        marked = self._graves.get(standing.slice or "", -1)
        return next((origin for origin in self._spoilt.values() if origin.link.sequence <= marked), None)

    def may_be_deleted(self, sequence: int) -> bool:
        """Whether a row of a batch with that number may have been deleted by something that cannot be read any more."""
        return sequence <= self._deletes_to


def _number(batch_id: str) -> int:
    """Return the number of a batch of which no more is known than its name."""
    found = _SEQUENCE.fullmatch(batch_id)
    return int(found[1]) if found else 0


def _owner(links: Mapping[str, Link], path: str) -> Link | None:
    return next((link for directory, link in links.items() if path.startswith(f"{directory}/")), None)


def _is_tombstone(link: Link, path: str) -> bool:
    return any(link.path(file) == path for file in link.raw.manifest.tombstones)


@dataclass(slots=True)
class Group:
    """Differences of one kind that belong together: where they come from (None, or a batch that is missing, where that is
    not known), how many they are, and the first of them."""

    kind: Kind
    origin: Origin | None
    claim: str | None = None
    missing: str | None = None
    rows: int = 0
    first: list[Difference] = field(default_factory=list)


class RowFindings:
    """Sorts differences into groups. ``origins`` are those of the replay's files, by their number; ``most`` differences of
    a group are kept as examples."""

    def __init__(self, origins: Sequence[Origin], doubts: Doubts, most: int) -> None:
        self._origins = origins
        self._doubts = doubts
        self._most = most
        self._groups: dict[object, Group] = {}

    def add(self, difference: Difference) -> None:
        """Put a difference where it belongs."""
        group = self._group(difference)
        group.rows += 1
        if len(group.first) < self._most:
            group.first.append(difference)

    @property
    def groups(self) -> tuple[Group, ...]:
        """What was found, in the order in which it was."""
        return tuple(self._groups.values())

    def _group(self, difference: Difference) -> Group:
        wanted, standing = difference.wanted, difference.standing
        origin = None if wanted is None else self._origins[wanted.file]
        if standing is not None:
            doubt = self._doubts.about(standing, known=wanted is not None)
            if isinstance(doubt, Origin):
                return self._of(Kind.UNPROVEN, doubt.path, Group(Kind.UNPROVEN, doubt))
            if doubt is not None:
                return self._of(Kind.UNPROVEN, doubt, Group(Kind.UNPROVEN, None, missing=doubt))
            if origin is None:
                known = len(self._groups) < _MOST_ORIGINS or (Kind.ROWS_ADDED, standing.slice) in self._groups
                claim = standing.slice if known else None
                return self._of(Kind.ROWS_ADDED, claim, Group(Kind.ROWS_ADDED, None, claim=claim))
            return self._of(Kind.ROWS_CHANGED, origin.path, Group(Kind.ROWS_CHANGED, origin))
        assert origin is not None  # noqa: S101 - a difference has one side at least
        if self._doubts.may_be_deleted(origin.link.sequence):
            return self._of(Kind.UNPROVEN, (origin.path, "lost"), Group(Kind.UNPROVEN, origin, claim="lost"))
        return self._of(Kind.ROWS_LOST, origin.path, Group(Kind.ROWS_LOST, origin))

    def _of(self, kind: Kind, name: object, fresh: Group) -> Group:
        return self._groups.setdefault((kind, name), fresh)


def tell(group: Group, examples: tuple[RowExample, ...]) -> Finding:
    """Return a group as a finding."""
    origin = group.origin
    return Finding(
        group.kind,
        _words(group, examples),
        batch=origin.link.batch_id if origin else group.missing,
        slice=origin.piece.ordinal if origin and origin.piece else None,
        covers=spell_slice(origin.piece) if origin and origin.piece else None,
        file=origin.path if origin else None,
        rows=group.rows,
        examples=examples,
    )


def _words(group: Group, examples: tuple[RowExample, ...]) -> str:
    rows, where = _rows(group.rows), group.origin.words if group.origin else ""
    stands = "stands" if group.rows == 1 else "stand"
    match group.kind:
        case Kind.ROWS_LOST:
            return f"{rows} of {where} {'is' if group.rows == 1 else 'are'} not in the table any more"
        case Kind.ROWS_CHANGED:
            columns = ", ".join(sorted({column for example in examples for column in example.columns}))
            return f"{rows} of {where} {stands} in the table with other values{f': {columns}' if columns else ''}"
        case Kind.ROWS_ADDED:
            claims = "no known origin" if group.claim is None else f"slice {group.claim} as the origin"
            return f"{rows} {stands} in the table that no published batch put there ({claims} by its own column)"
    if group.claim == "lost":
        return (
            f"{rows} of {where} {'is' if group.rows == 1 else 'are'} not in the table, and what could have deleted"
            f" {'it' if group.rows == 1 else 'them'} cannot be read"
        )
    rests = (
        f"{where}, which raw does not have as it landed"
        if group.origin
        else f"batch {group.missing}, which raw does not have"
    )
    return f"{rows} of the table cannot be proven: {'it rests' if group.rows == 1 else 'they rest'} on {rests}"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def describe(
    difference: Difference, wanted: Values | None, standing: StandingValues | None, keys: Sequence[str]
) -> RowExample:
    """Return one difference by the spelled values of its two sides, as far as they are known."""
    row = wanted or (standing.values if standing else {})
    columns: tuple[str, ...] = ()
    if wanted is not None and standing is not None:
        columns = tuple(name for name in wanted if wanted[name] != standing.values.get(name)) or (DELETED_AT,)
    stands = difference.standing
    return RowExample(
        key={name: row.get(name) for name in keys or row},
        columns=columns,
        run=standing.run if standing else None,
        slice=stands.slice if stands else None,
    )


def wanted_places(groups: Iterable[Group]) -> tuple[Place, ...]:
    """Return where the examples of all groups must be, in raw."""
    return tuple(found.wanted for group in groups for found in group.first if found.wanted is not None)


def standing_rows(groups: Iterable[Group]) -> tuple[Standing, ...]:
    """Return where the examples of all groups stand, in the table."""
    return tuple(found.standing for group in groups for found in group.first if found.standing is not None)

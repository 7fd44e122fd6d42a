"""One table looked at from all sides. Nothing is changed, and no lease is needed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ingestion_runtime.maintenance.report import Figures
from ingestion_runtime.maintenance.retention import RawWork, find_raw_work
from ingestion_runtime.maintenance.workshop import Piece, Workshop
from ingestion_runtime.model.batch import Batch, Receipt, TableKey
from ingestion_runtime.model.errors import LostFileError, TerminalError
from ingestion_runtime.model.state import LeaseHeld, TableHead
from ingestion_runtime.model.target import TargetHead
from ingestion_runtime.model.upkeep import Survey
from ingestion_runtime.provenance.chain import Chain, Link, read_chain
from ingestion_runtime.staging import PendingSlice

T = TypeVar("T")

_TRIES = 5


@dataclass(frozen=True, slots=True)
class TableLook:
    """Where a table stands.

    ``published``: batches go into the target, and not into raw alone.
    ``head`` is what the target says of itself (None: there is no table) and ``survey`` what lies around it; ``columns`` are
    those of the table (None: it has none that bind). ``lost`` says which file of the table's is gone or cannot be read: then
    there is no survey. ``known``, ``opened`` and ``lease`` are the state's; ``unreadable`` says what of it cannot be read.
    """

    published: bool
    head: TargetHead | None
    survey: Survey | None
    lost: str | None
    columns: tuple[str, ...] | None
    chain: Chain
    raw: RawWork
    staged: tuple[PendingSlice, ...]
    known: TableHead | None
    opened: Batch | None
    lease: LeaseHeld | None
    unreadable: str | None

    @property
    def receipt(self) -> Receipt | None:
        """The receipt that the table carries."""
        return self.head.receipt if self.head else None

    @property
    def ahead_in_raw(self) -> Link | None:
        """The last batch in raw, where it proves that the table was set back: it was published after the receipt's own."""
        last, receipt = self.chain.last, self.receipt
        if last is None or receipt is None or not self.published:
            return None
        return last if last.sequence > receipt.sequence else None

    @property
    def figures(self) -> Figures | None:
        """How the table lies there; None where there is none."""
        found = self.survey
        if found is None:
            return None
        return Figures(
            data_files=found.data.files,
            data_bytes=found.data.size,
            small_files=found.small.files,
            delete_files=found.deletes.files,
            dead_rows=found.dead_rows,
            snapshots=found.snapshots,
            oldest_snapshot=found.oldest,
            references=len(found.references),
            orphans=len(found.orphans),
            orphan_bytes=sum(orphan.size for orphan in found.orphans),
            raw_batches=len(self.chain.links),
            raw_earlier=len(self.chain.earlier),
        )


def look_at(shop: Workshop, piece: Piece) -> TableLook:
    """Return where a table stands now; raises what target, raw and state raise where they cannot be reached or read.

    A table that moves meanwhile is looked at again: files that were named a moment ago may be gone.
    """
    for _ in range(_TRIES - 1):
        shop.check()
        stood = piece.target.location()
        try:
            look = _look_once(shop, piece)
        except FileNotFoundError:
            continue  # removed by another maintenance since it was listed; where it is truly missing, the last look says so
        except Exception:
            if piece.target.location() == stood:
                raise
        else:
            # Raw is looked at after the table: a batch may have been published between, and files let go of.
            if (look.ahead_in_raw is None and look.lost is None) or piece.target.location() == stood:
                return look
    return _look_once(shop, piece)


def _look_once(shop: Workshop, piece: Piece) -> TableLook:
    key, table = piece.key, piece.table
    # Before the target: a run that is at work publishes first and records it then, so the state is never found ahead.
    known, opened, unreadable = _remembered(shop, key)
    head = piece.target.head()
    receipt = head.receipt if head else None
    chain = read_chain(piece.raw, receipt)
    columns = piece.target.columns()
    survey, lost = _survey(piece)
    published = shop.configuration.publishes(table)
    return TableLook(
        published=published,
        head=head,
        survey=survey,
        lost=lost,
        columns=None if columns is None else tuple(columns.names),
        chain=chain,
        raw=find_raw_work(
            piece.raw,
            chain,
            receipt,
            opened.id if opened else None,
            table.maintenance,
            shop.clock().timestamp(),
            published=published,
        ),
        staged=shop.staging.pending(table),
        known=known,
        opened=opened,
        lease=shop.store.load_leases([key]).get(key),
        unreadable=unreadable,
    )


def _survey(piece: Piece) -> tuple[Survey | None, str | None]:
    """Return what lies around the target, or which of its files is lost."""
    try:
        return piece.upkeep.survey(), None
    except LostFileError as error:
        return None, error.message.rstrip(".")


def _remembered(shop: Workshop, key: TableKey) -> tuple[TableHead | None, Batch | None, str | None]:
    """Return the head and the open batch that the state knows, and what of them cannot be read."""
    problems: list[str] = []

    def load(ask: Callable[[Sequence[TableKey]], Mapping[TableKey, T]]) -> T | None:
        try:
            return ask([key]).get(key)
        except TerminalError as error:
            problems.append(error.message)
            return None

    known, opened = load(shop.store.load_heads), load(shop.store.load_open_batches)
    return known, opened, " ".join(problems) or None

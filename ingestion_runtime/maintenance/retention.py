"""What of a table's raw zone is not needed any more: decided once, told by a dry run and done by apply."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ingestion_runtime.endpoints.raw import RawZone
from ingestion_runtime.model.batch import PublishedMark, Receipt
from ingestion_runtime.model.maintenance import TableMaintenance
from ingestion_runtime.provenance.chain import Chain, Link, LinkState

_HOUR, _DAY = 3600.0, 86_400.0


@dataclass(frozen=True, slots=True)
class Remains:
    """Directories that may go, and their bytes."""

    directories: tuple[str, ...] = ()
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class RawWork:
    """What is to be done in raw.

    ``marks`` are missing at batches that the table's receipt, or a batch that followed, proves to be published. ``landings``
    are what dead attempts left, ``abandoned`` batches that were given up, ``old`` published ones that no rebuild needs,
    ``quarantine`` rows set aside long ago. ``kept`` says why published batches stay although they are old enough to go and
    this table does not need them (None: nothing is in the way).
    """

    marks: tuple[PublishedMark, ...] = ()
    landings: Remains = Remains()
    abandoned: Remains = Remains()
    old: Remains = Remains()
    quarantine: Remains = Remains()
    kept: str | None = None


def find_raw_work(
    raw: RawZone,
    chain: Chain,
    receipt: Receipt | None,
    open_batch: str | None,
    settings: TableMaintenance,
    now: float,
    *,
    published: bool = True,
) -> RawWork:
    """Return what is to be done at ``now`` (seconds since the epoch); reads only.

    ``open_batch`` is the one that the state knows to be open: nothing of it goes. ``published``: batches of this table are
    published into a target, so that without a receipt nobody knows which of them it needs.
    """
    sorter = _Sorter(raw, settings, now, open_batch)
    links = (*chain.links, *chain.earlier)
    named = [link for link in links if link.state is LinkState.NAMED] if receipt else []
    old = sorter.older((link.raw.directory for link in chain.earlier), sorter.raw_seconds)
    kept = _hindrance(chain, receipt, published=published)
    former = frozenset(link.raw.directory for link in (_former(chain) if published else chain.earlier))
    going = () if kept else tuple(directory for directory in old if directory in former)
    others = tuple(directory for directory in old if directory not in former)
    if kept is None and others:
        kept = f"{len(others)} that this table's receipt does not lead back to, such as {others[-1]}"
    return RawWork(
        marks=tuple(PublishedMark(b.id, b.sequence, b.base, b.load_date) for b in (link.batch for link in named)),
        landings=sorter.sum(sorter.older(raw.landings(), sorter.orphan_seconds)),
        abandoned=sorter.sum(
            sorter.older(
                (link.raw.directory for link in chain.loose if link.state is LinkState.ABANDONED), sorter.orphan_seconds
            )
        ),
        old=sorter.sum(going),
        quarantine=sorter.sum(sorter.older(raw.quarantined(), sorter.raw_seconds)),
        kept=kept if old else None,
    )


def _hindrance(chain: Chain, receipt: Receipt | None, *, published: bool) -> str | None:
    """Return why nobody can be sure of which batches a rebuild needs."""
    if receipt is None and published:
        return "the table has no receipt, which would say what a rebuild needs"
    if chain.gaps:
        return f"raw is not whole: {chain.gaps[0]} is missing"
    if chain.unreadable:
        return f"raw cannot be read whole: {chain.unreadable[0].directory}"
    if chain.altered:
        return f"raw was changed: {chain.altered[0]}"
    if receipt is not None and (chain.last is None or chain.last.batch_id != receipt.batch_id):
        return "raw holds a batch that follows the one that the table's receipt names"
    return None


def _former(chain: Chain) -> Iterator[Link]:
    """Yield the batches that the table once consisted of, as far back as each of them names the one before.

    Others in the same place may be those of another target: two configurations may share a raw root, and each of them would
    find the other's batches to be none of its own.
    """
    earlier = {link.batch_id: link for link in chain.earlier}
    link = chain.links[0] if chain.links else None
    while link is not None and link.previous is not None:
        link = earlier.pop(link.previous, None)
        if link is not None:
            yield link


class _Sorter:
    """Tells by age what may go, oldest names first."""

    def __init__(self, raw: RawZone, settings: TableMaintenance, now: float, open_batch: str | None) -> None:
        self._raw = raw
        self._now = now
        self._open = open_batch
        self.orphan_seconds = None if settings.orphan_hours is None else settings.orphan_hours * _HOUR
        self.raw_seconds = None if settings.raw_days is None else settings.raw_days * _DAY

    def older(self, directories: Iterable[str], seconds: float | None) -> tuple[str, ...]:
        """Return those that are older; none where there is no limit."""
        if seconds is None:
            return ()
        return tuple(d for d in directories if not self._is_open(d) and self._raw.age_seconds(d, self._now) >= seconds)

    def sum(self, directories: tuple[str, ...]) -> Remains:
        return Remains(directories, sum(self._raw.size(directory) for directory in directories))

    def _is_open(self, directory: str) -> bool:
        return self._open is not None and self._open in directory.rpartition("/")[2]

"""A plain Parquet directory kept in shape. Each batch is a folder that is written once and replaced as a whole: there is
nothing to compact, and what no reader was sent to is all that can be left over."""

from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from ingestion_runtime.endpoints.parquet import ParquetTarget
from ingestion_runtime.model.upkeep import Expired, FileSum, Reference, Removed, Survey

_MIB = 2**20


class ParquetUpkeep:
    """Keeps one table under ``final_root`` in shape. Implements ``TargetUpkeep``."""

    def __init__(self, target: ParquetTarget, link: Path, small_file_mb: int) -> None:
        self._target = target
        self._link = link
        self._small = small_file_mb * _MIB

    def survey(self) -> Survey | None:
        """Look at the published folder and those beside it; see ``TargetUpkeep.survey``."""
        head = self._target.head()
        if head is None or head.snapshot is None:
            return None
        current = self._link.resolve()
        sizes = [path.stat().st_size for path in current.glob("*.parquet")]
        small = [size for size in sizes if size < self._small]
        times = [datetime.fromtimestamp(f.stat().st_mtime, UTC) for f in current.parent.iterdir() if f.is_dir()]
        return Survey(
            partition=None,
            data=FileSum(len(sizes), sum(sizes)),
            small=FileSum(len(small), sum(small)),
            former=FileSum(),
            deletes=FileSum(),
            dead_rows=0,
            rewritable=FileSum(),
            unfit=None,
            snapshots=len(times) - len(head.branches),
            expirable=0,
            oldest=min(times, default=None),
            newest=max(times, default=None),
            references=(Reference(self._link.name, "branch", head.snapshot),),
            attempts=head.branches,
            orphans=(),
            removable=FileSum(),
            unclear=None,
            damage=head.damage,
        )

    def rewrite(self) -> None:
        """Nothing: each publish writes the whole table."""

    def expire(self, fence: int) -> Expired:  # noqa: ARG002 - the protocol's
        """Nothing: a publish removes all but the batch that it replaces."""
        return Expired()

    def drop_stale(self, keep: Collection[str], fence: int) -> tuple[str, ...]:
        """Remove folders that no reader was ever sent to; see ``TargetUpkeep.drop_stale``."""
        head = self._target.head()
        stale = tuple(name for name in head.branches if name.rpartition("_")[0] not in keep) if head is not None else ()
        if stale:
            self._target.guard(fence, stale)
        return stale

    def remove_orphans(self, fence: int) -> Removed:  # noqa: ARG002 - the protocol's
        """Nothing: what is not published is an attempt, all of it."""
        return Removed()

"""From frozen bounds to slices: the default planner."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ingestion_runtime.model.batch import IngestionPlan, PlannerMetadata
from ingestion_runtime.model.cursor import Interval, Slice
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.spec import SlicingPolicy
from ingestion_runtime.planning.probe import RowCountProbe
from ingestion_runtime.planning.request import PlannerRequest
from ingestion_runtime.planning.slices import is_splittable, slice_count, split_by_rows, split_from_first
from ingestion_runtime.planning.watermark import duration_hours, is_above


class Planner(Protocol):
    """Turns frozen bounds into the work of one batch."""

    def plan(self, request: PlannerRequest) -> IngestionPlan:
        """Return ordered slices that cover exactly the request; raises TerminalError when the source cannot do it."""
        ...


@dataclass(frozen=True, slots=True)
class _Cut:
    """A window cut into pieces, and why so."""

    pieces: tuple[Interval, ...]
    rows: int | None
    probed: bool
    reason: str


class AdaptivePlanner:
    """Cuts a window by its rows and its duration, within the caps of the slicing policy."""

    def __init__(self, probe: RowCountProbe | None = None) -> None:
        self._probe = probe

    def plan(self, request: PlannerRequest) -> IngestionPlan:
        """Return the plan: the re-read set first where there is one, then the windows from old to new, numbered from 0.

        The plan's watermark is ``upper``, or ``lower`` where nothing lies above it. The rows are probed only where the
        answer can change the plan: slicing enabled, a window that can be cut. Only a window that is to be cut is looked at
        more closely, to cut it where its rows are. Raises TerminalError when the source
        cannot compare this cursor; what the probe raises passes through.
        """
        _confirm_capabilities(request)
        window = _window(request)
        cut = self._cut(window, request)
        work = [Slice(0, reread=request.reread)] if request.reread else []
        work += [Slice(i, window=piece) for i, piece in enumerate(cut.pieces, start=len(work))]
        return IngestionPlan(
            slices=tuple(work),
            watermark=request.lower if window is None else window.high,
            fingerprint=request.fingerprint,
            metadata=PlannerMetadata(
                lower_literal=request.lower.literal,
                upper_literal=request.upper.literal if request.upper else None,
                estimated_rows=cut.rows,
                probed=cut.probed,
                reason=cut.reason,
            ),
        )

    def _cut(self, window: Interval | None, request: PlannerRequest) -> _Cut:
        if window is None:
            return _Cut((), None, False, f"nothing above {request.lower.literal}: no window")
        if not request.policy.enabled:
            return _Cut((window,), None, False, "slicing is switched off: 1 slice")
        if not is_splittable(window.low.type):
            return _Cut((window,), None, False, "a text cursor is never split: 1 slice")
        rows = self._probe.count(window) if self._probe else None
        hours = _hours_with_rows(window, request)
        wanted = slice_count(rows, hours, request.policy)
        counts = self._probe.histogram if self._probe else None
        if wanted == 1 or counts is None:
            pieces = split_from_first(window, request.first, wanted)
            return _Cut(pieces, rows, self._probe is not None, _reason(rows, hours, request.policy, len(pieces)))
        cut = split_by_rows(window, request.first, wanted, counts)
        reason = _reason(rows, hours, request.policy, len(cut)) + _ties(wanted, [held for _, held in cut])
        return _Cut(tuple(piece for piece, _ in cut), rows, probed=True, reason=reason)


def full_plan() -> IngestionPlan:
    """Return the plan of a full refresh: one slice, the whole table, no watermark."""
    metadata = PlannerMetadata(None, None, None, probed=False, reason="full refresh: the whole table in 1 slice")
    return IngestionPlan(slices=(Slice(0),), watermark=None, fingerprint=None, metadata=metadata)


def _confirm_capabilities(request: PlannerRequest) -> None:
    table, capabilities = request.table, request.capabilities
    if not capabilities.incremental:
        raise TerminalError(
            f"The source of {table.name} cannot be read incrementally.",
            remedy="Use the mode full, or another connection.",
            table=table.name,
        )
    if request.lower.type not in capabilities.literal_formats:
        known = ", ".join(sorted(capabilities.literal_formats)) or "none"
        raise TerminalError(
            f"The source of {table.name} cannot compare cursors of type {request.lower.type} (it can: {known}).",
            remedy="Set incr_col_type to one of these.",
            table=table.name,
            type=request.lower.type.value,
        )
    if table.incr_col_type is not request.lower.type:
        raise TerminalError(
            f"{table.name} is configured with incr_col_type {table.incr_col_type}, but its watermark is of type"
            f" {request.lower.type}.",
            remedy="Restore incr_col_type, or start over with --reload.",
            table=table.name,
            type=request.lower.type.value,
        )


def _window(request: PlannerRequest) -> Interval | None:
    # An upper bound at or below the lower one is no error: an old transaction holds the source's safe horizon back.
    lower, upper = request.lower, request.upper
    if upper is None or upper == lower:
        return None
    if is_splittable(lower.type) and not is_above(upper, lower):
        return None
    return Interval(lower, upper)


def _hours_with_rows(window: Interval, request: PlannerRequest) -> float | None:
    start = request.first if request.first and is_above(request.first, window.low) else window.low
    return duration_hours(start, window.high)


def _ties(wanted: int, rows: Sequence[int]) -> str:
    """Say it where a slice is much larger than its share: rows with one cursor value cannot be cut apart."""
    largest = max(rows, default=0)
    return f"; {largest:,} rows share one cursor value" if largest > 2 * sum(rows) / wanted else ""


def _reason(rows: int | None, hours: float | None, policy: SlicingPolicy, made: int) -> str:
    slices = "1 slice" if made == 1 else f"{made} slices"
    counted = "rows not known" if rows is None else f"{rows:,} rows"
    if rows is not None and rows > policy.max_count:
        return f"{counted} above max_count: {slices}"
    if hours is not None and hours > policy.max_duration_hours:
        return f"{counted}, {hours:,.0f} hours beyond max_duration_hours: {slices}"
    return f"{counted} within bounds: {slices}"

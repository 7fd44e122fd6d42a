"""How far an incremental table may be read now: below every transaction that is still open at its source."""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from ingestion_runtime.events.types.source import HorizonHeld, HorizonStuck, HorizonWaived
from ingestion_runtime.model.cursor import CursorType, Watermark
from ingestion_runtime.model.errors import TerminalError, TransientError
from ingestion_runtime.model.horizon import Ceiling, CursorClock, CursorSample, Horizon, HorizonPolicy
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.planning.horizon import fold_seconds, value_at, value_below
from ingestion_runtime.strategies.context import ExecutionContext

# A horizon this far behind the source's now is no longer the work of usual transactions.
STUCK_SECONDS = 3600
_POLL_SECONDS = 0.05
# A sample is small, and all but the last few are dropped as soon as one of them can be used.
_MOST_SAMPLES = 1000
_MICROS = 1_000_000


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a table may be read now; without a ceiling everything that is visible is complete, or nobody cares."""

    ceiling: Ceiling | None = None
    horizon: Horizon | None = None
    remark: str = ""

    def with_waiting(self, rows: int) -> "Reach":
        """Return the same with a remark for people, where somebody's transaction makes ``rows`` rows wait."""
        holder = self.horizon is not None and (self.horizon.holder or self.horizon.prepared)
        if self.horizon is None or not holder or self.remark:
            return self
        waiting = "1 row waits" if rows == 1 else f"{rows:,} rows wait"
        return replace(self, remark=f"{waiting} for a later run: {self.horizon.reason}")

    def held(self, rows: int) -> HorizonHeld | HorizonStuck:
        """Return the event that tells of ``rows`` rows above the ceiling."""
        if self.ceiling is None or self.horizon is None:
            raise ValueError("nothing is held without a horizon")
        safe = self.horizon.moment if self.horizon.oldest is None else self.horizon.oldest
        unknown = safe is None or bool(self.horizon.prepared)
        behind = None if unknown or safe is None else round((self.horizon.now - safe) / _MICROS, 3)
        stuck = behind is None or behind > STUCK_SECONDS
        kind = HorizonStuck if stuck else HorizonHeld
        return kind(rows, self.ceiling.bound.literal, behind, self.horizon.reason)


def find_reach(context: ExecutionContext, lower: Watermark, *, first: bool) -> Reach:
    """Return how far the table may be read. Call it before anything else is asked of the rows.

    ``first``: nothing of the table has been published, or it is to be replaced. Raises TerminalError where the source
    does not show its transactions or the configuration leaves out what is needed, and TransientError where a first load
    would have to begin with nothing.
    """
    table, horizon = context.table, context.source.horizon()
    if horizon is None:
        return Reach()
    clock = context.source.clock()
    zone = ZoneInfo(table.cursor_timezone) if table.cursor_timezone and clock and not clock.zoned else None
    if zone is not None and table.horizon is not HorizonPolicy.OFF:
        _require_fold(context, zone, horizon)
    if table.horizon is not HorizonPolicy.STRICT:
        return _waive(context, horizon, lower, zone)
    if horizon.blind:
        raise TerminalError(
            f"{table.name}: rows of open transactions could be missed: {horizon.blind}.",
            remedy=_without_sight(table, horizon.grant),
            table=table.name,
            reason=horizon.blind,
        )
    if clock is None:
        return _by_samples(context, lower, horizon, first=first)
    _require_zone(context, clock)
    if horizon.moment is None:
        return _hold(context, lower, horizon, first=first)
    bound = value_below(horizon.moment, lower.type, clock.resolution, zone)
    return Reach(Ceiling(bound, value_at(horizon.now, lower.type, zone) if zone else None), horizon)


def _without_sight(table: TableSpec, grant: str) -> str:
    """Return what helps where transactions stay unseen: the grant, and what the configuration allows for this cursor."""
    if table.incr_col_type is CursorType.TEXT:
        waive = "horizon 'off' lets nothing cover them (a text cursor has no lag)"
    elif table.incr_col_type is CursorType.INT:
        waive = "let a lag cover them: horizon 'lag', and lag above what the ids grow by in the longest transaction"
    else:
        waive = "let a lag cover them: horizon 'lag' with lag_seconds above the longest transaction"
    return f"{grant} Or {waive}." if grant else f"{waive[0].upper()}{waive[1:]}."


def _by_samples(context: ExecutionContext, lower: Watermark, look: Horizon, *, first: bool) -> Reach:
    """Bound a cursor that is no clock by the newest value below which nothing can come any more.

    A number or text is handed out while its transaction is open, in rising order. So once every transaction has ended
    that was open when a largest value was seen, whatever lies at or below that value is visible.
    """
    value = context.source.largest(lower)
    if value is None:
        return Reach(Ceiling(lower), look)
    state, key = context.ledger.state, context.ledger.key
    began, look = _wait_for_end(context)
    sample = CursorSample(began, value, context.digest)
    kept = [known for known in state.samples(key) if known.reading == context.digest]
    samples = (*kept, sample)[-_MOST_SAMPLES:]
    done = [known for known in samples if look.over(known.taken_at)]
    newest = done[-1] if done else None
    # What is older than a sample that can be used is of no more use; that one itself is, should this run fail.
    left = (
        () if newest is sample else tuple(known for known in samples if newest is None or known.taken_at >= newest.taken_at)
    )
    if left or kept:
        state.keep_samples(key, left)
    if newest is None:
        return _hold(context, lower, look, first=first)
    return Reach(Ceiling(newest.value), look)


def _wait_for_end(context: ExecutionContext) -> tuple[int, Horizon]:
    """Return a moment after now, and the first look at which what was open then has ended, or the last one taken.

    A busy source always has some short transactions: they are waited for. One that has been open for longer than the
    wait will hardly end within it.
    """
    look = context.source.horizon()
    if look is None:
        raise ValueError("a source shows its transactions always or never")
    began, limit = look.now, time.monotonic() + context.horizon_wait
    while not look.over(began) and time.monotonic() < limit and _is_short(look, context.horizon_wait):
        context.check_interrupted()
        context.interrupted.wait(_POLL_SECONDS)
        look = context.source.horizon() or look
    return began, look


def _is_short(look: Horizon, seconds: int) -> bool:
    return not look.prepared and not look.blind and (look.oldest is None or look.now - look.oldest < seconds * _MICROS)


def _hold(context: ExecutionContext, lower: Watermark, horizon: Horizon, *, first: bool) -> Reach:
    """Read nothing above the watermark; a first load, which has none, must not begin with an empty table."""
    if first:
        raise TransientError(
            f"{context.table.name}: nothing of it can be read yet: {horizon.reason}.",
            remedy="Run again once it has ended. If nobody will end it, end it at the source.",
            table=context.table.name,
            reason=horizon.reason,
        )
    return Reach(Ceiling(lower), horizon)


def _waive(context: ExecutionContext, horizon: Horizon, lower: Watermark, zone: ZoneInfo | None) -> Reach:
    table, lag = context.table, context.lag_seconds
    if table.horizon is HorizonPolicy.LAG and lag <= 0:
        raise TerminalError(
            f"{table.name}: horizon 'lag' needs a lag, and there is none.",
            remedy="Set lag_seconds (for an int cursor: lag) above the longest transaction, or horizon 'strict'.",
            table=table.name,
        )
    context.emitter.emit(HorizonWaived(table.horizon.value, lag))
    covered = f"a lag of {lag} alone covers" if table.horizon is HorizonPolicy.LAG else "nothing covers"
    remark = f"horizon '{table.horizon}': {covered} rows of open transactions"
    now = value_at(horizon.now, lower.type, zone) if zone else None
    return Reach(Ceiling(now, now) if now else None, horizon, remark)


def _require_zone(context: ExecutionContext, clock: CursorClock) -> None:
    table = context.table
    if clock.zoned or table.cursor_timezone is not None:
        return
    raise TerminalError(
        f"{table.name}: {table.incremental_column!r} has no time zone, so it cannot be compared with the start of open"
        " transactions.",
        remedy="Set cursor_timezone to the zone whose wall clock it shows, such as UTC or Europe/Berlin.",
        table=table.name,
        column=table.incremental_column,
    )


def _require_fold(context: ExecutionContext, zone: ZoneInfo, horizon: Horizon) -> None:
    table = context.table
    if table.incr_col_type is None:
        return
    today = datetime.fromtimestamp(horizon.now / _MICROS, UTC).date()
    fold = fold_seconds(zone, table.incr_col_type, today)
    if context.lag_seconds < fold:
        raise TerminalError(
            f"{table.name}: clocks in {zone.key} are set back by {fold} seconds; rows written after that lie below rows"
            f" written before, and the lag is {context.lag_seconds}.",
            remedy=f"Set lag_seconds to {fold} or more, or write the cursor in UTC.",
            table=table.name,
            zone=zone.key,
            fold=fold,
        )

"""Which rows of a state database nobody needs any more. What is kept and why is said by ``StateStore.prune``."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Column, Connection, Delete, Row, Select, Table, and_, delete, func, not_, or_, select

from ingestion_runtime.model.batch import TableKey
from ingestion_runtime.model.state import Phase, PhaseStatus, Pruned
from ingestion_runtime.state import queries
from ingestion_runtime.state.queries import naming
from ingestion_runtime.state.rows import key_of
from ingestion_runtime.state.tables import BATCHES, ENDED, EVENTS, LEASES, RUNS, RUNTIME, VOLUME, WATERMARKS
from ingestion_runtime.state.times import to_text

# Few enough for a transaction that nobody notices (2 ms); SQLite takes 32,766 parameters.
_ROWS_A_STATEMENT: Final = 500
_NAMES: Final = ("catalog", "schema_name", "table_name")


@dataclass(frozen=True, slots=True)
class Prunable:
    """Identifiers of rows, by what they are; of the metadata gateway's records whole runs."""

    events: Sequence[int]
    heads: Sequence[int]
    batches: Sequence[str]
    runs: Sequence[str]
    volumes: Sequence[str]
    runtimes: Sequence[str]
    counts: Pruned

    def statements(self) -> Iterator[Delete]:
        """Yield statements that remove them, small ones."""
        for column, values in (
            (EVENTS.c.id, self.events),
            (WATERMARKS.c.id, self.heads),
            (BATCHES.c.batch_id, self.batches),
            (VOLUME.c.run_id, self.volumes),
            (RUNTIME.c.run_id, self.runtimes),
            # Last: a run whose events are gone already is still known to be over.
            (RUNS.c.run_id, self.runs),
        ):
            yield from _deletes(column, values)


def find(connection: Connection, before: datetime) -> Prunable:
    """Return what happened before that moment and is not needed."""
    moment = to_text(before)
    runs = connection.execute(_RUNS).all()
    last = {row.job_name: row.run_id for row in reversed(runs)}
    events = list(_events(connection, moment, frozenset(last.values())))
    heads = connection.scalars(_former_heads(moment)).all()
    batches = connection.scalars(_closed_batches(moment)).all()
    over = list(_runs_over(runs, moment, frozenset(connection.scalars(_HOLDERS))))
    volumes, kept = _records(connection, VOLUME, VOLUME.c.recorded_at, moment)
    runtimes, also = _records(connection, RUNTIME, RUNTIME.c.ended_at, moment)
    counts = Pruned(len(events), len(heads), len(batches), len(over), kept + also)
    return Prunable(events, heads, batches, over, volumes, runtimes, counts)


_RUNS: Final[Select[Any]] = select(RUNS.c.run_id, RUNS.c.job_name, RUNS.c.started_at, RUNS.c.whole).order_by(
    RUNS.c.job_name, RUNS.c.started_at.desc(), RUNS.c.run_id.desc()
)
_HOLDERS: Final[Select[Any]] = select(LEASES.c.holder).where(LEASES.c.released.is_(False))


def _events(connection: Connection, moment: str, runs: frozenset[str]) -> Iterator[int]:
    """Yield events, table by table: what is kept of each an index knows."""
    named = connection.execute(select(*(EVENTS.c[name] for name in _NAMES)).distinct())
    for key in [key_of(row) for row in named]:
        kept = _kept_events(connection, key)
        good = connection.scalar(queries.LAST_GOOD_END, naming(key)) or ""
        failed_since = and_(ENDED, EVENTS.c.status == PhaseStatus.FAILED.value, EVENTS.c.event_at > good)
        old = select(EVENTS.c.id, EVENTS.c.run_id).where(_is(EVENTS, key), EVENTS.c.event_at < moment, not_(failed_since))
        for row in connection.execute(old):
            if row.id not in kept and row.run_id not in runs:
                yield row.id


def _kept_events(connection: Connection, key: TableKey) -> frozenset[int]:
    """Return how a table ended last, and last ended well, and the newest mark of each of its phases."""
    good = and_(ENDED, EVENTS.c.status != PhaseStatus.FAILED.value)
    ends = [
        select(EVENTS.c.id).where(_is(EVENTS, key), which).order_by(EVENTS.c.event_at.desc(), EVENTS.c.id.desc()).limit(1)
        for which in (ENDED, good)
    ]
    marks = [
        select(EVENTS.c.id)
        .where(_is(EVENTS, key), EVENTS.c.phase == phase.value, EVENTS.c.status == PhaseStatus.SUCCESS.value)
        .order_by(EVENTS.c.sequence.desc(), EVENTS.c.id.desc())
        .limit(1)
        for phase in Phase
        if phase is not Phase.EVENT
    ]
    found = (connection.scalar(query) for query in (*ends, *marks))
    return frozenset(number for number in found if number is not None)


def _former_heads(moment: str) -> Select[Any]:
    newer = WATERMARKS.alias("newer")
    beaten = select(newer.c.id).where(
        *(newer.c[name] == WATERMARKS.c[name] for name in _NAMES),
        or_(
            newer.c.sequence > WATERMARKS.c.sequence,
            and_(newer.c.sequence == WATERMARKS.c.sequence, newer.c.id > WATERMARKS.c.id),
        ),
    )
    return select(WATERMARKS.c.id).where(WATERMARKS.c.updated_at < moment, beaten.exists())


def _closed_batches(moment: str) -> Select[Any]:
    """Batches that are over, but for the one with the highest sequence that each table was ever published with."""
    names = [BATCHES.c[name] for name in _NAMES]
    published = BATCHES.c.outcome == "published"
    highest = select(*names, func.max(BATCHES.c.sequence).label("highest")).where(published).group_by(*names).subquery()
    same = and_(*(highest.c[name] == BATCHES.c[name] for name in _NAMES))
    return (
        select(BATCHES.c.batch_id)
        .select_from(BATCHES.outerjoin(highest, same))
        .where(
            BATCHES.c.outcome != "open",
            BATCHES.c.closed_at < moment,
            or_(not_(published), BATCHES.c.sequence < highest.c.highest),
        )
    )


def _runs_over(runs: Iterable[Row[Any]], moment: str, holders: frozenset[str]) -> Iterator[str]:
    """Yield runs that no command of their job looks for: those before its last run over all tables. Newest first, by job."""
    settled: set[str] = set()
    for row in runs:
        if row.job_name in settled and row.started_at < moment and row.run_id not in holders:
            yield row.run_id
        if row.whole:
            settled.add(row.job_name)


def _records(connection: Connection, table: Table, at: Column[Any], moment: str) -> tuple[list[str], int]:
    """Return the runs all of whose records are old, and how many rows these have."""
    runs = select(table.c.run_id, func.count()).group_by(table.c.run_id).having(func.max(at) < moment)
    found = [(run, rows) for run, rows in connection.execute(runs)]
    return [run for run, _ in found], sum(rows for _, rows in found)


def _is(table: Table, key: TableKey) -> Any:
    values = zip(_NAMES, (key.catalog, key.schema, key.table), strict=True)
    return and_(*(table.c[name] == value for name, value in values))


def _deletes(column: Column[Any], values: Sequence[Any]) -> Iterator[Delete]:
    for start in range(0, len(values), _ROWS_A_STATEMENT):
        yield delete(column.table).where(column.in_(values[start : start + _ROWS_A_STATEMENT]))

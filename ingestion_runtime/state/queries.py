"""The statements of the state store, each built once: building one anew takes as long as a local database needs to answer.

Measured on 50 small tables: some twenty statements a table, a twelfth of the run's processor time before they were kept.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Delete,
    Select,
    Table,
    Update,
    and_,
    bindparam,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)

from ingestion_runtime.model.batch import TableKey
from ingestion_runtime.model.state import Phase, PhaseStatus
from ingestion_runtime.state.tables import BATCHES, ENDED, EVENTS, LEASES, RUNS, SAMPLES, WATERMARKS

_KEYS_A_QUERY: Final = 100  # SQLite limits how deep a chain of ORs may be
_NAMES: Final = ("catalog", "schema_name", "table_name")


def chunked(keys: Sequence[TableKey]) -> Sequence[Sequence[TableKey]]:
    """Return the keys in portions that one query can hold."""
    distinct = tuple(dict.fromkeys(keys))
    return [distinct[start : start + _KEYS_A_QUERY] for start in range(0, len(distinct), _KEYS_A_QUERY)]


def naming(*keys: TableKey) -> Mapping[str, Any]:
    """Return the parameters by which a statement about so many tables names them."""
    return {
        f"about_{name}_{place}": value
        for place, key in enumerate(keys)
        for name, value in zip(_NAMES, (key.catalog, key.schema, key.table), strict=True)
    }


def _about(table: Table, tables: int = 1) -> ColumnElement[bool]:
    return or_(*(and_(*(table.c[name] == bindparam(f"about_{name}_{place}") for name in _NAMES)) for place in range(tables)))


@lru_cache
def finished_phases(tables: int) -> Select[Any]:
    """Which batches of the day ``load_date`` completed raw and finalize, in the order in which they count."""
    return (
        select(EVENTS)
        .where(
            _about(EVENTS, tables),
            EVENTS.c.load_date == bindparam("load_date"),
            EVENTS.c.phase.in_([Phase.RAW.value, Phase.FINALIZE.value]),
            EVENTS.c.status == PhaseStatus.SUCCESS.value,
            EVENTS.c.batch_id.is_not(None),
        )
        .order_by(EVENTS.c.sequence, EVENTS.c.id)
    )


#: Whoever works on a table leases it, and the row stays.
KNOWN_TABLES: Final[Select[Any]] = (
    select(*(LEASES.c[name] for name in _NAMES))
    .where(LEASES.c.catalog == bindparam("catalog"))
    .order_by(LEASES.c.schema_name, LEASES.c.table_name)
)


@lru_cache
def newest_heads(tables: int) -> Select[Any]:
    """The head with the highest (sequence, insertion) of each table."""
    newer = WATERMARKS.alias("newer")
    beaten = exists().where(
        *(newer.c[name] == WATERMARKS.c[name] for name in _NAMES),
        or_(
            newer.c.sequence > WATERMARKS.c.sequence,
            and_(newer.c.sequence == WATERMARKS.c.sequence, newer.c.id > WATERMARKS.c.id),
        ),
    )
    return select(WATERMARKS).where(_about(WATERMARKS, tables), ~beaten)


@lru_cache
def open_batches(tables: int) -> Select[Any]:
    """The batches that nobody has closed."""
    return select(BATCHES).where(_about(BATCHES, tables), BATCHES.c.outcome == "open").order_by(BATCHES.c.sequence)


#: The batches of a table, the one that was begun last first; what went wrong with batches of a table, the last of it last.
LAST_BATCHES: Final[Select[Any]] = (
    select(BATCHES).where(_about(BATCHES)).order_by(BATCHES.c.opened_at.desc(), BATCHES.c.sequence.desc())
)
BATCH_ERRORS: Final[Select[Any]] = (
    select(EVENTS.c.batch_id, EVENTS.c.error)
    .where(
        _about(EVENTS),
        EVENTS.c.status == PhaseStatus.FAILED.value,
        EVENTS.c.batch_id.is_not(None),
        EVENTS.c.error.is_not(None),
    )
    .order_by(EVENTS.c.id)
)

#: How a table ended last: by when it happened, not by when it was written, for a run writes its events in portions. One
#: statement a table: an index has the answer, where ranking the ends of a year for 500 tables takes 1.1 s.
LAST_END: Final[Select[Any]] = (
    select(EVENTS).where(_about(EVENTS), ENDED).order_by(EVENTS.c.event_at.desc(), EVENTS.c.id.desc()).limit(1)
)
#: When it ended well for the last time, and how often it has not ``since`` then.
LAST_GOOD_END: Final[Select[Any]] = select(func.max(EVENTS.c.event_at)).where(
    _about(EVENTS), ENDED, EVENTS.c.status != PhaseStatus.FAILED.value
)
BAD_ENDS: Final[Select[Any]] = (
    select(func.count())
    .select_from(EVENTS)
    .where(_about(EVENTS), ENDED, EVENTS.c.status == PhaseStatus.FAILED.value, EVENTS.c.event_at > bindparam("since"))
)
#: How the tables of ``run`` ended, in the order in which they did.
RUN_ENDS: Final[Select[Any]] = (
    select(EVENTS).where(EVENTS.c.run_id == bindparam("run"), ENDED).order_by(EVENTS.c.event_at, EVENTS.c.id)
)
#: The runs of ``job``, the newest first; the run ``run`` of them.
RUNS_OF_JOB: Final[Select[Any]] = (
    select(RUNS).where(RUNS.c.job_name == bindparam("job")).order_by(RUNS.c.started_at.desc(), RUNS.c.run_id.desc())
)
RUN_OF_JOB: Final[Select[Any]] = RUNS_OF_JOB.where(RUNS.c.run_id == bindparam("run"))
#: Ends ``run``; the columns to set are ``ended_at`` and ``exit_code``.
END_RUN: Final[Update] = (
    update(RUNS).where(RUNS.c.run_id == bindparam("run")).values(ended_at=bindparam("at"), exit_code=bindparam("code"))
)


@lru_cache
def held_leases(tables: int) -> Select[Any]:
    """The leases that were not given back."""
    return select(LEASES).where(_about(LEASES, tables), LEASES.c.released.is_(False))


#: The highest sequence of a table: published batches, and heads.
LAST_SEQUENCES: Final[tuple[Select[Any], ...]] = (
    select(func.max(BATCHES.c.sequence)).where(_about(BATCHES), BATCHES.c.outcome == "published"),
    select(func.max(WATERMARKS.c.sequence)).where(_about(WATERMARKS)),
)
#: The last number of an event of ``run``.
LAST_EVENT: Final[Select[Any]] = select(func.max(EVENTS.c.event_seq)).where(EVENTS.c.run_id == bindparam("run"))
#: What became of ``batch``.
OUTCOME: Final[Select[Any]] = select(BATCHES.c.outcome).where(BATCHES.c.batch_id == bindparam("batch"))
#: Closes ``batch`` if it is open; the columns to set are ``outcome`` and ``closed_at``.
CLOSE: Final[Update] = (
    update(BATCHES)
    .where(BATCHES.c.batch_id == bindparam("batch"), BATCHES.c.outcome == "open")
    .values(outcome=bindparam("ended_as"), closed_at=bindparam("ended_at"))
)
KEPT_SAMPLES: Final[Select[Any]] = (
    select(SAMPLES.c.document).where(_about(SAMPLES)).order_by(SAMPLES.c.taken_at, SAMPLES.c.id)
)
DROP_SAMPLES: Final[Delete] = delete(SAMPLES).where(_about(SAMPLES))
LEASE: Final[Select[Any]] = select(LEASES).where(_about(LEASES))

_HELD: Final = and_(
    _about(LEASES),
    LEASES.c.token == bindparam("held_token"),
    LEASES.c.holder == bindparam("held_by"),
    LEASES.c.released.is_(False),
)
#: Both change a lease only while ``held_by`` still has it with the token ``held_token``.
RENEW: Final[Update] = update(LEASES).where(_HELD).values(expires_at=bindparam("until"))
RELEASE: Final[Update] = update(LEASES).where(_HELD).values(released=True)
#: Takes a lease that is as it was ``seen``; the columns are set to the ``new_`` ones.
TAKE: Final[Update] = (
    update(LEASES)
    .where(
        _about(LEASES),
        LEASES.c.token == bindparam("seen_token"),
        LEASES.c.released == bindparam("seen_released"),
        # Its holder may have renewed it since it was read.
        LEASES.c.expires_at == bindparam("seen_expires_at"),
    )
    .values({name: bindparam(f"new_{name}") for name in LEASES.c.keys() if name not in _NAMES})  # noqa: SIM118 - SQLAlchemy's
)

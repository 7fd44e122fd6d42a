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
from ingestion_runtime.state.tables import BATCHES, EVENTS, LEASES, SAMPLES, WATERMARKS

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

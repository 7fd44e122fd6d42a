"""A look at a state database that changes nothing: which schema it has, and who holds which lease."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, select

from ingestion_runtime.model.batch import TableKey
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.state import LeaseHeld
from ingestion_runtime.state.database import Database
from ingestion_runtime.state.migrations import LATEST, schema_version
from ingestion_runtime.state.processes import is_at_work
from ingestion_runtime.state.rows import key_of, lease_of
from ingestion_runtime.state.sqlite import reading_engine
from ingestion_runtime.state.tables import LEASES
from ingestion_runtime.state.times import database_now


@dataclass(frozen=True, slots=True)
class StateFacts:
    """What a state database says of itself.

    ``version`` is its schema (0: it has none yet), ``known`` the newest that this program knows. ``at_work`` are leases that
    keep others away, ``abandoned`` those whose holder died or ran out of time.
    """

    version: int
    known: int
    at_work: Mapping[TableKey, LeaseHeld]
    abandoned: Mapping[TableKey, LeaseHeld]


def inspect_state(path: Path) -> StateFacts | None:
    """Return what the SQLite file holds, None where there is no file.

    It is opened for reading only. Raises TransientError for one that is busy, TerminalError for one that is none of ours.
    """
    if path.is_dir():
        raise TerminalError(
            f"The state database {path} is a directory.", remedy="Let runtime.state.database name a file.", path=str(path)
        )
    if not path.exists():
        return None
    database = Database(lambda: reading_engine(path))
    database.open()
    try:
        with database.read() as connection:
            version = schema_version(connection)
            # A schema that is not known may keep its leases elsewhere.
            return _facts(version, connection if 0 < version <= LATEST else None)
    finally:
        database.close()


def _facts(version: int, connection: Connection | None) -> StateFacts:
    if connection is None:
        return StateFacts(version, LATEST, {}, {})
    now = database_now(connection)
    rows = connection.execute(select(LEASES).where(LEASES.c.released.is_(False)))
    held = {key_of(row): lease_of(row) for row in rows}
    at_work = {key: lease for key, lease in held.items() if is_at_work(lease, now)}
    return StateFacts(version, LATEST, at_work, {key: held[key] for key in held.keys() - at_work.keys()})

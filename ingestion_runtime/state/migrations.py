"""Brings a state database to the schema of this program."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, func, insert, inspect, select

from ingestion_runtime.model.clock import utc_now
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.state.database import Database
from ingestion_runtime.state.tables import ENDS_INDEX, METADATA, SCHEMA_VERSION
from ingestion_runtime.state.times import to_text


@dataclass(frozen=True, slots=True)
class Migration:
    """One step. ``apply`` looks before it changes anything and may run again after a crash: some databases commit each
    CREATE or ALTER by itself, and the first step creates the tables as they are today."""

    version: int
    apply: Callable[[Connection], None]


def _create_missing_tables(connection: Connection) -> None:
    METADATA.create_all(connection, checkfirst=True)


def _add_runs(connection: Connection) -> None:
    _create_missing_tables(connection)
    ENDS_INDEX.create(connection, checkfirst=True)


# 2: cursor samples; 3: runs, and how tables ended, quickly; 4: the records of the metadata gateway
MIGRATIONS: Final = (
    Migration(1, _create_missing_tables),
    Migration(2, _create_missing_tables),
    Migration(3, _add_runs),
    Migration(4, _create_missing_tables),
)
LATEST: Final = MIGRATIONS[-1].version


def migrate(database: Database, migrations: tuple[Migration, ...] = MIGRATIONS) -> None:
    """Apply the steps that are missing, each in a transaction of its own.

    Raises TerminalError when the schema is newer than this program.
    """
    latest = migrations[-1].version
    with database.read() as connection:
        version = schema_version(connection)
    while version < latest:
        with database.write() as connection:
            version = _step(connection, migrations)
    if version > latest:
        raise TerminalError(
            f"{database.origin} has schema version {version}, this program knows {latest}.",
            remedy="Run the newer program that wrote it, or restore the backup made before the upgrade.",
            version=version,
            known=latest,
        )


def _step(connection: Connection, migrations: tuple[Migration, ...]) -> int:
    # Read again under the write lock: another process may have come first.
    SCHEMA_VERSION.create(connection, checkfirst=True)
    version = schema_version(connection)
    missing = [migration for migration in migrations if migration.version > version]
    if not missing:
        return version
    missing[0].apply(connection)
    connection.execute(insert(SCHEMA_VERSION).values(version=missing[0].version, applied_at=to_text(utc_now())))
    return missing[0].version


def schema_version(connection: Connection) -> int:
    """Return the version of a database's schema; 0 where it has none of ours."""
    if not inspect(connection).has_table(SCHEMA_VERSION.name):
        return 0
    version: int | None = connection.execute(select(func.max(SCHEMA_VERSION.c.version))).scalar_one()
    return version or 0

"""The engines that can be read: one file each, found by name and imported when asked for."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from ingestion_runtime.endpoints.jdbc.columns import did_you_mean
from ingestion_runtime.endpoints.jdbc.dialect import Dialect
from ingestion_runtime.model.errors import ConfigError


def _postgresql() -> Dialect:
    from ingestion_runtime.endpoints.jdbc.dialects.postgresql import PostgreSQL

    return PostgreSQL()


def _sqlite() -> Dialect:
    from ingestion_runtime.endpoints.jdbc.dialects.sqlite import SQLite

    return SQLite()


def _mysql() -> Dialect:
    from ingestion_runtime.endpoints.jdbc.dialects.mysql import MYSQL

    return MYSQL


def _mariadb() -> Dialect:
    from ingestion_runtime.endpoints.jdbc.dialects.mysql import MARIADB

    return MARIADB


def _singlestore() -> Dialect:
    from ingestion_runtime.endpoints.jdbc.dialects.singlestore import SINGLESTORE

    return SINGLESTORE


DIALECTS: Mapping[str, Callable[[], Dialect]] = MappingProxyType(
    {
        "postgresql": _postgresql,
        "sqlite": _sqlite,
        "mysql": _mysql,
        "mariadb": _mariadb,
        "singlestore": _singlestore,
    }
)


def dialect_for(name: str) -> Dialect:
    """Return the dialect of that name; raises ConfigError for an unknown one."""
    if name not in DIALECTS:
        raise ConfigError(
            f"There is no dialect {name!r}.{did_you_mean(name, DIALECTS)}",
            remedy=f"Use one of: {', '.join(sorted(DIALECTS))}.",
            dialect=name,
        )
    return DIALECTS[name]()

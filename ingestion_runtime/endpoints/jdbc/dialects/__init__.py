"""The engines that can be read: one file each, found by name."""

from ingestion_runtime.endpoints.jdbc.columns import did_you_mean
from ingestion_runtime.endpoints.jdbc.dialect import Dialect
from ingestion_runtime.endpoints.jdbc.dialects.mysql import MARIADB, MYSQL
from ingestion_runtime.endpoints.jdbc.dialects.postgresql import PostgreSQL
from ingestion_runtime.endpoints.jdbc.dialects.singlestore import SINGLESTORE
from ingestion_runtime.endpoints.jdbc.dialects.sqlite import SQLite
from ingestion_runtime.model.errors import ConfigError

DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in (PostgreSQL(), SQLite(), MYSQL, MARIADB, SINGLESTORE)}


def dialect_for(name: str) -> Dialect:
    """Return the dialect of that name; raises ConfigError for an unknown one."""
    try:
        return DIALECTS[name]
    except KeyError:
        raise ConfigError(
            f"There is no dialect {name!r}.{did_you_mean(name, DIALECTS)}",
            remedy=f"Use one of: {', '.join(sorted(DIALECTS))}.",
            dialect=name,
        ) from None

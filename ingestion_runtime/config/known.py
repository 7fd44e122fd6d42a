"""What the validation knows about engines and keys, as data."""

from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What a driver property holds."""

    INTEGER = "a whole number"
    BOOLEAN = "true or false"
    TEXT = "letters, digits, blanks and . _ : / -"


@dataclass(frozen=True, slots=True)
class DialectRules:
    """What a connection of this dialect may say. ``sqlglot`` is the name of its grammar."""

    sqlglot: str
    server: bool
    default_port: int | None = None
    properties: dict[str, Kind] = field(default_factory=dict)
    client_certificates: bool = True


# One driver reads them all. Not here: what decides how values are read, TLS, and every path and class name.
_MARIADB_DRIVER = {
    "connectionAttributes": Kind.TEXT,
    "maxAllowedPacket": Kind.INTEGER,
    "socketTimeout": Kind.INTEGER,
    "tcpKeepAlive": Kind.BOOLEAN,
    "tcpKeepCount": Kind.INTEGER,
    "tcpKeepIdle": Kind.INTEGER,
    "tcpKeepInterval": Kind.INTEGER,
    "useCompression": Kind.BOOLEAN,
}

DIALECTS = {
    "postgresql": DialectRules(
        sqlglot="postgres",
        server=True,
        default_port=5432,
        properties={
            "ApplicationName": Kind.TEXT,
            "assumeMinServerVersion": Kind.TEXT,
            "binaryTransfer": Kind.BOOLEAN,
            "cancelSignalTimeout": Kind.INTEGER,
            "defaultRowFetchSize": Kind.INTEGER,
            "loginTimeout": Kind.INTEGER,
            "preparedStatementCacheQueries": Kind.INTEGER,
            "preparedStatementCacheSizeMiB": Kind.INTEGER,
            "prepareThreshold": Kind.INTEGER,
            "receiveBufferSize": Kind.INTEGER,
            "socketTimeout": Kind.INTEGER,
            "tcpKeepAlive": Kind.BOOLEAN,
        },
    ),
    **{
        # The JDBC driver takes a client's certificate from a key store only, which needs a password of its own.
        name: DialectRules(grammar, server=True, default_port=3306, properties=_MARIADB_DRIVER, client_certificates=False)
        for name, grammar in (("mysql", "mysql"), ("mariadb", "mysql"), ("singlestore", "singlestore"))
    },
    "sqlite": DialectRules(
        sqlglot="sqlite",
        server=False,
        properties={"busy_timeout": Kind.INTEGER, "cache_size": Kind.INTEGER},
    ),
}

CONNECTION_URL_KEYS = frozenset(
    {"url", "jdbc_url", "jdbcurl", "uri", "dsn", "connection_string", "connection_url", "connection_uri"}
)

# Keys and values of the specification whose part is not built yet.
UNBUILT_KEYS = frozenset(
    {
        "finalize_strategy",
        "metastore_uri",
    }
)
UNBUILT_VALUES = {
    "catalog_type": frozenset({"hive", "rest"}),
}

# Spark settings that the runtime decides itself: prefixes end with a dot or a star.
OWNED_SPARK_KEYS = (
    "spark.sql.catalog.*",
    "spark.sql.defaultCatalog",
    "spark.sql.extensions",
    "spark.sql.session.timeZone",
    "spark.sql.ansi.enabled",
    "spark.jars*",
    "spark.hadoop.fs.defaultFS",
    "spark.driver.extraClassPath",
    "spark.redaction.regex",
)
SPARK_KEYS_WITH_A_FIELD = {"spark.master": "spark.master", "spark.driver.memory": "spark.driver_memory"}
SECRET_WORDS = ("password", "passwd", "secret", "token", "credential", "access.key", "accesskey", "account.key")

"""How sessions on a server of the MySQL family are opened, and what of it the JDBC driver has to be told."""

from contextlib import closing
from typing import Any

from ingestion_runtime.model.connection import ConnectionSpec
from ingestion_runtime.model.errors import ConfigError

_SSL_MODES = {"disable": "disable", "require": "trust", "verify-ca": "verify-ca", "verify-full": "verify-full"}


def log_in(connection: ConnectionSpec, server: str, port: int) -> Any:
    """Open a session; ``server`` names the kind of server, ``port`` is where it listens unless the connection says.

    Raises ConfigError for a client certificate, and for a file of tls.ca that cannot be used.
    """
    import pymysql  # validating a configuration must not load a driver

    tls = connection.tls
    if tls.cert is not None:
        raise ConfigError(
            f"Connection {connection.name!r}: {server} knows no client certificate in tls.cert.",
            remedy="Leave tls.cert and tls.key out and log in with a password; the JDBC driver reads key stores only.",
        )
    # Of no mode "prefer": the driver then takes TLS where the server has it, as PostgreSQL's does.
    wanted: dict[str, dict[str, Any]] = {
        "disable": {"ssl_disabled": True},
        "prefer": {},
        "require": {"ssl_verify_cert": False, "ssl": {"check_hostname": False}},
        "verify-ca": {"ssl_ca": str(tls.ca), "ssl_verify_cert": True},
        "verify-full": {"ssl_ca": str(tls.ca), "ssl_verify_cert": True, "ssl_verify_identity": True},
    }
    try:
        return pymysql.connect(
            host=connection.host or "localhost",
            port=connection.port or port,
            user=connection.user,
            password=connection.password.resolve() if connection.password else "",
            database=connection.database,
            charset="utf8mb4",
            connect_timeout=connection.connect_timeout_seconds,
            read_timeout=connection.connect_timeout_seconds,
            local_infile=False,
            program_name="ingestion-runtime",
            autocommit=False,
            **wanted[tls.mode],
        )
    except OSError as error:  # errors of the network come as the driver's own
        raise ConfigError(
            f"Connection {connection.name!r}: the file of tls.ca, {tls.ca}, cannot be used: {error}.",
            remedy="Name the certificate authority's certificate, as PEM, in a file that this user may read.",
        ) from None


def ssl_mode(connection: ConnectionSpec, server: str, port: int) -> str:
    """Return the JDBC driver's name for how a connection is protected; where TLS is only preferred, the server is asked."""
    # That driver has no such mode; what a connection of the other driver came to is what this one shall do.
    if connection.tls.mode == "prefer":
        with closing(log_in(connection, server, port)) as opened:
            return "trust" if opened._secure else "disable"
    return _SSL_MODES[connection.tls.mode]

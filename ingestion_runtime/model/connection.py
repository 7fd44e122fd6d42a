"""How a source database is reached, and what its data are told apart by."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class Secret(Protocol):
    """A reference to a secret. ``str()`` and ``repr()`` show the reference, never the value."""

    def resolve(self) -> str:
        """Return the value, read at the moment of the call; raises ConfigError when it cannot be read."""
        ...


@dataclass(frozen=True, slots=True)
class Tls:
    """How a connection is protected. ``mode`` uses PostgreSQL's words: disable, prefer, require, verify-ca, verify-full."""

    mode: str = "prefer"
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class ConnectionSpec:
    """One named source database. ``database`` is a file path for SQLite (absolute after loading).

    ``horizon_wait_seconds``: how long a table whose cursor is no clock waits for open transactions to end.
    ``max_connections``: how many connections one run may have open at a time; None: as many as it needs.
    """

    name: str
    dialect: str
    database: str
    host: str | None = None
    port: int | None = None
    user: str | None = None
    password: Secret | None = None
    tls: Tls = field(default_factory=Tls)
    connect_timeout_seconds: int = 10
    jdbc_properties: tuple[tuple[str, str], ...] = ()
    identity: str | None = None
    horizon_wait_seconds: int = 5
    max_connections: int | None = None

    @property
    def address(self) -> str:
        """Which data this is: the configured ``identity``, else dialect, host, port and database."""
        if self.identity is not None:
            return self.identity
        place = f"{self.host}:{self.port or ''}" if self.host else ""
        return f"{self.dialect}://{place}/{self.database.lstrip('/')}"

"""The part ``connections``."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ingestion_runtime.config.models.parts import FilePart, Text
from ingestion_runtime.config.models.tables import SharedTableFile


class TlsFile(FilePart):
    """How the connection is protected."""

    mode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = "prefer"
    """PostgreSQL's words."""
    ca: Text | None = None
    """Path of the certificate authority; needed by verify-ca and verify-full."""
    cert: Text | None = None
    """Path of the client's certificate; postgresql only."""
    key: Text | None = None
    """Path of the client's key."""


class ConnectionFile(FilePart):
    """A source database, in fields; never a URL."""

    placeholders: ClassVar[Mapping[str, object]] = {"dialect": "sqlite", "database": "?"}

    dialect: Literal["postgresql", "mysql", "mariadb", "singlestore", "sqlite"]
    """Which database it is."""
    database: Text
    """Name of the database; for SQLite the path of its file."""
    host: Text | None = None
    """Host name or address; not for sqlite."""
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """Port; where left out 5432 for PostgreSQL, else 3306."""
    user: Text | None = None
    """Who logs in; not for sqlite."""
    password: str | None = None
    """A reference: ${env:NAME} or ${file:PATH}."""
    tls: TlsFile = Field(default_factory=TlsFile)
    connect_timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 10
    """How long to wait for the server."""
    identity: Text | None = None
    """Which data this is; the address where left out. Set it to the former address when only that has changed."""
    jdbc_properties: dict[str, str] = Field(default_factory=dict)
    """Properties of the JDBC driver, from an allow list."""
    horizon: Literal["strict", "lag", "off"] = "strict"
    """What keeps its incremental tables from passing over rows of open transactions: the safe horizon, the lag, nothing."""
    horizon_wait_seconds: Annotated[int, Field(ge=0, le=3600)] = 5
    """How long a table whose cursor is no clock waits for open transactions to end."""
    max_connections: Annotated[int, Field(ge=1, le=1000)] | None = None
    """How many connections one run may have open to it at a time; as many as it needs where left out."""
    defaults: SharedTableFile | None = None
    """What its tables say where they say nothing else."""

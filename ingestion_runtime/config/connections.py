"""From the connections of the file to ConnectionSpec, with the checks that need more than one key."""

import re
from pathlib import Path

from ingestion_runtime.config.issues import IssueLog, Location, did_you_mean
from ingestion_runtime.config.known import DIALECTS, DialectRules, Kind
from ingestion_runtime.config.models.connections import ConnectionFile, TlsFile
from ingestion_runtime.config.paths import PathResolver
from ingestion_runtime.config.secrets import HOW_TO, SecretReference
from ingestion_runtime.model.connection import ConnectionSpec, Tls
from ingestion_runtime.model.errors import ConfigError

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}", re.ASCII)
HOST = re.compile(r"[A-Za-z0-9._:%\[\]-]+", re.ASCII)
VALUES = {
    Kind.INTEGER: re.compile(r"-?\d{1,10}", re.ASCII),
    Kind.BOOLEAN: re.compile(r"true|false"),
    Kind.TEXT: re.compile(r"[A-Za-z0-9 ._:/-]{1,200}", re.ASCII),
}
SERVER_KEYS = ("host", "port", "user", "password", "tls")


def is_connection_name(name: str) -> bool:
    """Whether a connection may have this name: a letter, then letters, digits, ``_`` and ``-``."""
    return NAME.fullmatch(name) is not None


def build_connection(name: str, file: ConnectionFile, at: Location, paths: PathResolver, log: IssueLog) -> ConnectionSpec:
    """Return the connection with absolute paths and a secret reference; problems are recorded."""
    rules = DIALECTS[file.dialect]
    dialect_known = log.clean((*at, "dialect"))
    if dialect_known:
        _check_fields(file, rules, at, log)
        _check_properties(file, rules, at, log)
    database = file.database
    if dialect_known and not rules.server:
        database = _sqlite_path(file.database, (*at, "database"), paths, log)
    elif not file.database.isprintable():
        log.add((*at, "database"), "may not hold control characters")
    return ConnectionSpec(
        name=name,
        dialect=file.dialect,
        database=database,
        host=file.host,
        port=file.port or rules.default_port,
        user=file.user,
        password=_secret(file.password, (*at, "password"), paths.base, log),
        tls=_build_tls(file.tls, (*at, "tls"), paths, log),
        connect_timeout_seconds=file.connect_timeout_seconds,
        identity=file.identity,
        horizon_wait_seconds=file.horizon_wait_seconds,
        max_connections=file.max_connections,
        jdbc_properties=tuple(sorted(file.jdbc_properties.items())),
    )


def _check_fields(file: ConnectionFile, rules: DialectRules, at: Location, log: IssueLog) -> None:
    for key in SERVER_KEYS:
        given = key in file.model_fields_set and getattr(file, key) is not None
        if given and not rules.server:
            log.add((*at, key), f"a {file.dialect} connection has no '{key}'; leave it out")
    if rules.server:
        for key in ("host", "user"):
            if getattr(file, key) is None and log.clean((*at, key)):
                log.add((*at, key), f"a {file.dialect} connection needs '{key}'")
    if rules.server and not rules.client_certificates and file.tls.cert is not None:
        log.add((*at, "tls", "cert"), f"a {file.dialect} connection logs in without a client certificate; leave it out")
    if file.user is not None and not file.user.isprintable():
        log.add((*at, "user"), "may not hold control characters")
    if rules.server and file.host is not None:
        _check_host(file.host, (*at, "host"), log)


def _check_host(host: str, at: Location, log: IssueLog) -> None:
    if not HOST.fullmatch(host):
        log.add(at, "must be a host name or an address and nothing else (no URL, no user)")
    elif host.count(":") == 1:
        log.add(at, "must not hold a port; write it under 'port'")


def _check_properties(file: ConnectionFile, rules: DialectRules, at: Location, log: IssueLog) -> None:
    allowed = ", ".join(rules.properties)
    for key, value in file.jdbc_properties.items():
        kind = rules.properties.get(key)
        if kind is None and is_connection_name(key):
            hint = did_you_mean(key, rules.properties)
            log.add((*at, "jdbc_properties", key), f"this property is not allowed{hint or '.'} Allowed are: {allowed}")
        elif kind is None:
            log.add((*at, "jdbc_properties"), f"a property is not allowed. Allowed are: {allowed}")
        elif not VALUES[kind].fullmatch(value):
            log.add((*at, "jdbc_properties", key), f"must be a string that holds {kind}")


def _sqlite_path(text: str, at: Location, paths: PathResolver, log: IssueLog) -> str:
    if text.strip().lower().startswith(":memory:"):
        log.add(at, "must be the path of a file: a database in memory ends with its connection")
        return ""
    return paths.resolve(text, at)


def _secret(text: str | None, at: Location, base: Path, log: IssueLog) -> SecretReference | None:
    if text is None:
        return None
    try:
        return SecretReference.parse(text, base)
    except ConfigError:
        log.add(at, f"must be a reference, never the password itself: {HOW_TO}")
        return None


def _build_tls(file: TlsFile, at: Location, paths: PathResolver, log: IssueLog) -> Tls:
    if file.mode.startswith("verify-") and file.ca is None and log.clean((*at, "ca")):
        log.add((*at, "ca"), f"mode '{file.mode}' needs the certificate authority's file")
    if (file.cert is None) != (file.key is None) and log.clean(at):
        log.add(at, "a client certificate needs both 'cert' and 'key'")

    def path(key: str, text: str | None) -> Path | None:
        return None if text is None else Path(paths.resolve(text, (*at, key)))

    return Tls(mode=file.mode, ca=path("ca", file.ca), cert=path("cert", file.cert), key=path("key", file.key))

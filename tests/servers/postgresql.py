"""A PostgreSQL server of the tests' own: private port, private data directory, gone afterwards."""

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ingestion_runtime.config.secrets import SecretReference
from ingestion_runtime.model.connection import ConnectionSpec
from tests.servers.ports import HOST, free_port

SUPERUSER = "postgres"
USER = "ingest"
PASSWORD = "correct horse"
PASSWORD_VARIABLE = "TEST_POSTGRES_PASSWORD"

SETTINGS = MappingProxyType(
    {
        "listen_addresses": f"'{HOST}'",
        # Nothing here outlives a test: without syncing a database is created in a tenth of the time.
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "max_connections": "50",
        "max_prepared_transactions": "5",  # open prepared transactions hold the safe horizon back
        "timezone": "'UTC'",
        "log_line_prefix": "'%m [%p] %u@%d '",
    }
)
# The superuser needs no password, everybody else does: so a wrong one can be tried.
HBA = f"""local all all trust
host all {SUPERUSER} {HOST}/32 trust
host replication {SUPERUSER} {HOST}/32 trust
host all all {HOST}/32 scram-sha-256
"""


@dataclass(frozen=True, slots=True)
class PostgresDatabase:
    """One database and the role that owns it."""

    host: str
    port: int
    user: str
    password: str
    database: str
    binaries: Path

    def as_connection(self, name: str) -> ConnectionSpec:
        """Return how the runtime connects; the password comes from a variable, which is set here."""
        os.environ[PASSWORD_VARIABLE] = self.password
        secret = SecretReference("env", PASSWORD_VARIABLE, Path())
        return ConnectionSpec(name, "postgresql", self.database, self.host, self.port, self.user, secret)

    def configured(self, **changes: Any) -> dict[str, Any]:
        """Return the connection as a configuration has it; the password comes from a variable, which is set here."""
        os.environ[PASSWORD_VARIABLE] = self.password
        return {
            "dialect": "postgresql",
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "database": self.database,
            "password": f"${{env:{PASSWORD_VARIABLE}}}",
            **changes,
        }

    def psql(self, sql: str, *, superuser: bool = False) -> str:
        """Run statements with psql, each in a transaction of its own; return rows, columns separated by tabs."""
        user = SUPERUSER if superuser else self.user
        connection = ["-h", self.host, "-p", str(self.port), "-U", user, "-d", self.database]
        form = ["-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-f", "-"]
        done = subprocess.run(
            [str(self.binaries / "psql"), *connection, *form],
            input=sql,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            env={**os.environ, "PGPASSWORD": self.password, "PGCLIENTENCODING": "UTF8"},
        )
        if done.returncode != 0:
            raise RuntimeError(f"psql: {done.stderr.strip()}")
        return done.stdout.removesuffix("\n")


class PostgresServer:
    """Started by ``with``. ``database`` is the administration database; tests ask for one of their own."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self.host = HOST
        self.port = free_port()
        self.user = USER
        self.password = PASSWORD
        self.database = "postgres"
        self._settings = {**SETTINGS, **(settings or {})}
        self._binaries = find_binaries()
        self._numbers = itertools.count(1)
        self._base = Path()

    def __enter__(self) -> "PostgresServer":
        self._base = Path(tempfile.mkdtemp(prefix="pg-"))
        try:
            self._initialize()
            self.start()
            self.psql(
                f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}' CREATEDB; GRANT pg_read_all_stats TO {USER}",
            )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if (self._base / "data" / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self._base, ignore_errors=True)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._run("pg_ctl", "-D", "data", "-l", "log", "-w", "-t", "30", "-s", "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server; ``immediate`` is a crash, ``fast`` ends sessions in an orderly way."""
        self._run("pg_ctl", "-D", "data", "-m", mode, "-w", "-t", "30", "-s", "stop")

    @contextmanager
    def standby(self) -> Iterator["PostgresServer"]:
        """Copy the server as it is now into a standby that follows it."""
        copy = PostgresServer()
        copy._base = Path(tempfile.mkdtemp(prefix="pg-standby-"))
        try:
            if os.geteuid() == 0:
                shutil.chown(copy._base, SUPERUSER, SUPERUSER)
            source = ("-h", self.host, "-p", str(self.port), "-U", SUPERUSER)
            copy._run("pg_basebackup", *source, "-D", "data", "-R", "-X", "stream", "-c", "fast", "--no-sync")
            copy._configure({"port": str(copy.port), "unix_socket_directories": f"'{copy._base}'"})
            copy.start()
            yield copy
        finally:
            copy.__exit__()

    def create_database(self, name: str | None = None, options: str = "") -> PostgresDatabase:
        """Create an empty database, owned by the role with the password; ``options`` end the statement."""
        name = name or f"test_{next(self._numbers)}"
        self.psql(f'CREATE DATABASE "{name}" OWNER {USER} {options}')
        return self._connection(name)

    def drop_database(self, name: str) -> None:
        """Drop a database and end the sessions on it."""
        self.psql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def psql(self, sql: str) -> str:
        """Run statements as the superuser in the administration database."""
        return self._connection(self.database).psql(sql, superuser=True)

    def log_tail(self, lines: int = 30) -> str:
        """The end of the server's log."""
        log = self._base / "log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(no log)"

    def connection(self, database: str) -> PostgresDatabase:
        """Return a database of the server that is there already."""
        return self._connection(database)

    def _connection(self, database: str) -> PostgresDatabase:
        return PostgresDatabase(self.host, self.port, self.user, self.password, database, self._binaries)

    def _initialize(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self._base, SUPERUSER, SUPERUSER)  # the server refuses to run as root
        self._run("initdb", "-D", "data", "-A", "trust", "-U", SUPERUSER, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        self._configure({**self._settings, "port": str(self.port), "unix_socket_directories": f"'{self._base}'"})
        (self._base / "data" / "pg_hba.conf").write_text(HBA)

    def _configure(self, settings: Mapping[str, str]) -> None:
        """Add settings to the server's file, where the last one of a name counts."""
        with (self._base / "data" / "postgresql.conf").open("a") as configuration:
            configuration.write("\n" + "\n".join(f"{name} = {value}" for name, value in settings.items()) + "\n")

    def _run(self, program: str, *arguments: str) -> None:
        """Run one of the server's programs in its directory, as postgres when the tests run as root."""
        as_postgres = ["runuser", "-u", SUPERUSER, "--"] if os.geteuid() == 0 else []
        done = subprocess.run(
            [*as_postgres, str(self._binaries / program), *arguments],
            cwd=self._base,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stderr.strip()}\n{done.stdout.strip()}\n{self.log_tail()}")


def find_binaries() -> Path:
    """Return the directory of initdb, pg_ctl and psql: from PATH, or the newest that Debian installed."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    installed = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if not installed:
        raise RuntimeError("PostgreSQL is not installed; run `make servers`, which installs it or says what is missing")
    return max(installed, key=lambda path: int(path.parent.name))

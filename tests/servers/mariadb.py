"""A MariaDB server of the tests' own: private port, private data directory, gone afterwards."""

import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.servers.ports import HOST, free_port

ROOT = "root"
USER = "ingest"
PASSWORD = "correct horse"
PASSWORD_VARIABLE = "TEST_MARIADB_PASSWORD"
_START_SECONDS = 30

SETTINGS = MappingProxyType(
    {
        # Nothing here outlives a test.
        "innodb-flush-log-at-trx-commit": "0",
        "innodb-buffer-pool-size": "64M",
        "innodb-log-file-size": "16M",
        "character-set-server": "utf8mb4",
        "collation-server": "utf8mb4_bin",
        "default-time-zone": "+00:00",
        "max-connections": "80",
        "performance-schema": "OFF",
    }
)


@dataclass(frozen=True, slots=True)
class MariaDatabase:
    """One database and a user who may do anything in it, and see every transaction of the server (PROCESS)."""

    host: str
    port: int
    user: str
    password: str
    database: str
    socket: str

    def configured(self, **changes: Any) -> dict[str, Any]:
        """Return the connection as a configuration has it; the password comes from a variable, which is set here."""
        os.environ[PASSWORD_VARIABLE] = self.password
        return {
            "dialect": "mariadb",
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "database": self.database,
            "password": f"${{env:{PASSWORD_VARIABLE}}}",
            "tls": {"mode": "disable"},
            **changes,
        }

    def client(self, sql: str, *, superuser: bool = False, options: tuple[str, ...] = ()) -> str:
        """Run statements with the ``mariadb`` client; return rows, columns separated by tabs, escaped by --batch."""
        return run_client(self, sql, superuser=superuser, options=options)


class MariaServer:
    """Started by ``with``. Tests ask for a database of their own."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self.host = HOST
        self.port = free_port()
        self.user = USER
        self.password = PASSWORD
        self._settings = {**SETTINGS, **(settings or {})}
        self._numbers = itertools.count(1)
        self._base = Path()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "MariaServer":
        self._base = Path(tempfile.mkdtemp(prefix="maria-"))
        try:
            self._initialize()
            self.start()
            self.client(f"CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}'; GRANT PROCESS ON *.* TO {USER}@'%';")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._base, ignore_errors=True)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        named = [f"--{name}={value}" for name, value in self._settings.items()]
        with (self._base / "out.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    _find("mariadbd"),
                    "--no-defaults",
                    *_as_mysql(),
                    f"--datadir={self._base / 'data'}",
                    f"--tmpdir={self._base}",  # a server that starts empties its own: that of another one, were it /tmp
                    f"--port={self.port}",
                    f"--bind-address={HOST}",
                    f"--socket={self._base / 's.sock'}",
                    f"--pid-file={self._base / 'pid'}",
                    f"--log-error={self._base / 'err.log'}",
                    "--skip-name-resolve",
                    *named,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        limit = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.client("SELECT 1;")
            except RuntimeError:
                if self._process.poll() is not None or time.monotonic() > limit:
                    raise RuntimeError(f"mariadbd does not answer:\n{self.log_tail()}") from None
                time.sleep(0.05)
            else:
                return

    def stop(self, *, crash: bool = True) -> None:
        """Stop the server; ``crash`` kills it, else it ends in an orderly way."""
        process, self._process = self._process, None
        if process is not None:
            (process.kill if crash else process.terminate)()
            process.wait(30)

    def create_database(self, name: str | None = None) -> MariaDatabase:
        """Create an empty database that the user with the password may use."""
        name = name or f"test_{next(self._numbers)}"
        self.client(f"CREATE DATABASE `{name}`; GRANT ALL ON `{name}`.* TO {USER}@'%';")
        return self._connection(name)

    def drop_database(self, name: str) -> None:
        """Drop a database."""
        self.client(f"DROP DATABASE IF EXISTS `{name}`;")

    def client(self, sql: str) -> str:
        """Run statements as the superuser."""
        return self._connection("mysql").client(sql, superuser=True)

    def log_tail(self, lines: int = 30) -> str:
        """The end of the server's log."""
        log = self._base / "err.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(no log)"

    def _connection(self, database: str) -> MariaDatabase:
        return MariaDatabase(self.host, self.port, self.user, self.password, database, str(self._base / "s.sock"))

    def _initialize(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self._base, "mysql", "mysql")  # the server refuses to run as root
        done = subprocess.run(
            [
                _find("mariadb-install-db"),
                "--no-defaults",
                *_as_mysql(),
                f"--datadir={self._base / 'data'}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"mariadb-install-db failed: {done.stderr.strip()}\n{done.stdout.strip()}")


def run_client(database: MariaDatabase, sql: str, *, superuser: bool, options: tuple[str, ...]) -> str:
    """Run statements with the server's own client and return what it printed."""
    if superuser:
        who = [f"--socket={database.socket}", f"--user={ROOT}"]
    else:
        who = ["--protocol=TCP", f"--host={database.host}", f"--port={database.port}", f"--user={database.user}"]
    form = ["--batch", "--skip-column-names", "--default-character-set=utf8mb4"]
    done = subprocess.run(
        [_find("mariadb"), "--no-defaults", *who, *form, *options, database.database],
        input=sql.encode(),
        capture_output=True,
        timeout=240,
        check=False,
        env={**os.environ, "MYSQL_PWD": "" if superuser else database.password},
    )
    if done.returncode != 0:
        raise RuntimeError(f"mariadb: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode(errors="surrogateescape").removesuffix("\n")


def _as_mysql() -> tuple[str, ...]:
    return ("--user=mysql",) if os.geteuid() == 0 else ()


def _find(program: str) -> str:
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/bin")
    if found is None:
        raise RuntimeError(f"{program} is not installed; run `make servers`, which installs it or says what is missing")
    return found

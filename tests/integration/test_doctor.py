"""``ingestion doctor`` on real servers and files: everything that is wrong is one red line, with what to do about it."""

import json
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner, Result

from ingestion_runtime.checkup.examination import Surroundings, examine
from ingestion_runtime.checkup.findings import Finding, Grade, exit_code
from ingestion_runtime.checkup.places import Room
from ingestion_runtime.cli import cli
from ingestion_runtime.config import load_configuration
from ingestion_runtime.model.naming import target_key
from ingestion_runtime.model.state import Holder
from ingestion_runtime.state.migrations import LATEST
from ingestion_runtime.state.processes import current_holder
from ingestion_runtime.state.sqlite import sqlite_store
from tests.lake import Lake
from tests.servers.mariadb import MariaDatabase
from tests.servers.ports import free_port
from tests.servers.postgresql import PASSWORD_VARIABLE, PostgresDatabase, PostgresServer

GREEN, YELLOW, RED = Grade.GREEN, Grade.YELLOW, Grade.RED
ORDERS: Mapping[str, Any] = {
    "schema": "public",
    "table": "orders",
    "mode": "scd1",
    "primary_keys": ["id"],
    "incremental_column": "updated_at",
    "incr_col_type": "timestamp",
}
CUSTOMERS: Mapping[str, Any] = {"schema": "public", "table": "customers", "mode": "full"}
TABLES = (
    "CREATE TABLE orders (id int PRIMARY KEY, updated_at timestamptz NOT NULL);"
    "CREATE TABLE customers (id int PRIMARY KEY, name text);"
)


class Examined:
    """What an examination found."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        self.findings = findings
        self.exit_code = exit_code(findings)

    def of(self, check: str) -> list[Finding]:
        """The findings of one check."""
        return [finding for finding in self.findings if finding.check == check]

    def worst(self, check: str) -> Grade:
        """The worst grade of a check."""
        return max((finding.grade for finding in self.of(check)), key=[GREEN, YELLOW, RED].index)

    @property
    def red(self) -> list[tuple[str, str, str]]:
        """Check, message and remedy of every red finding."""
        return [(one.check, one.message, one.remedy) for one in self.findings if one.grade is RED]


def look_at(lake: Lake, **around: Any) -> Examined:
    """Examine a configuration; ``around`` replaces what is taken from this machine, whose disk may well be nearly full."""
    surroundings = Surroundings(environment={}, room=Room(0, 0, 0, 0))
    found = examine(lake.path, lambda configuration: configuration.tables, replace(surroundings, **around))
    assert all(finding.remedy for finding in found if finding.grade is not GREEN), "a complaint without a remedy"
    return Examined(found)


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder with its size and time."""
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*"))}


@pytest.fixture
def shop(tmp_path: Path) -> Lake:
    """A small lake in SQLite that has never run."""
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.executescript(
            "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT);"
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, updated_at DATETIME);"
            "INSERT INTO orders VALUES (1, '2024-05-01 10:00:00');"
        )
    tables = [{**ORDERS, "schema": "shop"}, {**CUSTOMERS, "schema": "shop"}]
    return Lake(tmp_path, {"dialect": "sqlite", "database": "shop.db"}, tables)


@pytest.fixture
def sales(tmp_path: Path, postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake on PostgreSQL that has never run."""
    postgres.psql(TABLES)
    monkeypatch.setenv(PASSWORD_VARIABLE, postgres.password)
    return Lake(tmp_path, connection_to(postgres), [ORDERS, CUSTOMERS])


def connection_to(postgres: PostgresDatabase, **changed: Any) -> dict[str, Any]:
    """Return the connection as a configuration has it."""
    return {
        "dialect": "postgresql",
        "host": postgres.host,
        "port": postgres.port,
        "user": postgres.user,
        "database": postgres.database,
        "password": f"${{env:{PASSWORD_VARIABLE}}}",
        **changed,
    }


def change(lake: Lake, section: str, **values: Any) -> None:
    """Change keys of the connection, or of a section of runtime."""
    target = lake.document["connections"]["source"] if section == "connection" else lake.document["runtime"]
    target.update(values)
    lake.save()


# What is well


def test_a_sound_installation_is_green_and_nothing_is_left_behind(shop: Lake) -> None:
    """Before the first run and after it: no file, folder, state or catalog is made or touched."""
    before = tree(shop.root)
    first = look_at(shop)
    assert (first.exit_code, first.red) == (0, [])
    assert tree(shop.root) == before
    shop.run(None)
    before = tree(shop.root)
    second = look_at(shop)
    assert (second.exit_code, second.red) == (0, [])
    assert tree(shop.root) == before
    assert "is published" in second.of("catalog")[0].message


def test_a_sound_server_is_told_with_version_latency_and_rights(sales: Lake) -> None:
    found = look_at(sales)
    assert found.red == []
    assert found.of("source source")[0].message.startswith("PostgreSQL 1")
    assert "opened in" in found.of("source source")[0].message
    assert "open transactions can be seen" in found.of("transactions source")[0].message
    assert found.of("tables source")[0].message == "2 of 2 are there and may be read"
    assert found.worst("clock source") is GREEN


def test_mariadb_is_looked_at_as_well(tmp_path: Path, mariadb: MariaDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    mariadb.client("CREATE TABLE orders (id INT PRIMARY KEY, updated_at TIMESTAMP NOT NULL);")
    monkeypatch.setenv("MARIA_PASSWORD", mariadb.password)
    connection = {
        "dialect": "mariadb",
        "host": mariadb.host,
        "port": mariadb.port,
        "user": mariadb.user,
        "database": mariadb.database,
        "password": "${env:MARIA_PASSWORD}",
    }
    found = look_at(Lake(tmp_path, connection, [{**ORDERS, "schema": mariadb.database}]))
    assert found.red == []
    assert found.of("source source")[0].message.startswith("MariaDB 1")


# What is wrong with a source


def test_a_wrong_password_has_the_exit_code_of_a_run(sales: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "wrong battery")
    found = look_at(sales)
    assert found.exit_code == 2
    ((check, message, _),) = found.red
    assert check == "source source"
    assert "password authentication failed" in message
    assert "wrong battery" not in str(found.findings)


def test_a_secret_that_is_not_set_is_red_by_itself(sales: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE)
    found = look_at(sales)
    assert found.exit_code == 2
    assert found.worst("secret source") is RED


def test_a_secret_in_a_file_that_everybody_may_read_is_worth_a_look(sales: Lake, postgres: PostgresDatabase) -> None:
    secret = sales.root / "secret"
    secret.write_text(postgres.password)
    change(sales, "connection", password="${file:secret}")
    secret.chmod(0o644)
    assert look_at(sales).worst("secret source") is YELLOW
    secret.chmod(0o600)
    assert look_at(sales).worst("secret source") is GREEN


def test_a_closed_port_is_worth_a_retry(sales: Lake) -> None:
    change(sales, "connection", port=free_port())
    found = look_at(sales)
    assert found.exit_code == 3
    assert [check for check, *_ in found.red] == ["source source"]


@contextmanager
def silent_server() -> Iterator[int]:
    """A port on which connections are accepted and never answered."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        held: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        for accepted in held:
            accepted.close()


@pytest.mark.parametrize("dialect", ["postgresql", "mariadb"])
def test_a_host_that_never_answers_holds_nothing_up(sales: Lake, dialect: str) -> None:
    """However long the configuration would wait."""
    with silent_server() as port:
        change(sales, "connection", port=port, dialect=dialect, connect_timeout_seconds=3600)
        begun = time.monotonic()
        found = look_at(sales, patience=1.5)
        assert time.monotonic() - begun < 6
    assert found.exit_code == 3
    assert found.worst("source source") is RED
    assert found.worst("disk") is GREEN


def test_tls_that_the_server_does_not_have_is_red(sales: Lake) -> None:
    change(sales, "connection", tls={"mode": "require"})
    found = look_at(sales)
    assert found.exit_code == 2
    assert "SSL" in found.of("source source")[0].message


def test_missing_grants_are_told_table_by_table(sales: Lake, postgres: PostgresDatabase) -> None:
    """The right to read, and that to see transactions, which only incremental tables need."""
    role = f"poor_{postgres.database}"
    postgres.psql(f"CREATE ROLE {role} LOGIN PASSWORD '{postgres.password}'", superuser=True)
    try:
        postgres.psql(f"GRANT SELECT ON orders TO {role}")
        change(sales, "connection", user=role)
        found = look_at(sales)
    finally:
        postgres.psql(f"DROP OWNED BY {role}; DROP ROLE {role}", superuser=True)
    assert found.exit_code == 1
    told = {check: (message, remedy) for check, message, remedy in found.red}
    assert set(told) == {"transactions source", "tables source"}
    assert "GRANT pg_read_all_stats" in told["transactions source"][1]
    assert "permission denied for table customers" in told["tables source"][0]
    assert "Grant the connection's user SELECT" in told["tables source"][1]
    assert "1 of 2" in found.of("tables source")[-1].message


def test_tables_that_are_not_as_configured_are_told_and_many_alike_are_gathered(
    sales: Lake, postgres: PostgresDatabase
) -> None:
    postgres.psql("ALTER TABLE orders RENAME COLUMN updated_at TO changed_at")
    sales.document["tables"] += [{**CUSTOMERS, "table": f"gone_{number}"} for number in range(7)]
    sales.document["tables"].append({**CUSTOMERS, "table": "customers2", "query_sql": "SELECT nam FROM customers"})
    sales.save()
    told = [message for check, message, _ in look_at(sales).red if check == "tables source"]
    assert any("'updated_at'" in message and "Did you mean 'changed_at'?" in message for message in told)
    assert sum("gone_" in message for message in told) == 4  # three by themselves, and one line for the others
    assert any("the same of" in message for message in told)
    assert any('column "nam" does not exist' in message for message in told)


def test_a_cursor_without_a_zone_is_found_before_the_run_that_refuses_it(sales: Lake, postgres: PostgresDatabase) -> None:
    postgres.psql("ALTER TABLE orders ALTER COLUMN updated_at TYPE timestamp")
    found = look_at(sales)
    assert found.exit_code == 1
    ((check, message, remedy),) = found.red
    assert (check, "has no time zone" in message, "cursor_timezone" in remedy) == ("transactions source", True, True)


def test_a_standby_is_told(tmp_path: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    database = postgres_server.create_database()
    database.psql(TABLES)
    monkeypatch.setenv(PASSWORD_VARIABLE, database.password)
    with postgres_server.standby() as standby:
        found = look_at(Lake(tmp_path, connection_to(standby.connection(database.database)), [ORDERS, CUSTOMERS]))
    assert found.worst("source source") is YELLOW
    assert found.worst("transactions source") is RED
    assert "standby" in found.red[0][1]


@pytest.mark.parametrize(("seconds", "word"), [(90.0, "behind"), (-90.0, "ahead of")])
def test_clocks_that_differ_are_worth_a_look(sales: Lake, seconds: float, word: str) -> None:
    """The clock of this machine is what is moved here: a server's cannot be."""
    found = look_at(sales, clock=lambda: time.time() + seconds)
    (finding,) = found.of("clock source")
    assert finding.grade is YELLOW
    assert finding.message.startswith("90.")
    assert word in finding.message


# What is wrong with places


def test_a_file_in_the_way_of_a_directory_is_red(shop: Lake) -> None:
    (shop.root / "raw").write_text("")
    found = look_at(shop)
    assert found.exit_code == 1
    assert [check for check, *_ in found.red] == ["place raw_root"]


def test_a_place_that_cannot_be_written_is_red(shop: Lake) -> None:
    """Not even root can make files there."""
    change(shop, "runtime", final_root="/proc/ingestion/final")
    found = look_at(shop)
    assert found.exit_code == 1
    assert [check for check, *_ in found.red] == ["place final_root"]


def test_a_disk_that_is_nearly_full_is_told_by_bytes_and_by_inodes(shop: Lake) -> None:
    """What counts as little is what is moved here: filling a disk would strike the other tests."""
    plenty = Room(0, 0, 0, 0)
    assert look_at(shop, room=plenty).worst("disk") is GREEN
    assert look_at(shop, room=replace(plenty, least_bytes=2**62)).exit_code == 3
    assert look_at(shop, room=replace(plenty, scarce_bytes=2**62)).worst("disk") is YELLOW
    if os.statvfs(shop.root).f_files:
        assert look_at(shop, room=replace(plenty, scarce_inodes=2**62)).worst("disk") is YELLOW
        assert look_at(shop, room=replace(plenty, least_inodes=2**62)).exit_code == 3


def test_another_file_system_costs_copies(shop: Lake) -> None:
    if shop.root.stat().st_dev == Path("/dev", "shm").stat().st_dev:
        pytest.fail("both are one file system here: the test has to be taught another")
    elsewhere = Path("/dev", "shm", "ingestion-staging")
    change(shop, "runtime", staging={"root": str(elsewhere)})
    assert look_at(shop).worst("links") is YELLOW
    assert not elsewhere.exists()


def test_an_unreachable_hdfs_and_outbox_are_red(shop: Lake) -> None:
    change(
        shop,
        "runtime",
        raw_root=f"hdfs://127.0.0.1:{free_port()}/raw",
        hdfs_outbox_root=f"webhdfs://127.0.0.1:{free_port()}/x",
    )
    found = look_at(shop)
    assert {check for check, *_ in found.red} >= {"place raw_root", "place outbox"}
    assert "needed for shop.orders" in found.of("java")[0].message


# State and catalog


def test_a_state_of_a_newer_program_is_red_and_one_of_an_older_will_be_migrated(shop: Lake) -> None:
    shop.run(None)
    state = shop.root / "state.db"
    for version, grade in ((LATEST + 1, RED), (LATEST - 1, YELLOW)):
        with closing(sqlite3.connect(state)) as connection, connection:
            connection.execute("DELETE FROM ingestion_schema_version")
            connection.execute("INSERT INTO ingestion_schema_version VALUES (?, '2024-01-01')", (version,))
        found = look_at(shop)
        assert found.worst("state database") is grade
        assert str(version) in found.of("state database")[0].message
    with closing(sqlite3.connect(state)) as connection:
        assert connection.execute("SELECT max(version) FROM ingestion_schema_version").fetchone() == (LATEST - 1,)


def test_a_state_that_is_no_database_is_red(shop: Lake) -> None:
    (shop.root / "state.db").write_text("this is no database, but long enough to be looked at as one" * 20)
    found = look_at(shop)
    assert found.exit_code == 1
    assert [check for check, *_ in found.red] == ["state database"]


def test_a_lease_of_a_living_run_is_red_and_that_of_a_dead_one_is_not(shop: Lake) -> None:
    shop.run(None)
    configuration = load_configuration(shop.path)
    (orders,) = [table for table in configuration.tables if table.table == "orders"]
    key = target_key(configuration.runtime, orders)
    store = sqlite_store(configuration.runtime.state_database)
    store.open()
    lease = store.acquire_lease(key, current_holder("living"), 0)
    held = look_at(shop)
    assert held.exit_code == 4
    assert f"process {os.getpid()}" in held.red[0][1]
    assert "shop.orders" in held.red[0][1]
    store.release_lease(lease)
    gone = Holder("dead", current_holder("x").host, _unused_pid(), 1.0)
    store.acquire_lease(key, gone, 0)
    left = look_at(shop)
    store.close()
    assert left.exit_code == 0
    assert left.worst("state database") is YELLOW


def _unused_pid() -> int:
    return next(number for number in range(4_000_000, 1, -1) if not psutil.pid_exists(number))


def test_a_catalog_that_is_no_database_is_red(shop: Lake) -> None:
    (shop.root / "catalog.db").write_text("no database" * 100)
    found = look_at(shop)
    assert found.exit_code == 1
    assert [check for check, *_ in found.red] == ["catalog"]


def test_a_catalog_that_may_not_be_written_is_red(
    shop: Lake, postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, postgres.password)
    role = f"lake_{postgres.database}"
    postgres.psql(f"CREATE ROLE {role} LOGIN PASSWORD '{postgres.password}'", superuser=True)
    try:
        shop.document["connections"]["lake"] = connection_to(postgres, user=role)
        shop.document["runtime"]["intermediate"] = {"connection": "lake", "warehouse": str(shop.root / "warehouse")}
        for table in shop.document["tables"]:
            table["connection"] = "source"
        shop.save()
        refused = look_at(shop)
        postgres.psql(f"GRANT CREATE ON SCHEMA public TO {role}")
        allowed = look_at(shop)
    finally:
        postgres.psql(f"DROP OWNED BY {role}; DROP ROLE {role}", superuser=True)
    assert [check for check, *_ in refused.red] == ["catalog"]
    assert allowed.red == []


# This machine


def test_more_memory_than_there_is_is_red(shop: Lake) -> None:
    change(shop, "runtime", memory_mb=1_048_576)
    found = look_at(shop)
    assert [check for check, *_ in found.red] == ["memory"]


def test_more_tables_than_files_may_be_open_is_worth_a_look(shop: Lake) -> None:
    import resource

    change(shop, "runtime", max_parallel_tables=256)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    try:
        assert look_at(shop).worst("open files") is YELLOW
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_java_is_red_only_where_spark_is_needed(shop: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nothing"))
    spared = look_at(shop, cache=tmp_path / "no-jars")
    assert (spared.exit_code, spared.worst("java"), spared.worst("jars")) == (0, YELLOW, GREEN)
    change(shop, "runtime", engine="spark")
    needed = look_at(shop, cache=tmp_path / "no-jars")
    assert (needed.exit_code, needed.worst("java"), needed.worst("jars")) == (2, RED, YELLOW)
    assert "Install a Java" in needed.of("java")[0].remedy


def test_a_table_that_spark_must_not_move_is_red_as_it_would_stop_in_a_run(shop: Lake, tmp_path: Path) -> None:
    """A hash on Spark: its salt would stand in plans and logs."""
    (tmp_path / "salt").write_text("0123456789abcdef0123456789abcdef")
    shop.document["tables"][1]["mask"] = {"name": {"method": "hash", "salt": f"${{file:{tmp_path / 'salt'}}}"}}
    shop.save()
    assert look_at(shop).worst("spark") is GREEN
    change(shop, "runtime", engine="spark")
    found = look_at(shop)
    assert (found.exit_code, found.worst("spark")) == (2, RED)
    assert any("salt" in finding.message for finding in found.of("spark"))


def test_a_jar_that_was_changed_is_red_where_spark_is_needed_and_is_left_alone(shop: Lake, tmp_path: Path) -> None:
    from ingestion_runtime.tools.jars import pinned_jars

    change(shop, "runtime", engine="spark")
    cache = tmp_path / "jars"
    cache.mkdir()
    jar = cache / pinned_jars()[0].file
    jar.write_bytes(b"not what was pinned")
    found = look_at(shop, cache=cache)
    assert (found.worst("jars"), jar.read_bytes()) == (RED, b"not what was pinned")


def test_failpoints_that_were_left_set_are_red(shop: Lake) -> None:
    found = look_at(shop, environment={"INGESTION_FAILPOINTS": "after-plan=kill"})
    assert found.exit_code == 1
    assert "INGESTION_FAILPOINTS" in found.red[0][1]


# The command


@pytest.fixture
def call() -> Callable[..., Result]:
    """Call the command line inside this process."""

    def invoke(*arguments: object) -> Result:
        result = CliRunner().invoke(cli, ["doctor", *map(str, arguments)])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return invoke


def test_each_finding_is_one_line_with_its_remedy(shop: Lake, call: Callable[..., Result]) -> None:
    (shop.root / "raw").write_text("")
    result = call("--config", shop.path)
    assert (result.exit_code, result.stdout) == (1, "")
    lines = result.stderr.splitlines()
    (red,) = [line for line in lines if line.startswith("FAIL")]
    assert "place raw_root" in red
    assert red.endswith("-> Move it, or name another place.")
    assert lines[-1].endswith("1 red; exit code 1")


def test_programs_get_one_document(shop: Lake, call: Callable[..., Result]) -> None:
    result = call("--config", shop.path, "--output", "json", "--only-tables", "shop.orders")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["version"], document["exit_code"]) == (0, 1, 0)
    assert {"check", "grade", "message", "remedy", "exit_code"} == set(document["checks"][0])
    (told,) = [one["message"] for one in document["checks"] if one["check"] == "tables source"]
    assert told == "1 of 1 are there and may be read"


@pytest.mark.parametrize(
    ("text", "words"), [("{", "not JSON"), ('{"connections": {}}', "this key is required"), (None, "does not exist")]
)
def test_a_broken_configuration_is_red_and_the_machine_is_looked_at_all_the_same(
    tmp_path: Path, call: Callable[..., Result], text: str | None, words: str
) -> None:
    if text is not None:
        (tmp_path / "conf.json").write_text(text)
    result = call("--config", tmp_path / "conf.json")
    assert result.exit_code == 2
    assert words in result.stderr
    assert any(line.startswith("ok   python") for line in result.stderr.splitlines())


def test_a_table_that_is_not_configured_is_refused_with_the_choices(shop: Lake, call: Callable[..., Result]) -> None:
    result = call("--config", shop.path, "--only-tables", "shop.oders")
    assert result.exit_code == 2
    assert "Choose from: shop.customers, shop.orders" in result.stderr

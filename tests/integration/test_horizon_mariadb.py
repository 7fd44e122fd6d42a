"""MariaDB's safe horizon: transactions, statements that wait, XA, replicas, and a list that is not always fresh."""

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pymysql
import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialect import fetch
from ingestion_runtime.endpoints.jdbc.dialects import dialect_for
from ingestion_runtime.endpoints.jdbc.dialects.mysql_horizon import mark_own
from ingestion_runtime.model.connection import ConnectionSpec, Tls
from ingestion_runtime.model.horizon import Horizon
from ingestion_runtime.model.result import TableStatus
from tests.miniature import SmallLakes, failure_of, only, scd1, told, wait_until
from tests.readings import Reference
from tests.servers.mariadb import MariaDatabase, MariaServer

SECOND = 1_000_000
MOMENTS = "CREATE TABLE t (id int PRIMARY KEY, c timestamp(6) NOT NULL DEFAULT now(6));"
OLD = "INSERT INTO t VALUES (1, now(6) - INTERVAL 1 HOUR), (2, now(6) - INTERVAL 2 HOUR);"
PAUSE = "SELECT sleep(2.1);"
TABLES = 8


class Shop:
    """One database, lakes that read it by small runs, and sessions of writers that stay open as long as a test wants."""

    def __init__(self, root: Path, database: MariaDatabase, stack: contextlib.ExitStack) -> None:
        self.database = database
        self._stack = stack
        address = {"host": database.host, "port": database.port, "database": database.database, "user": database.user}
        spec = {"dialect": "mariadb", "tls": {"mode": "disable"}, **address}
        self.lakes = stack.enter_context(SmallLakes(root, spec, database.password).running())

    def writer(self, **settings: Any) -> Any:
        """Open a session; it ends with the test."""
        db = self.database
        login = {"host": db.host, "port": db.port, "user": db.user, "password": db.password, "database": db.database}
        session = pymysql.connect(**{**login, **settings})
        self._stack.callback(lambda: session.open and session.close())
        return session

    def source(self) -> Database:
        """The database as probes see it."""
        found = database_of(self.database)
        self._stack.callback(found.close)
        return found

    def table(self, kind: str = "timestamp", **more: Any) -> dict[str, Any]:
        return scd1(self.database.database, "t", kind, **more)


def database_of(db: MariaDatabase) -> Database:
    login = (db.database, db.host, db.port, db.user, Reference(db.password))
    return Database(ConnectionSpec("shop", "mariadb", *login, tls=Tls("disable")), dialect_for("mariadb"))


@pytest.fixture
def shop(tmp_path: Path, mariadb: MariaDatabase) -> Iterator[Shop]:
    with contextlib.ExitStack() as stack:
        yield Shop(tmp_path, mariadb, stack)


def run(session: Any, sql: str) -> None:
    with session.cursor() as cursor:
        cursor.execute(sql)


def look_at(source: Database) -> Horizon:
    with source.connect() as connection:
        found = source.dialect.horizon(connection)
    assert found is not None
    return found


def test_a_row_of_a_transaction_that_commits_after_the_run_is_read_by_the_next(shop: Shop) -> None:
    """Another row, written later and visible at once, waits with it."""
    shop.database.client(MOMENTS + OLD)
    late = shop.writer()
    run(late, "INSERT INTO t (id) VALUES (3)")
    shop.database.client("INSERT INTO t (id) VALUES (4);")
    lake = shop.lakes.lake(shop.table())
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [1, 2]
    (held,) = told(lake, "horizon_held")
    assert held["rows"] == 1
    assert f"thread {late.thread_id()}" in held["reason"]
    late.commit()
    shop.database.client(PAUSE)
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [1, 2, 3, 4]


def test_an_insert_that_waits_for_a_metadata_lock_holds_back(shop: Shop) -> None:
    """No list of transactions has it, and it will commit the time from before its wait."""
    shop.database.client(MOMENTS + OLD)
    locker, waiting = (shop.writer(autocommit=True) for _ in range(2))  # the lock alone is no transaction
    run(locker, "LOCK TABLES t WRITE")
    thread = threading.Thread(target=run, args=(waiting, "INSERT INTO t (id) VALUES (3)"))
    thread.start()
    try:
        wait_until(
            shop.database.client,
            "SELECT count(*) FROM information_schema.processlist WHERE state = 'Waiting for table metadata lock';",
            "1",
        )
        source = shop.source()
        shop.database.client(PAUSE)
        look = look_at(source)
        assert look.moment is not None
        assert look.now - look.moment >= 2 * SECOND
        assert f"thread {waiting.thread_id()}" in look.holder
    finally:
        run(locker, "UNLOCK TABLES")
        thread.join()
    shop.database.client(PAUSE)
    lake = shop.lakes.lake(shop.table())
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [1, 2, 3]


def test_nothing_new_is_read_while_a_transaction_is_prepared(shop: Shop) -> None:
    """Also once the session that prepared it is gone. A first load is worth another try."""
    shop.database.client(MOMENTS + OLD)
    lake = shop.lakes.lake(shop.table())
    shop.lakes.run(lake)
    two = shop.writer()
    for statement in ("XA START 'two-phase'", "INSERT INTO t (id) VALUES (3)", "XA END 'two-phase'"):
        run(two, statement)
    run(two, "XA PREPARE 'two-phase'")
    two.close()
    try:
        shop.database.client("INSERT INTO t VALUES (4, now(6) - INTERVAL 30 MINUTE);")
        assert only(shop.lakes.run(lake)).status is TableStatus.UNCHANGED
        (stuck,) = told(lake, "horizon_stuck")
        assert "two-phase" in stuck["reason"]
        assert failure_of(shop.lakes.run(shop.lakes.lake(shop.table()))).exit_code == 3
    finally:
        shop.database.client("XA COMMIT 'two-phase';")
    shop.database.client(PAUSE)
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [1, 2, 3, 4]


def test_a_user_who_sees_no_transactions_is_refused_with_the_grant(shop: Shop, mariadb_server: MariaServer) -> None:
    """By configuration a lag covers them, and the run says so."""
    shop.database.client(MOMENTS + OLD)
    db = shop.database
    mariadb_server.client(f"CREATE USER blind@'%' IDENTIFIED BY '{db.password}'; GRANT ALL ON {db.database}.* TO blind@'%';")
    try:
        refused = failure_of(shop.lakes.run(shop.lakes.lake(shop.table(), user="blind")))
        assert "GRANT PROCESS ON *.*" in refused.message
        covered = shop.lakes.lake(shop.table(horizon="lag", lag_seconds=60), user="blind")
        done = only(shop.lakes.run(covered))
        assert (done.status, "a lag of 60 alone covers" in done.remark) == (TableStatus.DONE, True)
    finally:
        mariadb_server.client("DROP USER blind@'%';")


def test_singlestore_shows_no_transactions_and_is_refused_until_a_lag_covers_them(shop: Shop) -> None:
    """A grant cannot help there, so none is asked for; the key to set is the one that the cursor has."""
    shop.database.client("CREATE TABLE t (id int PRIMARY KEY, c int, d varchar(9)); INSERT INTO t VALUES (1, 1, 'a');")
    remedies = (("int", "c", "horizon 'lag', and lag above"), ("text", "d", "Horizon 'off' lets nothing"))
    for kind, column, remedy in remedies:
        table = shop.table(kind, incremental_column=column)
        refused = failure_of(shop.lakes.run(shop.lakes.lake(table, dialect="singlestore")))
        assert (refused.exit_code, remedy.lower() in refused.message.lower(), "GRANT" in refused.message) == (1, True, False)
        assert "lag_seconds" not in refused.message
    covered = shop.lakes.lake(shop.table("int", horizon="lag", lag=5), dialect="singlestore")
    assert only(shop.lakes.run(covered)).status is TableStatus.DONE


def test_a_replica_is_refused(shop: Shop, mariadb_server: MariaServer) -> None:
    """It does not show the transactions of its primary."""
    shop.database.client(MOMENTS + OLD)
    mariadb_server.client("CHANGE MASTER TO master_host='127.0.0.1', master_port=1, master_user='x'; START SLAVE;")
    try:
        assert "it is a replica" in failure_of(shop.lakes.run(shop.lakes.lake(shop.table()))).message
    finally:
        mariadb_server.client("STOP SLAVE; RESET SLAVE ALL;")


def test_a_list_made_for_an_earlier_reader_is_not_believed(shop: Shop) -> None:
    """Somebody who polls keeps InnoDB's list as it was: a transaction that began meanwhile is not on it."""
    shop.database.client(MOMENTS)
    source, poller, writer = shop.source(), shop.writer(user="root", password="", unix_socket=shop.database.socket), None
    stop = time.monotonic() + 1.0
    begun = threading.Event()

    def poll() -> None:
        while time.monotonic() < stop:
            with poller.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM information_schema.innodb_trx")
                cursor.fetchall()
            begun.set()
            time.sleep(0.01)

    thread = threading.Thread(target=poll)
    thread.start()
    assert begun.wait(10)
    writer = shop.writer()
    run(writer, "INSERT INTO t (id) VALUES (1)")
    look = look_at(source)
    thread.join()
    assert f"thread {writer.thread_id()}" in look.holder


def test_our_own_reads_hold_nothing_back(shop: Shop, spark: SparkSession) -> None:
    """Probes are told by their connections, reads by a comment that reaches the server through Spark and its driver."""
    shop.database.client(MOMENTS + OLD)
    source = shop.source()
    with source.connect() as probing:
        fetch(probing, "SELECT count(*) FROM t")
        look = look_at(source)
        assert (look.oldest, look.holder) == (None, "")
    spec = source.spec
    target = source.dialect.jdbc(spec)
    query = "SELECT info FROM information_schema.processlist WHERE id = connection_id()"
    options = {**dict(target.options), "driver": target.driver, "user": spec.user, "password": shop.database.password}
    ((seen,),) = spark.read.jdbc(target.url, f"({source.dialect.jdbc_text(query)}) q", properties=options).collect()
    assert mark_own("").strip() in seen


def test_an_int_cursor_stays_below_what_an_open_transaction_has_drawn(shop: Shop) -> None:
    """Number 3 is drawn and not committed, 4 is visible."""
    shop.database.client(
        "CREATE TABLE t (id int PRIMARY KEY, c bigint AUTO_INCREMENT UNIQUE); INSERT INTO t (id) VALUES (1);"
    )
    lake = shop.lakes.lake(shop.table("int"))
    shop.lakes.run(lake)
    late = shop.writer()
    run(late, "INSERT INTO t (id) VALUES (3)")
    shop.database.client("INSERT INTO t (id) VALUES (4);")
    assert only(shop.lakes.run(lake)).status is TableStatus.UNCHANGED
    late.commit()
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [1, 3, 4]


def test_starts_are_read_in_the_zone_of_the_servers_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of transactions knows no other."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    with MariaServer({"default-time-zone": "SYSTEM"}) as server:
        db = server.create_database()
        db.client(MOMENTS)
        login = {"host": db.host, "port": db.port, "user": db.user, "password": db.password, "database": db.database}
        writer = pymysql.connect(**login)
        run(writer, "INSERT INTO t (id) VALUES (1)")
        source = database_of(db)
        look = look_at(source)
        assert look.oldest is not None
        assert 0 <= look.now - look.oldest < 60 * SECOND
        assert fetch_one(source, "SELECT @@time_zone") == "+00:00"
        writer.close()
        source.close()


def fetch_one(source: Database, sql: str) -> Any:
    ((value,),) = source.rows(sql)
    return value


def test_tables_that_ask_together_share_a_look(mariadb: MariaDatabase) -> None:
    """A look takes 0.1 s or more, because the server renews its list of transactions no sooner: eight took a second."""
    together = threading.Barrier(TABLES)
    with contextlib.closing(database_of(mariadb)) as database, ThreadPoolExecutor(TABLES) as threads:

        def look(_: int) -> Horizon | None:
            with database.connect() as connection:
                together.wait(30)
                return database.dialect.horizon(connection)

        looks = list(threads.map(look, range(TABLES)))
    assert len({found.now for found in looks if found}) < TABLES
    assert None not in looks

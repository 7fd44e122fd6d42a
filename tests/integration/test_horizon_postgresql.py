"""PostgreSQL's safe horizon: nothing is read that a transaction still open may come below, and the run says so."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialect import fetch
from ingestion_runtime.endpoints.jdbc.dialects import dialect_for
from ingestion_runtime.endpoints.jdbc.source import JdbcSource
from ingestion_runtime.model.connection import ConnectionSpec
from ingestion_runtime.model.horizon import Horizon
from ingestion_runtime.model.result import TableStatus
from tests.lake import Lake
from tests.miniature import SmallLakes, failure_of, only, scd1, told, wait_until
from tests.readings import Reference
from tests.servers.postgresql import PostgresDatabase, PostgresServer


class Shop:
    """One database, lakes that read it by small runs, and sessions of writers that stay open as long as a test wants."""

    def __init__(self, root: Path, database: PostgresDatabase, stack: contextlib.ExitStack) -> None:
        self.database = database
        self._stack = stack
        address = {"host": database.host, "port": database.port, "database": database.database, "user": database.user}
        lakes = SmallLakes(root, {"dialect": "postgresql", **address}, database.password)
        self.lakes = stack.enter_context(lakes.running())

    def writer(self, *, autocommit: bool = False, **settings: Any) -> psycopg.Connection[Any]:
        """Open a session; it ends with the test."""
        db = self.database
        login = {"host": db.host, "port": db.port, "user": db.user, "password": db.password, "dbname": db.database}
        session = psycopg.connect(autocommit=autocommit, **{**login, **settings})
        self._stack.callback(session.close)
        return session


@pytest.fixture
def shop(tmp_path: Path, postgres: PostgresDatabase) -> Iterator[Shop]:
    with contextlib.ExitStack() as stack:
        yield Shop(tmp_path, postgres, stack)


def table(name: str = "t", kind: str = "timestamp", **more: Any) -> dict[str, Any]:
    return scd1("public", name, kind, **more)


MOMENTS = "CREATE TABLE t (id bigint PRIMARY KEY, c timestamptz NOT NULL DEFAULT now());"
OLD = "INSERT INTO t VALUES (1, now() - interval '1 hour'), (2, now() - interval '2 hours');"


def test_a_row_of_a_transaction_that_commits_after_the_run_is_read_by_the_next(shop: Shop) -> None:
    """Another row, written later and visible at once, waits with it: the watermark stays below both."""
    shop.database.psql(MOMENTS + OLD)
    late = shop.writer()
    late.execute("INSERT INTO t VALUES (3)")
    shop.database.psql("INSERT INTO t VALUES (4)")
    lake = shop.lakes.lake(table())
    first = only(shop.lakes.run(lake))
    assert (first.status, shop.lakes.ids(lake)) == (TableStatus.DONE, [1, 2])
    (held,) = told(lake, "horizon_held")
    assert held["rows"] == 1
    assert "a transaction is open since" in held["reason"]
    assert f"pid {late.info.backend_pid}" in held["reason"]
    assert held["behind_seconds"] < 60
    late.commit()
    shop.database.psql("SELECT pg_sleep(0.11)")
    assert only(shop.lakes.run(lake)).status is TableStatus.DONE
    assert shop.lakes.ids(lake) == [1, 2, 3, 4]


def test_an_idle_transaction_that_has_only_read_holds_back_too(shop: Shop) -> None:
    """Its next statement may insert a row with its now(), which is when it began."""
    shop.database.psql(MOMENTS + OLD)
    reader = shop.writer()
    reader.execute("SELECT 1")
    shop.database.psql("INSERT INTO t VALUES (4)")
    lake = shop.lakes.lake(table())
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [1, 2]
    reader.execute("INSERT INTO t VALUES (3)")
    reader.commit()
    shop.database.psql("SELECT pg_sleep(0.11)")
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [1, 2, 3, 4]


def test_an_insert_that_waits_for_a_lock_holds_back(shop: Shop) -> None:
    """It took its now() before it began to wait."""
    shop.database.psql(MOMENTS + OLD)
    locker, waiting = shop.writer(), shop.writer(autocommit=True)
    locker.execute("LOCK TABLE t IN SHARE ROW EXCLUSIVE MODE")
    thread = threading.Thread(target=waiting.execute, args=("INSERT INTO t VALUES (3)",))
    thread.start()
    try:
        wait_until(shop.database.psql, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'", "1")
        locker.execute("INSERT INTO t VALUES (4, clock_timestamp())")
        lake = shop.lakes.lake(table())
        shop.lakes.run(lake)
        assert shop.lakes.ids(lake) == [1, 2]
    finally:
        locker.commit()
        thread.join()
    shop.database.psql("SELECT pg_sleep(0.11)")
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [1, 2, 3, 4]


@pytest.fixture
def prepared(shop: Shop) -> Iterator[Callable[[str], None]]:
    """Prepare a transaction with one insert; it is rolled back when the test has not ended it."""

    def prepare(values: str) -> None:
        shop.database.psql(f"BEGIN; INSERT INTO t VALUES {values}; PREPARE TRANSACTION 'two-phase';")

    yield prepare
    if shop.database.psql("SELECT count(*) FROM pg_prepared_xacts") != "0":
        shop.database.psql("ROLLBACK PREPARED 'two-phase'")


def test_nothing_new_is_read_while_a_transaction_is_prepared(shop: Shop, prepared: Callable[[str], None]) -> None:
    """Nobody knows when it began. What has been read stays, and the event names the transaction."""
    shop.database.psql(MOMENTS + OLD)
    lake = shop.lakes.lake(table())
    shop.lakes.run(lake)
    prepared("(3)")
    shop.database.psql("INSERT INTO t VALUES (4, now() - interval '30 minutes')")
    result = only(shop.lakes.run(lake))
    assert result.status is TableStatus.UNCHANGED
    assert result.remark.startswith("1 row waits for a later run: prepared transactions wait"), "people see it at once"
    assert shop.lakes.ids(lake) == [1, 2]
    (stuck,) = told(lake, "horizon_stuck")
    assert (stuck["level"], stuck["rows"], stuck["behind_seconds"]) == ("warning", 1, None)
    assert "two-phase since" in stuck["reason"]
    shop.database.psql("COMMIT PREPARED 'two-phase'; SELECT pg_sleep(0.11)")
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [1, 2, 3, 4]


def test_a_first_load_while_a_transaction_is_prepared_is_worth_another_try(
    shop: Shop, prepared: Callable[[str], None]
) -> None:
    """Nothing is known to be complete; an empty table would look like an empty source. A reload keeps what is there."""
    shop.database.psql(MOMENTS + OLD)
    prepared("(3)")
    lake = shop.lakes.lake(table())
    result = shop.lakes.run(lake)
    failure = failure_of(result)
    assert result.exit_code == failure.exit_code == 3
    assert "two-phase" in failure.message
    assert shop.lakes.target(lake).receipt is None
    shop.database.psql("ROLLBACK PREPARED 'two-phase'")
    shop.lakes.run(lake)
    prepared("(3)")
    assert shop.lakes.run(lake, reload=["public.t"]).exit_code == 3
    assert shop.lakes.ids(lake) == [1, 2]


def test_other_databases_of_the_server_hold_nothing_back(shop: Shop, postgres_server: PostgresServer) -> None:
    """Their transactions cannot write here."""
    shop.database.psql(MOMENTS + OLD)
    elsewhere = shop.writer()
    other = psycopg.connect(host=postgres_server.host, port=postgres_server.port, user="postgres", dbname="postgres")
    elsewhere.close()
    with other:
        other.execute("SELECT 1")
        shop.database.psql("INSERT INTO t VALUES (3); SELECT pg_sleep(0.11);")
        lake = shop.lakes.lake(table())
        shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [1, 2, 3]


def test_a_row_from_2099_poisons_nothing(shop: Shop) -> None:
    """It is counted, and read once its time has come; rows that come after it are read before."""
    shop.database.psql(MOMENTS + OLD + "INSERT INTO t VALUES (99, '2099-01-01Z')")
    lake = shop.lakes.lake(table())
    shop.lakes.run(lake)
    shop.database.psql("INSERT INTO t VALUES (3); SELECT pg_sleep(0.11)")
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [1, 2, 3]
    assert [event["rows"] for event in told(lake, "rows_beyond_now")] == [1, 1]
    assert told(lake, "horizon_held") == []


def test_a_tied_row_that_arrives_while_another_moves_on_is_read(shop: Shop) -> None:
    """Under a held horizon as without: count and watermark stay the same, the content does not."""
    shop.database.psql(MOMENTS + "INSERT INTO t SELECT g, now() - interval '1 hour' FROM generate_series(1, 3) g")
    lake = shop.lakes.lake(table())
    shop.lakes.run(lake)
    holder = shop.writer()
    holder.execute("SELECT 1")
    shop.database.psql(
        "BEGIN; INSERT INTO t SELECT 4, c FROM t WHERE id = 1; UPDATE t SET c = clock_timestamp() WHERE id = 2; COMMIT;"
    )
    assert only(shop.lakes.run(lake)).rows_read == 3
    assert shop.lakes.ids(lake) == [1, 2, 3, 4]
    assert only(shop.lakes.run(lake)).rows_read == 0
    holder.rollback()
    shop.database.psql("SELECT pg_sleep(0.11)")
    assert only(shop.lakes.run(lake)).rows_read == 1
    assert published(shop, lake) == expected(shop.database)


def expected(database: PostgresDatabase) -> list[tuple[int, str]]:
    """What psql prints of the table."""
    printed = database.psql("SET timezone = 'UTC'; SELECT id, to_char(c, 'YYYY-MM-DD HH24:MI:SS.US') FROM t ORDER BY id")
    rows = [line.split("\t") for line in printed.split("\n")]
    return [(int(number), moment) for number, moment in rows]


def published(shop: Shop, lake: Lake) -> list[tuple[int, str]]:
    return sorted((row["id"], f"{row['c']:%Y-%m-%d %H:%M:%S.%f}") for row in shop.lakes.rows(lake))


@pytest.fixture
def blind(shop: Shop) -> Iterator[str]:
    """A role that may read the tables and see no transaction of others."""
    name = f"blind_{shop.database.database}"
    shop.database.psql(f"CREATE ROLE {name} LOGIN PASSWORD '{shop.database.password}'", superuser=True)
    yield name
    shop.database.psql(f"DROP OWNED BY {name}; DROP ROLE {name}", superuser=True)


def test_a_role_that_sees_no_transactions_is_refused_with_the_grant_it_needs(shop: Shop, blind: str) -> None:
    """Without it every transaction of others looks as if it were over. With it the same command goes on."""
    shop.database.psql(MOMENTS + OLD + f"GRANT SELECT ON t TO {blind}")
    lake = shop.lakes.lake(table(), user=blind)
    result = shop.lakes.run(lake)
    failure = failure_of(result)
    assert result.exit_code == 1
    assert f'GRANT pg_read_all_stats TO "{blind}"' in failure.message
    assert "lag_seconds" in failure.message
    assert shop.lakes.target(lake).receipt is None
    shop.database.psql(f"GRANT pg_read_all_stats TO {blind}", superuser=True)
    assert only(shop.lakes.run(lake)).status is TableStatus.DONE
    assert shop.lakes.ids(lake) == [1, 2]


def test_a_lag_covers_what_cannot_be_seen_and_the_run_says_so(shop: Shop, blind: str) -> None:
    """A late row within the lag is found; without a lag there is nothing that covers."""
    shop.database.psql(MOMENTS + OLD + f"GRANT SELECT ON t TO {blind}")
    bare = shop.lakes.run(shop.lakes.lake(table(horizon="lag"), user=blind))
    failure = failure_of(bare)
    assert "needs a lag" in failure.message
    lake = shop.lakes.lake(table(lag_seconds=600), user=blind, horizon="lag")
    late = shop.writer()
    late.execute("INSERT INTO t VALUES (3)")
    shop.database.psql("INSERT INTO t VALUES (4)")
    first = only(shop.lakes.run(lake))
    assert shop.lakes.ids(lake) == [1, 2, 4]
    assert first.remark == "horizon 'lag': a lag of 600 alone covers rows of open transactions"
    assert [(event["policy"], event["lag"]) for event in told(lake, "horizon_waived")] == [("lag", 600)]
    late.commit()
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [1, 2, 3, 4]


def test_switched_off_it_loses_rows_and_the_run_says_so(shop: Shop) -> None:
    """What the horizon is for: a row that commits below the watermark is never read."""
    shop.database.psql(MOMENTS + OLD)
    late = shop.writer()
    late.execute("INSERT INTO t VALUES (3)")
    shop.database.psql("INSERT INTO t VALUES (4)")
    lake = shop.lakes.lake(table(horizon="off"))
    assert only(shop.lakes.run(lake)).remark == "horizon 'off': nothing covers rows of open transactions"
    late.commit()
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [1, 2, 4]


def test_a_standby_is_refused(shop: Shop, postgres_server: PostgresServer) -> None:
    """It shows its own readers and none of the primary's writers."""
    shop.database.psql(MOMENTS + OLD)
    with postgres_server.standby() as standby:
        following = standby.connection(shop.database.database)
        wait_until(following.psql, "SELECT count(*) FROM t", "2")
        lake = shop.lakes.lake(table(), port=standby.port)
        failure = failure_of(shop.lakes.run(lake))
        assert "it is a standby" in failure.message
        covered = shop.lakes.lake(table(lag_seconds=60, horizon="lag"), port=standby.port)
        assert only(shop.lakes.run(covered)).status is TableStatus.DONE


def test_a_foreign_table_is_refused(shop: Shop) -> None:
    """It is written at another server, whose open transactions nobody here can see."""
    db = shop.database
    shop.database.psql(
        f"""CREATE EXTENSION postgres_fdw;
        CREATE SERVER there FOREIGN DATA WRAPPER postgres_fdw
          OPTIONS (host '{db.host}', port '{db.port}', dbname '{db.database}');
        GRANT USAGE ON FOREIGN SERVER there TO {db.user};
        CREATE USER MAPPING FOR {db.user} SERVER there OPTIONS (user '{db.user}', password '{db.password}');""",
        superuser=True,
    )
    shop.database.psql(
        MOMENTS + OLD + "CREATE FOREIGN TABLE far (id bigint, c timestamptz) SERVER there OPTIONS (table_name 't')"
    )
    shop.database.psql(
        """CREATE TABLE parted (id bigint, c timestamptz) PARTITION BY RANGE (id);
        CREATE FOREIGN TABLE part PARTITION OF parted DEFAULT SERVER there OPTIONS (table_name 't')"""
    )
    for name in ("far", "parted"):
        failure = failure_of(shop.lakes.run(shop.lakes.lake(table(name))))
        assert "it is a foreign table, or has one for a part, and the transactions that write it" in failure.message
    covered = shop.lakes.lake(table("far", horizon="lag", lag_seconds=60))
    assert only(shop.lakes.run(covered)).status is TableStatus.DONE
    assert shop.lakes.ids(covered) == [1, 2]


def test_a_session_that_hides_what_it_does_is_not_overlooked(shop: Shop) -> None:
    """With track_activities off a session shows no start of its transaction."""
    shop.database.psql(MOMENTS + OLD)
    db = shop.database
    with psycopg.connect(host=db.host, port=db.port, user="postgres", dbname=db.database) as hidden:
        hidden.execute("SET track_activities = off")
        hidden.execute("INSERT INTO t VALUES (3)")
        failure = failure_of(shop.lakes.run(shop.lakes.lake(table())))
        assert "track_activities" in failure.message


def test_our_own_reads_hold_nothing_back_and_nobody_elses_name_helps(shop: Shop, spark: SparkSession) -> None:
    """Probes and JDBC reads of one process carry a name drawn for it; one that has written counts all the same."""
    shop.database.psql(MOMENTS + OLD)
    db = shop.database
    spec = ConnectionSpec("shop", "postgresql", db.database, db.host, db.port, db.user, Reference(db.password))
    source = Database(spec, dialect_for("postgresql"))
    target = source.dialect.jdbc(spec)
    query = "(SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()) q"
    options = {**dict(target.options), "driver": target.driver, "user": db.user, "password": db.password}
    ((name,),) = spark.read.jdbc(target.url, query, properties=options).collect()
    with source.snapshot("SELECT 1 FROM t") as reading:
        fetch(reading.connection, "SELECT count(*) FROM t")
        with shop.writer(application_name=name) as twin, source.connect() as connection:
            twin.execute("SELECT 1")
            look = source.dialect.horizon(connection)
            assert look is not None
            assert (look.oldest, look.holder) == (None, "")
            twin.execute("INSERT INTO t VALUES (3)")
            look = source.dialect.horizon(connection)
            assert look is not None
            assert f"pid {twin.info.backend_pid}" in look.holder
    source.close()


WALLS = "CREATE TABLE t (id int PRIMARY KEY, c timestamp NOT NULL DEFAULT localtimestamp);"


def test_a_clock_without_a_zone_needs_one_from_the_configuration(shop: Shop) -> None:
    """Nothing else says what its values mean."""
    shop.database.psql(WALLS)
    for kind in ("timestamp", "date"):
        shop.database.psql(f"ALTER TABLE t ALTER c TYPE {kind}")
        failure = failure_of(shop.lakes.run(shop.lakes.lake(table(kind=kind))))
        assert "Set cursor_timezone" in failure.message


def test_a_wall_clock_of_another_zone_is_read_up_to_the_horizon_and_no_further(shop: Shop) -> None:
    """Nine hours ahead of UTC, in a database that shows UTC itself: neither early nor nine hours late."""
    shop.database.psql(WALLS)
    tokyo = "(now() AT TIME ZONE 'Asia/Tokyo')"
    shop.database.psql(f"ALTER TABLE t ALTER c SET DEFAULT {tokyo}; INSERT INTO t VALUES (1); SELECT pg_sleep(0.11)")
    late = shop.writer()
    late.execute("INSERT INTO t VALUES (3)")
    shop.database.psql(f"INSERT INTO t VALUES (4); INSERT INTO t VALUES (99, {tokyo} + interval '1 minute')")
    lake = shop.lakes.lake(table(cursor_timezone="Asia/Tokyo"))
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [1]
    assert [event["rows"] for event in told(lake, "rows_beyond_now")] == [1]
    late.commit()
    shop.database.psql("SELECT pg_sleep(0.11)")
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [1, 3, 4]


def test_a_zone_whose_clocks_are_set_back_needs_a_lag_of_that_length(shop: Shop) -> None:
    """In Berlin an hour: in that night rows are written below rows that have been read already."""
    shop.database.psql(WALLS + "INSERT INTO t VALUES (1, '2026-01-01')")
    failure = failure_of(shop.lakes.run(shop.lakes.lake(table(cursor_timezone="Europe/Berlin", lag_seconds=3599))))
    assert "set back by 3600 seconds" in failure.message
    enough = shop.lakes.lake(table(cursor_timezone="Europe/Berlin", lag_seconds=3600))
    assert only(shop.lakes.run(enough)).status is TableStatus.DONE


def test_rows_of_today_are_read_today_by_a_date_cursor(shop: Shop) -> None:
    """Late ones tie with the watermark and are found by their content."""
    shop.database.psql("CREATE TABLE t (id int PRIMARY KEY, c date NOT NULL DEFAULT current_date)")
    late = shop.writer()
    late.execute("INSERT INTO t VALUES (3)")
    shop.database.psql("INSERT INTO t VALUES (4)")
    lake = shop.lakes.lake(table(kind="date", cursor_timezone="UTC"))
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [4]
    late.commit()
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [3, 4]


def test_a_cursor_of_whole_seconds_is_cut_below_the_horizons_second(shop: Shop) -> None:
    """timestamptz(0) rounds: the row of an open transaction may lie half a second before its start."""
    shop.database.psql("CREATE TABLE t (id int PRIMARY KEY, c timestamptz(0) NOT NULL DEFAULT now())")
    late = shop.writer()
    late.execute("INSERT INTO t VALUES (3)")
    lake = shop.lakes.lake(table())
    shop.database.psql("INSERT INTO t SELECT 4, max(c) + interval '1 second' FROM (SELECT now() AS c) s")
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == []
    late.commit()
    shop.database.psql("SELECT pg_sleep(2)")
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [3, 4]


NUMBERS = "CREATE TABLE t (id int PRIMARY KEY, c bigserial NOT NULL); INSERT INTO t VALUES (1), (2);"


def test_an_int_cursor_stays_below_what_an_open_transaction_has_drawn(shop: Shop) -> None:
    """Number 3 is drawn and not committed, 4 is visible: the bound is the largest value known to be complete."""
    shop.database.psql(NUMBERS)
    lake = shop.lakes.lake(table(kind="int"))
    shop.lakes.run(lake)
    assert shop.lakes.watermark(lake) == "2"
    late = shop.writer()
    late.execute("INSERT INTO t VALUES (3)")
    shop.database.psql("INSERT INTO t VALUES (4)")
    assert only(shop.lakes.run(lake)).status is TableStatus.UNCHANGED
    (held,) = told(lake, "horizon_held")
    assert (held["rows"], held["bound"]) == (1, "2")
    late.commit()
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [1, 2, 3, 4]


def test_a_sample_of_an_earlier_run_bounds_an_int_cursor_while_later_transactions_are_open(shop: Shop) -> None:
    """A source that is never idle is still read: up to what was visible before the oldest open transaction began."""
    shop.database.psql(NUMBERS)
    lake = shop.lakes.lake(table(kind="int"))
    shop.lakes.run(lake)
    first = shop.writer()
    first.execute("INSERT INTO t VALUES (3)")
    shop.database.psql("INSERT INTO t VALUES (4)")
    shop.lakes.run(lake)
    second = shop.writer()
    second.execute("INSERT INTO t VALUES (5)")
    first.commit()
    shop.database.psql("INSERT INTO t VALUES (6)")
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [1, 2, 3, 4]
    second.commit()
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [1, 2, 3, 4, 5, 6]


def test_a_first_load_by_an_int_cursor_waits_for_the_transactions_of_its_time(shop: Shop) -> None:
    """Nothing can be proven while the first transaction is open; its sample serves as soon as that one has ended."""
    shop.database.psql(NUMBERS)
    first = shop.writer()
    first.execute("INSERT INTO t VALUES (3)")
    lake = shop.lakes.lake(table(kind="int"))
    result = shop.lakes.run(lake)
    failure = failure_of(result)
    assert (result.exit_code, shop.lakes.target(lake).receipt) == (3, None)
    assert f"pid {first.info.backend_pid}" in failure.message
    second = shop.writer()
    second.execute("INSERT INTO t VALUES (4)")
    first.rollback()
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [1, 2]


def test_short_transactions_are_waited_for(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy source always has some: an int cursor gets its bound once those have ended that were open at the sample."""
    shop.database.psql(NUMBERS)
    late = shop.writer()
    late.execute("INSERT INTO t VALUES (3)")
    lake = shop.lakes.lake(table(kind="int"), horizon_wait_seconds=60)

    looks: list[bool] = []
    look = JdbcSource.horizon

    def commit_between_looks(source: JdbcSource) -> Horizon | None:
        looks.append(late.info.transaction_status is psycopg.pq.TransactionStatus.IDLE)
        if len(looks) == 4:
            late.commit()
        return look(source)

    monkeypatch.setattr(JdbcSource, "horizon", commit_between_looks)
    assert only(shop.lakes.run(lake)).status is TableStatus.DONE
    assert looks == [False] * 4
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [1, 2, 3]


def test_an_int_cursor_may_be_covered_by_a_lag_in_its_own_units(shop: Shop) -> None:
    """Rows up to that far below the watermark are looked at again."""
    shop.database.psql(NUMBERS)
    late = shop.writer()
    late.execute("INSERT INTO t VALUES (3)")
    shop.database.psql("INSERT INTO t VALUES (4)")
    lake = shop.lakes.lake(table(kind="int", horizon="lag", lag=1))
    assert only(shop.lakes.run(lake)).remark == "horizon 'lag': a lag of 1 alone covers rows of open transactions"
    assert shop.lakes.ids(lake) == [1, 2, 4]
    late.commit()
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [1, 2, 3, 4]


def test_a_text_cursor_is_bounded_by_samples_as_well(shop: Shop) -> None:
    """Compared by the source, never here."""
    shop.database.psql(
        "CREATE SEQUENCE s; CREATE TABLE t (id int PRIMARY KEY, c text DEFAULT to_char(nextval('s'), 'FM000000'));"
        "INSERT INTO t VALUES (1), (2);"
    )
    lake = shop.lakes.lake(table(kind="text"))
    shop.lakes.run(lake)
    late = shop.writer()
    late.execute("INSERT INTO t VALUES (3)")
    shop.database.psql("INSERT INTO t VALUES (4)")
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [1, 2]
    late.commit()
    shop.lakes.run(lake)
    assert shop.lakes.ids(lake) == [1, 2, 3, 4]

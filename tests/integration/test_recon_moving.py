"""A source that is written to, and loaded from, while it is compared: no difference but the one that is there."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg

from ingestion_runtime.endpoints.resolving import open_configuration
from ingestion_runtime.model.reconciliation import Check
from ingestion_runtime.reconciliation.report import KeyFault, Status, TableReport
from ingestion_runtime.reconciliation.run import ReconRequest, reconcile
from tests.lake import Lake
from tests.servers.postgresql import PostgresDatabase

RUNS = 20
ROWS = 2_000
PLANTED = 777
KEYED = {"reconciliation": {"checks": ["plain_count", "bisect"]}}
KEYLESS = {"reconciliation": {"checks": ["plain_count", "group_count", "checksum"]}}
CURSOR = {"incremental_column": "updated_at", "incr_col_type": "timestamp"}

# Writers change rows and put rows in, in transactions that stay open for a while and end in another order than they began.
SHOP = f"""
CREATE TABLE orders (id int PRIMARY KEY, v int, updated_at timestamptz DEFAULT now());
CREATE TABLE lines (code text, n int, v int, updated_at timestamptz DEFAULT clock_timestamp(), PRIMARY KEY (code, n));
CREATE SEQUENCE ids START 1000000;
CREATE TABLE visits (at timestamptz DEFAULT now(), page int);
INSERT INTO orders SELECT n, n, '2024-01-01'::timestamptz + n * interval '1 min' FROM generate_series(1, {ROWS}) n;
INSERT INTO lines SELECT 'c' || id % 50, id, v, updated_at FROM orders;
INSERT INTO visits SELECT '2024-01-01'::timestamptz + n * interval '1 min', n FROM generate_series(1, {ROWS}) n;
"""
WORK = """
BEGIN;
INSERT INTO orders VALUES (nextval('ids'), 0);
UPDATE orders SET v = v + 1, updated_at = now() WHERE id IN (SELECT (random() * 700)::int FROM generate_series(1, 5));
SELECT pg_sleep({pause});
INSERT INTO visits (page) VALUES ({writer});
UPDATE lines SET v = v + 1, updated_at = clock_timestamp() WHERE n % 97 = (random() * 50)::int AND n < 700;
INSERT INTO lines (code, n, v) SELECT 'new{writer}', coalesce(max(n), 0) + 1, 0 FROM lines WHERE code = 'new{writer}';
COMMIT;
"""


class Traffic:
    """Threads that do something again and again until the block ends; what one of them raised is raised there."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self.rounds = 0
        self._failures: list[BaseException] = []

    @contextmanager
    def running(self, *tasks: Callable[[], object]) -> Iterator["Traffic"]:
        threads = [threading.Thread(target=self._repeat, args=(task,)) for task in tasks]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._over.set()
            for thread in threads:
                thread.join()
        assert not self._failures, self._failures[0]

    def _repeat(self, task: Callable[[], object]) -> None:
        try:
            while not self._over.is_set():
                task()
                self.rounds += 1
        except BaseException as error:  # noqa: BLE001 - told by the thread that waits
            self._failures.append(error)


def test_a_source_at_work_gives_no_false_difference_and_hides_no_true_one(
    postgres: PostgresDatabase, tmp_path: Path
) -> None:
    """In 20 comparisons, while two writers work and runs publish what they wrote. Rows that were changed silently are found
    in each of them; everything else is equal, or left out."""
    postgres.psql(SHOP)
    lake = Lake(
        tmp_path,
        postgres.configured(),
        [
            {"schema": "public", "table": "orders", "mode": "scd1", "primary_keys": ["id"], **CURSOR, **KEYED},
            {"schema": "public", "table": "lines", "mode": "scd1", "primary_keys": ["code", "n"], **CURSOR, **KEYED},
            {"schema": "public", "table": "visits", "mode": "append", **CURSOR, "incremental_column": "at", **KEYLESS},
        ],
    )
    assert lake.run(None).exit_code == 0
    postgres.psql(f"UPDATE orders SET v = -1 WHERE id = {PLANTED}; DELETE FROM lines WHERE n = {PLANTED}")
    configuration = open_configuration(lake.path)
    reports: list[tuple[TableReport, ...]] = []
    address = f"host={postgres.host} port={postgres.port} user={postgres.user} dbname={postgres.database}"
    with (
        psycopg.connect(address, password=postgres.password, autocommit=True) as one,
        psycopg.connect(address, password=postgres.password, autocommit=True) as other,
        Traffic().running(
            partial(one.execute, WORK.format(writer=1, pause=0.02)), partial(other.execute, WORK.format(writer=2, pause=0.1))
        ) as traffic,
    ):
        for _ in range(RUNS):
            loading = threading.Thread(target=lake.run, args=(None,))
            loading.start()
            request = ReconRequest(configuration, configuration.tables, "moving", parallel=3)
            reports.append(reconcile(request, {}).tables)
            loading.join()
    assert traffic.rounds > RUNS
    for orders, lines, visits in reports:
        assert [orders.trouble, lines.trouble, visits.trouble] == [None, None, None]
        assert differing(orders) == {(str(PLANTED),): KeyFault.CHANGED}
        assert differing(lines) == {(f"c{PLANTED % 50}", str(PLANTED)): KeyFault.EXTRA}
        assert visits.status is Status.EQUAL
    batches = {report.moment.batch for report, _, _ in reports if report.moment}
    left_out = sum(table.left_out.later for tables in reports for table in tables if table.left_out)
    assert len(batches) > 1  # runs published meanwhile
    assert left_out > 0  # and the source was ahead of them


def differing(report: TableReport) -> dict[tuple[str | None, ...], KeyFault]:
    """The keys that differ, once the numbers of rows have said no less and no more."""
    found = {result.check: result for result in report.checks}
    bisection = found[Check.BISECT].finding.bisection
    assert bisection is not None
    counted = found[Check.PLAIN_COUNT].finding
    assert counted.difference == bisection.count(KeyFault.EXTRA) + bisection.count(KeyFault.MISSING)
    return {key.key: key.fault for key in bisection.keys}

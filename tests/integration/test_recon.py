"""Targets compared with their sources: what is found, what is let pass, and what is said of the rest. SQLite, in process."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ingestion_runtime.endpoints.iceberg.comparing import LocalIcebergRows
from ingestion_runtime.endpoints.resolving import open_configuration
from ingestion_runtime.model.comparison import Stand
from ingestion_runtime.model.errors import TransientError
from ingestion_runtime.model.options import AskedWindow
from ingestion_runtime.model.reconciliation import Check
from ingestion_runtime.reconciliation.report import CheckResult, KeyFault, Report, Status, TableReport
from ingestion_runtime.reconciliation.run import ReconRequest, reconcile
from tests.lake import Lake
from tests.servers.ports import HOST, free_port
from tests.servers.postgresql import PostgresDatabase

ALL = tuple(Check)
SHOP = """
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, customer TEXT, total DECIMAL(10,2), ratio DOUBLE, placed DATE, updated_at DATETIME
);
CREATE TABLE visits (at DATETIME, page TEXT);
CREATE TABLE countries (code TEXT PRIMARY KEY, name TEXT);
CREATE TABLE notes (line TEXT);
"""
CURSOR = {"incremental_column": "updated_at", "incr_col_type": "timestamp"}
ORDERS = {"schema": "shop", "table": "orders", "mode": "scd1", "primary_keys": ["id"], **CURSOR}
VISITS = {"schema": "shop", "table": "visits", "mode": "append", "incremental_column": "at", "incr_col_type": "timestamp"}
COUNTRIES = {"schema": "shop", "table": "countries", "mode": "full", "primary_keys": ["code"], "sink": "parquet"}
NOTES = {"schema": "shop", "table": "notes", "mode": "full"}


class Shop:
    """A small shop in SQLite, and the lake that it is loaded into."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lake = Lake(root, {"dialect": "sqlite", "database": "shop.db"}, [ORDERS, VISITS, COUNTRIES, NOTES])
        self.sql(SHOP)
        rows = [(n, f"c{n % 7}", f"{n}.25", n / 7, f"2024-05-{n % 28 + 1:02}", _moment(n)) for n in range(1, 201)]
        self.many("INSERT INTO orders VALUES (?,?,?,?,?,?)", rows)
        self.many("INSERT INTO visits VALUES (?,?)", [(_moment(n // 2), f"p{n % 5}") for n in range(100)])
        self.sql("INSERT INTO countries VALUES ('de', 'Deutschland'), ('fr', 'France'), ('co', 'Côte d''Ivoire [red]')")
        self.sql("INSERT INTO notes VALUES ('a'), ('a'), (NULL)")

    def sql(self, text: str) -> None:
        with closing(sqlite3.connect(self.root / "shop.db")) as connection:
            connection.executescript(text)

    def many(self, text: str, rows: Sequence[tuple[Any, ...]]) -> None:
        with closing(sqlite3.connect(self.root / "shop.db")) as connection:
            connection.executemany(text, rows)
            connection.commit()

    def load(self) -> None:
        failures = [table.failure for table in self.lake.run(None).tables if table.failure]
        assert not failures

    def compare(self, *names: str, checks: Sequence[Check] = ALL, **wishes: Any) -> Report:
        configuration = open_configuration(self.lake.path)
        tables = tuple(t for t in configuration.tables if not names or t.table in names)
        request = ReconRequest(configuration, tables, "test", checks=tuple(checks) or None, **wishes)
        return reconcile(request, {})

    def table(self, name: str, checks: Sequence[Check] = ALL, **wishes: Any) -> TableReport:
        (report,) = self.compare(name, checks=checks, **wishes).tables
        assert report.trouble is None
        return report

    def configure(self, name: str, **keys: Any) -> None:
        for table in self.lake.document["tables"]:
            if table["table"] == name:
                table.update(keys)
        self.lake.save()

    def footprint(self) -> Mapping[str, int]:
        """Every file of the lake with its time of change, but for logs."""
        files = [path for path in self.root.rglob("*") if path.is_file() and path.parent.name != "logs"]
        return {str(path): path.stat().st_mtime_ns for path in files}


def _moment(n: int) -> str:
    return f"2024-05-{n // 1440 + 1:02} {n // 60 % 24:02}:{n % 60:02}:00"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop whose targets equal its sources; tests that use it change nothing."""
    shop = Shop(tmp_path_factory.mktemp("shop"))
    shop.load()
    return shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A loaded shop for a test of its own."""
    made = Shop(tmp_path)
    made.load()
    return made


def by_check(report: TableReport) -> dict[Check, CheckResult]:
    return {result.check: result for result in report.checks}


def keys(report: TableReport) -> dict[str, str]:
    found = by_check(report)[Check.BISECT].finding.bisection
    assert found is not None
    return {", ".join(map(str, key.key)): key.fault.value for key in found.keys}


def test_equal_sides_are_equal_by_every_check_and_nothing_is_written(loaded: Shop) -> None:
    """Also tables without a key, full ones and those in Parquet; what has no meaning for one is skipped with the reason."""
    before = loaded.footprint()
    report = loaded.compare()
    assert [(table.table, table.status, table.trouble) for table in report.tables] == [
        (f"shop.{name}", Status.EQUAL, None) for name in ("orders", "visits", "countries", "notes")
    ]
    assert report.exit_code == 0
    skipped = {
        (table.table, result.check.value): result.finding.detail
        for table in report.tables
        for result in table.checks
        if result.status is Status.SKIPPED
    }
    no_cursor = "no group_by is configured, and the table has no cursor by whose day rows could be counted"
    keyless = "the table has no primary key"
    assert skipped == {
        ("shop.visits", "pk_uniqueness"): keyless,
        ("shop.visits", "bisect"): keyless,
        ("shop.notes", "pk_uniqueness"): keyless,
        ("shop.notes", "bisect"): keyless,
        ("shop.notes", "group_count"): no_cursor,
        ("shop.countries", "group_count"): no_cursor,
    }
    assert loaded.footprint() == before


def test_a_skipped_check_is_a_warning_where_warnings_count(loaded: Shop) -> None:
    assert loaded.compare("notes", fail_on_warn=True).exit_code == 5
    assert loaded.compare("notes", checks=[Check.CHECKSUM], fail_on_warn=True).exit_code == 0


def test_the_configured_checks_are_made_where_none_are_asked_for(loaded: Shop) -> None:
    assert [result.check.value for result in loaded.table("orders", checks=()).checks] == [
        "plain_count",
        "pk_uniqueness",
        "checksum",
    ]


def test_each_way_in_which_a_value_can_differ_is_told(shop: Shop) -> None:
    shop.sql(
        "UPDATE orders SET customer = upper(customer) WHERE id = 1;"
        "UPDATE orders SET customer = customer || '  ' WHERE id = 2;"
        "UPDATE orders SET customer = '' WHERE id = 3;"
        "UPDATE orders SET customer = NULL WHERE id = 4;"
        "UPDATE orders SET total = round(total, 0) WHERE id = 5;"
        "UPDATE orders SET ratio = 1.0000000000000002 * ratio WHERE id = 7;"
        "UPDATE orders SET placed = date(placed, '+1 day') WHERE id = 8;"
        "UPDATE orders SET customer = customer || 'x' WHERE id = 9;"
        "DELETE FROM orders WHERE id = 10;"
        "INSERT INTO orders SELECT 1000, customer, total, ratio, placed, updated_at FROM orders WHERE id = 11;"
    )
    report = shop.table("orders", show_values=True)
    found = by_check(report)[Check.BISECT].finding.bisection
    assert found is not None
    how = {key.key[0]: [(v.column, v.how) for v in key.values] for key in found.keys if key.values}
    assert how == {
        "1": [("customer", "upper and lower case")],
        "2": [("customer", "blanks at the end")],
        "3": [("customer", "longer than at the source, which is empty")],
        "4": [("customer", "a value in the target, NULL at the source")],
        "5": [("total", "rounded to a whole number at the source")],
        "7": [("ratio", "the last bit")],
        "8": [("placed", "1 day earlier")],
        "9": [("customer", "cut off at the end")],
    }
    assert keys(report) == {**dict.fromkeys(how, "changed"), "10": "extra", "1000": "missing"}
    values = {key.key[0]: [(v.source, v.target) for v in key.values] for key in found.keys if key.values}
    assert values["1"] == [("C1", "c1")]
    assert values["7"] == [("1.0000000000000002", "1.0")]
    checksum = by_check(report)[Check.CHECKSUM].finding
    assert set(checksum.columns) == {"id", "customer", "total", "ratio", "placed", "updated_at"}


def test_without_being_asked_no_value_but_the_keys_is_shown(shop: Shop) -> None:
    shop.sql("UPDATE orders SET customer = 'top secret' WHERE id = 1")
    report = shop.table("orders")
    assert "top secret" not in repr(report)
    log = (shop.root / "logs" / "recon-test.jsonl").read_text()
    assert '"changed 1"' in log
    assert "top secret" not in log


def test_what_changed_after_the_watermark_is_left_out_on_both_sides_and_counted(shop: Shop) -> None:
    shop.sql(
        "UPDATE orders SET customer = 'later', updated_at = '2024-06-01 00:00:00' WHERE id = 17;"
        "INSERT INTO orders VALUES (300, 'new', 1, 1, '2024-06-01', '2024-06-01 00:00:00');"
        "INSERT INTO visits VALUES ('2024-06-01 00:00:00', 'new')"
    )
    orders, visits = shop.table("orders"), shop.table("visits")
    assert orders.status is visits.status is Status.EQUAL
    assert orders.left_out is not None
    assert orders.left_out.later == 2
    assert by_check(orders)[Check.PLAIN_COUNT].finding.source == by_check(orders)[Check.PLAIN_COUNT].finding.target == 199
    assert visits.left_out is not None
    assert visits.left_out.later == 1
    # What is left out hides nothing else.
    shop.sql("UPDATE orders SET customer = 'silent' WHERE id = 18")
    assert keys(shop.table("orders")) == {"18": "changed"}


def test_history_that_a_window_brought_from_below_the_first_watermark_is_no_difference(shop: Shop) -> None:
    """It takes no part on either side, with a key and without one; what a filter hides by now is told among what stays."""
    for name in ("orders", "visits"):
        shop.configure(name, initial_watermark="2024-05-01 01:00:00")
    failures = [
        table.failure for table in shop.lake.run(None, reload=["shop.orders", "shop.visits"]).tables if table.failure
    ]
    assert not failures
    shop.lake.document["tables"] = shop.lake.document["tables"][:2]
    shop.lake.save()
    counted = [by_check(table)[Check.PLAIN_COUNT].finding.target for table in shop.compare("orders", "visits").tables]
    shop.lake.run(None, window=AskedWindow("2024-05-01", "2024-05-01 00:30:00"))
    after = shop.compare("orders", "visits")
    assert {table.status for table in after.tables} == {Status.EQUAL}
    assert [by_check(table)[Check.PLAIN_COUNT].finding.target for table in after.tables] == counted
    shop.configure("orders", source_filter="id <> 200")
    assert "no longer let through by filter or query" in " ".join(shop.table("orders").remarks)


def test_deletes_that_are_not_followed_are_told_as_the_reason(shop: Shop) -> None:
    shop.sql("DELETE FROM orders WHERE id IN (5, 6, 7)")
    report = shop.table("orders")
    assert keys(report) == dict.fromkeys(("5", "6", "7"), "extra")
    assert report.remarks == (
        "3 rows are in the target and not at the source: with deletes: ignore, rows that are deleted at the source stay in"
        " the target",
    )
    counted = shop.table("orders", checks=[Check.PLAIN_COUNT])
    assert counted.remarks[0].startswith("at least 3 rows are in the target and not at the source")


def test_rows_of_tables_without_a_key_are_compared_by_counts_and_checksums(shop: Shop) -> None:
    shop.sql("UPDATE visits SET page = 'other' WHERE rowid = 3; UPDATE notes SET line = 'b' WHERE rowid = 1")
    for name, column in (("visits", "page"), ("notes", "line")):
        found = by_check(shop.table(name))
        assert found[Check.PLAIN_COUNT].status is Status.EQUAL
        assert found[Check.CHECKSUM].status is Status.DIFFERS
        assert found[Check.CHECKSUM].finding.columns == (column,)
    assert shop.table("notes").remarks[0].startswith("the target was loaded for 2026-07-01, and is compared with")


def test_groups_that_differ_are_listed_the_largest_difference_first(shop: Shop) -> None:
    shop.configure("orders", reconciliation={"group_by": [{"column": "placed", "unit": "month"}, "customer"]})
    shop.sql("UPDATE orders SET customer = NULL WHERE id IN (1, 8);UPDATE orders SET placed = '2025-01-31' WHERE id = 3;")
    result = by_check(shop.table("orders"))[Check.GROUP_COUNT]
    assert result.finding.grouped_by == ("placed", "customer")
    assert [(group.values, group.source - group.target) for group in result.finding.groups] == [
        (("2024-05", None), 2),
        (("2024-05", "c1"), -2),
        (("2024-05", "c3"), -1),
        (("2025-01", "c3"), 1),
    ]
    assert (result.finding.difference, result.finding.differing) == (3, 4)
    assert by_check(shop.table("orders"))[Check.PLAIN_COUNT].status is Status.EQUAL


def test_groups_of_a_floating_point_number_are_told_in_its_digits(shop: Shop) -> None:
    """And not as its bits, by which they are counted."""
    shop.configure("orders", reconciliation={"group_by": ["ratio"]})
    shop.sql("UPDATE orders SET ratio = 0.1 WHERE id = 7")
    finding = by_check(shop.table("orders", checks=[Check.GROUP_COUNT]))[Check.GROUP_COUNT].finding
    assert {group.values: group.source - group.target for group in finding.groups} == {("0.1",): 1, ("1.0",): -1}


def test_the_day_of_a_cursor_is_what_rows_are_counted_by_where_nothing_else_is_said(shop: Shop) -> None:
    shop.sql("UPDATE visits SET at = '2024-05-01 23:00:00' WHERE rowid = 3; DELETE FROM visits WHERE rowid = 4")
    finding = by_check(shop.table("visits", checks=[Check.GROUP_COUNT]))[Check.GROUP_COUNT].finding
    assert finding.grouped_by == ("at",)
    assert [group.values for group in finding.groups] == [("2024-05-01",)]


@pytest.mark.parametrize(
    ("group", "message"),
    [("nobody", "which neither side has"), ({"column": "customer", "unit": "day"}, "and it is of type string")],
)
def test_a_group_that_cannot_be_made_is_an_error_of_the_configuration(shop: Shop, group: Any, message: str) -> None:
    """Of this check alone: the others are made."""
    shop.configure("orders", reconciliation={"group_by": [group]})
    report = shop.compare("orders")
    found = by_check(report.tables[0])
    assert found[Check.GROUP_COUNT].status is Status.ERROR
    trouble = found[Check.GROUP_COUNT].trouble
    assert trouble is not None
    assert message in trouble.message
    assert found[Check.CHECKSUM].status is Status.EQUAL
    assert report.exit_code == 2


def test_a_difference_within_its_threshold_passes_and_is_shown(shop: Shop) -> None:
    shop.sql("UPDATE orders SET customer = 'x' WHERE id IN (1, 2); DELETE FROM orders WHERE id = 3")
    shop.configure("orders", reconciliation={"absolute": 3})
    report = shop.compare("orders")
    statuses = {check.value: result.status.value for check, result in by_check(report.tables[0]).items()}
    assert statuses == {
        "plain_count": "within",
        "group_count": "within",
        "pk_uniqueness": "equal",
        "checksum": "within",
        "bisect": "within",
    }
    assert by_check(report.tables[0])[Check.CHECKSUM].finding.difference == 3
    assert (report.exit_code, shop.compare("orders", fail_on_warn=True).exit_code) == (0, 5)
    shop.configure("orders", reconciliation={"absolute": 3, "thresholds": {"bisect": {"absolute": 2}}})
    assert shop.compare("orders").exit_code == 1
    shop.configure("orders", reconciliation={"percent": 1.5})
    assert shop.compare("orders").exit_code == 1  # 3 of 199
    shop.configure("orders", reconciliation={"percent": 1.6})
    assert shop.compare("orders").exit_code == 0


def test_a_checksum_without_a_key_is_let_pass_by_no_threshold(shop: Shop) -> None:
    shop.configure("notes", reconciliation={"absolute": 1000})
    shop.sql("UPDATE notes SET line = 'b' WHERE rowid = 1")
    assert by_check(shop.table("notes"))[Check.CHECKSUM].status is Status.DIFFERS


def test_keys_that_are_not_unique_are_found_on_either_side(shop: Shop) -> None:
    shop.configure("notes", primary_keys=["line"])
    result = by_check(shop.table("notes"))[Check.PK_UNIQUENESS]
    assert result.status is Status.DIFFERS
    assert (result.finding.source, result.finding.target, result.finding.difference) == (2, 2, 2)
    assert result.finding.detail == (
        "1 key on 2 rows at the source, such as a; 1 row with a NULL in the key at the source;"
        " 1 key on 2 rows in the target, such as a; 1 row with a NULL in the key in the target"
    )
    # Rows that are set aside as configured are no fault of the source; in the target they are.
    shop.configure("notes", null_keys="quarantine")
    assert by_check(shop.table("notes"))[Check.PK_UNIQUENESS].finding.source == 1


def test_columns_that_cannot_be_compared_are_named(shop: Shop) -> None:
    shop.configure("orders", mask={"customer": {"method": "truncate", "length": 1}}, exclude_columns=["ratio"])
    shop.lake.run(None, reload=["shop.orders"])
    shop.sql("ALTER TABLE orders ADD COLUMN later TEXT; UPDATE orders SET customer = 'x', ratio = 0 WHERE id = 1")
    report = shop.table("orders")
    assert report.status is Status.EQUAL
    reasons = {left.column: left.reason for left in report.not_compared}
    assert reasons["customer"] == "masked: its values are not those of the source"
    assert reasons["later"] == "only at the source"
    assert "ratio" not in report.compared


def test_columns_that_were_wished_as_text_or_as_numbers_are_compared_as_they_landed(tmp_path: Path) -> None:
    """The target's type tells the wish; a value that changed is found in it."""
    shop = Shop(tmp_path)
    wishes = {name: {"type": "string"} for name in ("total", "ratio", "placed")}
    shop.configure("orders", columns=wishes)
    shop.configure("countries", columns={"name": {"type": "string"}})
    shop.load()
    report = shop.table("orders")
    assert (report.status, report.not_compared) == (Status.EQUAL, ())
    shop.sql("UPDATE orders SET ratio = 0.5 WHERE id = 3; UPDATE orders SET total = '3.3' WHERE id = 4")
    changed = by_check(shop.table("orders"))
    assert changed[Check.CHECKSUM].finding.columns == ("total", "ratio")
    assert keys(shop.table("orders")) == {"3": "changed", "4": "changed"}


def test_a_target_that_was_tampered_with_is_compared_all_the_same(shop: Shop) -> None:
    """It is what somebody wants to know who reads that it is damaged."""
    table = shop.lake.table("shop.orders")
    table.delete("id = 44")
    report = shop.table("orders")
    assert keys(report) == {"44": "missing"}
    assert report.remarks[0].startswith("the target is not what its receipt describes: ")


def test_settings_that_changed_since_the_last_run_are_told(shop: Shop) -> None:
    """Another filter: the target has rows that the source is not asked for."""
    shop.configure("orders", source_filter="id > 20")
    report = shop.table("orders", checks=[Check.PLAIN_COUNT])
    assert report.status is Status.DIFFERS
    assert report.remarks[0] == ("the target was loaded under other settings, which decide what is read: source_filter")


def test_a_watermark_of_another_cursor_vouches_for_no_row(shop: Shop) -> None:
    """Nothing is compared, rather than found equal because all of it was left out."""
    shop.configure("orders", incremental_column="placed")
    (report,) = shop.compare("orders").tables
    assert report.trouble is not None
    assert "its watermark was reached by another one" in report.trouble.message
    assert report.trouble.exit_code == 1


def test_a_late_row_within_the_lag_is_no_difference_whatever_was_deleted_before(shop: Shop) -> None:
    """After a batch with deletes the receipt has no fingerprint of the lag window: the next run reads all of it."""
    shop.configure("orders", deletes="hard", lag_seconds=86400)
    shop.sql("DELETE FROM orders WHERE id = 7")
    shop.load()
    assert shop.lake.receipt("shop.orders")["fingerprint"] is None
    shop.sql("INSERT INTO orders SELECT 999, customer, total, ratio, placed, updated_at FROM orders WHERE id = 190")
    report = shop.table("orders")
    assert report.status is Status.EQUAL
    assert report.left_out is not None
    assert report.left_out.unsettled > 1
    shop.sql("UPDATE orders SET customer = 'x' WHERE updated_at = (SELECT min(updated_at) FROM orders)")
    shop.configure("orders", lag_seconds=60)
    assert shop.table("orders").status is Status.DIFFERS


def test_a_table_that_was_never_published_is_told_and_the_others_are_compared(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    report = shop.compare("orders", "countries")
    assert [table.status for table in report.tables] == [Status.ERROR, Status.ERROR]
    assert report.tables[0].trouble is not None
    assert "nothing was published yet" in report.tables[0].trouble.message
    assert report.exit_code == 1
    shop.load()
    shop.configure("orders", table="nobody")
    report = shop.compare("nobody", "countries")
    assert [table.status for table in report.tables] == [Status.ERROR, Status.EQUAL]


def test_a_source_out_of_reach_is_worth_another_try(shop: Shop) -> None:
    nobody = {"dialect": "postgresql", "host": HOST, "port": free_port(), "database": "x", "user": "x"}
    shop.lake.document["connections"]["source"] = nobody
    for table in shop.lake.document["tables"]:
        table["horizon"] = "off"
    shop.lake.save()
    report = shop.compare("orders", "countries")
    assert [table.status for table in report.tables] == [Status.ERROR, Status.ERROR]
    assert report.exit_code == 3


def test_few_keys_are_listed_when_few_are_asked_for_and_all_are_counted(shop: Shop) -> None:
    shop.sql("UPDATE orders SET customer = 'x' WHERE id <= 50")
    finding = by_check(shop.table("orders", most_keys=5))[Check.BISECT].finding
    assert finding.bisection is not None
    assert len(finding.bisection.keys) == 5
    assert finding.difference == finding.bisection.count(KeyFault.CHANGED) == 50


def test_a_target_that_moved_on_while_it_was_looked_at_is_compared_as_it_then_is(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody publishes, and expires what was pinned; once. It is no reason to give up."""
    shop.sql("PRAGMA journal_mode = WAL")  # the source is written to while a view of it is open
    opened: list[str | None] = []
    view = LocalIcebergRows.view

    def lose_the_first(rows: LocalIcebergRows, stand: Stand, *rest: Any) -> Any:
        opened.append(stand.snapshot)
        if len(opened) == 1:
            shop.sql("UPDATE orders SET customer = 'x', updated_at = '2024-06-01 00:00:00' WHERE id = 1")
            shop.load()
            raise TransientError("The snapshot is gone.", remedy="Run again.")
        return view(rows, stand, *rest)

    monkeypatch.setattr(LocalIcebergRows, "view", lose_the_first)
    report = shop.table("orders")
    assert report.status is Status.EQUAL
    assert report.moment is not None
    assert len(set(opened)) == len(opened) == 2
    assert report.moment.snapshot == opened[1]
    assert report.moment.watermark == "2024-06-01 00:00:00.000000"


def test_odd_names_and_keys_come_through_whole(tmp_path: Path) -> None:
    """Quotes, commas, markup, line ends, letters beyond the first plane, and very long texts."""
    odd = ["it's", 'say "x"', "a,b", "[red]x[/]", "two\nlines", "🦆", "x" * 5000, " ", "", "Ünïcode", "NULL"]
    lake = Lake(
        tmp_path,
        {"dialect": "sqlite", "database": "shop.db"},
        [{"schema": "o", "table": "odd one", "mode": "full", "primary_keys": ['the "key"', "n"]}],
    )
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.execute('CREATE TABLE "odd one" ("the ""key""" TEXT, n INTEGER, v TEXT, PRIMARY KEY ("the ""key""", n))')
        connection.executemany('INSERT INTO "odd one" VALUES (?, ?, ?)', [(key, 1, key) for key in odd])
        connection.commit()
        assert lake.run(None).exit_code == 0
        connection.execute("UPDATE \"odd one\" SET v = v || '!'")
        connection.commit()
    configuration = open_configuration(lake.path)
    report = reconcile(ReconRequest(configuration, configuration.tables, "odd", checks=(Check.BISECT,)), {})
    found = report.tables[0].checks[0].finding.bisection
    assert found is not None
    assert {key.key for key in found.keys} == {(key, "1") for key in odd}
    lines = (tmp_path / "logs" / "recon-odd.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["recon_start", "recon_check", "recon_difference", "recon_done"]


def test_a_column_renamed_at_the_source_since_the_last_run_is_compared_under_both_names(
    postgres: PostgresDatabase, tmp_path: Path
) -> None:
    """Its values are the same; that the next run may stop at it is another matter."""
    postgres.psql(
        """CREATE TABLE t (id int PRIMARY KEY, "na'me" text, kept uuid, zoned timestamptz, doc jsonb, span interval);
        INSERT INTO t SELECT n, 'x' || n, md5(n::text)::uuid, now(), json_build_object('n', n), n * interval '1 day'
        FROM generate_series(1, 50) n"""
    )
    table = {"schema": "public", "table": "t", "mode": "full", "primary_keys": ["id"]}
    lake = Lake(tmp_path, postgres.configured(), [table])
    assert lake.run(None).exit_code == 0
    postgres.psql("""ALTER TABLE t RENAME "na'me" TO "new [name]"; UPDATE t SET "new [name]" = 'y' WHERE id = 7""")
    configuration = open_configuration(lake.path)
    (report,) = reconcile(ReconRequest(configuration, configuration.tables, "renamed", checks=ALL), {}).tables
    assert report.trouble is None
    assert report.compared == ("id", "na'me", "kept", "zoned", "doc", "span")
    assert report.not_compared == ()
    assert keys(report) == {"7": "changed"}
    assert by_check(report)[Check.CHECKSUM].finding.columns == ("na'me",)

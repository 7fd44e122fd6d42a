"""The blocks ``reconciliation`` and ``runtime.reconciliation_defaults``."""

from typing import Any

import pytest

from ingestion_runtime.model.digest import work_digest
from ingestion_runtime.model.reconciliation import Check, GroupColumn, Reconciliation, Threshold, TimeUnit
from ingestion_runtime.model.spec import Configuration


def _table(c: dict[str, Any], block: dict[str, Any]) -> None:
    c["tables"][0]["reconciliation"] = block


def _orders(configuration: Configuration) -> Reconciliation:
    return configuration.tables[0].reconciliation


def test_without_a_block_counts_keys_and_checksums_are_compared_and_nothing_is_let_pass(desk: Any) -> None:
    found = _orders(desk.load())
    assert found.checks == (Check.PLAIN_COUNT, Check.PK_UNIQUENESS, Check.CHECKSUM)
    assert (found.group_by, found.max_keys, found.before_publish) == ((), 1_000, ())
    assert all(not found.threshold_of(check).allows(1, 10**9) for check in Check)


def test_a_block_says_checks_groups_thresholds_and_what_is_proven_before_publishing(desk: Any) -> None:
    block = {
        "checks": ["bisect", "plain_count", "group_count"],
        "group_by": ["country", {"column": "created_at", "unit": "month"}, {"column": "kind"}],
        "absolute": 5,
        "percent": 0.5,
        "thresholds": {"plain_count": {"absolute": 10}, "bisect": {"percent": 0}},
        "max_keys": 20,
        "before_publish": ["checksum", "plain_count"],
    }
    found = _orders(desk.load(lambda c: _table(c, block)))
    # In the order in which they are made, whatever the order in the file.
    assert found.checks == (Check.PLAIN_COUNT, Check.GROUP_COUNT, Check.BISECT)
    assert found.group_by == (GroupColumn("country"), GroupColumn("created_at", TimeUnit.MONTH), GroupColumn("kind"))
    assert found.threshold_of(Check.GROUP_COUNT) == Threshold(5, 0.5)
    assert found.threshold_of(Check.PLAIN_COUNT) == Threshold(10, 0.5)
    assert found.threshold_of(Check.BISECT) == Threshold(5, 0)
    assert found.max_keys == 20
    assert found.before_publish == (Check.PLAIN_COUNT, Check.CHECKSUM)


def test_what_stands_nearer_to_the_table_wins_key_by_key(desk: Any) -> None:
    def layered(c: dict[str, Any]) -> None:
        c["runtime"]["reconciliation_defaults"] = {
            "checks": ["plain_count"],
            "percent": 1,
            "absolute": 1,
            "thresholds": {"checksum": {"absolute": 100, "percent": 7}},
        }
        c["defaults"] = {"reconciliation": {"absolute": 2, "max_keys": 2, "group_by": ["a"]}}
        c["connections"]["sales"]["defaults"] = {"reconciliation": {"absolute": 3, "max_keys": 3}}
        _table(c, {"absolute": 4, "thresholds": {"checksum": {"absolute": 0}}})

    configuration = desk.load(layered)
    orders, products = (table.reconciliation for table in configuration.tables)
    assert orders.threshold == Threshold(4, 1)
    assert products.threshold == Threshold(3, 1)
    assert orders.threshold_of(Check.CHECKSUM) == Threshold(0, 7)
    assert products.threshold_of(Check.CHECKSUM) == Threshold(100, 7)
    for found in (orders, products):
        assert (found.checks, found.max_keys, found.group_by) == ((Check.PLAIN_COUNT,), 3, (GroupColumn("a"),))


def test_a_pattern_has_a_block_for_all_of_its_tables(desk: Any) -> None:
    def pattern(c: dict[str, Any]) -> None:
        c["tables"].append({"schema": "public", "table": "log_*", "mode": "full", "reconciliation": {"absolute": 9}})

    assert desk.load(pattern).patterns[0].like.reconciliation.threshold.absolute == 9


def test_everything_that_is_wrong_is_told_at_once_and_where(desk: Any) -> None:
    def wrong(c: dict[str, Any]) -> None:
        c["runtime"]["reconciliation_defaults"] = {
            "checks": ["plain_count", "chekcsum"],
            "percent": 101,
            "thresholds": {"plain_cont": {}, "bisect": {"absolute": -1}},
            "group_by": [],
        }
        block = {
            "checks": [],
            "group_by": ["a", {"column": "b", "unit": "week"}, 3, {"unit": "day"}, ""],
            "before_publish": ["bisect"],
            "max_keys": -1,
            "absolute": 0.5,
            "treshold": 1,
        }
        _table(c, block)

    found = desk.refuse(wrong)
    defaults, table = "/runtime/reconciliation_defaults", "/tables/0/reconciliation"
    assert set(found) == {
        f"{defaults}/checks/1",
        f"{defaults}/percent",
        f"{defaults}/thresholds/plain_cont",
        f"{defaults}/thresholds/bisect/absolute",
        f"{defaults}/group_by",
        f"{table}/checks",
        f"{table}/group_by/1/unit",
        f"{table}/group_by/2",
        f"{table}/group_by/3/column",
        f"{table}/group_by/4",
        f"{table}/before_publish/0",
        f"{table}/max_keys",
        f"{table}/absolute",
        f"{table}/treshold",
    }
    assert found[f"{defaults}/checks/1"].endswith("did you mean 'checksum'?")
    assert found[f"{defaults}/thresholds/plain_cont"] == "unknown key 'plain_cont'; did you mean 'plain_count'?"
    assert found[f"{table}/before_publish/0"] == "must be 'plain_count' or 'checksum'"


@pytest.mark.parametrize(
    ("block", "pointer"),
    [
        ({"checks": ["bisect", "bisect"]}, "/checks/1"),
        ({"before_publish": ["checksum", "checksum"]}, "/before_publish/1"),
        ({"group_by": ["a", "A"]}, "/group_by/1"),
        ({"group_by": [{"column": "a\nb"}]}, "/group_by/0/column"),
    ],
)
def test_what_is_named_twice_or_cannot_be_a_column_is_refused(desk: Any, block: dict[str, Any], pointer: str) -> None:
    assert set(desk.refuse(lambda c: _table(c, block))) == {f"/tables/0/reconciliation{pointer}"}


def test_how_a_table_is_compared_changes_nothing_of_what_is_staged(desk: Any) -> None:
    """A batch that is open is gone on with, whatever is asked of the table afterwards."""
    before = desk.load()
    after = desk.load(lambda c: _table(c, {"checks": ["bisect"], "absolute": 3, "thresholds": {"bisect": {"absolute": 1}}}))
    digests = [work_digest(c.tables[0], c.connections[0]) for c in (before, after)]
    assert digests[0] == digests[1]
    assert before.tables[0] != after.tables[0]
    assert hash(after.tables[0]) is not None  # tables are keys of sets


@pytest.mark.parametrize(
    ("threshold", "difference", "rows", "passes"),
    [
        (Threshold(), 0, 100, True),
        (Threshold(), 1, 100, False),
        (Threshold(absolute=1), 1, 100, True),
        (Threshold(absolute=1), 2, 100, False),
        (Threshold(percent=1), 1, 100, True),
        (Threshold(percent=1), 2, 100, False),
        (Threshold(percent=1), 2, 199, False),
        (Threshold(percent=0.57), 57, 10_000, True),  # as a double it is a little less
        (Threshold(percent=0.57), 58, 10_000, False),
        (Threshold(percent=100), 1, 0, False),
        (Threshold(percent=1), 2, 200, True),
        (Threshold(absolute=5, percent=1), 5, 100, True),
        (Threshold(absolute=0, percent=0), 0, 0, True),
        (Threshold(percent=0.1), 1, 999, False),
        (Threshold(percent=0.1), 1, 1000, True),
    ],
)
def test_a_difference_passes_up_to_either_bound(threshold: Threshold, difference: int, rows: int, passes: bool) -> None:
    """Up to the bound itself; a part of no rows is no row."""
    assert threshold.allows(difference, rows) is passes

"""What reports mean for the process."""

import pytest

from ingestion_runtime.model.reconciliation import Check, Threshold
from ingestion_runtime.reconciliation.checks import judge
from ingestion_runtime.reconciliation.report import CheckResult, Finding, Status, TableReport, Trouble, exit_code


def report(*checks: Status, trouble: int | None = None) -> TableReport:
    """A table whose checks ended so."""
    results = tuple(CheckResult(Check.PLAIN_COUNT, status, Finding()) for status in checks)
    return TableReport("a.b", "full", results, trouble=None if trouble is None else Trouble("X", "x", trouble))


@pytest.mark.parametrize(
    ("tables", "plain", "warned"),
    [
        ([report(Status.EQUAL)], 0, 0),
        ([report(Status.EQUAL, Status.WITHIN)], 0, 5),
        ([report(Status.EQUAL, Status.SKIPPED)], 0, 5),
        ([report(Status.DIFFERS, Status.SKIPPED)], 1, 1),
        ([report(Status.WITHIN), report(Status.DIFFERS)], 1, 1),
        ([report(Status.EQUAL), report(trouble=3)], 3, 3),
        ([report(Status.DIFFERS), report(trouble=3)], 1, 1),
        ([report(Status.WITHIN), report(trouble=3)], 3, 3),
        ([report(Status.DIFFERS), report(trouble=2), report(trouble=3)], 2, 2),
        ([report(trouble=1), report(trouble=3)], 1, 1),
        ([], 0, 0),
    ],
)
def test_the_gravest_thing_decides(tables: list[TableReport], plain: int, warned: int) -> None:
    """Wrongly set up, then different, then out of reach, then warnings, where these count."""
    assert exit_code(tables, fail_on_warn=False) == plain
    assert exit_code(tables, fail_on_warn=True) == warned


@pytest.mark.parametrize(
    ("table", "status"),
    [
        (report(Status.EQUAL, Status.SKIPPED), Status.EQUAL),
        (report(Status.SKIPPED), Status.SKIPPED),
        (report(Status.EQUAL, Status.WITHIN), Status.WITHIN),
        (report(Status.WITHIN, Status.DIFFERS), Status.DIFFERS),
        (report(Status.DIFFERS, Status.ERROR), Status.ERROR),
        (report(Status.EQUAL, trouble=3), Status.ERROR),
    ],
)
def test_a_table_is_as_its_gravest_check(table: TableReport, status: Status) -> None:
    assert table.status is status


def test_a_difference_that_nobody_counted_passes_no_threshold() -> None:
    assert judge(Finding(difference=0), 10, Threshold()) is Status.EQUAL
    assert judge(Finding(difference=3), 10, Threshold(absolute=3)) is Status.WITHIN
    assert judge(Finding(difference=4), 10, Threshold(absolute=3)) is Status.DIFFERS
    assert judge(Finding(difference=None), 10, Threshold(absolute=10**9, percent=100)) is Status.DIFFERS

"""How the ends of single tables become the end of the process."""

import signal

import pytest

from ingestion_runtime.model.result import Failure, TableResult, TableStatus
from ingestion_runtime.orchestrator import exit_code

UNCHANGED, DONE, SKIPPED = TableStatus.UNCHANGED, TableStatus.DONE, TableStatus.SKIPPED


def ended(how: TableStatus | int) -> TableResult:
    """A table that ended well (a status), failed (its exit code), or was stopped by a signal (130)."""
    if isinstance(how, TableStatus):
        return TableResult("shop.orders", "scd1", how)
    status = TableStatus.INTERRUPTED if how == 130 else TableStatus.FAILED
    return TableResult("shop.orders", "scd1", status, failure=Failure("Error", "It failed.", "0" * 16, how))


@pytest.mark.parametrize(
    ("tables", "interrupted_by", "expected"),
    [
        pytest.param([DONE], None, 0, id="done"),
        pytest.param([UNCHANGED, SKIPPED], None, 0, id="nothing new is no failure"),
        pytest.param([DONE, 1], None, 1, id="failed for good"),
        pytest.param([DONE, 3], None, 3, id="worth a retry"),
        pytest.param([DONE, 4], None, 4, id="held by a living run"),
        pytest.param([DONE, 2], None, 2, id="credentials or Java"),
        pytest.param([3, DONE, 1], None, 1, id="1 before 3"),
        pytest.param([4, 1, DONE], None, 1, id="1 before 4"),
        pytest.param([4, 3], None, 3, id="3 before 4"),
        pytest.param([4, 3, 1], None, 1, id="1 before 3 before 4"),
        pytest.param([1, 3, 4, 2], None, 2, id="2 before all: it concerns the whole run"),
        pytest.param([DONE, 130], signal.SIGINT, 130, id="interrupted"),
        pytest.param([DONE, 130], signal.SIGTERM, 143, id="terminated"),
        pytest.param([1, 130, 3], signal.SIGTERM, 143, id="terminated before anything else"),
        pytest.param([DONE, DONE], signal.SIGTERM, 0, id="the signal came when all was done"),
        pytest.param([DONE, 1], signal.SIGTERM, 1, id="the signal came when one had failed by itself"),
    ],
)
def test_the_exit_code_is_that_of_the_gravest_end(
    tables: list[TableStatus | int], interrupted_by: int | None, expected: int
) -> None:
    """0 done; else 2, then 1 before 3 before 4 in any order of tables; 128 + signal when one was stopped by it."""
    results = [ended(how) for how in tables]
    assert exit_code(results, interrupted_by) == expected
    assert exit_code(results[::-1], interrupted_by) == expected

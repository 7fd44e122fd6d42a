"""What people are told of an error that nobody foresaw: one message, what to do, and the right exit code."""

import errno

import pytest

from ingestion_runtime.ingestion.failures import classify
from ingestion_runtime.model.errors import IngestionError, TerminalError, TransientError


def told(error: Exception) -> IngestionError:
    return classify(error, "shop.orders", interrupted=False)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_worth_another_run(number: int) -> None:
    error = told(OSError(number, "as the system says it", "/lake/raw/part.parquet"))

    assert isinstance(error, TransientError)
    assert "the disk is full" in str(error)
    assert "/lake/raw/part.parquet" in str(error)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_place_that_may_not_be_written_is_named_with_what_to_do(number: int) -> None:
    """Running again does not help: somebody has to grant it, or to mount it otherwise."""
    error = told(OSError(number, "as the system says it", "/lake/warehouse/shop"))

    assert type(error) is TerminalError
    assert "this process is not allowed to" in str(error)
    assert "/lake/warehouse/shop" in str(error)
    assert "Let the user of the run read and write there" in error.remedy


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "as the system says it", "/lake/raw/part.parquet"),
        RuntimeError("org.apache.iceberg.exceptions.NotFoundException: File does not exist: /lake/raw/part.parquet\n\tat x"),
    ],
)
def test_a_file_that_is_not_there_is_named_with_what_to_do(error: Exception) -> None:
    found = told(error)

    assert type(found) is TerminalError
    assert "a file that is needed is not there" in found.message
    assert "/lake/raw/part.parquet" in found.message
    assert "mounted" in found.remedy
    assert "--reload" in found.remedy


def test_a_catalogs_error_is_told_without_its_statement() -> None:
    statement = "[SQL: UPDATE tables SET location=?]\n[parameters: ('/w/x.json',)]\n(Background on this error at: x)"
    error = told(RuntimeError(f"database is locked\n{statement}"))

    assert isinstance(error, TransientError)
    assert error.message == "shop.orders: the catalog was busy (database is locked)."

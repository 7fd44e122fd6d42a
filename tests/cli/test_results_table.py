"""The table of results stays readable on narrow terminals, in logs and in mails."""

from datetime import date

import pytest

from ingestion_runtime.model.result import Failure, RunResult, TableResult, TableStatus
from ingestion_runtime.model.schema import ColumnChange
from ingestion_runtime.results import print_table, result_document

LONG = "sales_reporting.open_invoices_of_the_last_year"
MICROSECONDS = "2026-06-30 12:00:00.123456"
TABLES = (
    TableResult("shop.customers", "scd1", TableStatus.DONE, 20_000, 19_999, watermark="2026-06-30 12:00:00.000000"),
    TableResult("shop.order_items", "scd1", TableStatus.DONE, 1_234_567, 1_234_567, slices=12, seconds=112.34),
    TableResult("shop.orders", "scd1", TableStatus.UNCHANGED, watermark=MICROSECONDS),
)


def failed(table: str, message: str) -> TableResult:
    return TableResult(table, "full", TableStatus.FAILED, failure=Failure("TransientError", message, "0" * 16, 3))


def printed(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tables: tuple[TableResult, ...],
    columns: int | None,
) -> list[str]:
    """Return the lines on stderr, of a terminal of so many columns or (None) of a file."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "0" if columns is None else "1")
    monkeypatch.setenv("TERM", "dumb" if columns is None else "xterm")
    monkeypatch.setenv("COLUMNS", str(columns or 80))
    print_table(RunResult("run-1", "nightly", date(2026, 7, 1), 12.34, 3, tables))
    output = capsys.readouterr()
    assert output.out == ""
    text = output.err
    for code in ("\x1b[0m", "\x1b[1m", "\x1b[3m"):  # bold and italic are no colours
        text = text.replace(code, "")
    return text.splitlines()


@pytest.mark.parametrize(
    ("columns", "headers"),
    [
        (None, "table mode status read written slices seconds watermark"),
        (120, "table mode status read written slices seconds watermark"),
        (100, "table mode status read written seconds watermark"),
        (80, "table status read written watermark"),
        (60, "table status watermark"),
    ],
)
def test_a_narrow_terminal_loses_the_less_important_columns_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int | None, headers: str
) -> None:
    """Every table stays on one line with its name, its status and its watermark, and no line is wider than the screen."""
    lines = printed(monkeypatch, capsys, TABLES, columns)
    assert lines[1].split() == headers.split()
    rows = lines[3:6]
    for row, table in zip(rows, TABLES, strict=True):
        assert row.split()[0] == table.table
        assert f" {table.status} " in row
    assert rows[0].rstrip().endswith("2026-06-30 12:00:00")
    assert rows[2].rstrip().endswith(MICROSECONDS)
    assert all(len(row) <= (columns or 160) for row in rows)
    assert ("19,999" in rows[0]) == ("written" in headers)


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_a_long_name_is_folded_and_never_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    """Its parts stand below each other in the first column; together they are the name."""
    lines = printed(monkeypatch, capsys, (*TABLES, failed(LONG, "Gone.")), columns)
    assert all(len(line) <= columns for line in lines[1:9])
    first = next(place for place, line in enumerate(lines) if line.startswith(LONG[:15]))
    parts = [line.split()[0] for line in lines[first:] if "TransientError" not in line]
    assert "".join(parts).startswith(LONG)
    assert "…" not in "".join(lines)


def test_a_long_text_watermark_is_folded_and_the_rest_stays_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A text cursor may be any text; its digits are not mistaken for a fraction of a second."""
    text = "order-2026-06-30-of-the-eastern-branch-number-00000000017.000"
    tables = (*TABLES, TableResult("shop.notes", "scd1", TableStatus.DONE, watermark=text))
    lines = printed(monkeypatch, capsys, tables, 80)
    (row,) = [place for place, line in enumerate(lines) if line.startswith("shop.notes ")]
    folded = [line.split()[-1] for line in lines[row:-1]]
    assert "".join(folded) == text
    assert any(line.startswith("shop.customers ") for line in lines)


def test_what_failed_is_told_on_one_line_below_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Type, table and message in one line that grep finds, whatever brackets it holds; then the sum of the run."""
    message = f"Connection 'crm' [down]: {'no answer, ' * 30}. Run the same command again."
    named = "shop.carts: the disk is full."
    lines = printed(monkeypatch, capsys, (*TABLES, failed("crm.people", message), failed("shop.carts", named)), 80)
    assert lines[0] == "nightly, load date 2026-07-01"
    assert f"TransientError crm.people: {message}" in lines
    assert f"TransientError {named}" in lines
    assert lines[-1] == "3 of 5 tables complete in 12.3 s, exit code 3 (run run-1)"


def test_rows_that_were_left_out_are_told_to_people_and_programs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Older duplicates and rows without a key are counted where everybody looks."""
    table = TableResult("shop.orders", "scd1", TableStatus.DONE, 10, 7, duplicates=2, quarantined=1, watermark=MICROSECONDS)
    lines = printed(monkeypatch, capsys, (table,), 80)
    assert "shop.orders: 2 older rows of the same key were left out" in lines
    assert "shop.orders: 1 rows without a key are in quarantine" in lines
    (document,) = result_document(RunResult("run-1", "nightly", date(2026, 7, 1), 1.0, 0, (table,)))["tables"]
    assert (document["duplicates"], document["quarantined"], document["watermark"]) == (2, 1, MICROSECONDS)


DRIFT = (
    ColumnChange("n", "integer (int)", "bigint (long)", "widened", "evolve"),
    ColumnChange("price", "numeric(10,2) (decimal(10,2))", "", "dropped", "fail", refused=True, advice="Restore it"),
)


def test_a_stop_by_changed_columns_shows_the_difference(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under the message, as a table: what stopped the table first, with what to do, and what would have passed."""
    failure = Failure("TerminalError", "The columns of shop.orders are not those of its target.", "0" * 12, 1, DRIFT)
    stopped = TableResult("shop.orders", "scd1", TableStatus.FAILED, failure=failure)
    lines = printed(monkeypatch, capsys, (stopped, failed("shop.items", "unreachable")), None)
    (start,) = [i for i, line in enumerate(lines) if line.strip() == "How shop.orders differs"]
    assert lines[start + 1].split() == ["column", "before", "now", "change", "policy", "what", "to", "do"]
    rows = [line.split() for line in lines[start + 3 : start + 5]]
    assert rows[0] == ["price", "numeric(10,2)", "(decimal(10,2))", "dropped", "fail", "Restore", "it"]
    assert rows[1][:7] == ["n", "integer", "(int)", "bigint", "(long)", "widened", "evolve"]
    assert rows[1][7:] == ["nothing:", "it", "would", "pass"]


def test_programs_get_the_difference_with_the_failure() -> None:
    """In the order in which it was found; a failure of another kind has an empty list."""
    failure = Failure("TerminalError", "changed", "0" * 12, 1, DRIFT)
    tables = (TableResult("shop.orders", "scd1", TableStatus.FAILED, failure=failure), failed("shop.items", "unreachable"))
    document = result_document(RunResult("run-1", "nightly", date(2026, 7, 1), 1.0, 1, tables))
    first, second = document["tables"]
    assert first["failure"]["changes"][1] == {
        "column": "price",
        "before": "numeric(10,2) (decimal(10,2))",
        "after": "",
        "change": "dropped",
        "policy": "fail",
        "refused": True,
        "advice": "Restore it",
    }
    assert second["failure"]["changes"] == []


@pytest.mark.parametrize(("columns", "advised"), [(80, False), (120, True), (None, True)])
def test_a_narrow_terminal_shows_what_differs_and_leaves_the_advice_to_the_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int | None, advised: bool
) -> None:
    """A column too narrow for a setting's name would break it in two; the message above the table holds it whole."""
    setting = "metadata.schema_policy.allow_missing_columns"
    change = ColumnChange("note", "varchar(20) (string)", "", "dropped", "fail", True, f"Set {setting}: true")
    failure = Failure("TerminalError", f"sales.orders: gone. Set {setting}: true.", "0" * 16, 1, (change,))
    lines = printed(
        monkeypatch, capsys, (TableResult("sales.orders", "scd1", TableStatus.FAILED, failure=failure),), columns
    )
    (start,) = [number for number, line in enumerate(lines) if "How sales.orders differs" in line]
    assert ("what to do" in lines[start + 1]) == advised
    assert sum(setting in line for line in lines[:start]) == 1
    assert any(line.split()[:3] == ["note", "varchar(20)", "(string)"] for line in lines[start:])
    assert all(len(line.rstrip()) <= (columns or 160) for line in lines[start:-1])

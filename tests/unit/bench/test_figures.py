"""The bench's figures: kept after every run, and told as tables."""

import json
from pathlib import Path

import pytest

from tests.bench.figures import Book, Sample, Series, spread
from tests.bench.page import BEGIN, BEGIN_LINE, END, END_LINE, IMAGES, PAGE, README, headline, replaced
from tests.bench.report import grouped, markdown, row

ABOUT = {"version": 1, "settings": {"rows": 10, "repeat": 3}}
FAST, SLOW = Sample(1.0, 2.0, 300.0, 1, "exact"), Sample(4.0, 5.0, 310.0, 1, "exact")


def test_the_median_stands_between_least_and_most() -> None:
    """Of an even number of runs it is the mean of the middle two."""
    assert (spread([3, 1, 2]).low, spread([3, 1, 2]).median, spread([3, 1, 2]).high) == (1, 2, 3)
    assert spread([4, 1]).median == 2.5


def test_every_run_is_on_disk_before_the_next_one(tmp_path: Path) -> None:
    """A bench that is stopped keeps what it has measured, and goes on from there."""
    file = tmp_path / "deep" / "bench.json"
    book = Book.open(file, ABOUT, resume=False)
    book.add("load", "arrow", 10, FAST)
    assert json.loads(file.read_text())["series"][0]["median"] == {"seconds": 1.0, "cpu_seconds": 2.0, "peak_mib": 300.0}
    again = Book.open(file, ABOUT, resume=True)
    assert again.count("load", "arrow", 10) == 1
    again.add("load", "arrow", 10, SLOW)
    assert Book.read(file).get("load", "arrow", 10) == Series("load", "arrow", 10, (FAST, SLOW))


def test_a_bench_begins_anew_unless_it_is_told_to_go_on(tmp_path: Path) -> None:
    """Figures of two programs must not get into one median."""
    file = tmp_path / "bench.json"
    Book.open(file, ABOUT, resume=False).add("load", "arrow", 10, FAST)
    assert Book.open(file, ABOUT, resume=False).all() == []


def test_a_bench_with_other_settings_is_not_gone_on_with(tmp_path: Path) -> None:
    """Its figures are of other work."""
    file = tmp_path / "bench.json"
    Book.open(file, ABOUT, resume=False).add("load", "arrow", 10, FAST)
    with pytest.raises(SystemExit, match="was made with"):
        Book.open(file, {**ABOUT, "settings": {"rows": 20, "repeat": 3}}, resume=True)


def test_a_row_tells_the_median_its_range_and_the_worst_result() -> None:
    """One wrong run in three is a wrong program."""
    wrong = Sample(2.0, 3.0, 305.0, 2, "WRONG", "9 rows for 10")
    told = row(Series("load", "dlt", 10, (FAST, wrong, SLOW)))
    assert told == ("dlt, connectorx", "2.00 (1.00-4.00)", "3.00", "305", "1-2", "WRONG: 9 rows for 10")


def test_a_run_that_failed_says_so_before_anything_else() -> None:
    """Its seconds are those until it failed."""
    failed = Sample(0.3, 0.2, 30.0, None, "not checked", failure="exit 1: no such thing")
    assert row(Series("load", "arrow", 10, (failed,)))[4:] == ("", "failed: exit 1: no such thing")


def test_groups_follow_the_workloads_and_floors_come_first(tmp_path: Path) -> None:
    """The order of the runs does not matter."""
    book = Book(tmp_path / "bench.json", ABOUT)
    for workload, system, size in [
        ("merge", "arrow", 10),
        ("load", "dlt", 40),
        ("load", "arrow", 10),
        ("load", "floor-read", 10),
    ]:
        book.series[workload, system, size] = [FAST]
    titles, series = zip(*grouped(book), strict=True)
    assert titles == (
        "full load, PostgreSQL, 10 rows",
        "full load, PostgreSQL, 40 rows",
        "merge into 10 rows, random keys",
    )
    assert [one.system for one in series[0]] == ["floor-read", "arrow"]


def test_markdown_survives_what_a_program_printed(tmp_path: Path) -> None:
    """A bar or a line break would tear the table."""
    book = Book(tmp_path / "bench.json", ABOUT)
    book.series["load", "arrow", 10] = [Sample(0.3, 0.2, 30.0, None, "not checked", failure="a | b\nc")]
    assert "failed: a \\| b c |" in markdown(book, [])


def test_the_page_is_replaced_between_its_marks_only() -> None:
    """What people wrote around the figures stays."""
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert replaced(page, "\nnew\n") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    with pytest.raises(ValueError, match="the page has no"):
        replaced("no marks", "new")


def test_readme_and_page_show_the_bench_whose_figures_lie_beside_the_charts() -> None:
    """Nobody edits them by hand: the sentence, the verdicts and every median are those of ``bench.json``."""
    book = Book.read(IMAGES / "bench.json")
    assert f"{BEGIN_LINE}{headline(book)}{END_LINE}" in README.read_text()
    page = PAGE.read_text()
    assert all(f"| {promise['text']} |" in page for promise in book.promises)
    assert all(f"{series.seconds:.2f}" in page for series in book.all())

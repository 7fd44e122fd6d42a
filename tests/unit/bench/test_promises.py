"""The bench's verdicts: what is met, what is not, what was not measured."""

from pathlib import Path

import pytest

from tests.bench.figures import Book, Sample
from tests.bench.promises import TABLE_COUNTS, Promise, evaluate, row_counts

ROWS = 3_000_000


def sample(seconds: float, peak: float = 400.0, verdict: str = "exact", failure: str = "") -> Sample:
    return Sample(seconds, seconds, peak, 1, verdict, failure=failure)


@pytest.fixture
def book(tmp_path: Path) -> Book:
    """A bench in which everything holds."""
    book = Book(tmp_path / "bench.json", {"settings": {}})
    figures = {
        ("load", "floor-write", ROWS): 4.0,
        ("load", "arrow", ROWS): 6.0,
        ("load", "spark", ROWS): 26.0,
        ("load", "plain-4", ROWS): 20.0,
        ("merge", "arrow", ROWS): 7.0,
        ("merge", "plain-cow", ROWS): 30.0,
        ("merge", "plain-mor", ROWS): 21.0,
        ("tables", "arrow", 50): 5.0,
        ("tables", "dlt", 50): 10.0,
        ("idle", "arrow", 10): 1.0,
    }
    for size in row_counts(ROWS):
        figures.setdefault(("load", "arrow", size), size / 500_000)
        figures.setdefault(("merge", "arrow", size), 7.0)
    for count in TABLE_COUNTS:
        figures.setdefault(("tables", "arrow", count), count / 10)
    for key, seconds in figures.items():
        book.series[key] = [sample(seconds)]
    return book


def find(book: Book, text: str) -> Promise:
    (found,) = [promise for promise in evaluate(book, ROWS) if promise.text.startswith(text)]
    return found


def test_a_figure_at_its_bound_meets_the_promise(book: Book) -> None:
    """All bounds of the fixture are reached, none is passed."""
    assert {promise.status for promise in evaluate(book, ROWS)} == {"met"}


@pytest.mark.parametrize(
    ("key", "seconds", "text"),
    [
        (("load", "arrow", ROWS), 6.01, "full load: 1.5 x the floor"),
        (("load", "arrow", ROWS), 6.7, "full load: a third of plain Spark"),
        (("load", "spark", ROWS), 26.1, "full load with engine spark"),
        (("merge", "arrow", ROWS), 7.1, "merge: a third"),
        (("tables", "arrow", 50), 5.1, "50 small tables"),
        (("tables", "dlt", 50), 9.9, "50 small tables: half of dlt"),
        (("idle", "arrow", 10), 1.01, "nothing new"),
        (("load", "arrow", 4 * ROWS), 27.0, "growth of load"),
        (("merge", "arrow", 2 * ROWS), 15.5, "growth of merge"),
        (("tables", "arrow", 200), 22.1, "growth of tables"),
    ],
)
def test_a_figure_beyond_its_bound_breaks_the_promise(
    book: Book, key: tuple[str, str, int], seconds: float, text: str
) -> None:
    """Each line of the promises has a bound of its own."""
    book.series[key] = [sample(seconds)]
    found = [promise for promise in evaluate(book, ROWS) if promise.text.startswith(text)]
    assert "NOT met" in {promise.status for promise in found}


def test_memory_is_bounded_and_may_not_follow_the_rows(book: Book) -> None:
    """Fewer MiB at more rows would be as suspicious as more."""
    book.series["load", "arrow", ROWS] = [sample(6.0, peak=601)]
    statuses = {promise.text: promise.status for promise in evaluate(book, ROWS)}
    assert statuses["peak memory of the load"] == "NOT met"
    assert statuses["peak memory of the load: 12,000,000 rows within 10 % of 3,000,000"] == "NOT met"
    assert statuses["peak memory of the merge"] == "met"


def test_the_median_counts_not_the_best(book: Book) -> None:
    """One lucky run proves nothing."""
    book.series["idle", "arrow", 10] = [sample(0.5), sample(1.2), sample(1.1)]
    assert find(book, "nothing new") == Promise("nothing new, 10 tables", 1.1, 1.0, "s", "NOT met")


def test_the_faster_way_of_the_other_is_the_measure(book: Book) -> None:
    """And it is no measure while one of its ways failed: that might have been the faster one."""
    book.series["merge", "plain-cow", ROWS] = [sample(18.0)]
    assert find(book, "merge: a third").bound == 6.0
    book.series["merge", "plain-cow", ROWS] = [sample(0.2, failure="exit 1")]
    assert find(book, "merge: a third").status == "not measured"


@pytest.mark.parametrize("bad", [sample(0.1, verdict="WRONG"), sample(0.1, failure="exit 1")])
def test_a_fast_run_that_failed_or_is_wrong_meets_nothing(book: Book, bad: Sample) -> None:
    """Even if only one of its repetitions is bad."""
    book.series["idle", "arrow", 10] = [sample(0.1), bad, sample(0.1)]
    assert find(book, "nothing new").status == "NOT met"
    assert find(book, "series of ours").status == "NOT met"


def test_another_one_that_is_wrong_is_no_measure(book: Book) -> None:
    """Whoever skips half of the work is fast."""
    book.series["load", "plain-4", ROWS] = [sample(60.0, verdict="WRONG")]
    assert find(book, "full load: a third").status == "not measured"


def test_types_other_than_the_source_s_break_the_promise_of_ours_alone(book: Book) -> None:
    """Another program may land what it likes; that is shown, and no failure of the bench."""
    book.series["tables", "dlt", 50] = [sample(10.0, verdict="other types")]
    assert find(book, "series of ours").status == "met"
    book.series["tables", "auto", 50] = [sample(4.0, verdict="other types")]
    assert find(book, "series of ours").value == 1


def test_what_was_not_run_is_not_measured(tmp_path: Path) -> None:
    """An empty bench promises nothing."""
    empty = Book(tmp_path / "bench.json", {"settings": {}})
    assert {promise.status for promise in evaluate(empty, ROWS)} == {"not measured"}

"""What the bench is told by its environment: a slip of the pen must not cost half an hour."""

import pytest

from tests.bench.__main__ import PARTS, chosen, number


def test_nothing_named_is_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the variable is there and empty, as make leaves it."""
    monkeypatch.delenv("BENCH_ONLY", raising=False)
    assert chosen("BENCH_ONLY", PARTS) == PARTS
    monkeypatch.setenv("BENCH_ONLY", " ")
    assert chosen("BENCH_ONLY", PARTS) == PARTS


def test_parts_run_in_their_own_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """However they are listed."""
    monkeypatch.setenv("BENCH_ONLY", "merge, load")
    assert chosen("BENCH_ONLY", PARTS) == ("load", "merge")


def test_an_unknown_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would be left out in silence, and the rest taken for the whole."""
    monkeypatch.setenv("BENCH_ONLY", "load,marge")
    with pytest.raises(SystemExit, match="BENCH_ONLY: marge is none of load, merge"):
        chosen("BENCH_ONLY", PARTS)


@pytest.mark.parametrize("text", ["0", "-1", "3e6", "3_000_000", "x"])
def test_a_number_is_a_whole_one_from_1_on(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Everything else is refused before anything is started."""
    monkeypatch.setenv("BENCH_ROWS", text)
    with pytest.raises(SystemExit, match="BENCH_ROWS must be a whole number"):
        number("BENCH_ROWS", 3)


def test_a_number_that_is_not_given_has_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the variable is empty."""
    monkeypatch.setenv("BENCH_ROWS", "")
    assert number("BENCH_ROWS", 3) == 3
    monkeypatch.setenv("BENCH_ROWS", "12")
    assert number("BENCH_ROWS", 3) == 12

"""How figures and foreign texts are shown."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_runtime.progress.wording import printable, rates_over_time, show_bytes, show_duration, sparkline
from tests.eventlog import NIGHT


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("shop.orders", "shop.orders"),
        ("[red]Bestellungen für 日本[/red] 😀", "[red]Bestellungen für 日本[/red] 😀"),
        ("two\nlines\tand\ra return", "two lines and a return"),
        ("\x1b[2J\x1b]0;title\x07", "\\u001b[2J\\u001b]0;title\\u0007"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("zero\u200bwidth\u2028line", "zero\\u200bwidth\\u2028line"),
        ("half \ud800", "half \\ud800"),
        ("c1 \x9b31m", "c1 \\u009b31m"),
    ],
)
def test_a_foreign_text_is_one_line_that_no_terminal_takes_for_a_command(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_any_text_can_be_printed(text: str) -> None:
    shown = printable(text)
    assert all(letter.isprintable() or letter.isspace() for letter in shown)
    assert "\n" not in shown
    shown.encode()


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, ""),
        (0.0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (9.97, "9 s"),
        (59.9, "59 s"),
        (60, "1:00"),
        (185, "3:05"),
        (3_600, "1:00:00"),
        (7_385, "2:03:05"),
        (90_000, "1 d 01:00"),
    ],
)
def test_a_duration_is_as_exact_as_anybody_needs(seconds: float | None, shown: str) -> None:
    assert show_duration(seconds) == shown


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 B"), (1_023, "1023 B"), (1_024, "1.0 KiB"), (12_900_000, "12.3 MiB"), (2**62, "4,194,304.0 TiB")],
)
def test_a_size_has_a_unit(size: int, shown: str) -> None:
    assert show_bytes(size) == shown


SAMPLES = st.lists(st.tuples(st.floats(0.01, 1_000), st.integers(0, 10**9)), min_size=2, max_size=40).map(
    lambda steps: [
        (NIGHT + timedelta(seconds=sum(step for step, _ in steps[: place + 1])), sum(rows for _, rows in steps[: place + 1]))
        for place in range(len(steps))
    ]
)


@given(SAMPLES, st.integers(1, 30))
def test_a_throughput_over_time_loses_no_row(samples: list[tuple[object, int]], places: int) -> None:
    """Each span has the rows that were read in it: together they are all that were read."""
    rates = rates_over_time(samples, places)  # type: ignore[arg-type]
    seconds = (samples[-1][0] - samples[0][0]).total_seconds()  # type: ignore[operator]
    assert 1 <= len(rates) <= min(places, len(samples) - 1)
    assert sum(rates) * seconds / len(rates) == pytest.approx(samples[-1][1] - samples[0][1], rel=1e-6, abs=1e-3)
    assert len(sparkline(samples, places)) in (0, len(rates))  # type: ignore[arg-type]


def test_a_sparkline_rises_with_the_rows_per_second() -> None:
    samples = [(NIGHT + timedelta(seconds=at), rows) for at, rows in enumerate([0, 10, 30, 60, 100])]
    assert sparkline(samples, 10) == "▂▄▆█"[:4] or sparkline(samples, 10) == "▃▅▇█"
    assert sparkline(samples[:1], 10) == ""
    assert sparkline([(NIGHT, 0), (NIGHT, 10)], 10) == ""

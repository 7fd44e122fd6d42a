"""Lines of an event log, and what else a file may hold."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_runtime.progress.lines import Line, parse_line
from tests.eventlog import NIGHT, Story

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
SOUND = {"ts": "2026-07-01T02:00:00+00:00", "seq": 1, "level": "info", "event": "x", "run_id": "r"}


def parse(**values: object) -> Line | None:
    return parse_line(json.dumps({**SOUND, **values}))


def test_a_line_of_the_log_is_told_with_its_own_fields_apart(tmp_path: Path) -> None:
    story = Story(tmp_path).begin(["shop.orders"]).after(1).start("shop.orders")
    first, second, *_ = [parse_line(text) for text in story.lines]
    assert first is not None
    assert second is not None
    assert (first.at, first.seq, first.level, first.event, first.run_id) == (NIGHT, 1, "info", "run_start", "run-1")
    assert (first.text("job_name"), first.count("tables"), first.texts("tables_named")) == ("nightly", 1, ("shop.orders",))
    assert (second.table, second.slice, dict(second.fields)) == ("shop.orders", None, {"mode": "scd1", "source": "shop"})


def test_a_time_is_told_in_utc() -> None:
    line = parse(ts="2026-07-01T04:00:00+02:00")
    assert line is not None
    assert line.at == datetime(2026, 7, 1, 2, tzinfo=UTC)
    assert line.at.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"ts": "2026-07-0',
        "[1, 2]",
        "null",
        "17",
        "Traceback (most recent call last):",
        '{"event": "run_start"}',
        "\x00" * 40,
        "[" * 100_000,
        '{"ts": ' + "9" * 5_000 + "}",
    ],
    ids=lambda text: text[:12] or "nothing",
)
def test_what_is_no_line_of_ours_is_none(text: str) -> None:
    assert parse_line(text) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ts", "yesterday"),
        ("ts", "2026-07-01T02:00:00"),
        ("ts", "0001-01-01T00:00:00+23:59"),
        ("ts", "9999-12-31T23:59:59-23:59"),
        ("ts", 1_782_000_000),
        ("seq", "1"),
        ("seq", True),
        ("seq", None),
        ("level", None),
        ("event", 7),
        ("run_id", ""),
        ("table", 7),
        ("slice", ["b1"]),
    ],
)
def test_a_line_without_a_time_a_number_or_a_name_is_none(key: str, value: object) -> None:
    assert parse(**{key: value}) is None


def test_what_cannot_be_written_down_again_is_replaced() -> None:
    """Half a character, infinity, and what is no number: other programs would choke on them."""
    text = json.dumps({**SOUND, "name": "a\ud800b\U0001f600", "rate": float("nan"), "most": float("inf")})
    for spelled in (text, text.replace("Infinity", "1e999")):
        line = parse_line(spelled)
        assert line is not None
        assert dict(line.fields) == {"name": "a?b\U0001f600", "rate": None, "most": None}


@given(st.text(max_size=80))
def test_no_text_raises(text: str) -> None:
    parse_line(text)


@given(JSON)
def test_a_field_of_any_kind_can_be_asked_for(value: object) -> None:
    """What is asked for is of its kind and within bounds that arithmetic keeps, or it is nothing."""
    line = Line(NIGHT, 1, "info", "x", "r", None, None, {"field": value})
    count, seconds = line.count("field"), line.seconds("field")
    assert count is None or 0 <= count < 2**63
    assert seconds is None or 0 <= seconds < 4e8
    assert isinstance(line.text("field"), str)
    assert all(isinstance(text, str) for text in line.texts("field"))
    assert line.flag("field") is (value is True)


@pytest.mark.parametrize("value", [-1, 2**63, True, 1.5, "7", None, float("nan")])
def test_what_counts_nothing_is_no_count(value: object) -> None:
    assert Line(NIGHT, 1, "info", "x", "r", None, None, {"rows": value}).count("rows") is None

"""The re-read set."""

import pytest

from ingestion_runtime.model.cursor import CursorType, Fingerprint, ReRead, Watermark
from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.planning.reread import effective_lag, must_reread, reread_set

MARK = Watermark(CursorType.EPOCH_SECONDS, "1000")
NOW = Fingerprint(ReRead(MARK, MARK, nulls=False), 3, "abc")


def test_it_reaches_from_the_lag_to_the_watermark() -> None:
    """Both ends belong to it; without a lag the ties at the watermark are left."""
    assert reread_set(MARK, 60, nulls=True) == ReRead(Watermark(CursorType.EPOCH_SECONDS, "940"), MARK, nulls=True)
    assert reread_set(MARK, 0, nulls=False) == ReRead(MARK, MARK, nulls=False)


def test_before_the_first_batch_only_nulls_belong_to_it() -> None:
    """Everything else is above the initial watermark."""
    assert reread_set(None, 60, nulls=True) == ReRead(None, None, nulls=True)
    assert reread_set(None, 60, nulls=False) is None


def test_text_has_ties_but_no_lag() -> None:
    """Rows equal to the watermark can be read again; seconds before a text cannot."""
    text = Watermark(CursorType.TEXT, "z")
    assert reread_set(text, 0, nulls=False) == ReRead(text, text, nulls=False)
    with pytest.raises(ConfigError):
        reread_set(text, 1, nulls=False)


def test_what_was_published_or_verified_is_not_read_again() -> None:
    """Equal to the receipt's or to the last verified fingerprint: nothing new."""
    other = Fingerprint(NOW.subject, 3, "other")
    assert not must_reread(NOW, recorded=NOW, verified=None)
    assert not must_reread(NOW, recorded=other, verified=NOW)
    assert must_reread(NOW, recorded=None, verified=None)
    assert must_reread(NOW, recorded=other, verified=other)


@pytest.mark.parametrize(
    "recorded",
    [
        Fingerprint(NOW.subject, 4, "abc"),
        Fingerprint(NOW.subject, 3, "abd"),
        Fingerprint(ReRead(MARK, MARK, nulls=True), 3, "abc"),
    ],
)
def test_a_difference_in_anything_is_read_again(recorded: Fingerprint) -> None:
    """A count alone is not enough: one tied row can come while another goes."""
    assert must_reread(NOW, recorded, None)


def test_an_empty_set_is_not_read() -> None:
    """There is nothing in it."""
    assert not must_reread(Fingerprint(NOW.subject, 0, "nothing"), None, None)


@pytest.mark.parametrize(
    ("table_lag", "command_line", "expected"),
    [(None, None, 0), (30, None, 30), (30, 60, 60), (30, 0, 0), (None, 60, 60)],
)
def test_the_command_line_beats_the_table(table_lag: int | None, command_line: int | None, expected: int) -> None:
    """An explicit 0 counts too."""
    table = TableSpec(schema="s", table="t", mode="scd1", connection="c", lag_seconds=table_lag)
    assert effective_lag(table, command_line) == expected

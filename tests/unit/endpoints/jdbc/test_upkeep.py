"""What triggers keep: only what is set to the present time at every update counts."""

import pytest

from ingestion_runtime.endpoints.jdbc.design import clocks_in_new_row, clocks_in_update


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("BEGIN NEW.last_update = CURRENT_TIMESTAMP; RETURN NEW; END", {"last_update": "CURRENT_TIMESTAMP"}),
        ("begin new.changed := now() at time zone 'utc'; return new; end", {"changed": "now() at time zone 'utc'"}),
        ('BEGIN NEW."Changed At" := clock_timestamp(); RETURN NEW; END', {"Changed At": "clock_timestamp()"}),
        ("SET NEW.`changed` = UTC_TIMESTAMP(6)", {"changed": "UTC_TIMESTAMP(6)"}),
        ("BEGIN NEW.a = now(); NEW.b = now(); RETURN NEW; END", {"a": "now()", "b": "now()"}),
        ("BEGIN NEW.total = NEW.price * 2; RETURN NEW; END", {}),
        ("BEGIN -- NEW.changed = now()\n RETURN NEW; END", {}),
        ("BEGIN /* NEW.changed = now(); */ RETURN NEW; END", {}),
        ("BEGIN IF NEW.status <> OLD.status THEN NEW.changed = now(); END IF; RETURN NEW; END", {}),
        ("BEGIN NEW.changed = CASE WHEN NEW.x THEN now() ELSE OLD.changed END; RETURN NEW; END", {}),
        ("", {}),
    ],
)
def test_a_column_counts_as_kept_when_every_update_sets_it_to_now(body: str, expected: dict[str, str]) -> None:
    """A branch may leave it as it was, a comment does nothing."""
    assert clocks_in_new_row(body) == expected


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE t SET changed = CURRENT_TIMESTAMP WHERE id = NEW.id", {"changed": "CURRENT_TIMESTAMP"}),
        ("UPDATE t SET n = n + 1, changed = datetime('now') WHERE id = NEW.id", {"changed": "datetime('now')"}),
        ("UPDATE t SET n = n + 1 WHERE id = NEW.id", {}),
    ],
)
def test_a_second_update_keeps_what_it_sets_to_now(statement: str, expected: dict[str, str]) -> None:
    assert clocks_in_update(statement) == expected

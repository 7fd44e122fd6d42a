"""The report of a run, made of lines that a test has written: what it says, what it leaves out, and that nothing acts."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.progress.fold import RunBook
from ingestion_runtime.progress.report import render_report, write_report
from ingestion_runtime.progress.report.axis import LEFT, RIGHT, axis_of
from ingestion_runtime.progress.report.throughput import measure
from ingestion_runtime.progress.report.timeline import MOST_ROWS, draw_timeline
from ingestion_runtime.progress.report.words import clip, duration, shorten, visible
from ingestion_runtime.progress.view import RunView
from tests.browser import Dom

START = datetime(2026, 7, 1, 2, 0, tzinfo=UTC)
MADE = START + timedelta(hours=1)
HOSTILE = "<script>alert(1)</script></script><img src=x onerror=alert(2)> \"a' [red]\n\u202edlo{{ 7 * 7 }}"


class Log:
    """Writes the lines of one run."""

    def __init__(self, tables: Sequence[str] = (), job: str = "nightly") -> None:
        self.lines: list[str] = []
        self.tell(0, "run_start", job_name=job, load_date="2026-07-01", tables=len(tables), max_parallel=4)

    def tell(self, second: float, event: str, table: str | None = None, piece: str | None = None, **fields: Any) -> None:
        level = {"table_failed": "error"}.get(event, fields.pop("level", "info"))
        at = (START + timedelta(seconds=second)).isoformat(timespec="microseconds")
        line = {"ts": at, "seq": len(self.lines) + 1, "level": level, "event": event, "run_id": "run-1"}
        self.lines.append(json.dumps({**line, "table": table, "slice": piece, **fields}))

    def load(self, table: str, begin: float, end: float, rows: int = 1000, slices: int = 1) -> None:
        """A table that is read in slices of equal length and published in the last tenth of its time."""
        self.tell(begin, "table_start", table, mode="full", source="shop")
        self.tell(begin, "engine_chosen", table, engine="arrow", step="table", reason="no JVM has to start")
        self.tell(begin, "plan", table, slices=slices, estimated_rows=None)
        each = (end - begin) * 0.9 / slices
        for ordinal in range(slices):
            piece = f"b/{ordinal:05d}"
            self.tell(begin + ordinal * each, "slice_start", table, piece, ordinal=ordinal)
            told = {"rows": rows // slices, "bytes": 5 * rows, "seconds": each, "connections": 2}
            self.tell(begin + (ordinal + 1) * each, "slice_staged", table, piece, ordinal=ordinal, reused=False, **told)
        seconds = {"write_seconds": 0.01, "audit_seconds": 0.01, "land_seconds": 0.0, "commit_seconds": 0.01}
        self.tell(end, "batch_published", table, batch_id="b", rows=rows, deleted=0, changed=True, **seconds)
        counts = {"rows_read": rows, "rows_written": rows, "slices": slices}
        self.tell(end, "table_done", table, status="done", seconds=end - begin, watermark=None, **counts)

    def fail(
        self, table: str, begin: float, message: str, remedy: str = "", stack_hash: str = "abc", stack: str = ""
    ) -> None:
        self.tell(begin, "table_start", table, mode="full", source="shop")
        about = {"error_type": "TransientError", "stack_hash": stack_hash, "exit_code": 3, "seconds": 0.5}
        self.tell(begin + 0.5, "table_failed", table, message=message, remedy=remedy, stack=stack, **about)

    def view(self) -> RunView:
        book = RunBook()
        for line in self.lines:
            book.add(line)
        (run,) = book.runs()
        return run

    def page(self) -> str:
        return render_report(self.view(), MADE)


def text_of(page: str) -> str:
    """What a page says, without its tags, styles and figures."""
    shown = re.sub(r"<(style|script)[^>]*>.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", shown))


# What the page says


def test_a_run_without_failures_says_so_and_has_no_section_for_them() -> None:
    """Nobody has to look for what is not there."""
    log = Log(["shop.a", "shop.b"])
    log.load("shop.a", 0, 3)
    log.load("shop.b", 1, 4)
    log.tell(4, "run_done", exit_code=0, seconds=4.0)
    page = log.page()
    assert "All 2 tables complete" in text_of(page)
    assert 'id="failures"' not in page
    assert 'id="warnings"' not in page


def test_a_run_that_never_ended_says_when_it_was_heard_of_last() -> None:
    """Whether it goes on or has died nobody knows from its log; how long it has been silent everybody may judge."""
    log = Log(["shop.a", "shop.b"])
    log.load("shop.a", 0, 3)
    log.tell(2, "table_start", "shop.b", mode="full", source="shop")
    told = text_of(log.page())
    assert "Under way: 1 of 2 tables over" in told
    assert "Its last line is of 2026-07-01 02:00:03 UTC, 59 min 57 s before this page was made" in told
    assert "none yet" in told
    gone = text_of(render_report(log.view(), MADE, gone=True))
    assert "Died: 1 of 2 tables over" in gone
    assert "Run it again: it goes on where this one stopped." in gone


def test_equal_failures_stand_together_with_one_stack_and_their_remedy() -> None:
    """A source that is down fails all of its tables with one message: it is read once."""
    log = Log([f"shop.t{number}" for number in range(60)])
    for number in range(59):
        log.fail(f"shop.t{number}", 1, "Connection refused. Start it.", "Start it.", stack="File x, line 1")
    log.fail("shop.t59", 2, "No column id.", stack_hash="other", stack="File y, line 2")
    log.tell(4, "run_done", exit_code=3, seconds=4.0)
    page, told = log.page(), text_of(log.page())
    assert "60 failed of 60 tables" in told
    assert "Exit code 3: worth a retry" in told
    assert told.count("Connection refused.") == 1
    assert told.count("What to do: Start it.") == 1
    assert "59 tables, exit code 3" in told
    assert "and 19 more" in told
    assert page.count("<pre>") == 2
    assert "File y, line 2" in told


def test_messages_that_differ_by_the_name_of_their_table_are_told_once() -> None:
    """A message with the name of each would be another one for every table; of a single table it keeps the name."""
    log = Log()
    for name in ("shop.a", "shop.b"):
        log.fail(name, 1, f"Table {name} is gone. Run with --reload {name}.", f"Run with --reload {name}.")
    log.fail("shop.c", 1, "shop.c has no key.")
    told = text_of(log.page())
    assert told.count("is gone.") == 1
    assert "Table {table} is gone." in told
    assert "Run with --reload {table}." in told
    assert "shop.c has no key." in told


def test_warnings_stand_by_kind_with_what_they_say() -> None:
    """In words, with the event's name for those who look it up."""
    log = Log(["shop.a"])
    change = {"column": "n", "change": "widened", "before": "int", "after": "long", "policy": "evolve", "refused": False}
    log.tell(0, "table_start", "shop.a", mode="scd1", source="shop")
    log.tell(1, "schema_drift", "shop.a", level="warning", changes=[change])
    log.tell(1, "duplicate_keys", "shop.a", level="warning", rows=12345)
    told = text_of(log.page())
    assert "schema_drift" in told
    assert "n widened: int → long (policy evolve)" in told
    assert "rows: 12,345" in told


def test_rows_that_an_earlier_run_had_staged_do_not_count_as_throughput() -> None:
    """They were not read in this one; the table's figures hold them all the same."""
    log = Log(["shop.a"])
    log.tell(0, "table_start", "shop.a", mode="scd1", source="shop")
    told = {"bytes": 1, "seconds": 0.0, "connections": 0}
    log.tell(1, "slice_staged", "shop.a", "b/00000", ordinal=0, rows=1_000_000, reused=True, **told)
    log.tell(1, "slice_start", "shop.a", "b/00001", ordinal=1)
    log.tell(3, "slice_staged", "shop.a", "b/00001", ordinal=1, rows=500, reused=False, **{**told, "seconds": 2.0})
    run = log.view()
    found = measure(run, axis_of(run.started, run.last_line_at))
    assert sum(found.rates) * found.bin_seconds == pytest.approx(500)
    assert run.tables[0].rows_read == 1_000_500


def test_the_throughput_of_a_run_holds_every_row_once() -> None:
    """However slices overlap, the area below the curve is the number of rows read."""
    log = Log(["shop.a", "shop.b", "shop.c"])
    log.load("shop.a", 0.0, 9.0, rows=90_000, slices=3)
    log.load("shop.b", 2.5, 7.3, rows=1_234)
    log.load("shop.c", 9.99, 10.0, rows=77)
    log.tell(10, "run_done", exit_code=0, seconds=10.0)
    run = log.view()
    found = measure(run, axis_of(run.started, run.last_line_at))
    assert sum(found.rates) * found.bin_seconds == pytest.approx(90_000 + 1_234 + 77)
    assert found.most_at_work == 2


def test_no_bar_leaves_the_chart() -> None:
    """Also where a clock was set back, and lines are older than those before them."""
    log = Log(["shop.a", "shop.b"])
    log.load("shop.a", 5, 6)
    log.load("shop.b", -7, 2)
    log.tell(1, "table_start", "shop.c", mode="full", source="shop")
    run = log.view()
    bars = [
        bar
        for row in draw_timeline(run, axis_of(run.started, run.ended or run.last_line_at)).rows
        for bar in (row.whole, *row.bars)
    ]
    assert bars
    assert all(bar.x >= LEFT and bar.x + bar.width <= RIGHT + 0.11 and bar.width > 0 for bar in bars)


def test_a_run_in_which_nothing_happened_has_a_report_too() -> None:
    """A start, and no more; and a log that does not even hold that."""
    assert "Under way: 0 of 0 tables over" in text_of(Log().page())
    book = RunBook()
    log = Log()
    log.tell(5, "heartbeat", total=3, done=0, failed=0, running=[])
    book.add(log.lines[1])
    assert "0 of 3 tables over" in text_of(render_report(book.runs()[0], MADE))


# What it must not do


def page_with(text: str) -> str:
    """A page on which a text stands wherever a text can."""
    name = f"shop.{text}"
    log = Log([name], job=text)
    log.tell(0, "engine_chosen", name, engine=text, step="table", reason=text)
    log.tell(0.1, "schema_drift", name, level="warning", changes=[{"column": text}], other=[text], deep={text: 1})
    log.tell(0.1, text, level="warning")
    log.fail(name, 0.2, text, text, text, text)
    log.load(f"{name}2", 0, 1)
    log.tell(2, "table_done", f"{name}3", status="done", seconds=1.0, watermark=text)
    return log.page()


def test_nothing_that_a_log_holds_becomes_markup() -> None:
    """Names, messages, stacks, watermarks, reasons: the page has the same tags whatever they say, and shows them."""
    page = page_with(HOSTILE)
    dom, harmless = Dom(page), Dom(page_with("plain"))
    assert [(tag, sorted(found)) for tag, found in dom.tags] == [(tag, sorted(found)) for tag, found in harmless.tags]
    assert "\u202e" not in page
    assert "[U+202E]" in page
    assert "{{ 7 * 7 }}" in page
    figures = json.loads(dom.texts["figures"])
    assert figures["job_name"] == HOSTILE
    assert figures["tables"][0]["table"] == f"shop.{HOSTILE}"


def test_half_a_character_spoils_neither_page_nor_file(tmp_path: Path) -> None:
    """JSON can spell what no text file can hold."""
    log = Log(["shop.\ud800x"])
    log.load("shop.\ud800x", 0, 1)
    write_report(log.view(), tmp_path / "report.html", MADE)
    assert "shop.?x" in (tmp_path / "report.html").read_text()


def test_the_page_refers_to_nothing_outside_of_itself() -> None:
    """No link, no image, no font, no style from anywhere: and a policy that forbids them all."""
    log = Log(["shop.a"])
    log.load("shop.a", 0, 3, slices=3)
    page = log.page()
    dom = Dom(page)
    assert not {tag for tag, _ in dom.tags} & {"link", "img", "iframe", "object", "embed", "base", "form", "a", "use"}
    assert not any(set(found) & {"src", "href", "srcset", "action", "style"} for _, found in dom.tags)
    assert "url(" not in page
    assert "@import" not in page
    (policy,) = [found["content"] for tag, found in dom.tags if tag == "meta" and found.get("http-equiv")]
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


@pytest.mark.parametrize("slices", [1, 24])
def test_five_hundred_tables_stay_readable_and_below_a_megabyte(slices: int) -> None:
    """All of them in the table; the timeline has those that failed or took longest, and says what it left out."""
    names = [f"warehouse_of_the_north.order_items_{number:04d}" for number in range(500)]
    log = Log(names)
    for number, name in enumerate(names):
        if number % 10 == 7:
            remedy = "Correct the values at the source."
            log.fail(name, number / 5, f"Table {name} holds bad values. {remedy}", remedy, f"{number}", "at line\n" * 1500)
        else:
            log.load(name, number / 5, number / 5 + 1 + number % 13, rows=1_000_000 + number, slices=slices)
    log.tell(120, "run_done", exit_code=1, seconds=120.0)
    page = log.page()
    assert len(page.encode()) < 1_000_000
    assert len(Dom(page).rows["tables"]) == 500
    run = log.view()
    timeline = draw_timeline(run, axis_of(run.started, run.last_line_at))
    assert len(timeline.rows) == MOST_ROWS
    assert timeline.left_out == 500 - MOST_ROWS
    assert sum(row.state == "failed" for row in timeline.rows) == 50
    assert "440 more tables that took" in text_of(page)


# The file


def test_the_file_is_written_whole_and_folders_are_made(tmp_path: Path) -> None:
    """No draft is left behind."""
    log = Log(["shop.a"])
    log.load("shop.a", 0, 1)
    place = tmp_path / "some" / "where" / "r.html"
    write_report(log.view(), place, MADE)
    assert place.read_text() == log.page()
    assert [path.name for path in place.parent.iterdir()] == ["r.html"]


@pytest.mark.parametrize("place", ["folder", "file/r.html", "/proc/nowhere/r.html"])
def test_a_place_that_cannot_be_written_is_named_with_the_remedy(tmp_path: Path, place: str) -> None:
    """A folder, a file where a folder should be, a file system that takes nothing."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=place) as raised:
        write_report(Log().view(), tmp_path / place, MADE)
    assert raised.value.remedy
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


# Words


def test_figures_are_spelled_for_people() -> None:
    """Durations with the digits that matter; names without their middle; control characters by their numbers."""
    assert [duration(seconds) for seconds in (0.034, 5.25, 59.94, 59.96, 61, 3600, 9000)] == [
        *("0.03 s", "5.2 s", "59.9 s", "1 min 00 s", "1 min 01 s", "1 h 00 min", "2 h 30 min"),
    ]
    assert shorten("warehouse.order_items_0001", 15) == "warehou…ms_0001"
    assert clip("abcdef", 3) == "abc … (3 more characters)"
    assert visible("a\nb\x00\x7f\u202eא") == "a[U+000A]b[U+0000][U+007F][U+202E]א"
    assert visible("a\nb", lines=True) == "a\nb"


@pytest.mark.parametrize("seconds", [0.004, 0.3, 7, 59, 3599, 7 * 3600, 26 * 3600, 40 * 86_400])
def test_an_axis_has_a_few_round_times_from_zero_on(seconds: float) -> None:
    """Whatever the length of the run."""
    ticks = axis_of(START, START + timedelta(seconds=seconds)).ticks()
    assert 1 <= len(ticks) <= 10
    assert ticks[0].since == "0"
    assert ticks[0].clock == "02:00:00"
    assert [tick.x for tick in ticks] == sorted(tick.x for tick in ticks)
    assert len({tick.since for tick in ticks}) == len(ticks)

"""What people are told of a run, when, and in which words."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from ingestion_runtime.events.emitter import EventEmitter
from ingestion_runtime.events.event import Envelope
from ingestion_runtime.events.notifier.notice import AtWork, Counts, FailedTable, Notice, RunAbout, WellAgain
from ingestion_runtime.events.notifier.pace import Pace
from ingestion_runtime.events.notifier.subscriber import NotifierSubscriber
from ingestion_runtime.events.notifier.wording import document_of, spell_seconds, text_of, title_of
from ingestion_runtime.events.plain import to_json
from ingestion_runtime.events.types.batch import BatchRecovered, SliceProgress, SliceStaged, SliceStarted
from ingestion_runtime.events.types.run import Alerted, Noticed, RunDone, RunStarted
from ingestion_runtime.events.types.table import TableDone, TableFailed, TableStarted
from ingestion_runtime.model.errors import TransientError
from ingestion_runtime.model.notify import Medium, NoticeKind, NotifySpec, NotifyTarget
from ingestion_runtime.model.result import TableStatus

ABOUT = RunAbout("nightly", "run-1", date(2026, 3, 1), "host-1")
FAILED = TableFailed("TerminalError", "shop.orders: no such column. Correct it.", "abc", 1, "Correct it.")
ALL = frozenset(NoticeKind)


class Clock:
    """A monotonic clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """A notifier whose one target is the event log, with a clock to turn and its messages to read."""

    def __init__(self, digest: float = 0, failed_before: tuple[str, ...] = (), **spec: Any) -> None:
        target = NotifyTarget("log", Medium.LOG, spec.pop("on", ALL), min_interval_seconds=0)
        self.clock = Clock()
        self.seen: list[Noticed | Alerted] = []
        self.emitter = EventEmitter("run-1", [self])
        self.notifier = NotifierSubscriber(NotifySpec((target,), **spec), ABOUT, digest, self.clock)
        self.notifier.attach(self.emitter, failed_before)
        self.emitter.subscribe(self.notifier)

    def handle(self, envelope: Envelope) -> None:
        if isinstance(envelope.event, Noticed | Alerted):
            self.seen.append(envelope.event)

    def end(self) -> list[tuple[str, str]]:
        """End the run and return kind and title of all messages, in their order."""
        self.notifier.__exit__(None, None, None)
        return [(event.kind, event.title) for event in self.seen]

    def begin(self, *tables: str) -> None:
        self.emitter.emit(RunStarted("nightly", date(2026, 3, 1), len(tables)))
        for table in tables:
            self.emitter.bind(table=table).emit(TableStarted("scd1", "shop"))


@pytest.fixture
def desk() -> Iterator[Callable[..., Desk]]:
    made: list[Desk] = []

    def make(**settings: Any) -> Desk:
        made.append(Desk(**settings))
        return made[-1]

    yield make
    for desk in made:
        desk.end()


class TestSubscriber:
    def test_begin_failure_and_end_are_told(self, desk: Callable[..., Desk]) -> None:
        """Failures and a run that ended badly are alerts; the end has the exit code, the rows and every failure."""
        at = desk()
        at.begin("shop.orders", "shop.items")
        at.emitter.bind(table="shop.orders").emit(FAILED)
        at.emitter.bind(table="shop.items").emit(TableDone(TableStatus.DONE, rows_read=1200, rows_written=1100))
        wait_for(lambda: len(at.seen) == 2)
        at.emitter.emit(RunDone(exit_code=1, seconds=2.0, done=1, failed=1))
        assert at.end() == [
            ("start", "nightly: run started, 2 tables"),
            ("failure", "nightly: shop.orders failed"),
            ("end", "nightly: 1 failed of 2 tables in 0.0 s, exit code 1"),
        ]
        assert [type(event) for event in at.seen] == [Noticed, Alerted, Alerted]
        last = at.seen[-1].text
        assert "Run run-1 on host-1, load date 2026-03-01" in last
        assert "1,200 read, 1,100 written" in last
        assert "shop.orders: no such column. Correct it. (TerminalError)" in last

    def test_a_table_that_is_well_again_is_told(self, desk: Callable[..., Desk]) -> None:
        """After a failure in its last run, or with a batch of an earlier run; not when it fails again."""
        at = desk(failed_before=("shop.orders", "shop.items"), on=frozenset({NoticeKind.RECOVERY}))
        at.begin("shop.orders", "shop.items", "shop.new")
        at.emitter.bind(table="shop.items").emit(replace(FAILED, message="shop.items: again."))
        at.emitter.bind(table="shop.new").emit(BatchRecovered("b1", "gone on with, under its frozen plan"))
        at.emitter.bind(table="shop.new").emit(TableDone(TableStatus.DONE))
        wait_for(lambda: len(at.seen) == 1)
        at.emitter.bind(table="shop.orders").emit(TableDone(TableStatus.UNCHANGED))
        assert [title for _, title in at.end()] == [
            "nightly: shop.new is well again",
            "nightly: shop.orders is well again",
        ]
        assert "shop.new: batch b1 of an earlier run: gone on with" in at.seen[0].text
        assert "shop.orders: failed in its last run" in at.seen[1].text

    def test_a_table_without_progress_is_told_once_until_it_moves(self, desk: Callable[..., Desk]) -> None:
        """Signs of life without a row are no progress; a table that moves and stands still again is told again."""
        at = desk(stall_seconds=100, on=frozenset({NoticeKind.STALL}))
        at.begin("shop.orders", "shop.items")
        table = at.emitter.bind(table="shop.orders", slice="b/00000")
        table.emit(SliceProgress(0, rows=500, bytes=1, seconds=1))
        for seconds, moving, told in ((90, 500, 0), (20, 500, 1), (60, 500, 1), (60, 900, 1), (110, 900, 2), (1, 900, 2)):
            at.clock.now += seconds
            at.emitter.bind(table="shop.items").emit(SliceStarted(0))
            table.emit(SliceProgress(0, rows=moving, bytes=1, seconds=1))
            at.notifier.tick()
            wait_for(lambda told=told: len(at.seen) >= told)  # type: ignore[misc]
        assert [title for _, title in at.end()] == [
            "nightly: no progress of shop.orders for 2 min",
            "nightly: no progress of shop.orders for 2 min",
        ]
        assert "shop.orders: 500 rows in 2 min, no progress for 2 min" in at.seen[0].text

    def test_digests_come_at_their_interval_and_not_after_the_end(self, desk: Callable[..., Desk]) -> None:
        """With how many tables are complete, which are at work, and how many rows they have read."""
        at = desk(digest=300, on=frozenset({NoticeKind.DIGEST}))
        at.begin("shop.orders", "shop.items")
        at.emitter.bind(table="shop.items").emit(TableDone(TableStatus.DONE, rows_read=10))
        at.emitter.bind(table="shop.orders", slice="b/00000").emit(SliceStaged(0, rows=700, bytes=1, seconds=1))
        for seconds, told in ((299, 0), (1, 1), (100, 1), (200, 2)):
            at.clock.now += seconds
            at.notifier.tick()
            wait_for(lambda told=told: len(at.seen) >= told)  # type: ignore[misc]
        at.emitter.emit(RunDone(exit_code=0, seconds=700))
        at.clock.now += 1000
        at.notifier.tick()
        assert [title for _, title in at.end()] == [
            "nightly: 1 of 2 tables after 5 min",
            "nightly: 1 of 2 tables after 10 min",
        ]
        assert "Rows: 710 read" in at.seen[0].text
        assert "shop.orders: 700 rows in 5 min, no progress for 5 min" in at.seen[0].text

    def test_without_digests_and_standstills_there_is_no_clock_thread(self, desk: Callable[..., Desk]) -> None:
        """What only reacts to events needs none."""
        at = desk(on=frozenset({NoticeKind.END}))
        assert at.notifier._thread is None

    def test_an_interrupted_table_is_no_failure(self, desk: Callable[..., Desk]) -> None:
        """Whoever stopped the run knows; the end says how many tables it concerned."""
        at = desk()
        at.begin("shop.orders")
        at.emitter.bind(table="shop.orders").emit(TableFailed("InterruptedRunError", "stopped", "a", 130))
        at.emitter.emit(RunDone(exit_code=130, seconds=1, interrupted=1))
        assert [kind for kind, _ in at.end()] == ["start", "end"]
        assert at.seen[-1].title == "nightly: 1 interrupted of 1 table in 0.0 s, exit code 130"

    @pytest.mark.parametrize(
        ("error", "title", "words"),
        [
            (
                TransientError("The state is unreachable.", remedy="Try later."),
                "nightly: the run could not begin, exit code 3",
                "The state is unreachable. Try later. (TransientError)",
            ),
            (ValueError("pw-canary"), "nightly: the run could not begin, exit code 1", "(ValueError)"),
            (KeyboardInterrupt(), "nightly: stopped in 0.0 s, exit code 130", "Run run-1"),
        ],
        ids=["ours", "not ours", "interrupted"],
    )
    def test_a_run_that_cannot_begin_is_told_once(
        self, desk: Callable[..., Desk], error: BaseException, title: str, words: str
    ) -> None:
        """As its end, to those who want ends; what a foreign error says is not repeated."""
        at = desk()
        at.notifier.__exit__(type(error), error, None)
        at.notifier.__exit__(None, None, None)
        assert at.end() == [("end", title)]
        assert words in at.seen[0].text
        assert "canary" not in at.seen[0].text

    def test_who_wants_failures_only_hears_of_a_run_that_cannot_begin(self, desk: Callable[..., Desk]) -> None:
        """It is the gravest of all failures."""
        at = desk(on=frozenset({NoticeKind.FAILURE}))
        at.notifier.__exit__(TransientError, TransientError("Down.", remedy="Up."), None)
        assert at.end() == [("failure", "nightly: the run failed")]


def notice(kind: NoticeKind, *failed: str, **facts: Any) -> Notice:
    failures = tuple(FailedTable(name, "TerminalError", f"{name}: gone.") for name in failed)
    return Notice(kind, datetime(2026, 3, 1, tzinfo=UTC), ABOUT, failures=failures, **facts)


class TestPace:
    def test_failures_that_come_too_soon_are_gathered_into_the_next_message(self) -> None:
        """The first goes out at once; the others together, when the interval is over."""
        clock = Clock()
        pace = Pace(60, clock)
        waiting = [notice(NoticeKind.FAILURE, "a")]
        assert [n.failures[0].table for n in pace.take(waiting, finishing=False)[0]] == ["a"]
        clock.now += 10
        waiting += [notice(NoticeKind.FAILURE, "b"), notice(NoticeKind.FAILURE, "c")]
        assert pace.take(waiting, finishing=False) == ([], 50)
        clock.now += 50
        (due,), pause = pace.take(waiting, finishing=False)
        assert ([item.table for item in due.failures], pause, waiting) == (["b", "c"], None, [])

    def test_another_kind_is_not_held_back(self) -> None:
        """A failure right after the start is told at once."""
        pace = Pace(60, Clock())
        waiting = [notice(NoticeKind.START), notice(NoticeKind.FAILURE, "a")]
        assert [n.kind for n in pace.take(waiting, finishing=False)[0]] == [NoticeKind.START, NoticeKind.FAILURE]

    def test_the_end_goes_out_at_once_and_tells_what_was_waiting(self) -> None:
        """Nothing is told twice, and the start is not lost."""
        pace = Pace(60, Clock())
        pace.take([notice(NoticeKind.FAILURE, "a")], finishing=False)
        kinds = (NoticeKind.START, NoticeKind.FAILURE, NoticeKind.DIGEST, NoticeKind.STALL, NoticeKind.RECOVERY)
        waiting = [*map(notice, kinds), notice(NoticeKind.END, "a", "b", exit_code=1)]
        due, pause = pace.take(waiting, finishing=False)
        assert [n.kind for n in due] == [NoticeKind.START, NoticeKind.END]
        assert (waiting, pause) == ([], None)

    def test_who_hears_of_no_ends_gets_what_waits_when_the_run_is_over(self) -> None:
        """Whatever the interval says."""
        pace = Pace(3600, Clock())
        pace.take([notice(NoticeKind.FAILURE, "a")], finishing=False)
        waiting = [notice(NoticeKind.FAILURE, "b")]
        assert pace.take(waiting, finishing=False)[0] == []
        assert len(pace.take(waiting, finishing=True)[0]) == 1

    def test_of_several_digests_the_newest_is_told(self) -> None:
        """The others are history."""
        clock = Clock()
        pace = Pace(60, clock)
        waiting = [notice(NoticeKind.DIGEST, seconds=1.0), notice(NoticeKind.DIGEST, seconds=2.0)]
        assert [n.seconds for n in pace.take(waiting, finishing=False)[0]] == [2.0]


class TestWording:
    def test_names_cannot_break_a_line(self) -> None:
        """Neither a title, which becomes a mail's subject, nor a line of the list."""
        hostile = "shop.a\r\nBcc: someone@example.com"
        told = notice(NoticeKind.FAILURE, hostile)
        assert "\n" not in title_of(told)
        assert "\r" not in title_of(told) + text_of(told)
        assert sum("Bcc" in line for line in text_of(told).splitlines()) == 2
        assert not any(line.startswith("Bcc") for line in text_of(told).splitlines())

    def test_markup_stays_as_it_is(self) -> None:
        """The text is plain; whoever shows it escapes it."""
        told = notice(NoticeKind.FAILURE, "shop.[red]<script>alert(1)</script>")
        assert "[red]<script>alert(1)</script>: gone. (TerminalError)" in text_of(told)

    def test_a_long_list_is_cut_and_says_so(self) -> None:
        """The document holds all of them."""
        told = notice(NoticeKind.FAILURE, *(f"shop.t{number}" for number in range(25)))
        assert title_of(told) == "nightly: 25 tables failed"
        assert text_of(told).splitlines()[-1] == "  and 5 more"
        assert len(document_of(told)["failures"]) == 25

    def test_a_message_of_megabytes_is_cut(self) -> None:
        """A mail is no log file."""
        told = replace(notice(NoticeKind.FAILURE), failures=(FailedTable("t", "E", "x" * 1_000_000),))
        assert len(text_of(told)) < 1000

    def test_the_document_is_for_programs(self) -> None:
        """Plain JSON with a version: which run, what happened, counts, and the same words that people get."""
        told = notice(
            NoticeKind.END,
            "shop.orders",
            seconds=12.5,
            counts=Counts(tables=3, done=1, failed=1, interrupted=1),
            exit_code=1,
            recovered=(WellAgain("shop.items", "failed in its last run"),),
            running=(AtWork("shop.x", None, 1, 1.0, 1.0),),
        )
        document = json.loads(to_json(document_of(told)))
        assert document["version"] == 1
        assert (document["kind"], document["exit_code"], document["load_date"]) == ("end", 1, "2026-03-01")
        assert (document["job_name"], document["run_id"], document["host"]) == ("nightly", "run-1", "host-1")
        assert document["counts"]["failed"] == 1
        assert document["failures"][0]["table"] == "shop.orders"
        assert document["recovered"] == [{"table": "shop.items", "reason": "failed in its last run"}]
        assert document["title"] == "nightly: 1 failed, 1 interrupted of 3 tables in 12.5 s, exit code 1"
        assert document["text"].startswith(document["title"])

    @pytest.mark.parametrize(
        ("seconds", "spelt"), [(0, "0.0 s"), (59.94, "59.9 s"), (60, "1 min"), (3599, "1 h 0 min"), (7500, "2 h 5 min")]
    )
    def test_durations_are_spelt_for_people(self, seconds: float, spelt: str) -> None:
        assert spell_seconds(seconds) == spelt


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until another thread has done its part."""
    deadline = time.monotonic() + 10
    for pause in itertools.repeat(0.005):
        if condition():
            return
        assert time.monotonic() < deadline
        time.sleep(pause)

"""How far a run is, and how long it will take."""

from datetime import timedelta
from pathlib import Path

import pytest

from ingestion_runtime.events.types.batch import SliceProgress, SliceStarted
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.progress.estimate import Estimate, estimate
from ingestion_runtime.progress.health import Moment, Mood, judge_health
from ingestion_runtime.progress.history import pick_run
from ingestion_runtime.progress.view import RunView
from ingestion_runtime.progress.wording import recent_rate
from tests.eventlog import Story

NAMES = [f"shop.t{number}" for number in range(10)]


def view(story: Story) -> RunView:
    return pick_run(str(story.path), "1")


def left(story: Story, seconds: float = 0.0) -> Estimate:
    return estimate(view(story), story.now + timedelta(seconds=seconds))


class TestEstimate:
    def test_nothing_is_promised_before_there_is_a_basis(self, tmp_path: Path) -> None:
        """The mean of fewer ended tables than there are threads, or than three, says little of the others."""
        story = Story(tmp_path).begin(NAMES, parallel=4)
        for name in NAMES[:3]:
            assert left(story).seconds is None
            story.whole(name)
        assert left(story).seconds is None
        story.whole(NAMES[3])
        assert left(story).seconds is not None

    def test_tables_that_wait_take_what_the_ended_ones_took_on_average_shared_by_the_threads(self, tmp_path: Path) -> None:
        story = Story(tmp_path).begin(NAMES, parallel=2)
        for name, seconds in zip(NAMES, (2.0, 4.0, 6.0), strict=False):
            story.whole(name, seconds=seconds)
        # Each takes three seconds beside its reading: 7 on average, 7 tables, 2 threads.
        assert left(story) == Estimate(0.3, pytest.approx(7 * 7 / 2))

    def test_a_table_at_work_needs_what_its_rows_need_at_their_pace(self, tmp_path: Path) -> None:
        """Its own estimate goes before the average of the others, and no thread helps another one."""
        story = Story(tmp_path).begin(NAMES[:5], parallel=4)
        for name in NAMES[:4]:
            story.whole(name)
        story.start(NAMES[4], rows=100_000).tell(SliceStarted(0), NAMES[4], "b1/00000").after(10)
        story.tell(SliceProgress(0, 20_000, 1, 10.0), NAMES[4], "b1/00000")
        assert left(story) == Estimate(pytest.approx((4 + 0.9 * 0.2) / 5), pytest.approx(40.0))

    def test_a_table_in_slices_without_an_estimate_goes_by_its_slices(self, tmp_path: Path) -> None:
        story = Story(tmp_path).begin(NAMES[:1]).start(NAMES[0], slices=4).read(NAMES[0], 0, 100, 5.0)
        assert left(story).seconds == pytest.approx(3 * 6.0)  # a second of preparation is in the first one

    def test_a_table_of_unknown_length_beyond_the_average_takes_as_long_again(self, tmp_path: Path) -> None:
        story = Story(tmp_path).begin(NAMES[:4], parallel=1)
        for name in NAMES[:3]:
            story.whole(name)
        story.start(NAMES[3], mode="full", slices=1)
        assert left(story, 1).seconds == pytest.approx(5.0 - 2.0)
        assert left(story, 99).seconds == pytest.approx(100.0)

    def test_a_run_that_ended_is_through(self, tmp_path: Path) -> None:
        story = Story(tmp_path).begin(NAMES[:2]).whole(NAMES[0]).fail(NAMES[1]).end()
        assert left(story, 1_000) == Estimate(1.0, 0.0)

    def test_a_run_without_tables_promises_nothing(self, tmp_path: Path) -> None:
        assert left(Story(tmp_path).begin([])) == Estimate(0.0, None)


class TestRate:
    def test_rows_per_second_of_a_table_at_work_are_those_of_late(self, tmp_path: Path) -> None:
        """The last half minute: what was read fast an hour ago helps nobody, and a stall is seen."""
        story = Story(tmp_path).begin(NAMES[:1]).start(NAMES[0]).tell(SliceStarted(0), NAMES[0], "b1/00000")
        for rows in (10_000, 20_000, 30_000, 30_100, 30_200, 30_300, 30_400):
            story.after(10).tell(SliceProgress(0, rows, 1, 10.0), NAMES[0], "b1/00000")
        (table,) = view(story).tables
        assert recent_rate(table, story.now) == pytest.approx(10.0)
        assert recent_rate(table, story.now + timedelta(seconds=3_570)) == pytest.approx(0.0, abs=1.0)

    def test_of_one_that_is_over_they_are_those_of_all_its_reading(self, tmp_path: Path) -> None:
        story = Story(tmp_path).begin(NAMES[:1]).whole(NAMES[0], rows=5_000, seconds=10)
        (table,) = view(story).tables
        assert recent_rate(table, story.now + timedelta(hours=1)) == pytest.approx(500.0)

    def test_there_are_none_where_nothing_was_read(self, tmp_path: Path) -> None:
        story = Story(tmp_path).begin(NAMES[:1]).start(NAMES[0])
        (table,) = view(story).tables
        assert recent_rate(table, story.now) is None


class TestHealth:
    @pytest.mark.parametrize(("silence", "mood"), [(5, Mood.WELL), (170, Mood.WELL), (200, Mood.LATE), (400, Mood.BAD)])
    def test_silence_is_the_graver_the_longer_it_lasts(self, tmp_path: Path, silence: float, mood: Mood) -> None:
        """Against 120 seconds, the default interval of heartbeats, until two of them have said another one."""
        story = Story(tmp_path).begin(NAMES)
        health = judge_health(view(story), Moment(story.now + timedelta(seconds=silence), "logs"))
        assert health.mood is mood
        assert "last line" in health.text

    def test_what_comes_through_an_outbox_may_come_later(self, tmp_path: Path) -> None:
        story = Story(tmp_path).begin(NAMES)
        assert judge_health(view(story), Moment(story.now + timedelta(seconds=200), "logs", lag=120)).mood is Mood.WELL

    @pytest.mark.parametrize(("code", "mood"), [(None, Mood.WELL), (1, Mood.BAD)])
    def test_an_end_is_told_with_its_exit_code(self, tmp_path: Path, code: int | None, mood: Mood) -> None:
        story = Story(tmp_path).begin(NAMES[:1])
        story = story.done(NAMES[0], TableStatus.UNCHANGED) if code is None else story.fail(NAMES[0], code=code)
        health = judge_health(view(story.end()), Moment(story.now, "logs"))
        assert health.mood is mood
        assert health.text.endswith(f"exit code {code or 0}")

    def test_a_process_that_is_gone_is_told(self, tmp_path: Path) -> None:
        story = Story(tmp_path).begin(NAMES, host="night-1", pid=17)
        health = judge_health(view(story), Moment(story.now, "logs", gone=True))
        assert health.mood is Mood.BAD
        assert health.text.startswith("died? process 17 on night-1 is gone")

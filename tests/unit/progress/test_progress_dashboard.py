"""One screen of a run: what it shows, and that it fits."""

import io
import itertools
import re
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from ingestion_runtime.events.types.batch import SliceProgress, SliceStarted
from ingestion_runtime.events.types.run import Heartbeat
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.progress.dashboard import dashboard, waiting_screen
from ingestion_runtime.progress.health import Moment
from ingestion_runtime.progress.history import pick_run
from ingestion_runtime.progress.summary import print_summary
from tests.eventlog import NIGHT, Story

NAMES = [f"shop.table_{number:02}" for number in range(50)]
HOSTILE = (
    "shop.[red]bold[/red]",
    "shop.\x1b[2J",
    "shop.日本語のとても長い表の名前",
    "shop.\u202eevil",
    "s." + "x" * 300,
    "a,b.c\nd",
)


def night(directory: Path) -> Story:
    """50 tables: 20 done, 3 failed in two ways, 4 at work, the others wait."""
    story = Story(directory).begin(NAMES)
    for name in NAMES[:18]:
        story.whole(name, rows=1_234)
    story.done(NAMES[18], TableStatus.UNCHANGED).done(NAMES[19], TableStatus.SKIPPED)
    story.fail(NAMES[20]).fail(NAMES[21]).fail(NAMES[22], "3 values are no integers.", "Correct them.", code=1)
    for number, name in enumerate(NAMES[23:27]):
        story.start(name, slices=4, rows=40_000).read(name, 0, 10_000 + number, 5.0)
        story.tell(SliceStarted(1), name, "b1/00001").after(2).tell(SliceProgress(1, 4_000, 1, 2.0), name, "b1/00001")
    return story.tell(Heartbeat(50, 20, 3, (), {"active_jobs": 2, "active_stages": 3, "active_tasks": 8}))


def draw(story: Story, width: int, height: int | None, seconds: float = 1.0, encoding: str = "utf-8") -> list[str]:
    """Return the lines of the dashboard as a terminal of this size would show them, without their colours."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace")
    console = Console(file=stream, width=width, height=height or 25, force_terminal=True, color_system=None, emoji=False)
    moment = Moment(story.now + timedelta(seconds=seconds), str(story.path))
    lines = console.render_lines(dashboard(console, pick_run(str(story.path), "1"), moment, height), pad=False)
    return ["".join(segment.text for segment in line).rstrip() for line in lines]


def cells(line: str) -> int:
    return Console().render_str(line, markup=False, emoji=False).cell_len


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return night(tmp_path_factory.mktemp("night"))


@pytest.mark.parametrize(
    ("width", "height"), tuple(itertools.product((20, 40, 60, 80, 100, 120, 200), (5, 8, 12, 24, 40, 80)))
)
def test_it_fits_the_terminal(told: Story, width: int, height: int) -> None:
    lines = draw(told, width, height)
    assert len(lines) <= max(height, 9)
    assert max(map(cells, lines)) <= width


def test_it_shows_how_far_the_run_is(told: Story) -> None:
    lines = draw(told, 140, 40)
    assert lines[0].startswith("nightly  load date 2026-07-01  run run-1  ")
    assert re.search(r"23 of 50 tables  48%  about .* left", lines[1])
    assert lines[2].startswith("4 running  3 failed  18 done  1 unchanged  1 skipped  23 waiting  ")
    assert re.search(r"78,218 rows, [\d,]+ rows/s", lines[2])
    assert re.search(r"heartbeat 1.0 s ago, last line 1.0 s ago  Spark: 2 jobs, 3 stages, 8 tasks", lines[3])


def test_what_is_at_work_comes_first_and_then_what_failed(told: Story) -> None:
    rows = [line for line in draw(told, 140, 40) if line.startswith("shop.")]
    states = [line.split()[2] for line in rows]
    assert states[:7] == ["running"] * 4 + ["failed"] * 3
    assert set(states[7:]) <= {"done", "unchanged", "skipped"}
    assert re.fullmatch(r"shop.table_23 +▶ running +read +arrow +2/4 +14,000 +[\d,]+ +\d+ s +[▁▂▃▄▅▆▇█ ]+", rows[0])


@pytest.mark.parametrize("height", [12, 24, 40, 55, 80])
def test_what_does_not_fit_is_counted(told: Story, height: int) -> None:
    """Tables that are shown and tables that are counted are all tables of the run, state by state."""
    lines = draw(told, 120, height)
    shown = [line.split()[2] for line in lines if line.startswith("shop.")]
    rest = [line for line in lines if re.match(r"and [\d,]+ more: ", line)]
    hidden = (
        {state: int(number) for number, state in re.findall(r"(\d+) ([a-z]+)", rest[0].split(": ", 1)[1])} if rest else {}
    )
    total = {"running": 4, "failed": 3, "done": 18, "unchanged": 1, "skipped": 1, "waiting": 23}
    assert {state: shown.count(state) + hidden.get(state, 0) for state in total} == total
    assert bool(rest) == (height < 80)


def test_failures_are_told_with_their_remedy_and_equal_ones_once(told: Story) -> None:
    text = "\n".join(draw(told, 140, 40))
    assert "✗ TransientError shop.table_20, shop.table_21\n  The disk is full.\n  → Free space, then run again." in text
    assert "✗ TerminalError shop.table_22\n  3 values are no integers.\n  → Correct them." in text


def test_many_kinds_of_failures_leave_room_for_the_tables(tmp_path: Path) -> None:
    story = Story(tmp_path).begin(NAMES)
    for number, name in enumerate(NAMES[:40]):
        story.fail(name, f"Disk {number} is full.")
    lines = draw(story.start(NAMES[40]), 100, 30)
    assert lines[-1] == "and 38 more kinds of failures"
    assert sum(line.startswith("shop.") for line in lines) > 5


def test_a_long_message_is_told_whole_where_there_is_room(tmp_path: Path) -> None:
    words = [f"word{number}" for number in range(60)]
    story = Story(tmp_path).begin(NAMES[:3]).fail(NAMES[0], " ".join(words))
    wide = draw(story, 60, 60)
    assert [word for line in wide for word in line.split() if word.startswith("word")] == words
    narrow = draw(story, 60, 14)
    assert sum("word" in line for line in narrow) == 1
    assert any(line.endswith("…") for line in narrow)


def test_a_narrow_terminal_loses_the_less_important_columns_first(told: Story) -> None:
    headings = {width: draw(told, width, 40)[5].split() for width in (140, 80, 66, 50, 40)}
    assert headings[140] == ["table", "state", "step", "engine", "slices", "rows", "rows/s", "time", "throughput"]
    assert headings[80][:3] == ["table", "state", "step"]
    assert headings[40][:2] == ["table", "state"]
    assert len(headings[40]) < len(headings[50]) <= len(headings[66]) <= len(headings[80]) < len(headings[140])


def test_an_unusual_terminal_gets_words_in_place_of_blocks(told: Story) -> None:
    lines = draw(told, 140, 40, encoding="latin-1")
    assert not re.search("[▁▂▃▄▅▆▇█]", "".join(lines))
    assert "throughput" not in lines[5]


@pytest.mark.parametrize("width", [40, 80, 160])
def test_foreign_names_and_messages_are_shown_as_they_are_and_do_nothing(tmp_path: Path, width: int) -> None:
    story = Story(tmp_path).begin(HOSTILE)
    for name in HOSTILE:
        story.fail(name, "[bold]no[/bold] \x1b[31m \u202e <script>", "Look at [link=x]that[/link].")
    lines = draw(story.end(), width, 60)
    text = "\n".join(lines)
    assert "shop.[red]bold[/red]" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert max(map(cells, lines)) <= width
    assert "→ Look at [link=x]that[/link]." in text


def test_silence_and_an_unreadable_log_are_told(tmp_path: Path) -> None:
    story = Story(tmp_path).begin(NAMES[:1]).start(NAMES[0])
    with story.path.open("a") as stream:
        stream.write("garbage\n")
    lines = draw(story, 140, 30, seconds=600)
    assert lines[3] == "no sign of life: last line 10:00 ago  1 unreadable line"


def test_nobody_promises_when_a_silent_run_will_end(told: Story) -> None:
    assert "left" in draw(told, 140, 40)[1]
    assert "left" not in draw(told, 140, 40, seconds=3_600)[1]


def test_what_is_not_through_is_not_shown_as_if_it_were(tmp_path: Path) -> None:
    story = Story(tmp_path).begin(NAMES)
    for name in NAMES[:-1]:
        story.whole(name)
    assert "49 of 50 tables  99%" in draw(story.start(NAMES[-1]).read(NAMES[-1], 0, 10), 140, 40)[1]


def test_before_there_is_a_run_it_says_what_is_waited_for() -> None:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(waiting_screen(Moment(NIGHT, "/logs/[red]")))
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "Waiting for a run in /logs/[red]",
        "Nothing is there yet. Ctrl-C ends.",
    ]


class TestSummary:
    def told(self, story: Story, width: int = 120) -> list[str]:
        console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, emoji=False)
        print_summary(console, pick_run(str(story.path), "1"), story.now)
        return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]

    def test_tables_stand_in_the_order_of_the_run_with_a_bar_for_when_they_were_at_work(self, tmp_path: Path) -> None:
        story = (
            Story(tmp_path).begin(NAMES[:4]).whole(NAMES[0], rows=1_000, seconds=9).whole(NAMES[1], seconds=9).fail(NAMES[2])
        )
        lines = self.told(story.done(NAMES[3], TableStatus.UNCHANGED).end())
        assert lines[0] == "nightly, load date 2026-07-01, run run-1"
        rows = [line for line in lines if line.startswith("shop.")]
        assert [row.split()[0] for row in rows] == NAMES[:4]
        assert re.search(r"✓ done +arrow +1,000 +1,000 +9.8 KiB +1 +12 s +━+$", rows[0])
        first, second, third = (row.index("━") if "━" in row else row.rindex("✗") for row in rows[:3])
        assert rows[0].rindex("━") <= second
        assert first < second < third
        assert lines[-1].startswith("4 tables: 2 done, 1 unchanged, 1 failed; 2,000 rows read; ended ")
        assert lines[-1].endswith("exit code 3")
        assert "→ Free space, then run again." in "\n".join(lines)

    def test_a_run_without_an_end_says_so(self, tmp_path: Path) -> None:
        lines = self.told(Story(tmp_path).begin(NAMES[:2]).whole(NAMES[0]).start(NAMES[1]).after(5))
        assert "so far" in lines[1]
        assert "no end was logged: it is under way, or it died" in lines[-1]

    @pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
    def test_names_are_whole_on_every_width(self, tmp_path: Path, width: int) -> None:
        story = Story(tmp_path).begin(HOSTILE)
        for name in HOSTILE:
            story.done(name, TableStatus.UNCHANGED)
        lines = self.told(story.end(), width)
        folded = "".join("".join(line.split()[:1]) for line in lines)
        assert "x" * 250 in folded or width >= 200
        assert "\x1b" not in "".join(lines)

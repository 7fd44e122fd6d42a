"""``ingestion-progress`` as people and programs use it: on real runs, in real terminals, and with what goes wrong."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ingestion_runtime.commands.progress import cli
from tests.eventlog import Story
from tests.faults.gaps import Hold, Process, until
from tests.lake import PROJECT, Lake
from tests.nights import BROKEN, NAMES, make_night
from tests.terminal import Terminal

PROGRAM = [sys.executable, str(PROJECT / "progress_cli.py")]
HELD = ("sales.orders", "iot.readings")


def call(*arguments: object) -> Result:
    """Call the command line inside this process."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    # Anything but an exit code would reach the user as a traceback.
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def watch(place: object, *options: str) -> list[str]:
    return [*PROGRAM, "watch", "--log-file", str(place), "--interval", "0.2", *options]


def is_narrow(lines: Sequence[str]) -> bool:
    """Whether a dashboard shows its tables with fewer columns, to its end."""
    headings = [line.split() for line in lines if line.startswith("table ")]
    return bool(headings) and "engine" not in headings[0] and any("kinds of failures" in line for line in lines)


@dataclass(frozen=True)
class Night:
    """A whole run over 50 tables, and what was seen of it meanwhile on three screens and after its end."""

    lake: Lake
    log: Path
    early: list[str]
    held: list[str]
    outbox_held: list[str]
    narrow: list[str]
    ended: list[str]
    outbox_ended: list[str]
    documents: list[dict[str, Any]]
    code: int

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """Watched from a second and a third terminal and by a program, all started before the run; two tables are held for a
    while, so that there is something to see."""
    root = tmp_path_factory.mktemp("night")
    lake = make_night(root, rows=40)
    lake.document["runtime"]["hdfs_outbox_root"] = str(root / "outbox")
    lake.save()
    holds = [Hold(root, "before-publish", table) for table in HELD]
    with Terminal(130, 45) as terminal, Terminal(130, 45) as remote:
        terminal.type(watch(root / "logs"))
        early = terminal.wait_for("Nothing is there yet")
        remote.type(watch(root / "outbox"))
        programs = subprocess.Popen(watch(root / "logs", "--output", "json"), stdout=subprocess.PIPE, text=True)
        with Process(lake.command("--heartbeat-seconds", "1"), holds) as run:
            run.wait_until_held()
            held = terminal.wait_for("2 running  5 failed")
            outbox_held = remote.wait_for("of 50 tables")
            terminal.resize(60, 20)
            until(lambda: is_narrow(terminal.lines()), "the narrow screen was drawn")
            narrow = terminal.lines()
            terminal.resize(130, 45)
            for hold in holds:
                hold.let_go()
            code = run.end().code
        ended, outbox_ended = terminal.wait_for("exit code 1"), remote.wait_for("exit code 1")
        until(lambda: terminal.is_clean and remote.is_clean, "both terminals were clean")
        output, _ = programs.communicate(timeout=60)
    (log,) = (root / "logs").glob("run-*.jsonl")
    documents = [json.loads(line) for line in output.splitlines()]
    return Night(lake, log, early, held, outbox_held, narrow, ended, outbox_ended, documents, code)


class TestNight:
    def test_a_run_that_was_started_elsewhere_is_waited_for_and_watched(self, night: Night) -> None:
        assert night.early[0].startswith("Waiting for a run in ")
        assert night.held[0].startswith("nightly  load date ")
        rows = [line.split() for line in night.held if line.startswith(tuple(NAMES))]
        assert [(row[0], row[2]) for row in rows[:2]] == [(name, "running") for name in sorted(HELD, key=NAMES.index)]
        assert {row[0] for row in rows[2:7]} == set(BROKEN)
        assert all(row[2] == "failed" for row in rows[2:7])

    def test_what_failed_stands_there_with_its_remedy(self, night: Night) -> None:
        text = "\n".join(night.held)
        assert "✗ TransientError crm.leads, crm.campaigns" in text
        assert "✗ TerminalError erp.ledger\n  Table erp.ledger has no column 'changed_at'" in text
        assert "\n  → Correct incremental_column in the configuration" in text

    def test_a_narrow_terminal_gets_what_fits(self, night: Night) -> None:
        assert len(night.narrow) <= 20
        assert max(map(len, night.narrow)) <= 60
        assert any(re.match(r"and \d+ more: ", line) for line in night.narrow)

    def test_the_last_picture_stays_and_is_that_of_the_log(self, night: Night) -> None:
        """Figures counted from the log by other means."""
        ends = [event for event in night.events if event["event"] in ("table_done", "table_failed")]
        rows = sum(event.get("rows_read", 0) for event in ends)
        failed = sum(event["event"] == "table_failed" for event in ends)
        assert (len(ends), failed, night.code) == (50, len(BROKEN), 1)
        for screen in (night.ended, night.outbox_ended):
            text = "\n".join(screen)
            assert f"50 of 50 tables  100%\n{failed} failed  {50 - failed} done  {rows:,} rows" in text
            assert re.search(r"ended [-\d]+ [:\d]+, exit code 1", text)

    def test_the_outbox_shows_the_same_run(self, night: Night) -> None:
        """Portions of it, as they are written: never more than the log, and in the end the same."""
        (seen,), (same,) = (
            [line.split("  ")[:3] for line in s if "load date" in line] for s in (night.outbox_held, night.ended)
        )
        assert seen == same
        result = call("summary", "--log-file", night.lake.root / "outbox", "--output", "json")
        other = call("summary", "--log-file", night.log, "--output", "json")
        assert json.loads(result.stdout) == json.loads(other.stdout)

    def test_programs_get_a_document_at_every_look(self, night: Night) -> None:
        first, last = night.documents[0], night.documents[-1]
        assert (first["version"], first["run"]) == (1, None)
        assert (last["run"]["exit_code"], last["run"]["counts"]["done"], last["fraction"]) == (1, 45, 1.0)
        over = [sum(run["counts"].values()) - run["counts"]["waiting"] for entry in night.documents if (run := entry["run"])]
        assert over == sorted(over)

    def test_an_end_is_shown_at_once(self, night: Night) -> None:
        result = call("watch", "--log-file", night.log, "--once")
        assert result.exit_code == 0
        assert sum(line.startswith(tuple(NAMES)) for line in result.stderr.splitlines()) == 50
        assert call("watch", "--log-file", night.log, "--once", "--exit-with-run").exit_code == 1

    def test_a_summary_names_every_table_and_what_failed(self, night: Night) -> None:
        result = call("summary", "--config", night.lake.path)
        assert (result.exit_code, result.stdout) == (0, "")
        rows = [line for line in result.stderr.splitlines() if line.startswith(tuple(NAMES))]
        assert [row.split()[0] for row in rows] == list(NAMES)
        assert all("━" in row or "✗" in row for row in rows)
        assert "5 failed" in result.stderr

    def test_its_figures_are_those_of_the_log(self, night: Night) -> None:
        document = json.loads(call("summary", "--log-file", night.log, "--output", "json").stdout)
        tables = {table["table"]: table for table in document["run"]["tables"]}
        for event in night.events:
            if event["event"] == "table_done":
                table = tables[event["table"]]
                assert (table["rows_read"], table["rows_written"]) == (event["rows_read"], event["rows_written"])
                assert (table["state"], table["seconds"]) == (event["status"], event["seconds"])
        staged = [event for event in night.events if event["event"] == "slice_staged"]
        slices = [piece for table in tables.values() for piece in table["slices"] if piece["ended"]]
        assert len(slices) == len(staged)
        assert sum(table["bytes"] for table in tables.values()) == sum(event["bytes"] for event in staged)

    def test_its_failures_are_grouped(self, night: Night) -> None:
        result = call("failures", "--log-file", night.log, "--show-tables")
        assert result.exit_code == 0
        assert "TransientError  2 times in 1 run  in the last run too" in result.stderr
        assert "5 failures of 4 kinds in 1 run" in result.stderr
        document = json.loads(call("failures", "--log-file", night.log, "--output", "json").stdout)
        assert {name for group in document["failures"] for name in group["tables"]} == set(BROKEN)


class TestTerminal:
    @pytest.mark.parametrize("end", ["C-c", signal.SIGTERM, signal.SIGHUP])
    def test_an_end_from_outside_leaves_the_terminal_clean(self, tmp_path: Path, end: str | signal.Signals) -> None:
        Story(tmp_path).begin(["shop.orders"]).start("shop.orders")
        with Terminal(100, 20) as terminal:
            terminal.type("echo before")
            terminal.type(f"{shlex.join(watch(tmp_path))}; echo code=$?")
            terminal.wait_for("shop.orders")
            if isinstance(end, str):
                terminal.press(end)
            else:
                terminal.program.send_signal(end)
            lines = terminal.wait_for("code=1")
            assert terminal.is_clean
        number = signal.SIGINT if isinstance(end, str) else end
        assert f"code={128 + number}" in lines
        assert "before" in lines
        assert not any("Traceback" in line or "Error" in line for line in lines)


def run_lines(place: object, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(watch(place, *options), capture_output=True, text=True, timeout=60, check=False)


class TestWithoutATerminal:
    def test_a_run_is_told_in_lines(self, tmp_path: Path) -> None:
        Story(tmp_path).begin(["a.b", "a.c"]).whole("a.b", 1_234).fail("a.c", "No [red]room[/red].").end()
        ended = run_lines(tmp_path)
        failure, line = ended.stderr.splitlines()
        assert (ended.returncode, ended.stdout) == (0, "")
        assert failure[10:] == "a.c failed: TransientError a.c: No [red]room[/red]. Free space, then run again."
        assert line[10:].startswith("nightly: 2 of 2 tables (100%), 1 failed, 1,234 rows, ended ")
        assert "\x1b" not in ended.stderr

    def test_the_process_of_a_run_that_died_is_missed(self, tmp_path: Path) -> None:
        """Shown at once; the exit code of a look is 0, and 1 where that of the run was wished for."""
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        Story(tmp_path).begin(["a.b"], host=socket.gethostname(), pid=gone.pid).start("a.b")
        result = call("watch", "--log-file", tmp_path, "--once")
        assert result.exit_code == 0
        assert f"died? process {gone.pid}" in result.stderr
        assert call("watch", "--log-file", tmp_path, "--once", "--exit-with-run").exit_code == 1

    def test_a_reader_that_goes_away_is_no_traceback(self, tmp_path: Path) -> None:
        Story(tmp_path).begin(["a.b"]).end()
        command = f"{shlex.join(watch(tmp_path, '--output', 'json'))} | true"
        ended = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
        assert "Traceback" not in ended.stderr


class TestBadInput:
    @pytest.mark.parametrize("command", [("watch",), ("summary",), ("failures",), ("report", "--to", "x.html")])
    def test_where_the_logs_are_has_to_be_said_once(self, tmp_path: Path, command: Sequence[str]) -> None:
        for options in ((), ("--log-file", tmp_path, "--config", tmp_path / "c.json")):
            result = call(*command, *options)
            assert result.exit_code == 2
            assert "either --log-file PATH or --config FILE" in result.stderr

    @pytest.mark.parametrize("command", [("watch", "--once"), ("summary",), ("failures",), ("report", "--to", "x.html")])
    @pytest.mark.parametrize("output", ["table", "json"])
    def test_a_place_without_a_run_is_an_error_with_a_remedy(
        self, tmp_path: Path, command: Sequence[str], output: str
    ) -> None:
        (tmp_path / "run-1.jsonl").write_text("garbage\n\x00\n{}\n")
        for place in (tmp_path, tmp_path / "run-1.jsonl", tmp_path / "nothing"):
            result = call(*command, "--log-file", place, "--output", output)
            assert result.exit_code == 2
            assert re.fullmatch(r"Error: .* holds no run\. .*\n", result.stderr)
            assert (json.loads(result.stdout)["exit_code"] == 2) if output == "json" else not result.stdout

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("summary", "--run", "7"), "holds no run '7', but 1 others"),
            (("summary", "--run", "no-such"), "the last ones: run-1"),
            (("watch", "--interval", "0"), "0.0 is not in the range"),
            (("watch", "--interval", "soon"), "not a valid float"),
            (("watch", "--no-such-option"), "No such option"),
        ],
    )
    def test_what_is_not_there_is_named(self, tmp_path: Path, arguments: Sequence[str], message: str) -> None:
        Story(tmp_path).begin(["a.b"]).end()
        result = call(*arguments, "--log-file", tmp_path)
        assert result.exit_code == 2
        assert message in result.stderr

    def test_a_configuration_that_cannot_be_read_is_refused_as_everywhere(self, tmp_path: Path) -> None:
        result = call("summary", "--config", tmp_path / "conf.json")
        assert result.exit_code == 2
        assert "conf.json" in result.stderr

    def test_a_file_system_out_of_reach_is_worth_a_retry(self) -> None:
        result = call("summary", "--log-file", "webhdfs://127.0.0.1:1/logs")
        assert result.exit_code == 3
        assert "Check that the file system is up" in result.stderr

    def test_garbage_is_counted_and_not_fatal(self, tmp_path: Path) -> None:
        story = Story(tmp_path).begin(["a.b"]).whole("a.b", 5).end()
        text = story.path.read_text()
        story.path.write_bytes(
            b"\xff\xfe garbage\n" + text.replace("\n", "\n{half\n", 3).encode() + b"\x00\x00\n" + b"unfinished"
        )
        document = json.loads(call("summary", "--log-file", tmp_path, "--output", "json").stdout)
        assert (document["run"]["garbage"], document["run"]["rows_read"], document["run"]["exit_code"]) == (5, 5, 0)
        assert "5 unreadable lines" in call("watch", "--log-file", tmp_path, "--once").stderr
        assert "5 lines of the log could not be read" in call("summary", "--log-file", tmp_path).stderr


@pytest.mark.parametrize(
    ("arguments", "libraries"),
    [(["--help"], {"click"}), (["watch", "--help"], {"click"}), (["summary"], {"click", "rich", "fsspec"})],
)
def test_it_imports_what_the_command_needs(tmp_path: Path, arguments: list[str], libraries: set[str]) -> None:
    """No engine, no table format, no database: it may stand on a machine that only reads logs."""
    Story(tmp_path).begin(["a.b"]).end()
    program = (
        "import atexit, json, pathlib, runpy, sys\n"
        "found, program, *sys.argv[1:] = sys.argv[1:]\n"
        "atexit.register(lambda: pathlib.Path(found).write_text(json.dumps(sorted(sys.modules))))\n"
        "runpy.run_path(program, run_name='__main__')\n"
    )
    place = ["--log-file", str(tmp_path)] if arguments == ["summary"] else []
    command = [sys.executable, "-c", program, str(tmp_path / "found"), PROGRAM[1], *arguments, *place]
    ended = subprocess.run(command, capture_output=True, timeout=60, check=False, env={**os.environ, "COLUMNS": "80"})
    assert ended.returncode == 0
    modules = {name.partition(".")[0] for name in json.loads((tmp_path / "found").read_text())}
    heavy = {
        "click",
        "rich",
        "fsspec",
        "psutil",
        "pyarrow",
        "pyspark",
        "sqlalchemy",
        "pydantic",
        "pyiceberg",
        "duckdb",
        "jinja2",
    }
    assert modules & heavy == libraries

"""The event log, its mirror, and the state's copy of the events."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from ingestion_runtime.events.emitter import EventEmitter
from ingestion_runtime.events.outbox import Outbox
from ingestion_runtime.events.state_subscriber import StateEventSubscriber, TableIdentity
from ingestion_runtime.events.structured_log import StructuredLogSubscriber
from ingestion_runtime.events.types.batch import RowsSetAside, SliceProgress
from ingestion_runtime.events.types.run import Heartbeat, RunningTable, RunStarted
from ingestion_runtime.events.types.table import PhaseMarked, TableDone, TableFailed, TableStarted, ToolProgress
from ingestion_runtime.model.batch import TableKey
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.state import Phase, PhaseStatus, StateRecord

STARTED = datetime(2026, 3, 1, 2, 3, 4, tzinfo=UTC)
KEY = TableKey("lake", "shop", "orders")


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    filesystem = fsspec.filesystem("memory")
    yield filesystem
    if filesystem.exists("/logs"):
        filesystem.rm("/logs", recursive=True)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class TestStructuredLog:
    def test_a_run_has_one_file_with_one_json_line_an_event(self, tmp_path: Path) -> None:
        """Ids and time on every line, then the event's fields, whatever their types."""
        log = StructuredLogSubscriber(tmp_path / "log", "run-1", started=STARTED)
        emitter = EventEmitter("run-1", [log], clock=lambda: STARTED)
        emitter.emit(RunStarted("nightly", date(2026, 3, 1), tables=1))
        bound = emitter.bind(table="shop.orders", slice="0001")
        bound.emit(PhaseMarked(Phase.RAW, PhaseStatus.SUCCESS, rows=3, metadata={"day": date(2026, 3, 1)}))
        emitter.emit(Heartbeat(1, 0, 0, (RunningTable("shop.orders", None),)))
        assert [path.name for path in (tmp_path / "log").iterdir()] == ["run-20260301T020304Z-run-1.jsonl"]
        first, second, third = lines(log.path)
        assert list(first)[:7] == ["ts", "seq", "level", "event", "run_id", "table", "slice"]
        assert first["load_date"] == "2026-03-01"
        assert (second["table"], second["slice"], second["phase"]) == ("shop.orders", "0001", "raw")
        assert second["metadata"] == {"day": "2026-03-01"}
        assert third["running"] == [{"table": "shop.orders", "slice": None, "rows": 0}]
        log.close()

    def test_events_below_the_level_are_left_out(self, tmp_path: Path) -> None:
        """Details only on request; failures always."""
        for level, expected in (("debug", 2), ("info", 1), ("error", 1)):
            log = StructuredLogSubscriber(tmp_path / level, "run-1", level=level)
            emitter = EventEmitter("run-1", [log])
            emitter.emit(ToolProgress("spark", "stage 3 of 4"))
            emitter.emit(TableFailed("OSError", "gone", "abc", 1))
            assert len(lines(log.path)) == expected
            log.close()

    def test_a_log_that_cannot_be_written_fails_no_event_and_still_reaches_the_mirror(self, tmp_path: Path) -> None:
        """The emitter shows the problem."""
        (tmp_path / "log").write_text("a file where the directory should be")
        mirrored: list[str] = []

        class Mirror:
            def add(self, line: str) -> None:
                mirrored.append(line)

        emitter = EventEmitter("run-1", [StructuredLogSubscriber(tmp_path / "log", "run-1", Mirror())])
        emitter.emit(ToolProgress("spark", "stage 3 of 4"))
        emitter.emit(RowsSetAside(1, "here"))
        assert [json.loads(line)["event"] for line in mirrored] == ["rows_quarantined"]
        assert [problem.failures for problem in emitter.problems] == [1]

    def test_a_line_cut_short_does_not_spoil_the_next_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As on a disk that was full for a moment."""
        log = StructuredLogSubscriber(tmp_path, "run-1")
        emitter = EventEmitter("run-1", [log])
        emitter.emit(RowsSetAside(1, "a"))
        file = log._file
        assert file is not None

        class Full:
            def write(self, data: memoryview) -> int:
                if len(data) < 20:
                    raise OSError("no space")
                assert file is not None
                return file.write(data[: len(data) - 10])

        monkeypatch.setattr(log, "_file", Full())
        emitter.emit(RowsSetAside(2, "b"))
        monkeypatch.setattr(log, "_file", file)
        emitter.emit(RowsSetAside(3, "c"))
        written = log.path.read_text().splitlines()
        assert [json.loads(written[index])["rows"] for index in (0, 2)] == [1, 3]
        assert len(emitter.problems) == 1
        log.close()


class TestOutbox:
    def test_lines_arrive_in_whole_numbered_segments(self, memory: MemoryFileSystem) -> None:
        """By size while the run goes on, the rest at its end; nothing hidden is left behind."""
        outbox = Outbox("memory://logs", "run-1", max_items=2)
        for number in range(5):
            outbox.add(f"line {number}")
        assert outbox.close()
        names = sorted(path.rsplit("/", 1)[-1] for path in memory.ls("/logs/run-run-1", detail=False))
        assert names == ["000001.jsonl", "000002.jsonl", "000003.jsonl"]
        assert memory.cat_file("/logs/run-run-1/000002.jsonl") == b"line 2\nline 3\n"
        assert memory.cat_file("/logs/run-run-1/000003.jsonl") == b"line 4\n"

    @pytest.mark.parametrize("prefix", ["", "file://"])
    def test_a_local_folder_is_a_file_system_too(self, tmp_path: Path, prefix: str) -> None:
        """With and without a scheme; flushing between does not end it."""
        outbox = Outbox(f"{prefix}{tmp_path}/out", "run-1")
        outbox.add("a")
        assert outbox.flush()
        outbox.add("b")
        assert outbox.close()
        assert outbox.close()
        folder = tmp_path / "out" / "run-run-1"
        assert {path.name: path.read_text() for path in folder.iterdir()} == {
            "000001.jsonl": "a\n",
            "000002.jsonl": "b\n",
        }

    def test_segments_of_an_earlier_process_of_the_run_are_kept(self, tmp_path: Path) -> None:
        """Counting goes on after the highest number there is."""
        for text in ("a", "b"):
            outbox = Outbox(str(tmp_path), "run-1")
            outbox.add(text)
            assert outbox.close()
        assert (tmp_path / "run-run-1" / "000001.jsonl").read_text() == "a\n"
        assert (tmp_path / "run-run-1" / "000002.jsonl").read_text() == "b\n"

    def test_a_failing_outbox_never_fails_the_log(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """The lines are in the file, the failure is reported once, and closing says that lines were left behind."""
        (tmp_path / "out").write_text("a file where the folder should be")
        outbox = Outbox(str(tmp_path / "out"), "run-1", max_items=1)
        log = StructuredLogSubscriber(tmp_path / "log", "run-1", outbox)
        emitter = EventEmitter("run-1", [log])
        for rows in range(3):
            emitter.emit(RowsSetAside(rows, "a"))
        assert not outbox.close()
        assert len(lines(log.path)) == 3
        assert emitter.problems == ()
        assert [message for message in caplog.messages if "outbox_failed" in message] == caplog.messages
        assert len(caplog.messages) == 1
        assert outbox.last_error is not None
        log.close()

    def test_an_outbox_that_never_answers_holds_up_nobody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Adding returns at once; waiting for it ends in time."""
        release = threading.Event()
        monkeypatch.setattr("fsspec.core.url_to_fs", lambda _root: release.wait(30))
        outbox = Outbox("webhdfs://nowhere/logs", "run-1", max_items=1)
        begun = time.monotonic()
        for number in range(10):
            outbox.add(str(number))
        assert not outbox.close(timeout=0.2)
        assert time.monotonic() - begun < 5
        release.set()


class Sink:
    def __init__(self) -> None:
        self.records: list[StateRecord] = []
        self.ticks = 0

    def record_event(self, record: StateRecord) -> None:
        self.records.append(record)

    def tick(self) -> None:
        self.ticks += 1


class TestStateSubscriber:
    @pytest.fixture
    def sink(self) -> Sink:
        return Sink()

    @pytest.fixture
    def emitter(self, sink: Sink) -> EventEmitter:
        tables = {"shop.orders": TableIdentity(KEY, "shop-db", "scd1")}
        subscriber = StateEventSubscriber(sink, tables.get, date(2026, 3, 1))
        return EventEmitter("run-1", [subscriber], clock=lambda: STARTED)

    def test_a_tables_events_become_rows(self, sink: Sink, emitter: EventEmitter) -> None:
        """With status, counts, and all fields of the event as JSON."""
        table = emitter.bind(table="shop.orders")
        table.emit(TableStarted("scd1", "shop-db"))
        table.emit(TableFailed("TerminalError", "no such column", "abc", 1))
        table.emit(TableDone(TableStatus.DONE, rows_written=5, watermark="2026"))
        table.emit(TableDone(TableStatus.SKIPPED))
        started, failed, done, skipped = sink.records
        assert (started.key, started.source_id, started.mode, started.at) == (KEY, "shop-db", "scd1", STARTED)
        assert {record.phase for record in sink.records} == {Phase.EVENT}
        assert started.status is PhaseStatus.STARTED
        assert (failed.status, failed.error) == (PhaseStatus.FAILED, "TerminalError: no such column")
        assert (done.status, done.rows_written, done.watermark) == (PhaseStatus.SUCCESS, 5, "2026")
        assert skipped.status is PhaseStatus.SKIPPED
        assert failed.metadata_json is not None
        details = json.loads(failed.metadata_json)
        assert (details["event"], details["stack_hash"], details["seq"]) == ("table_failed", "abc", 2)

    def test_marks_heartbeats_and_progress_are_left_out(self, sink: Sink, emitter: EventEmitter) -> None:
        """Marks are written by the strategy; a heartbeat only wakes the buffer; a run's events have no table."""
        table = emitter.bind(table="shop.orders")
        table.emit(PhaseMarked(Phase.RAW, PhaseStatus.SUCCESS))
        table.emit(ToolProgress("spark", "stage 3 of 4"))
        table.emit(SliceProgress(0, rows=10, bytes=80, seconds=2.0))
        emitter.emit(Heartbeat(1, 0, 0))
        emitter.emit(RunStarted("nightly", date(2026, 3, 1), 1))
        assert sink.records == []
        assert sink.ticks == 1

    def test_an_unknown_table_is_a_problem_of_the_subscriber(self, sink: Sink, emitter: EventEmitter) -> None:
        """It is shown, and nothing is written under a made-up name."""
        emitter.bind(table="shop.nothing").emit(TableStarted("full", "shop-db"))
        assert sink.records == []
        assert emitter.problems[0].error_type == "LookupError"

"""Lines of event logs, one after the other, become pictures of runs. Whatever the lines hold, nothing here raises."""

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from ingestion_runtime.progress.lines import Line, parse_line
from ingestion_runtime.progress.table_fold import TableFold
from ingestion_runtime.progress.view import HeartbeatView, RunView

_WARNINGS: Final = 100  # of a run, and of each table: enough to see what the matter is
_START: Final = datetime(1990, 1, 1, tzinfo=UTC)


class RunFold:
    """Builds the picture of one run. A line that comes again (from a log and its copy) changes nothing."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._seen: set[int] = set()
        self._tables: dict[str, TableFold] = {}
        self._first: datetime | None = None
        self._last = _START
        self._garbage = 0
        self._job_name = self._load_date = self._host = ""
        self._total = self._max_parallel = self._pid = 0
        self._ended: datetime | None = None
        self._exit_code: int | None = None
        self._heartbeat: HeartbeatView | None = None
        self._warnings: list[Line] = []

    @property
    def started(self) -> datetime:
        """When the run began, as far as its lines tell."""
        return self._first or self._last

    def add(self, line: Line) -> None:
        """Take a line in; one of another run is passed over."""
        if line.run_id != self._run_id or line.seq in self._seen:
            return
        self._seen.add(line.seq)
        self._first = line.at if self._first is None else min(self._first, line.at)
        self._last = max(self._last, line.at)
        if line.table is not None:
            self._table(line.table).add(line)
            return
        if line.level == "warning" and len(self._warnings) < _WARNINGS:
            self._warnings.append(line)
        handler = _HANDLERS.get(line.event)
        if handler is not None:
            handler(self, line)

    def note_garbage(self, count: int = 1) -> None:
        """Count lines of the run's log that say nothing."""
        self._garbage += count

    def view(self) -> RunView:
        """Return the run as it stands."""
        tables = tuple(table.view() for table in self._tables.values())
        return RunView(
            run_id=self._run_id,
            job_name=self._job_name,
            load_date=self._load_date,
            started=self.started,
            ended=self._ended,
            exit_code=self._exit_code,
            max_parallel=max(self._max_parallel, 1),
            total=max(self._total, len(tables)),
            tables=tables,
            last_line_at=self._last,
            garbage=self._garbage,
            host=self._host,
            pid=self._pid,
            heartbeat=self._heartbeat,
            warnings=tuple(self._warnings),
        )

    def _table(self, name: str) -> TableFold:
        if name not in self._tables:
            self._tables[name] = TableFold(name)
        return self._tables[name]

    def _on_start(self, line: Line) -> None:
        self._job_name, self._load_date = line.text("job_name"), line.text("load_date")
        self._host, self._pid = line.text("host"), line.count("pid") or 0
        self._total, self._max_parallel = line.count("tables") or 0, line.count("max_parallel") or 1
        for name in line.texts("tables_named"):
            self._table(name)

    def _on_done(self, line: Line) -> None:
        self._ended, self._exit_code = line.at, line.count("exit_code")

    def _on_heartbeat(self, line: Line) -> None:
        before = self._heartbeat
        told = line.fields.get("spark")
        load = dataclasses.replace(line, fields=told if isinstance(told, dict) else {})
        spark = {key: value for key in load.fields if (value := load.count(key)) is not None}
        interval = max((line.at - before.at).total_seconds(), 0.0) if before else None
        self._heartbeat = HeartbeatView(line.at, interval, spark)
        self._total = self._total or line.count("total") or 0


_HANDLERS: Final[dict[str, Callable[[RunFold, Line], None]]] = {
    "run_start": RunFold._on_start,
    "run_done": RunFold._on_done,
    "heartbeat": RunFold._on_heartbeat,
}


class RunBook:
    """The runs that a log tells of, told apart by their ids."""

    def __init__(self) -> None:
        self._folds: dict[str, RunFold] = {}
        self._current: RunFold | None = None
        self._garbage = 0  # before the first line that was one

    def add(self, text: str) -> None:
        """Take a line of text in. One that is none counts as garbage of the run whose lines stand around it."""
        if not text.strip():
            return
        line = parse_line(text)
        if line is None:
            self._note_garbage()
            return
        if line.run_id not in self._folds:
            self._folds[line.run_id] = RunFold(line.run_id)
        self._current = self._folds[line.run_id]
        self._current.note_garbage(self._garbage)
        self._garbage = 0
        self._current.add(line)

    @property
    def garbage(self) -> int:
        """Lines that said nothing while no run was known to count them."""
        return self._garbage

    def latest(self) -> RunView | None:
        """Return the run that began last; None before the first line."""
        return max(self._folds.values(), key=lambda fold: fold.started).view() if self._folds else None

    def runs(self) -> tuple[RunView, ...]:
        """Return all runs, in the order in which they began."""
        return tuple(fold.view() for fold in sorted(self._folds.values(), key=lambda fold: fold.started))

    def _note_garbage(self) -> None:
        if self._current is None:
            self._garbage += 1
        else:
            self._current.note_garbage()

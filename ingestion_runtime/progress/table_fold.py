"""One table's lines become the picture of the table."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from ingestion_runtime.progress.lines import Line
from ingestion_runtime.progress.view import FailureView, SliceView, StepView, TableState, TableView

_WARNINGS: Final = 100  # enough to see what the matter is
_SAMPLES: Final = 2_000  # beyond, every second one goes: a sparkline has forty places
_STOPPED: Final = 128  # exit codes from here on: a signal ended it
_PARTS: Final = ("write", "audit", "land", "commit")  # of a publish; a full refresh has landed before


class _Piece:
    """A slice while it is folded."""

    def __init__(self, label: str, ordinal: int) -> None:
        self.label = label
        self.ordinal = ordinal
        self.started: datetime | None = None
        self.ended: datetime | None = None
        self.seconds: float | None = None
        self.rows = self.bytes = self.connections = 0
        self.reused = self.tombstones = False

    def view(self) -> SliceView:
        return SliceView(
            self.label,
            self.ordinal,
            self.started,
            self.ended,
            self.rows,
            self.bytes,
            self.reused,
            self.tombstones,
            self.connections,
            self.seconds,
        )


class TableFold:
    """Builds the picture of one table in one run."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._state = TableState.WAITING
        self._mode = self._source = self._engine = self._engine_reason = ""
        self._started: datetime | None = None
        self._ended: datetime | None = None
        self._seconds: float | None = None
        self._pieces: dict[str, _Piece] = {}
        self._slices_total: int | None = None
        self._estimated: int | None = None
        self._read: int | None = None  # what the end of the table says; until then the slices do
        self._written = self._deleted = self._duplicates = self._quarantined = 0
        self._watermark: str | None = None
        self._failure: FailureView | None = None
        self._warnings: list[Line] = []
        self._steps: list[StepView] = []
        self._samples: list[tuple[datetime, int]] = []
        self._view: TableView | None = None

    def add(self, line: Line) -> None:
        """Take a line of this table in."""
        self._view = None
        if line.level == "warning" and len(self._warnings) < _WARNINGS:
            self._warnings.append(line)
        if self._state is TableState.WAITING and line.event in _AT_WORK:
            self._state, self._started = TableState.RUNNING, line.at
            self._step("prepare", line.at)
        handler = _HANDLERS.get(line.event)
        if handler is not None:
            handler(self, line)

    def view(self) -> TableView:
        """Return the table as it stands; the same object until another line comes."""
        if self._view is None:
            self._view = self._picture()
        return self._view

    def _picture(self) -> TableView:
        open_step = self._steps[-1] if self._steps and self._steps[-1].ended is None else None
        pieces = tuple(piece.view() for piece in self._pieces.values())
        return TableView(
            name=self._name,
            mode=self._mode,
            source=self._source,
            state=self._state,
            phase=open_step.name if open_step else "",
            engine=self._engine,
            engine_reason=self._engine_reason,
            started=self._started,
            ended=self._ended,
            seconds=self._seconds,
            slices=pieces,
            slices_total=self._slices_total,
            estimated_rows=self._estimated,
            rows_read=self._rows_read(),
            rows_written=self._written,
            rows_deleted=self._deleted,
            bytes=sum(piece.bytes for piece in pieces),
            watermark=self._watermark,
            failure=self._failure,
            warnings=tuple(self._warnings),
            steps=tuple(self._steps),
            samples=tuple(self._samples),
            duplicates=self._duplicates,
            quarantined=self._quarantined,
        )

    def _rows_read(self) -> int:
        if self._read is not None:
            return self._read
        return sum(piece.rows for piece in self._pieces.values() if not piece.tombstones)

    def _step(self, name: str, at: datetime) -> None:
        """The table goes on with something else; nothing for what it is at already."""
        last = self._steps[-1] if self._steps else None
        if last is not None and last.ended is None:
            if last.name == name:
                return
            self._steps[-1] = StepView(last.name, last.started, max(at, last.started))
        self._steps.append(StepView(name, at, None))

    def _sample(self, at: datetime) -> None:
        # A clock that was set back in between must not turn time around.
        self._samples.append((max(at, self._samples[-1][0]) if self._samples else at, self._rows_read()))
        if len(self._samples) > _SAMPLES:
            del self._samples[1:-1:2]

    def _on_start(self, line: Line) -> None:
        self._mode, self._source = line.text("mode"), line.text("source")

    def _on_engine(self, line: Line) -> None:
        engine, step, reason = line.text("engine"), line.text("step"), line.text("reason")
        if step == "table" or not self._engine:
            self._engine, self._engine_reason = engine, reason
        elif engine not in self._engine.split("+"):
            # One step of the table is another engine's.
            self._engine, self._engine_reason = f"{self._engine}+{engine}", f"{self._engine_reason}; {step}: {reason}"

    def _on_plan(self, line: Line) -> None:
        # A batch of an earlier run may have gone before, without a plan in this log: its slices stay counted.
        seen = sum(not piece.tombstones for piece in self._pieces.values())
        self._slices_total = seen + (line.count("slices") or 0)
        estimated = line.count("estimated_rows")
        self._estimated = None if estimated is None else self._rows_read() + estimated
        self._step("read", line.at)

    def _on_slice_start(self, line: Line) -> None:
        piece = self._piece(line)
        piece.started = piece.started or line.at
        if not self._samples:
            self._sample(line.at)
        self._step("read", line.at)

    def _on_slice_progress(self, line: Line) -> None:
        piece = self._piece(line)
        if piece.ended is None:
            piece.started = piece.started or _before(line.at, line.seconds("seconds"))
            piece.rows = line.count("rows") or 0
            self._sample(line.at)
            self._step("read", line.at)

    def _on_slice_staged(self, line: Line) -> None:
        piece = self._piece(line)
        piece.seconds = line.seconds("seconds") or 0.0
        piece.started, piece.ended = piece.started or _before(line.at, piece.seconds), line.at
        piece.rows, piece.bytes = line.count("rows") or 0, line.count("bytes") or 0
        piece.connections = line.count("connections") or 0
        piece.reused, piece.tombstones = line.flag("reused"), line.flag("tombstones")
        if piece.tombstones:
            self._name_open_step("deletes")
        elif not self._samples:
            self._samples.append((piece.started, 0))
        self._sample(line.at)
        if self._slices_total is None or self._staged() >= self._slices_total:
            self._step("land" if self._mode == "full" else "publish", line.at)

    def _staged(self) -> int:
        return sum(piece.ended is not None for piece in self._pieces.values() if not piece.tombstones)

    def _on_deletes(self, _line: Line) -> None:
        self._name_open_step("deletes")

    def _name_open_step(self, name: str) -> None:
        last = self._steps[-1] if self._steps else None
        if last is not None and last.ended is None and last.name == "publish":
            self._steps[-1] = StepView(name, last.started, None)

    def _on_phase(self, line: Line) -> None:
        phase, status = line.text("phase"), line.text("status")
        if status == "success":
            self._watermark = line.text("watermark") or self._watermark
        if phase == "finalize" and status == "started":
            self._step("publish", line.at)

    def _on_published(self, line: Line) -> None:
        self._written += line.count("rows") or 0
        self._deleted += line.count("deleted") or 0
        self._split_publish(line)
        self._step("record", line.at)

    def _split_publish(self, line: Line) -> None:
        """Put the parts of a publish, which the line has the durations of, in place of the step as a whole."""
        parts = [(name, line.seconds(f"{name}_seconds") or 0.0) for name in _PARTS]
        whole = sum(seconds for _, seconds in parts)
        last = self._steps[-1] if self._steps else None
        if whole and last is not None and last.ended is None and last.name == "publish":
            del self._steps[-1]
        at = max(_before(line.at, whole), last.started if last is not None else line.at)
        for name, seconds in parts:
            ended = min(at + timedelta(seconds=seconds), line.at)
            if ended > at:
                self._close(at)
                self._steps.append(StepView(name, at, ended))
                at = ended

    def _close(self, at: datetime) -> None:
        if self._steps and self._steps[-1].ended is None:
            last = self._steps[-1]
            self._steps[-1] = StepView(last.name, last.started, max(at, last.started))

    def _on_done(self, line: Line) -> None:
        told = line.text("status")
        self._end(line, TableState(told) if told in _ENDS else TableState.DONE)
        self._read = line.count("rows_read")
        self._written, self._deleted = line.count("rows_written") or 0, line.count("rows_deleted") or 0
        self._duplicates, self._quarantined = line.count("duplicates") or 0, line.count("quarantined") or 0
        if self._slices_total is None:
            self._slices_total = line.count("slices")
        self._watermark = line.text("watermark") or self._watermark

    def _on_failed(self, line: Line) -> None:
        code = line.count("exit_code")
        self._failure = FailureView(
            error_type=line.text("error_type"),
            message=line.text("message"),
            remedy=line.text("remedy"),
            stack_hash=line.text("stack_hash"),
            exit_code=1 if code is None else code,
            stack=line.text("stack"),
        )
        self._end(line, TableState.INTERRUPTED if self._failure.exit_code >= _STOPPED else TableState.FAILED)

    def _end(self, line: Line, state: TableState) -> None:
        self._close(line.at)
        self._state, self._ended, self._seconds = state, line.at, line.seconds("seconds")
        self._started = self._started or _before(line.at, self._seconds)

    def _piece(self, line: Line) -> _Piece:
        ordinal = line.count("ordinal") or 0
        label = line.slice or f"?/{ordinal:05d}"
        if label not in self._pieces:
            self._pieces[label] = _Piece(label, ordinal)
        return self._pieces[label]


def _before(at: datetime, seconds: float | None) -> datetime:
    return at - timedelta(seconds=seconds or 0.0)


_ENDS: Final = ("done", "unchanged", "skipped")
_HANDLERS: Final[dict[str, Callable[[TableFold, Line], None]]] = {
    "table_start": TableFold._on_start,
    "engine_chosen": TableFold._on_engine,
    "plan": TableFold._on_plan,
    "slice_start": TableFold._on_slice_start,
    "slice_progress": TableFold._on_slice_progress,
    "slice_staged": TableFold._on_slice_staged,
    "deletes_found": TableFold._on_deletes,
    "phase_mark": TableFold._on_phase,
    "batch_published": TableFold._on_published,
    "table_done": TableFold._on_done,
    "table_failed": TableFold._on_failed,
}
# A warning may come before a table's turn (its snapshot differs); these say that somebody works on it.
_AT_WORK: Final = tuple(name for name in _HANDLERS if name not in ("table_done", "table_failed"))

"""The state as one run sees it: loaded once, marks written through, events collected."""

import threading
from collections.abc import Sequence
from datetime import date

from ingestion_runtime.events.buffer import TimeAwareBufferedSink
from ingestion_runtime.model.batch import Batch, TableKey
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.horizon import CursorSample
from ingestion_runtime.model.state import DayStatus, RunRecord, StateRecord, StateStore, TableHead


class BufferedState:
    """A run's view of the state store. Safe to use from several threads; a table belongs to one thread at a time.

    Marks, heads and batches are in the database before the call returns; the view changes only after that. Other
    events go through ``sink``, whose writer is the store's ``append_records``.
    """

    def __init__(self, store: StateStore, sink: TimeAwareBufferedSink[StateRecord]) -> None:
        self._store = store
        self._sink = sink
        self._load_date: date | None = None
        self._days: dict[TableKey, DayStatus] = {}
        self._heads: dict[TableKey, TableHead | None] = {}
        self._open: dict[TableKey, Batch | None] = {}
        self._lock = threading.Lock()  # never held while the database is asked

    def preload(self, keys: Sequence[TableKey], load_date: date) -> None:
        """Load heads, open batches and day status of all tables by a few queries.

        What cannot be read is left out, and stops its own table when that asks for it: the others go on.
        """
        with self._lock:
            if self._load_date != load_date:
                self._days.clear()
            self._load_date = load_date
        for load in (self._load_days, self._load_heads, self._load_open):
            try:
                load(keys)
            except TerminalError:
                continue

    def refresh(self, key: TableKey) -> None:
        """Forget what is known of a table. Call it once its lease is held: until then another run may have moved it."""
        with self._lock:
            self._days.pop(key, None)
            self._heads.pop(key, None)
            self._open.pop(key, None)

    def day(self, key: TableKey) -> DayStatus:
        """Return which phases of the load date succeeded."""
        with self._lock:
            known = self._days.get(key)
        if known is not None:
            return known
        self._load_days([key])
        with self._lock:
            return self._days[key]

    def head(self, key: TableKey) -> TableHead | None:
        """Return the state's copy of the target's head; raises TerminalError when it cannot be read."""
        with self._lock:
            known = key in self._heads
        if not known:
            self._load_heads([key])
        with self._lock:
            return self._heads[key]

    def known_tables(self, catalog: str) -> tuple[TableKey, ...]:
        """Return the targets in a catalog that were ever worked on."""
        return self._store.known_tables(catalog)

    def open_batch(self, key: TableKey) -> Batch | None:
        """Return the batch that an earlier run, or this one, has not closed."""
        with self._lock:
            known = key in self._open
        if not known:
            self._load_open([key])
        with self._lock:
            return self._open[key]

    def last_sequence(self, key: TableKey) -> int:
        """Return the highest sequence that was ever published for the table; 0 before the first."""
        return self._store.last_sequence(key)

    def samples(self, key: TableKey) -> tuple[CursorSample, ...]:
        """Return the cursor samples kept for a table, oldest first."""
        return self._store.load_samples(key)

    def keep_samples(self, key: TableKey, samples: Sequence[CursorSample]) -> None:
        """Keep exactly these samples of a table."""
        self._store.keep_samples(key, samples)

    def begin_run(self, record: RunRecord) -> None:
        """Record a run that begins."""
        self._store.begin_run(record)

    def end_run(self, run_id: str, exit_code: int) -> None:
        """Record how a run ended."""
        self._store.end_run(run_id, exit_code)

    def mark(self, record: StateRecord) -> None:
        """Write a phase mark through."""
        self._store.append_records([record])
        with self._lock:
            # Read again when asked for: which mark counts is the store's decision, by batch sequence.
            self._days.pop(record.key, None)

    def record_head(self, head: TableHead) -> None:
        """Write a head through; one with an older sequence never becomes the table's."""
        self._store.append_head(head)
        self._remember_head(head)

    def _remember_head(self, head: TableHead) -> None:
        with self._lock:
            known = self._heads.get(head.key)
            # A key never loaded stays so: the database may hold a newer head than this one.
            if head.key in self._heads and (known is None or head.receipt.sequence >= known.receipt.sequence):
                self._heads[head.key] = head

    def begin_batch(self, batch: Batch) -> None:
        """Persist an open batch."""
        self._store.open_batch(batch)
        with self._lock:
            self._open[batch.key] = batch

    def close_batch(self, batch: Batch, outcome: str) -> None:
        """Mark a batch ``published``, ``unchanged`` or ``abandoned``."""
        self._store.close_batch(batch, outcome)
        with self._lock:
            self._open[batch.key] = None

    def settle_batch(self, batch: Batch, outcome: str, head: TableHead | None, records: Sequence[StateRecord]) -> None:
        """Record how a batch ended, all or nothing: its head (None: the table's stays), phase marks, and its end."""
        self._store.settle_batch(batch, outcome, head, records)
        with self._lock:
            self._open[batch.key] = None
            self._days.pop(batch.key, None)
        if head is not None:
            self._remember_head(head)

    def record_event(self, record: StateRecord) -> None:
        """Keep an event until enough have come together or it has waited long enough."""
        self._sink.add(record)

    def tick(self) -> None:
        """Write the events that have waited long enough."""
        self._sink.tick()

    def flush(self) -> None:
        """Write all events now; raises what the store raises."""
        self._sink.flush()

    def close(self) -> None:
        """Write all events and accept no more. The store stays open: it belongs to who made it."""
        self._sink.close()

    def _load_days(self, keys: Sequence[TableKey]) -> None:
        if self._load_date is None:
            raise RuntimeError("preload tells the load date first")
        days = self._store.load_days(keys, self._load_date)
        with self._lock:
            self._days.update({key: days.get(key, DayStatus()) for key in keys})

    def _load_heads(self, keys: Sequence[TableKey]) -> None:
        heads = self._store.load_heads(keys)
        with self._lock:
            self._heads.update({key: heads.get(key) for key in keys})

    def _load_open(self, keys: Sequence[TableKey]) -> None:
        batches = self._store.load_open_batches(keys)
        with self._lock:
            self._open.update({key: batches.get(key) for key in keys})


class LookedAtState(BufferedState):
    """The state for whoever only looks: what a strategy would remember of its planning is forgotten."""

    def __init__(self, store: StateStore) -> None:
        super().__init__(store, TimeAwareBufferedSink(store.append_records))

    def keep_samples(self, key: TableKey, samples: Sequence[CursorSample]) -> None:
        """Forget them: a run takes its own."""

    def foresee_day(self, key: TableKey, day: DayStatus) -> None:
        """Let a table's day be what a run would make of it before its strategy asks."""
        with self._lock:
            self._days[key] = day

"""The buffered sink: by size, by age, and what happens when writing fails."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from ingestion_runtime.events.buffer import TimeAwareBufferedSink


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Target:
    """Where the items go; fails while ``error`` is set."""

    error: Exception | None = None
    tries: int = 0
    writes: list[tuple[int, ...]] = field(default_factory=list)

    def __call__(self, items: Sequence[int]) -> None:
        self.tries += 1
        if self.error is not None:
            raise self.error
        self.writes.append(tuple(items))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def target() -> Target:
    return Target()


@pytest.fixture
def sink(target: Target, clock: Clock) -> TimeAwareBufferedSink[int]:
    return TimeAwareBufferedSink(target, max_items=3, max_age_seconds=10, clock=clock, capacity=7)


def test_items_are_written_together_when_there_are_enough(sink: TimeAwareBufferedSink[int], target: Target) -> None:
    """Three here, in their order."""
    for item in range(7):
        sink.add(item)
    assert target.writes == [(0, 1, 2), (3, 4, 5)]
    assert len(sink) == 1


def test_items_are_written_when_the_oldest_is_too_old(
    sink: TimeAwareBufferedSink[int], target: Target, clock: Clock
) -> None:
    """Age counts from the first item since the last write, and is looked at by ``add`` and ``tick``."""
    clock.now = 5
    sink.add(1)
    clock.now = 14.9
    sink.tick()
    assert target.writes == []
    clock.now = 15
    sink.tick()
    assert target.writes == [(1,)]
    clock.now = 30
    sink.tick()
    sink.add(2)
    assert target.writes == [(1,)]
    clock.now = 40
    sink.add(3)
    assert target.writes == [(1,), (2, 3)]


def test_a_failed_write_keeps_the_items_for_the_next_one(sink: TimeAwareBufferedSink[int], target: Target) -> None:
    """``add`` does not raise; ``flush`` does; nothing is lost and nothing written twice."""
    target.error = OSError("full")
    for item in range(3):
        sink.add(item)
    assert (sink.failures, sink.last_error) == (1, "OSError: full")
    with pytest.raises(OSError, match="full"):
        sink.flush()
    target.error = None
    sink.flush()
    sink.flush()
    assert target.writes == [(0, 1, 2)]


def test_a_failing_target_is_not_tried_at_every_item(sink: TimeAwareBufferedSink[int], target: Target, clock: Clock) -> None:
    """Each try may cost a timeout: the next one waits for as many items, or as long, as a write would."""
    target.error = OSError("full")
    for item in range(5):
        sink.add(item)
    assert target.tries == 1
    sink.add(5)
    assert target.tries == 2
    clock.now = 10
    sink.tick()
    assert target.tries == 3


def test_memory_is_bounded_and_what_is_dropped_is_counted(sink: TimeAwareBufferedSink[int], target: Target) -> None:
    """The oldest are kept: they say how the trouble began."""
    target.error = OSError("full")
    for item in range(10):
        sink.add(item)
    assert (len(sink), sink.dropped) == (7, 3)
    target.error = None
    sink.flush()
    assert target.writes == [tuple(range(7))]


def test_closing_writes_the_rest_and_accepts_no_more(sink: TimeAwareBufferedSink[int], target: Target) -> None:
    """A close that failed may be repeated."""
    sink.add(1)
    target.error = OSError("full")
    with pytest.raises(OSError, match="full"):
        sink.close()
    target.error = None
    sink.close()
    assert target.writes == [(1,)]
    with pytest.raises(RuntimeError):
        sink.add(2)


def test_many_threads_lose_nothing_and_write_nothing_twice(target: Target) -> None:
    """Each thread's items stay in order."""
    sink = TimeAwareBufferedSink(target, max_items=7)

    def fill(start: int) -> None:
        for item in range(start, start + 500):
            sink.add(item)

    threads = [threading.Thread(target=fill, args=(number * 1000,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sink.close()
    written = [item for write in target.writes for item in write]
    assert sorted(written) == [n * 1000 + i for n in range(4) for i in range(500)]
    for number in range(4):
        own = [item for item in written if item // 1000 == number]
        assert own == sorted(own)

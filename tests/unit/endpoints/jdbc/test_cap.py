"""Who waits for a connection, and for how long."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from ingestion_runtime.endpoints.jdbc.cap import Gate


class Asking:
    """Threads that reserve connections; each holds them until it is told to let go."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.got: list[tuple[str, int]] = []
        self._changed = threading.Condition()
        self._pool = ThreadPoolExecutor(16)

    def ask(self, name: str, least: int, most: int | None = None) -> Callable[[], None]:
        """Have a thread reserve; returns when it waits or has got them. What is returned lets go, and ends the thread."""
        enough = threading.Event()
        before = len(self.gate._waiting) + len(self.got)

        def hold() -> None:
            with self.gate.reserve(least, most or least) as reserved:
                with self._changed:
                    self.got.append((name, reserved.count))
                    self._changed.notify_all()
                enough.wait(30)

        ended = self._pool.submit(hold)
        while len(self.gate._waiting) + len(self.got) == before:
            pass

        def let_go() -> None:
            enough.set()
            ended.result(30)

        return let_go

    def wait_for(self, *names: str) -> list[str]:
        """Return who got something, once these have."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.got) >= len(names), 30)
            return [name for name, _ in self.got]


def test_no_more_are_given_than_there_are() -> None:
    """Sixteen threads, three connections: never more than three at once, always that many, and everybody gets one."""
    gate, lock, three = Gate(3), threading.Lock(), threading.Barrier(3)
    open_now, seen = 0, []

    def work(_: int) -> None:
        nonlocal open_now
        with gate.reserve(1, 1):
            with lock:
                open_now += 1
                seen.append(open_now)
            three.wait(30)
            with lock:
                open_now -= 1

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(300)))
    assert (max(seen), len(seen)) == (3, 300)


def test_several_are_given_at_once_or_not_at_all() -> None:
    """Two reads that each held two of four and waited for a third would wait for ever."""
    asking = Asking(Gate(4))
    first, second = asking.ask("first", 3), asking.ask("second", 3)
    assert asking.wait_for("first") == ["first"]
    first()
    assert asking.wait_for("first", "second") == ["first", "second"]
    second()


def test_nobody_is_passed_over() -> None:
    """A small question that comes later waits behind a large read, which else would never find enough of them free."""
    asking = Asking(Gate(3))
    holding = asking.ask("holding", 1)
    large, small = asking.ask("large", 3), asking.ask("small", 1)
    assert asking.wait_for("holding") == ["holding"]
    holding()
    asking.wait_for("holding", "large")
    large()
    assert asking.wait_for("holding", "large", "small") == ["holding", "large", "small"]
    small()


def test_more_than_the_least_is_given_where_it_is_free() -> None:
    """Up to what is wanted; what is given up early others may have."""
    gate = Gate(5)
    with gate.reserve(1, 3) as reserved:
        assert reserved.count == 3
        reserved.keep(2)
        reserved.keep(9)
        assert reserved.count == 2
        asking = Asking(gate)
        other = asking.ask("other", 3, 9)
        assert asking.got == [("other", 3)]
        other()
    with gate.reserve(5, 9) as reserved:
        assert reserved.count == 5


def test_what_a_thread_holds_is_given_back_when_it_fails() -> None:
    """Or the next one would wait for ever."""
    gate = Gate(1)

    def fail() -> None:
        with gate.reserve(1, 1):
            raise ValueError("failed")

    for _ in range(3):
        with pytest.raises(ValueError, match="failed"):
            fail()


def test_a_thread_that_holds_some_must_not_ask_for_more() -> None:
    """It would wait for itself: that is a mistake in the program, and it is told at once."""
    gate = Gate(5)
    with gate.reserve(1, 1), pytest.raises(RuntimeError, match="asks for more"), gate.reserve(1, 1):
        pass
    with gate.reserve(5, 5) as reserved:
        assert reserved.count == 5


def test_without_a_number_nobody_waits() -> None:
    """And a thread may ask as often as it likes."""
    gate = Gate(None)
    with gate.reserve(1, 1), gate.reserve(1, 6) as reserved:
        assert reserved.count == 6

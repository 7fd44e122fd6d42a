"""One look for several tables that ask at about the same time."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from ingestion_runtime.endpoints.jdbc.dialects.shared_look import SharedLook

WAIT = 30
CALLERS = 16


@dataclass
class Moments:
    """A clock that counts up: what comes later has the higher number."""

    clock: "itertools.count[int]" = field(default_factory=itertools.count)
    began: list[int] = field(default_factory=list)

    def look(self) -> int:
        """Look, and return when the look began."""
        self.began.append(next(self.clock))
        return self.began[-1]


def test_who_asks_alone_looks_himself() -> None:
    looks: SharedLook[int] = SharedLook()
    moments = Moments()
    assert [looks.take("here", moments.look) for _ in range(3)] == [0, 1, 2]


def test_nobody_is_given_a_look_that_began_before_he_asked() -> None:
    looks: SharedLook[int] = SharedLook()
    moments = Moments()

    def call(_: int) -> bool:
        asked = next(moments.clock)
        return looks.take("here", moments.look) > asked

    with ThreadPoolExecutor(CALLERS) as threads:
        assert all(threads.map(call, range(5_000)))


def test_those_who_wait_for_their_turn_share_one_look() -> None:
    looks: SharedLook[int] = SharedLook()
    moments = Moments()
    asked = threading.Semaphore(0)

    def first_look() -> int:
        for _ in range(CALLERS):
            assert asked.acquire(timeout=WAIT)  # all others ask while it is under way
        return moments.look()

    def call(_: int) -> int:
        asked.release()
        return looks.take("here", moments.look)

    with ThreadPoolExecutor(CALLERS + 1) as threads:
        first = threads.submit(looks.take, "here", first_look)
        found = list(threads.map(call, range(CALLERS)))
    # One for all others; a thread that was held up between asking and being heard may have needed one more.
    assert len(moments.began) < CALLERS
    assert first.result() not in found


def test_two_servers_are_looked_at_each() -> None:
    looks: SharedLook[str] = SharedLook()
    places = ["here", "there"] * 20
    with ThreadPoolExecutor(CALLERS) as threads:
        assert list(threads.map(lambda place: looks.take(place, lambda: place), places)) == places


def test_a_failed_look_is_the_callers_alone() -> None:
    looks: SharedLook[int] = SharedLook()
    asked = threading.Event()

    def fail() -> int:
        assert asked.wait(WAIT)
        raise ConnectionResetError("the server is gone")

    def call() -> int:
        asked.set()
        return looks.take("here", lambda: 7)

    with ThreadPoolExecutor(2) as threads:
        failed, other = threads.submit(looks.take, "here", fail), threads.submit(call)
        with pytest.raises(ConnectionResetError):
            failed.result(WAIT)
        assert other.result(WAIT) == 7

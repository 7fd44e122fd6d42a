"""Connections that stay open between uses."""

import socket
import threading
from collections.abc import Iterator

import pytest

from ingestion_runtime.endpoints.jdbc.pool import ConnectionPool, is_quiet


class Line:
    """A connection over a real socket pair; ``server`` is the other end."""

    def __init__(self) -> None:
        self.mine, self.server = socket.socketpair()
        self.closed = False

    def close(self) -> None:
        self.mine.close()
        self.closed = True


def take(pool: ConnectionPool) -> Line:
    return pool.take_idle() or pool.open()


@pytest.fixture
def opened() -> Iterator[list[Line]]:
    lines: list[Line] = []
    yield lines
    for line in lines:
        line.mine.close()
        line.server.close()


@pytest.fixture
def pool(opened: list[Line]) -> ConnectionPool:
    def open_one() -> Line:
        opened.append(Line())
        return opened[-1]

    return ConnectionPool(open_one, lambda line: is_quiet(line.mine.fileno()))


def test_a_connection_is_opened_once_and_lent_again(pool: ConnectionPool, opened: list[Line]) -> None:
    for _ in range(3):
        pool.give_back(take(pool))
    assert len(opened) == 1


def test_as_many_are_kept_as_were_lent_at_once(pool: ConnectionPool, opened: list[Line]) -> None:
    for _ in range(2):
        for line in [take(pool) for _ in range(5)]:
            pool.give_back(line)
    assert len(opened) == 5


def test_one_that_the_server_has_left_is_replaced(pool: ConnectionPool, opened: list[Line]) -> None:
    pool.give_back(take(pool))
    opened[0].server.close()
    assert take(pool) is opened[1]
    assert opened[0].closed


def test_one_on_which_the_server_has_said_something_is_replaced(pool: ConnectionPool, opened: list[Line]) -> None:
    """What a server says unasked is most often its farewell; the answer to the next question would come after it."""
    pool.give_back(take(pool))
    opened[0].server.send(b"terminating connection due to administrator command")
    assert take(pool) is opened[1]


def test_a_closed_pool_closes_what_comes_back(pool: ConnectionPool, opened: list[Line]) -> None:
    lent, idle = take(pool), take(pool)
    pool.give_back(idle)
    pool.close()
    assert [line.closed for line in (lent, idle)] == [False, True]
    pool.give_back(lent)
    assert lent.closed
    assert len(opened) == 2


def test_a_failed_opening_is_the_callers(opened: list[Line]) -> None:
    def refuse() -> Line:
        raise ConnectionRefusedError("nobody listens")

    with pytest.raises(ConnectionRefusedError):
        take(ConnectionPool(refuse, lambda _: True))


def test_no_two_threads_ever_share_one(pool: ConnectionPool, opened: list[Line]) -> None:
    busy: set[int] = set()
    shared: list[int] = []

    def work() -> None:
        for _ in range(500):
            line = take(pool)
            if id(line) in busy:
                shared.append(id(line))
            busy.add(id(line))
            busy.discard(id(line))
            pool.give_back(line)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not shared
    assert len(opened) <= 8

"""Transactions that share a commit."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text

from ingestion_runtime.state.group_commit import GroupCommit
from ingestion_runtime.state.sqlite import sqlite_engine


class Commits:
    """Transactions on a real file that can be held back, and made to fail."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.made = 0
        self.broken = False

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        with self.engine.begin() as connection:
            yield connection
            if self.broken:
                raise OSError("no space left")
        self.made += 1


@pytest.fixture
def commits(tmp_path: Path) -> Iterator[Commits]:
    engine = sqlite_engine(tmp_path / "t.db")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (n INTEGER PRIMARY KEY)"))
    yield Commits(engine)
    engine.dispose()


def insert(number: int) -> object:
    return lambda connection: connection.execute(text(f"INSERT INTO t VALUES ({number})")) and number


def numbers(commits: Commits) -> list[int]:
    with commits.engine.begin() as connection:
        return list(connection.execute(text("SELECT n FROM t ORDER BY n")).scalars())


def write_together(group: GroupCommit, works: list[object]) -> list[object]:
    """Let the works wait behind one that holds the disk, and return what came of each, in order."""
    held, entered = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        entered.set()
        held.wait(10)

    ended: dict[int, object] = {}

    def run(place: int, work: object) -> None:
        try:
            ended[place] = group.run(work)  # type: ignore[arg-type]
        except Exception as error:  # noqa: BLE001 - the outcome is what is asked for
            ended[place] = error

    first = threading.Thread(target=run, args=(-1, slow))
    first.start()
    entered.wait(10)
    threads = [threading.Thread(target=run, args=item) for item in enumerate(works)]
    for thread in threads:
        thread.start()
    while len(group._waiting) < len(works):
        threading.Event().wait(0.001)
    held.set()
    for thread in (first, *threads):
        thread.join()
    return [ended[place] for place in range(len(works))]


def test_works_that_wait_share_one_commit(commits: Commits) -> None:
    group = GroupCommit(commits.begin)
    assert write_together(group, [insert(number) for number in range(6)]) == list(range(6))
    assert numbers(commits) == list(range(6))
    assert commits.made == 2  # the one that held the disk, and one for all others


def test_a_work_that_fails_undoes_itself_alone(commits: Commits) -> None:
    def half(connection: Connection) -> None:
        connection.execute(text("INSERT INTO t VALUES (100)"))
        raise ValueError("second thoughts")

    group = GroupCommit(commits.begin)
    ended = write_together(group, [insert(1), half, insert(2)])
    assert isinstance(ended[1], ValueError)
    assert [ended[0], ended[2]] == [1, 2]
    assert numbers(commits) == [1, 2]


def test_a_full_disk_takes_no_work_with_it_that_is_called_committed(commits: Commits) -> None:
    """SQLite then gives up the whole transaction, not the last statement: the others' rows would be gone unnoticed."""

    def too_much(connection: Connection) -> None:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS big (x TEXT)")
        connection.exec_driver_sql("PRAGMA max_page_count=4")
        try:
            connection.execute(text("INSERT INTO big VALUES (:x)"), {"x": "y" * 200_000})
        finally:
            connection.exec_driver_sql("PRAGMA max_page_count=1000000")

    group = GroupCommit(commits.begin)
    ended = write_together(group, [insert(1), too_much, insert(2)])
    assert [ended[0], ended[2]] == [1, 2]
    assert "full" in str(ended[1])
    assert numbers(commits) == [1, 2]


def test_a_commit_that_fails_is_everybodys_failure(commits: Commits) -> None:
    """Nobody may believe that its work is on disk."""
    group = GroupCommit(commits.begin)
    commits.broken = True
    ended = write_together(group, [insert(1), insert(2)])
    assert all(isinstance(error, OSError) for error in ended)
    assert numbers(commits) == []


def test_the_next_work_is_done_after_a_failure(commits: Commits) -> None:
    group = GroupCommit(commits.begin)
    commits.broken = True
    with pytest.raises(OSError, match="no space"):
        group.run(insert(1))  # type: ignore[arg-type]
    commits.broken = False
    assert group.run(insert(1)) == 1  # type: ignore[arg-type]
    assert numbers(commits) == [1]

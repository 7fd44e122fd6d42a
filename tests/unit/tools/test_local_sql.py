"""SQL in this process."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingestion_runtime.model.errors import OutgrownError, TransientError
from ingestion_runtime.tools.local_sql import LocalSql, file_list, quote, text

WIDE = "SELECT count(*) FROM (SELECT DISTINCT repeat(md5(range::VARCHAR), 8) FROM range(600000))"


def test_what_does_not_fit_into_memory_goes_to_the_disk_and_leaves_nothing_there(tmp_path: Path) -> None:
    """150 MB of distinct texts, counted within 64 MiB."""
    with LocalSql(64, str(tmp_path)).session() as sql:
        assert sql.execute(WIDE).fetchall() == [(600_000,)]
        assert list(tmp_path.glob("_sql-*/*"))
    assert not list(tmp_path.iterdir())


def test_a_disk_without_room_is_worth_another_try(tmp_path: Path) -> None:
    """It says which directory it is, and leaves the disk as it was."""

    def work() -> None:
        with LocalSql(64, str(tmp_path)).session() as sql:
            sql.execute("SET max_temp_directory_size = '1MB'")
            sql.execute(WIDE)

    with pytest.raises(TransientError, match=rf"disk is full: .*{tmp_path}.*Make room"):
        work()
    assert not list(tmp_path.iterdir())


def test_work_that_needs_more_memory_ends_with_the_remedy(tmp_path: Path) -> None:
    """One value of 200 MB cannot be put on the disk in parts."""

    def work() -> None:
        with LocalSql(64, str(tmp_path)).session() as sql:
            sql.execute("SELECT length(string_agg(repeat('x', 1000), '')) FROM range(200000)")

    with pytest.raises(OutgrownError, match=r"64 MiB.*Raise runtime\.memory_mb"):
        work()
    assert not list(tmp_path.iterdir())


KILLED = """
import os, signal, sys
from ingestion_runtime.tools.local_sql import LocalSql
with LocalSql(64, sys.argv[1]).session() as sql:
    sql.execute(sys.argv[2])
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_on_the_disk_goes_with_the_next_session(tmp_path: Path) -> None:
    """And nothing of a session that is alive."""
    with LocalSql(64, str(tmp_path)).session() as alive:
        alive.execute("CREATE TABLE kept AS SELECT repeat(md5(range::VARCHAR), 8) AS t FROM range(600000)")
        (own,) = tmp_path.iterdir()
        ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), WIDE], check=False)
        assert ended.returncode == -signal.SIGKILL
        assert any(any(left.iterdir()) for left in tmp_path.iterdir() if left != own)

        with LocalSql(64, str(tmp_path)).session():
            assert len(list(tmp_path.iterdir())) == 2

        assert list(tmp_path.iterdir()) == [own]
        assert alive.execute("SELECT count(DISTINCT t) FROM kept").fetchall() == [(600_000,)]


def test_names_and_texts_are_quoted() -> None:
    """Whatever they hold."""
    hostile = "a\"b'c\\; DROP--\n"
    with LocalSql(64, "/nowhere").session() as sql:
        named = sql.execute(f"SELECT {text(hostile)} AS {quote(hostile)}")
        assert [column[0] for column in named.description or ()] == [hostile]
        assert named.fetchall() == [(hostile,)]


def test_files_are_read_by_their_names_and_not_by_patterns(tmp_path: Path) -> None:
    """A partition of the value * lies in a folder that, as a pattern, is every partition's."""
    names = ["part=*", "part=a", "part=[ab]", "part=it's ?", "part=it's x"]
    for name in names:
        (tmp_path / name).mkdir()
        pq.write_table(pa.table({"name": [name]}), tmp_path / name / "0.parquet")

    with LocalSql(64, str(tmp_path)).session() as sql:
        for name in names:
            listed = file_list([f"{tmp_path}/{name}/0.parquet"])
            assert sql.execute(f"SELECT name FROM read_parquet({listed})").fetchall() == [(name,)]


def test_sessions_that_open_at_once_do_not_take_each_other_for_abandoned(tmp_path: Path) -> None:
    """Each cleans up behind dead processes while the others make their folders."""

    def work(_: int) -> None:
        with LocalSql(64, str(tmp_path)).session():
            pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(400)))
    assert not list(tmp_path.iterdir())

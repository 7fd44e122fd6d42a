"""SQL in this process."""

from pathlib import Path

import pytest

from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.tools.local_sql import LocalSql, quote, text

WIDE = "SELECT count(*) FROM (SELECT DISTINCT repeat(md5(range::VARCHAR), 8) FROM range(600000))"


def test_what_does_not_fit_into_memory_goes_to_the_disk_and_leaves_nothing_there(tmp_path: Path) -> None:
    """150 MB of distinct texts, counted within 64 MiB."""
    with LocalSql(64, str(tmp_path)).session() as sql:
        assert sql.execute(WIDE).fetchall() == [(600_000,)]
        assert list(tmp_path.glob("_sql-*/*"))
    assert not list(tmp_path.iterdir())


def test_work_that_fits_nowhere_ends_with_the_remedy(tmp_path: Path) -> None:
    """As one of our errors, and with the disk as it was."""

    def work() -> None:
        with LocalSql(64, str(tmp_path)).session() as sql:
            sql.execute("SET max_temp_directory_size = '1MB'")
            sql.execute(WIDE)

    with pytest.raises(TerminalError, match=r"64 MiB.*raise runtime\.memory_mb"):
        work()
    assert not list(tmp_path.iterdir())


def test_names_and_texts_are_quoted() -> None:
    """Whatever they hold."""
    hostile = "a\"b'c\\; DROP--\n"
    with LocalSql(64, "/nowhere").session() as sql:
        named = sql.execute(f"SELECT {text(hostile)} AS {quote(hostile)}")
        assert [column[0] for column in named.description or ()] == [hostile]
        assert named.fetchall() == [(hostile,)]

"""A real spark-submit: the run works in its JVM, under its master, and ends with the run's own exit code."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pyspark
import pytest

from ingestion_runtime.tools.java import require_java
from tests.lake import JVM, PROJECT, Lake

SHOP = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, at DATETIME);
INSERT INTO orders VALUES (1, '2024-03-31 02:30:00'), (2, '2024-07-01 12:00:00');
CREATE TABLE broken (id DECIMAL(4,2));
INSERT INTO broken VALUES ('much');
"""


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Two tables for Spark, one of which cannot be read; the configuration names a master that is not there."""
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.executescript(SHOP)
    tables: list[dict[str, Any]] = [{"schema": "shop", "table": name, "mode": "full"} for name in ("orders", "broken")]
    lake = Lake(tmp_path, {"dialect": "sqlite", "database": "shop.db"}, tables)
    lake.document["runtime"] |= {"engine": "spark"}
    lake.document["runtime"]["spark"] = {"master": "spark://127.0.0.1:9", "conf": {"spark.sql.shuffle.partitions": "2"}}
    lake.save()
    return lake


def submit(lake: Lake, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        *(str(Path(pyspark.__file__).parent / "bin" / "spark-submit"), "--master", "local[2]"),
        *("--driver-java-options", f"{JVM} -Duser.timezone=Asia/Tokyo", "--conf", "spark.ui.showConsoleProgress=true"),
        *(str(PROJECT / "ingestion.py"), "--config", str(lake.path), *arguments),
    ]
    environment = {
        **os.environ,
        "JAVA_HOME": str(require_java().parent.parent),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


def test_a_run_works_in_the_jvm_of_spark_submit(lake: Lake) -> None:
    """Whatever master the configuration names; the jars are added to it, times do not move with its zone, and the exit
    code arrives. No other JVM is started: it would have a log."""
    ended = submit(lake)

    said = ended.stdout + ended.stderr
    assert ended.returncode == 1, said
    assert "1 of 2 tables complete" in said
    assert sorted((row["id"], row["at"]) for row in lake.rows("shop.orders")) == [
        (1, datetime(2024, 3, 31, 2, 30)),  # noqa: DTZ001 - a wall clock, in no zone
        (2, datetime(2024, 7, 1, 12)),  # noqa: DTZ001
    ]
    chosen = {event["engine"] for event in lake.events() if event["event"] == "engine_chosen"}
    assert chosen == {"spark"}
    assert list((lake.root / "logs").glob("spark-*.log")) == []

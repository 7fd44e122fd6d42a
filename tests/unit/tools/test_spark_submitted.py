"""What a program under spark-submit goes by. That it works is shown with a real spark-submit, in tests/integration."""

import os
import subprocess
import sys
import zipfile

import pytest

from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.tools.jars import JarCache, default_cache_directory, pinned_jars
from ingestion_runtime.tools.spark_submitted import GATEWAY_VARIABLE, KEY_CLASSES, Submission, find_submission


def test_every_pinned_jar_is_known_by_a_class_of_its_own() -> None:
    """Otherwise a jar that was not shipped would go unnoticed until a table needs it."""
    jars = pinned_jars()
    paths = JarCache(default_cache_directory()).ensure(jars)

    assert set(KEY_CLASSES) == {jar.artifact for jar in jars}
    for jar, path in zip(jars, paths, strict=True):
        with zipfile.ZipFile(path) as archive:
            assert KEY_CLASSES[jar.artifact] in archive.namelist()


@pytest.mark.parametrize(
    ("master", "mode", "waits"),
    [
        ("yarn", "cluster", True),
        ("yarn", "client", False),
        ("k8s://https://h:1", "cluster", False),
        ("local[2]", "client", False),
    ],
)
def test_only_yarn_in_cluster_mode_waits_for_spark(master: str, mode: str, waits: bool) -> None:
    """There a run that never needs Spark would be reported as failed."""
    assert Submission(master, mode).waits_for_spark is waits


def test_started_in_another_way_there_is_no_submission() -> None:
    assert find_submission({}) is None


def test_a_submission_that_is_gone_is_told() -> None:
    """A shell that was opened from one still has its variables. In a process of its own: this one may have a JVM."""
    program = f"import os; from {find_submission.__module__} import find_submission; find_submission(os.environ)"
    gone = {**os.environ, GATEWAY_VARIABLE: "1", "PYSPARK_GATEWAY_SECRET": "x"}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=gone, capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode != 0
    assert f"{ConfigError.__name__}: The Spark that {GATEWAY_VARIABLE} names does not answer." in ended.stderr

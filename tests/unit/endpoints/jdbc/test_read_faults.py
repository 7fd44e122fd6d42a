"""What a failed read means. The words are Spark's own, as printed by 4.1 and by the drivers; real failures are among the
integration tests, but for a lost executor, which takes a cluster."""

import pytest

from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialects import dialect_for
from ingestion_runtime.endpoints.jdbc.faults import translate_java
from ingestion_runtime.model.connection import ConnectionSpec
from ingestion_runtime.model.errors import IngestionError, OversizedReadError, TransientError

JOB = "org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 0.0 failed 4 times: "
LOST = JOB + "ExecutorLostFailure (executor 1 exited caused by one of the running tasks) Reason: "


class Throwable:
    """A Java throwable as py4j shows it, of a class that is no SQLException."""

    def __init__(self, text: str) -> None:
        self._text = text

    def toString(self) -> str:  # noqa: N802 - Java's name
        return self._text

    def getCause(self) -> None:  # noqa: N802 - Java's name
        return None

    def getClass(self) -> "Throwable":  # noqa: N802 - Java's name
        return self

    def getName(self) -> str:  # noqa: N802 - Java's name
        return "org.apache.spark.SparkException"

    def getSuperclass(self) -> None:  # noqa: N802 - Java's name
        return None


def meaning(text: str) -> IngestionError | None:
    class RaisedError(Exception):
        java_exception = Throwable(text)

    spec = ConnectionSpec("shop", "postgresql", "shop", host="db")
    return translate_java(RaisedError(), Database(spec, dialect_for("postgresql")))


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        (JOB + "Lost task 0.0 (TID 7) (10.0.0.2 executor 1): java.lang.OutOfMemoryError: Java heap space", "memory"),
        (JOB + "x\nCaused by: org.apache.spark.memory.SparkOutOfMemoryError: Unable to acquire 65536 bytes", "memory"),
        (LOST + "Command exited with code 52", "memory"),
        (LOST + "Container killed by YARN for exceeding memory limits. 5.5 GB of 5.5 GB physical memory used.", "memory"),
        (JOB + "x\nCaused by: java.net.SocketTimeoutException: Read timed out", "socketTimeout"),
    ],
)
def test_memory_and_silence_are_matters_of_size(text: str, remedy: str) -> None:
    error = meaning(text)
    assert isinstance(error, OversizedReadError)
    assert remedy in error.remedy
    assert len(error.message) < 600


@pytest.mark.parametrize(
    "text",
    [
        JOB + "java.io.IOException: No space left on device",
        JOB + "ExecutorLostFailure (executor 1 exited unrelated to the running tasks) Reason: Worker shutting down",
        "org.apache.spark.SparkException: Job 0 cancelled part of cancelled job group",
        JOB + "x\nCaused by: java.net.SocketTimeoutException: Connect timed out",
    ],
)
def test_other_troubles_are_not(text: str) -> None:
    """Smaller reads would fail as well."""
    error = meaning(text)
    assert not isinstance(error, OversizedReadError)
    if "space" in text or "cancelled" in text:
        assert isinstance(error, TransientError)

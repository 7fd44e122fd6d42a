"""Errors of a read that Spark ran: the driver's own words out of a Java stack, as errors of our tree."""

import re
from collections.abc import Iterator
from typing import Any

from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialect import Fault
from ingestion_runtime.model.errors import IngestionError, OversizedReadError, TerminalError, TransientError
from ingestion_runtime.tools.hdfs import storage_fault

_READABLE = 400
_DRIVER_WORDS = re.compile(r"(?:PSQLException|SQLite\w*Exception|\bSQL\w*Exception): ([^\n]+)")
_OUTSIDE: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"No space left on device"), "Make room on the disk, then run the same command again."),
    (re.compile(r"cancelled|SparkContext was shut down|stopped SparkContext"), "Run the same command again."),
)

# Memory, silence of the server, an executor that was ended for its memory. First of all: what a driver says of its own
# lost memory or of a reader that no longer waits is a broken connection.
_OVERSIZED: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"OutOfMemoryError|ExecutorLostFailure.*(?:code (?:52|137)\b|memory limits)"),
        "Give spark.driver_memory more (on a cluster spark.executor.memory), or lower fetch_size or"
        " scd1_slicing.target_rows_per_slice.",
    ),
    (re.compile(r"SocketTimeoutException: Read timed out"), "Raise socketTimeout in jdbc_properties, or leave it out."),
)


def translate_java(error: Exception, database: Database) -> IngestionError | None:
    """Return what a failed read means; None for an error that did not come out of the JVM."""
    origin = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    if origin is None:
        return None
    chain = list(_causes(origin))
    everything = "\n".join(str(cause.toString()) for cause in chain)
    for pattern, remedy in _OVERSIZED:
        line = next(filter(pattern.search, everything.splitlines()), None)
        if line is not None:
            text = f"{database.place}: the read was too large: {_clean(line, database)}"
            return OversizedReadError(text, remedy=remedy)
    for cause in chain:
        fault = _driver_fault(cause)
        if fault is not None:
            return database.dialect.classify(Fault(fault.state, fault.code, _clean(fault.text, database)), database.place)
    words = _DRIVER_WORDS.search(everything)
    if words:  # from another host, where only the text of a cause survives
        return database.dialect.classify(Fault(None, None, _clean(words[1], database)), database.place)
    # Perhaps it was not the source, but where its rows were written to.
    return storage_fault(error) or _elsewhere(
        everything, f"{database.place}: the read failed: {_clean(_last(chain), database)}"
    )


def _last(chain: list[Any]) -> str:
    return str(chain[-1].toString())


def _elsewhere(everything: str, text: str) -> IngestionError:
    for pattern, remedy in _OUTSIDE:
        if pattern.search(everything):
            return TransientError(text, remedy=remedy)
    return TerminalError(text, remedy="The event log has the whole stack; check the named value or setting.")


def _causes(throwable: Any) -> Iterator[Any]:
    while throwable is not None:
        yield throwable
        throwable = throwable.getCause()


def _driver_fault(throwable: Any) -> Fault | None:
    kind = throwable.getClass()
    while kind is not None and kind.getName() != "java.sql.SQLException":
        kind = kind.getSuperclass()
    if kind is None:
        return None
    state, text = throwable.getSQLState(), throwable.getMessage()
    return Fault(str(state) if state else None, int(throwable.getErrorCode()), str(text or throwable.toString()))


def _clean(text: str, database: Database) -> str:
    first = " ".join(text.strip().split("\n", 1)[0].split())
    secret = database.spec.password.resolve() if database.spec.password else ""
    hidden = first.replace(secret, "***") if secret else first
    return hidden if len(hidden) <= _READABLE else hidden[:_READABLE] + " ..."

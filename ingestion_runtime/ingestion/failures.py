"""Whatever a table raised, as one error of the tree: what happened, what to do, and how the process should end."""

import errno
import traceback

from ingestion_runtime.events.stack_hash import stack_hash
from ingestion_runtime.model.errors import ConfigError, IngestionError, InterruptedRunError, TerminalError, TransientError
from ingestion_runtime.model.result import Failure
from ingestion_runtime.tools.hdfs import storage_fault

_FULL = ("No space left on device", "database or disk is full", "Disk quota exceeded")
_BUSY = ("database is locked", "SQLITE_BUSY", "CommitFailedException")
_LOST_ENGINE = ("Py4JNetworkError", "Py4JJavaServerError", "ConnectionRefusedError", "ConnectionResetError")
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
# Iceberg's Java library, of a file that its lists name.
_GONE = "org.apache.iceberg.exceptions.NotFoundException"
# A catalog's error goes on with its statement and the values of it.
_STATEMENT = ("[SQL: ", "[parameters: ", "(Background on this error at")
# What py4j says when the JVM dies while it looks a class up.
_LOST_CLASS = "does not exist in the JVM"
_MESSAGE_LENGTH = 600
_STACK_LENGTH = 12_000


def classify(error: Exception, table: str, *, interrupted: bool) -> IngestionError:
    """Return ``error`` as an IngestionError; one that is none yet keeps its first lines in the message."""
    if isinstance(error, TerminalError | ConfigError | InterruptedRunError):
        return error
    if interrupted:
        # Stopping cancels the engine's jobs; what a table then raises says nothing about the table.
        return InterruptedRunError(
            f"{table}: the run was interrupted.", remedy="Run again; it goes on where this one stopped.", table=table
        )
    return error if isinstance(error, IngestionError) else _name(error, table)


def _name(error: Exception, table: str) -> IngestionError:
    """Return an error that nobody foresaw as one that says whether another run may help."""
    outage = storage_fault(error)
    if outage is not None:
        return outage
    text = _first_lines(error)
    trouble = _name_disk(error, table, text)
    if trouble is not None:
        return trouble
    if any(words in str(error) for words in _BUSY):
        return TransientError(
            f"{table}: the catalog was busy ({text}).", remedy="Nothing was published; run again.", table=table
        )
    if type(error).__name__ in _LOST_ENGINE or str(error).endswith(_LOST_CLASS):
        return TransientError(
            f"{table}: Spark's JVM ended ({text}).",
            remedy="Look into the run's Spark log (out of memory? raise runtime.spark.driver_memory), then run again.",
            table=table,
        )
    return TerminalError(
        f"{table}: {text or 'no message'}.",
        remedy="Nothing of this batch was published. The stack is in the event log.",
        table=table,
    )


def _name_disk(error: Exception, table: str, text: str) -> IngestionError | None:
    """Return an error of a disk or of what should lie on it; None for any other."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or any(words in str(error) for words in _FULL):
        return TransientError(f"{table}: the disk is full ({text}).", remedy="Free space, then run again.", table=table)
    if isinstance(error, OSError) and error.errno in _FORBIDDEN:
        return TerminalError(
            f"{table}: this process is not allowed to ({text}).",
            remedy="Let the user of the run read and write there, or mount it for writing; then run again.",
            table=table,
        )
    if isinstance(error, FileNotFoundError) or _GONE in str(error):
        return TerminalError(
            f"{table}: a file that is needed is not there ({text}).",
            remedy="Is everything mounted? Else restore it; where it is one of the target's, replace the table: with"
            " --reload, or with --maintenance-mode rebuild-from-raw. The stack is in the event log.",
            table=table,
        )
    return None


def describe_failure(raised: Exception, error: IngestionError) -> Failure:
    """Return what results and events say of a failure; the type and the stack hash are those of what was raised."""
    changes = error.values.get("changes", ())
    told = changes if isinstance(changes, tuple) else ()
    return Failure(type(raised).__name__, str(error), stack_hash(raised), error.exit_code, told)


def stack_text(raised: Exception) -> str:
    """Return the stack of a failure for the event log, its last lines where it is very long."""
    return "".join(traceback.format_exception(raised))[-_STACK_LENGTH:]


def _first_lines(error: Exception) -> str:
    # A Java stack goes to the event log; people need its first sentence.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = " ".join(line for line in lines[:4] if not line.startswith(("at ", *_STATEMENT)))
    return kept[:_MESSAGE_LENGTH].rstrip(".")

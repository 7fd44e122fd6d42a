"""Whatever a table raised, as one error of the tree: what happened, what to do, and how the process should end."""

import errno

from ingestion_runtime.events.stack_hash import stack_hash
from ingestion_runtime.model.errors import IngestionError, InterruptedRunError, TerminalError, TransientError
from ingestion_runtime.model.result import Failure

_FULL = ("No space left on device", "database or disk is full", "Disk quota exceeded")
_LOST_ENGINE = ("Py4JNetworkError", "Py4JJavaServerError", "ConnectionRefusedError", "ConnectionResetError")
_MESSAGE_LENGTH = 600


def classify(error: Exception, table: str, *, interrupted: bool) -> IngestionError:
    """Return ``error`` as an IngestionError; one that is none yet keeps its type and first lines in the message."""
    if interrupted and not isinstance(error, InterruptedRunError):
        return InterruptedRunError(
            f"{table}: the run was interrupted.", remedy="Run again; it goes on where this one stopped.", table=table
        )
    if isinstance(error, IngestionError):
        return error
    text = _first_lines(error)
    if (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)) or any(f in str(error) for f in _FULL):
        return TransientError(f"{table}: the disk is full ({text}).", remedy="Free space, then run again.", table=table)
    if type(error).__name__ in _LOST_ENGINE:
        return TransientError(
            f"{table}: Spark's JVM ended ({text}).",
            remedy="Look into the run's Spark log (out of memory? raise runtime.spark.driver_memory), then run again.",
            table=table,
        )
    return TerminalError(
        f"{table}: {type(error).__name__}: {text}.",
        remedy="Nothing of this batch was published. The stack is in the event log and the run's Spark log.",
        table=table,
    )


def describe_failure(raised: Exception, error: IngestionError) -> Failure:
    """Return what results and events say of a failure; the type and the stack hash are those of what was raised."""
    return Failure(type(raised).__name__, str(error), stack_hash(raised), error.exit_code)


def _first_lines(error: Exception) -> str:
    # A Java stack is in the Spark log; people need its first sentence.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = " ".join(line for line in lines[:4] if not line.startswith("at "))
    return kept[:_MESSAGE_LENGTH].rstrip(".")

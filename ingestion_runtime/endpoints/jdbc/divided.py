"""A read that fails for its size: cut in two where its rows are, and tried again."""

from collections.abc import Callable
from dataclasses import dataclass

from ingestion_runtime.model.endpoint import READ_PART, OnSplit, ReadSplit
from ingestion_runtime.model.errors import OversizedReadError

#: How often the rows of one read are halved: 64 parts at most.
MAX_DEPTH = 6


@dataclass(frozen=True, slots=True)
class Divisible:
    """The steps of a read that can be divided.

    ``read`` writes the rows of a condition (None: all) into a directory that must not exist; ``halve`` returns two
    conditions that together take every row of one exactly once, or says in words why there are none; ``discard`` removes
    what a failed read left in its directory.
    """

    read: Callable[[str | None, str], None]
    halve: Callable[[str | None], tuple[str, str] | str]
    discard: Callable[[str], None]
    on_split: OnSplit | None = None


def read_divided(steps: Divisible, condition: str | None, directory: str, path: str = "") -> None:
    """Read the rows of ``condition`` into ``directory``; what is too large lands in directories ``read=*`` below it.

    A half that is too large is halved again, MAX_DEPTH times at most. Nothing of a failed read is left among the files.
    Raises the OversizedReadError of what could not be halved any more, with the reason in its message.
    """
    place = f"{directory}/{READ_PART}{path}" if path else directory
    try:
        steps.read(condition, place)
    except OversizedReadError as error:
        failed = error
    else:
        return
    too_deep = f"its rows have been halved {MAX_DEPTH} times"
    halves = steps.halve(condition) if len(path) < MAX_DEPTH else too_deep
    if isinstance(halves, str):
        raise _undivided(failed, halves)
    steps.discard(place)
    if steps.on_split is not None:
        steps.on_split(ReadSplit(len(path) + 1, failed.message))
    for digit, half in enumerate(halves):
        read_divided(steps, half, directory, f"{path}{digit}")


def _undivided(error: OversizedReadError, reason: str) -> OversizedReadError:
    message = f"{error.message.rstrip('.')}; the read was not divided further, because {reason}."
    return OversizedReadError(message, remedy=error.remedy, **error.values)

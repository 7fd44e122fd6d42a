"""The error tree: what went wrong, what to do about it, and how the process ends.

    IngestionError
    ├── ConfigError            exit 2: configuration, usage or credentials; nothing was touched
    ├── TerminalError          exit 1: the table failed for good, a rerun alone will not help
    │   ├── StaleMainError     someone else moved the target
    │   ├── LostFileError      a file of which the target consists is gone or cannot be read
    │   ├── RefusedBatchError  what was staged must not be published; the next run reads again
    │   ├── OutgrownError      more memory was needed than this process may use; another engine may do it
    │   └── UnfitEngineError   the engine that was asked for cannot read the table; another one can
    ├── TransientError         exit 3: worth a retry (unreachable, disk full)
    │   ├── PublishRaceError   a compare-and-set was refused
    │   ├── OversizedReadError a read was too large for memory or time; smaller ones may not be
    │   ├── SpoiltBatchError   what was staged is of no use any more; the next run reads again
    │   └── LeaseHeldError     exit 4: a living run holds the table
    ├── OutcomeUnknownError    exit 3: a commit was sent and not answered; the next run reads the receipt
    └── InterruptedRunError    exit 130 or 143: stopped by a signal

Every error carries its values in ``values`` and ends its message with a remedy. None carries a secret.
"""

from collections.abc import Mapping
from typing import ClassVar


class IngestionError(Exception):
    """Base of all errors that this runtime raises on purpose."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, remedy: str, **values: object) -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.remedy = remedy
        self.values: Mapping[str, object] = values


class ConfigError(IngestionError):
    """The configuration, the command line or the credentials are wrong."""

    exit_code = 2


class TerminalError(IngestionError):
    """A table failed in a way that a rerun alone does not mend."""

    exit_code = 1


class StaleMainError(TerminalError):
    """Someone else moved the target table: its main branch no longer is what the receipt describes."""


class LostFileError(TerminalError):
    """A file of which a target consists is gone, or cannot be read. A batch that replaces all of it does not need it."""


class TransientError(IngestionError):
    """Something outside was not available; the same command is worth running again."""

    exit_code = 3


class OversizedReadError(TransientError):
    """A read failed for its size: memory ran out, or a time limit struck. Fewer rows at once may get through."""


class RefusedBatchError(TerminalError):
    """What a batch staged must not be published. It is given up, and the next run reads the source again."""


class OutgrownError(TerminalError):
    """Work in this process needed more memory than it may use. Nothing of it was published; another engine may do it."""


class UnfitEngineError(TerminalError):
    """The engine that was asked for cannot read the table at all. Nothing was read; another engine can."""


class SpoiltBatchError(TransientError):
    """What a batch staged is of no use any more. It is given up, and the same command reads the source again."""


class PublishRaceError(TransientError):
    """The compare-and-set was refused: the table changed between reading and committing. Nothing was published."""


class LeaseHeldError(TransientError):
    """A living run holds the table."""

    exit_code = 4


class OutcomeUnknownError(IngestionError):
    """A commit was sent and its answer was lost. The next run finds out from the receipt."""

    exit_code = 3


class InterruptedRunError(IngestionError):
    """The run was asked to stop. ``values['signal']`` is the signal's number."""

    exit_code = 130

"""Who is told how a run goes, and of what."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingestion_runtime.model.connection import Secret


class NoticeKind(StrEnum):
    """What a message is about: the run's beginning and end, a table that failed, that is well again after it had failed, or
    that makes no progress, and how things stand at intervals."""

    START = "start"
    FAILURE = "failure"
    RECOVERY = "recovery"
    STALL = "stall"
    DIGEST = "digest"
    END = "end"


class Medium(StrEnum):
    """By which way a target is told."""

    LOG = "log"
    COMMAND = "command"
    WEBHOOK = "webhook"
    EMAIL = "email"


@dataclass(frozen=True, slots=True)
class NotifyTarget:
    """One place that is told. ``name`` is what messages about it call it, for its address is a secret.

    ``min_interval_seconds`` lie between two messages of one kind; what comes sooner is gathered into the next.
    ``timeout_seconds`` is how long one delivery may take. ``command`` is an argument list, of a command target only;
    ``url`` the address of a webhook or a mail server.
    """

    name: str
    medium: Medium
    on: frozenset[NoticeKind]
    min_interval_seconds: int = 60
    timeout_seconds: int = 10
    command: tuple[str, ...] = ()
    url: "Secret | None" = None


@dataclass(frozen=True, slots=True)
class NotifySpec:
    """The targets of a configuration. ``stall_seconds`` without progress of a table are told (0: never);
    ``wait_seconds`` is how long the end of a run waits for messages that are under way."""

    targets: tuple[NotifyTarget, ...] = ()
    stall_seconds: int = 1800
    wait_seconds: float = 2.0

    def wants(self, kind: NoticeKind) -> bool:
        """Whether any target is told of this."""
        return any(kind in target.on for target in self.targets)

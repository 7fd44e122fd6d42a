"""Runs checks side by side, each for so long at most: what does not answer holds nobody up."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ingestion_runtime.checkup.findings import Finding, Findings
from ingestion_runtime.model.errors import IngestionError

#: Seconds that a check has.
PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Check:
    """Something to look at. ``look`` tells its findings as it goes, and may raise what the looked-at thing raises.

    ``more``: seconds that it has beyond those of every check, because there is much to look at.
    """

    name: str
    look: Callable[[Findings], None]
    more: float = 0.0


def carry_out(checks: Sequence[Check], patience: float = PATIENCE) -> tuple[Finding, ...]:
    """Return the findings of all checks, in their order; each has ``patience`` seconds.

    Each runs on a thread of its own, which is left behind when it is overdue: a driver that waits for a silent host cannot
    be stopped, and must not keep the program from ending.
    """
    begun = time.monotonic()
    started = [_start(check) for check in checks]
    found: list[Finding] = []
    for check, findings, thread in started:
        seconds = patience + check.more
        thread.join(max(0.0, begun + seconds - time.monotonic()))
        if thread.is_alive():
            findings.red(
                f"no answer within {seconds:g} s",
                "Find out what it waits for: a silent host, a firewall that drops packets, a lock, a hanging file system.",
                exit_code=3,
            )
        found += findings.close()
    return tuple(found)


def _start(check: Check) -> tuple[Check, Findings, threading.Thread]:
    findings = Findings(check.name)
    thread = threading.Thread(target=_look, args=(check, findings), name=f"check {check.name}", daemon=True)
    thread.start()
    return check, findings, thread


def _look(check: Check, findings: Findings) -> None:
    try:
        check.look(findings)
    except IngestionError as error:
        findings.error(error)
    except Exception as error:  # noqa: BLE001 - one check that fails must not hide what the others find
        findings.red(
            f"the check itself failed: {type(error).__name__}: {error}", "Report this; the other checks stand on their own."
        )

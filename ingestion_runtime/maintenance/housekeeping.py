"""What belongs to no table and nobody needs any more: rows of the state, and log files."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ingestion_runtime.maintenance.report import Action, ActionKind, Housekeeping, counted, some
from ingestion_runtime.model.maintenance import Maintenance
from ingestion_runtime.model.state import StateStore

# Of each kind the newest stays: it says what happened last. Anything else in the folder is not ours, and the folder may well
# be one for the logs of everybody: ours have the time of their beginning in their names.
_STAMP = r"\d{8}T\d{6}Z?-.+"
_LOG = re.compile(rf"(run|recon|maintenance|verify)-{_STAMP}\.jsonl|(spark)-(?:recon-|maintenance-)?{_STAMP}\.log")
_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class OldLog:
    """A log file that may go, and its bytes."""

    path: Path
    size: int


def look_around(store: StateStore, logs: Path, settings: Maintenance, now: datetime) -> Housekeeping:
    """Return what may go; nothing is changed."""
    rows = 0 if settings.state_days is None else store.prunable(now - timedelta(days=settings.state_days)).rows
    old = find_old_logs(logs, settings.log_days, now)
    return Housekeeping(rows, len(old), sum(log.size for log in old))


def tidy(store: StateStore, logs: Path, settings: Maintenance, now: datetime) -> Housekeeping:
    """Remove it, and return what went."""
    actions = []
    rows = 0
    begun = time.monotonic()
    if settings.state_days is not None:
        rows = store.prune(now - timedelta(days=settings.state_days)).rows
        if rows:
            message = f"{counted(rows, 'row')} of the state removed, older than {settings.state_days} days"
            actions.append(Action(ActionKind.PRUNE_STATE, message, rows, seconds=_since(begun)))
    begun = time.monotonic()
    old = find_old_logs(logs, settings.log_days, now)
    for log in old:
        log.path.unlink(missing_ok=True)
    size = sum(log.size for log in old)
    if old:
        names = some([str(log.path) for log in old])
        message = f"{counted(len(old), 'log file')} removed, older than {settings.log_days} days"
        actions.append(Action(ActionKind.REMOVE_LOGS, message, len(old), size, _since(begun), names))
    return Housekeeping(rows, len(old), size, tuple(actions))


def find_old_logs(folder: Path, days: int | None, now: datetime) -> Sequence[OldLog]:
    """Return the log files that nobody has written to for so many days, but for the newest of each kind; none without a
    limit."""
    if days is None or not folder.is_dir():
        return []
    kinds: dict[str, list[tuple[float, OldLog]]] = {}
    for path in folder.iterdir():
        found = _LOG.fullmatch(path.name)
        if found and path.is_file() and not path.is_symlink():
            told = path.stat()
            kinds.setdefault(next(filter(None, found.groups())), []).append((told.st_mtime, OldLog(path, told.st_size)))
    before = now.timestamp() - days * _DAY
    old = []
    for logs in kinds.values():
        logs.sort(key=lambda log: (log[0], log[1].path.name))
        old += [log for changed, log in logs[:-1] if changed < before]
    return old


def _since(begun: float) -> float:
    return round(time.monotonic() - begun, 3)

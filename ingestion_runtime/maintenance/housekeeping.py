"""What belongs to no table and nobody needs any more: rows of the state, log files, and their mirrors in an outbox."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from ingestion_runtime.maintenance.outbox import OldMirror, find_old_mirrors, remove_mirrors
from ingestion_runtime.maintenance.report import Action, ActionKind, Failure, Housekeeping, some
from ingestion_runtime.model.errors import TransientError
from ingestion_runtime.model.maintenance import Maintenance
from ingestion_runtime.model.state import StateStore
from ingestion_runtime.telling import counted

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


@dataclass(frozen=True, slots=True)
class House:
    """What there is besides the tables: the state, the folder of the logs, and the outbox (None: there is none)."""

    store: StateStore
    logs: Path
    outbox: str | None
    settings: Maintenance


def look_around(house: House, now: datetime) -> Housekeeping:
    """Return what may go; nothing is changed. An outbox that cannot be reached is the error beside the rest."""
    before = _before(house.settings.state_days, now)
    rows = 0 if before is None else house.store.prunable(before).rows
    old = find_old_logs(house.logs, house.settings.log_days, now)
    found = Housekeeping(rows, len(old), sum(log.size for log in old))
    try:
        return _with_mirrors(found, _old_mirrors(house, now))
    except TransientError as error:
        return _stopped(found, error)


def tidy(house: House, now: datetime) -> Housekeeping:
    """Remove it, and return what went; see ``look_around``."""
    before, actions = _before(house.settings.state_days, now), list[Action]()
    begun = time.monotonic()
    rows = 0 if before is None else house.store.prune(before).rows
    if rows:
        message = f"{counted(rows, 'row')} of the state removed, older than {house.settings.state_days} days"
        actions.append(Action(ActionKind.PRUNE_STATE, message, rows, seconds=_since(begun)))
    begun = time.monotonic()
    old = find_old_logs(house.logs, house.settings.log_days, now)
    for log in old:
        log.path.unlink(missing_ok=True)
    size = sum(log.size for log in old)
    if old:
        names = some([str(log.path) for log in old])
        message = f"{counted(len(old), 'log file')} removed, older than {house.settings.log_days} days"
        actions.append(Action(ActionKind.REMOVE_LOGS, message, len(old), size, _since(begun), names))
    found = Housekeeping(rows, len(old), size, actions=tuple(actions))
    try:
        return _tidy_outbox(house, found, now)
    except TransientError as error:
        return _stopped(found, error)


def _tidy_outbox(house: House, found: Housekeeping, now: datetime) -> Housekeeping:
    begun = time.monotonic()
    mirrors = _old_mirrors(house, now)
    if not mirrors or house.outbox is None:
        return found
    remove_mirrors(house.outbox, mirrors)
    told = _with_mirrors(found, mirrors)
    message = f"mirrors of {counted(len(mirrors), 'run')} removed from the outbox, older than {house.settings.log_days} days"
    names = some([mirror.path for mirror in mirrors])
    done = Action(ActionKind.REMOVE_MIRRORS, message, len(mirrors), told.outbox_bytes, _since(begun), names)
    return replace(told, actions=(*found.actions, done))


def _old_mirrors(house: House, now: datetime) -> tuple[OldMirror, ...]:
    days = house.settings.log_days
    return () if house.outbox is None or days is None else find_old_mirrors(house.outbox, days, now)


def _with_mirrors(found: Housekeeping, mirrors: tuple[OldMirror, ...]) -> Housekeeping:
    return replace(found, outbox_runs=len(mirrors), outbox_bytes=sum(mirror.size for mirror in mirrors))


def _stopped(found: Housekeeping, error: TransientError) -> Housekeeping:
    return replace(found, error=Failure(type(error).__name__, error.message, error.remedy, error.exit_code))


def _before(days: int | None, now: datetime) -> datetime | None:
    return None if days is None else now - timedelta(days=days)


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

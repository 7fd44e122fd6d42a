"""From the blocks ``reconciliation`` and ``reconciliation_defaults`` of the file to Reconciliation."""

from collections.abc import Sequence

from ingestion_runtime.config.issues import IssueLog, Location
from ingestion_runtime.config.models.reconciliation import GroupFile, ReconciliationFile, ThresholdFile
from ingestion_runtime.model.reconciliation import Check, GroupColumn, Reconciliation, Threshold, TimeUnit


def build_reconciliation(
    file: ReconciliationFile | None, base: Reconciliation, at: Location, log: IssueLog
) -> Reconciliation:
    """Return ``base`` with what the block says; problems are recorded."""
    if file is None:
        return base
    for key in ("checks", "before_publish"):
        _check_once(getattr(file, key), (*at, key), log)
    return Reconciliation(
        checks=base.checks if file.checks is None else _in_order(file.checks),
        group_by=base.group_by if file.group_by is None else _groups(file.group_by, (*at, "group_by"), log),
        threshold=Threshold(file.absolute, file.percent).over(base.threshold),
        thresholds=_thresholds(file, base),
        max_keys=base.max_keys if file.max_keys is None else file.max_keys,
        before_publish=base.before_publish if file.before_publish is None else _in_order(file.before_publish),
    )


def _in_order(words: Sequence[str]) -> tuple[Check, ...]:
    """Return the checks in the order in which they are made, each once."""
    return tuple(check for check in Check if check in words)


def _check_once(words: Sequence[str] | None, at: Location, log: IssueLog) -> None:
    for index, word in enumerate(words or ()):
        if word in (words or ())[:index]:
            log.add((*at, index), "this check is named twice")


def _groups(files: list[GroupFile], at: Location, log: IssueLog) -> tuple[GroupColumn, ...]:
    seen: set[str] = set()
    for index, file in enumerate(files):
        if not file.column.isprintable() or not file.column.strip():
            log.add((*at, index, "column"), "must be a column name without control characters")
        elif file.column.casefold() in seen:
            log.add((*at, index), "this column is named twice (letter case does not count)")
        seen.add(file.column.casefold())
    return tuple(GroupColumn(file.column, None if file.unit is None else TimeUnit(file.unit)) for file in files)


def _thresholds(file: ReconciliationFile, base: Reconciliation) -> tuple[tuple[Check, Threshold], ...]:
    found = dict(base.thresholds)
    for check in Check:
        own: ThresholdFile | None = None if file.thresholds is None else getattr(file.thresholds, check.value)
        if own is not None:
            found[check] = Threshold(own.absolute, own.percent).over(found.get(check, Threshold()))
    return tuple(found.items())

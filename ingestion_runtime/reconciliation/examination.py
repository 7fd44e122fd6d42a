"""One table compared: a target pinned where it stands, a source in one view as far as the target's receipt goes."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final

from ingestion_runtime.events.event import Emitter
from ingestion_runtime.events.types.reconciliation import ReconChecked, ReconDiffered
from ingestion_runtime.model.batch import Receipt
from ingestion_runtime.model.comparison import ComparableSource, LeftOut, Scope, Stand, TargetRows
from ingestion_runtime.model.cursor import CursorType, ReRead
from ingestion_runtime.model.errors import ConfigError, TerminalError, TransientError
from ingestion_runtime.model.reconciliation import Check
from ingestion_runtime.model.schema import TableSnapshot
from ingestion_runtime.model.spec import Deletes, TableSpec
from ingestion_runtime.planning.reread import reread_set
from ingestion_runtime.reconciliation.checks import Comparison, SkippedError, judge
from ingestion_runtime.reconciliation.columns import Pairing, pair_columns
from ingestion_runtime.reconciliation.report import CheckResult, Finding, KeyFault, Moment, Status, TableReport, Trouble

# A snapshot may be expired, or the table replaced, while it is compared: it is compared anew as it then is.
_ATTEMPTS: Final = 3
_SHOWN: Final = 20  # in an event: the report lists more


@dataclass(frozen=True, slots=True)
class Sides:
    """Both ends of a table. ``describe`` returns the source's columns with the names under which they were known before;
    ``reading`` is what decides now which rows are read (see ``spec.reading``), ``lag`` how far below the watermark the next
    run looks again, as the cursor counts it."""

    source: ComparableSource
    describe: Callable[[], TableSnapshot]
    target: TargetRows
    reading: tuple[tuple[str, str], ...]
    lag: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of every table. ``stop`` raises InterruptedRunError when it is to end."""

    checks: tuple[Check, ...] | None
    most_keys: int | None
    show_values: bool
    stop: Callable[[], None]


class Examination:
    """Compares one table. Everything that its report says is of one snapshot of the target and one view of the source."""

    def __init__(self, table: TableSpec, sides: Sides, asked: Asked, emitter: Emitter) -> None:
        self._table = table
        self._sides = sides
        self._asked = asked
        self._emitter = emitter

    def report(self) -> TableReport:
        """Compare and return what was found.

        Raises TerminalError where nothing was published yet, and what connecting, reading and describing raise.
        """
        for _ in range(_ATTEMPTS - 1):
            stand = self._stand()
            try:
                return self._compare(stand)
            except TransientError:
                if self._stand().snapshot == stand.snapshot:
                    raise
        return self._compare(self._stand())

    def _stand(self) -> Stand:
        self._asked.stop()
        stand = self._sides.target.stand()
        if stand is None:
            raise TerminalError(
                f"{self._table.name}: there is nothing to compare: nothing was published yet, or the table is gone.",
                remedy="Run the table first; it says so where a table that was there is gone.",
                table=self._table.name,
            )
        return stand

    def _compare(self, stand: Stand) -> TableReport:
        self._require_cursor(stand)
        source = self._sides.source.columns(stand.columns)
        pairing = pair_columns(self._table, source, stand.columns, self._sides.describe())
        with ExitStack() as stack:
            # The target is pinned before the source is looked at: what the source changed since lies above the watermark.
            view = stack.enter_context(self._sides.source.view(pairing.basis, stand.receipt, self._reread(stand)))
            left_out = view.left_out
            keys = view.left_out_keys() if pairing.basis.keys and _has_newer(left_out) else None
            apart = tuple(self._apart(view.scope))
            target = stack.enter_context(self._sides.target.view(stand, pairing.basis, keys, apart))
            most = self._table.reconciliation.max_keys if self._asked.most_keys is None else self._asked.most_keys
            comparison = Comparison(self._table, pairing, view.rows, target, most, show_values=self._asked.show_values)
            checks = tuple(
                self._make(check, comparison) for check in self._asked.checks or self._table.reconciliation.checks
            )
        return self._told(stand, pairing, left_out, checks)

    def _apart(self, scope: Scope) -> Iterator[ReRead]:
        """Yield the sets of the target's rows that take no part by their cursor: what is looked at again, where no keys name
        it; and what a window brought in from below the initial watermark, of which the source's rows take no part either."""
        if self._table.mode == "append" and scope.unsettled is not None:
            yield scope.unsettled
        initial = self._table.initial_watermark
        if self._table.mode != "full" and initial is not None and initial.type is not CursorType.TEXT:
            yield ReRead(None, initial, nulls=False)

    def _reread(self, stand: Stand) -> ReRead | None:
        if self._table.mode == "full" or stand.receipt is None:
            return None
        return reread_set(stand.receipt.watermark, self._sides.lag, nulls=True)

    def _require_cursor(self, stand: Stand) -> None:
        """Raise TerminalError where the watermark was reached by another cursor: it says nothing of this one's rows."""
        if self._table.mode == "full" or stand.receipt is None or stand.receipt.watermark is None:
            return
        if "incremental_column" in self._changed(stand.receipt):
            raise TerminalError(
                f"{self._table.name}: incremental_column is {self._table.incremental_column}, and its watermark was reached"
                " by another one.",
                remedy="Restore incremental_column, or start over with --reload.",
                table=self._table.name,
            )

    def _make(self, check: Check, comparison: Comparison) -> CheckResult:
        self._asked.stop()
        begun = time.monotonic()
        result = self._judged(check, comparison)
        result = replace(result, seconds=time.monotonic() - begun)
        self._emitter.emit(
            ReconChecked(
                check=check.value,
                status=result.status.value,
                source=result.finding.source,
                target=result.finding.target,
                difference=result.finding.difference,
                detail=result.trouble.message if result.trouble else result.finding.detail,
                seconds=round(result.seconds, 3),
            )
        )
        if result.status in (Status.WITHIN, Status.DIFFERS):
            self._emitter.emit(_difference(result))
        return result

    def _judged(self, check: Check, comparison: Comparison) -> CheckResult:
        try:
            finding = comparison.make(check)
            if finding.difference == 0:
                return CheckResult(check, Status.EQUAL, finding)
            threshold = self._table.reconciliation.threshold_of(check)
            return CheckResult(check, judge(finding, comparison.rows[0], threshold), finding)
        except SkippedError as reason:
            return CheckResult(check, Status.SKIPPED, Finding(detail=str(reason)))
        except ConfigError as error:
            # What it was asked cannot be. Other errors are of the whole view, which names them when they leave it.
            return CheckResult(check, Status.ERROR, Finding(difference=None), trouble=Trouble.of(error))

    def _told(self, stand: Stand, pairing: Pairing, left_out: LeftOut, checks: tuple[CheckResult, ...]) -> TableReport:
        receipt = stand.receipt
        moment = Moment(
            batch=receipt.batch_id if receipt else None,
            watermark=receipt.watermark.literal if receipt and receipt.watermark else None,
            load_date=receipt.load_date.isoformat() if receipt else None,
            snapshot=stand.snapshot,
        )
        return TableReport(
            table=self._table.name,
            mode=self._table.mode,
            checks=checks,
            moment=moment,
            left_out=left_out,
            compared=tuple(column.target for column in pairing.basis.columns),
            not_compared=pairing.left,
            remarks=tuple(self._remarks(stand, checks)),
        )

    def _remarks(self, stand: Stand, checks: Sequence[CheckResult]) -> list[str]:
        remarks = []
        if stand.damage is not None:
            remarks.append(f"the target is not what its receipt describes: {stand.damage}")
        if stand.receipt is None:
            remarks.append("the target has no receipt: it was compared with all rows of the source")
        elif changed := self._changed(stand.receipt):
            remarks.append(f"the target was loaded under other settings, which decide what is read: {', '.join(changed)}")
        if all(result.status in (Status.EQUAL, Status.SKIPPED) for result in checks):
            return remarks
        if self._table.mode == "full" and stand.receipt is not None:
            loaded = f"the target was loaded for {stand.receipt.load_date}"
            remarks.append(f"{loaded}, and is compared with the source as it is now: what changed since is a difference")
        elif extra := _only_in_target(checks):
            remarks.append(f"{extra} in the target {self._why_extra()}")
        return remarks

    def _changed(self, receipt: Receipt) -> list[str]:
        """Return the settings under which the target was loaded and that are others now."""
        now = dict(self._sides.reading)
        return [name for name, value in receipt.reading if now.get(name, value) != value]

    def _why_extra(self) -> str:
        read = self._table.source_filter is not None or self._table.query_sql is not None
        gone = "deleted at the source, or no longer let through by filter or query," if read else "deleted at the source"
        if self._table.deletes is Deletes.IGNORE:
            return f"and not at the source: with deletes: ignore, rows that are {gone} stay in the target"
        return f"and not at the source: rows {gone} since the last run are among them until the next one"


def _only_in_target(checks: Sequence[CheckResult]) -> str:
    """Return how many rows only the target has, in words; nothing where there are none, or nobody knows."""
    for result in checks:
        found = result.finding.bisection
        if found is not None:
            count = found.count(KeyFault.EXTRA)
            return _rows(count) if count else ""
    for result in checks:
        if result.check in (Check.PLAIN_COUNT, Check.CHECKSUM):
            source, target = result.finding.source, result.finding.target
            if source is not None and target is not None and target > source:
                return f"at least {_rows(target - source)}"
    return ""


def _rows(count: int) -> str:
    return f"{count:,} {'row is' if count == 1 else 'rows are'}"


def _difference(result: CheckResult) -> ReconDiffered:
    finding = result.finding
    found = finding.bisection
    return ReconDiffered(
        check=result.check.value,
        status=result.status.value,
        difference=finding.difference,
        detail=finding.detail,
        columns=finding.columns,
        groups=tuple(f"{_spell(group.values)}: {group.source} / {group.target}" for group in finding.groups[:_SHOWN]),
        keys=tuple(f"{key.fault} {_spell(key.key)}" for key in found.keys[:_SHOWN]) if found else (),
    )


def _spell(values: Sequence[str | None]) -> str:
    return ", ".join("NULL" if value is None else value for value in values)


def _has_newer(left_out: LeftOut) -> bool:
    """Whether the target may have an older row of something that is left out."""
    return bool(left_out.later or left_out.unsettled or left_out.null_cursors)

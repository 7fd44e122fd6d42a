"""One table in one run of maintenance, whatever is asked for."""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace

from ingestion_runtime.events.types.maintenance import MaintenanceTable
from ingestion_runtime.ingestion.failures import classify, stack_text
from ingestion_runtime.maintenance.applying import Upkeep, release
from ingestion_runtime.maintenance.judging import find_all, foresee
from ingestion_runtime.maintenance.looking import look_at
from ingestion_runtime.maintenance.report import Action, ActionKind, Failure, Mode, Status, TableReport
from ingestion_runtime.maintenance.workshop import Piece, Workshop
from ingestion_runtime.model.errors import IngestionError, InterruptedRunError, LeaseHeldError, TransientError
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.telling import counted
from ingestion_runtime.tools.spark import TableSession


def maintain(shop: Workshop, table: TableSpec, mode: Mode, failed: IngestionError | None) -> TableReport:
    """Return how a table ended; never raises for what concerns it alone. ``failed``: why it cannot even be looked at."""
    begun = time.monotonic()
    session = shop.tool.table_session()
    session.name_jobs(f"{shop.run_id}/{table.name}", f"{mode} {table.name}")
    raised: Exception | None = failed
    work = _Work(shop, table, mode)
    try:
        shop.check()
        if failed is None:
            work.do(session)
    except Exception as error:  # noqa: BLE001 - the table's end, whatever it was; the others go on
        raised = error
    finally:
        session.close()
    seconds = round(time.monotonic() - begun, 3)
    report = replace(work.report(_failure(shop, table, raised)), held_by=_holder(raised), seconds=seconds)
    _tell(shop, report, raised)
    return report


class _Work:
    """The work on one table: what came of it so far can be told at any time."""

    def __init__(self, shop: Workshop, table: TableSpec, mode: Mode) -> None:
        self._shop = shop
        self._table = table
        self._mode = mode
        self._looked: TableReport | None = None
        self._upkeep: Upkeep | None = None

    def do(self, session: TableSession) -> None:
        """Do what is asked for; raises what stopped it."""
        if self._mode is Mode.REBUILD:
            self._rebuild()
            return
        piece = self._shop.lay_out(self._table, session)
        if self._mode is Mode.DRY_RUN:
            self._looked = self._look(piece)
        else:
            self._upkeep = Upkeep(self._shop, piece)
            self._upkeep.apply()

    def _rebuild(self) -> None:
        from ingestion_runtime.maintenance.rebuild import rebuild_table

        key = self._shop.factory.target_key(self._table)
        grip = self._shop.hold(key)
        try:
            outcome = rebuild_table(self._shop, self._table, grip)
        finally:
            left = release(grip)
        told = TableReport(self._table.name, str(key), Status.NO_DATA, remarks=left)
        if outcome.status != "no_data":
            files, rows = counted(outcome.files, "raw file"), counted(outcome.rows, "row")
            message = f"{rows} of {files} of {counted(outcome.batches, 'batch', 'batches')} are the table now"
            action = Action(ActionKind.REBUILD, message, outcome.rows, seconds=round(outcome.seconds, 3))
            told = replace(told, status=Status.APPLIED, actions=(action,), rebuild=asdict(outcome))
        self._looked = told

    def report(self, error: Failure | None) -> TableReport:
        """Return what came of it, and what stopped it."""
        target = str(self._shop.factory.target_key(self._table))
        told = self._looked or TableReport(self._table.name, target, None)
        if self._upkeep is not None:
            upkeep = self._upkeep
            told = replace(
                told,
                status=_status(upkeep.actions, has_data=upkeep.has_data),
                figures=upkeep.figures,
                findings=upkeep.findings,
                actions=tuple(upkeep.actions),
                remarks=tuple(upkeep.remarks),
            )
        return told if error is None else replace(told, status=Status.ERROR, error=error)

    def _look(self, piece: Piece) -> TableReport:
        shop, look = self._shop, look_at(self._shop, piece)
        findings = find_all(self._table, look, shop.owner, shop.clock())
        would = foresee(self._table, look, shop.owner, shop.clock())
        return TableReport(self._table.name, str(piece.key), None, would, look.figures, findings)


def _status(actions: Sequence[Action], *, has_data: bool) -> Status:
    kinds = {action.kind for action in actions}
    if ActionKind.REPARTITION in kinds:
        return Status.REPARTITIONED
    if ActionKind.REWRITE in kinds:
        return Status.REWRITTEN
    if kinds:
        return Status.APPLIED
    return Status.NOOP if has_data else Status.NO_DATA


def _holder(raised: Exception | None) -> str | None:
    return str(raised.values.get("run_id")) if isinstance(raised, LeaseHeldError) else None


def _failure(shop: Workshop, table: TableSpec, raised: Exception | None) -> Failure | None:
    if raised is None:
        return None
    error = classify(raised, table.name, interrupted=shop.interrupted.is_set())
    foreseen = isinstance(raised, IngestionError) or isinstance(error, TransientError | InterruptedRunError)
    remedy = error.remedy if foreseen else "What was done before stands. After an apply the stack is in the log of its id."
    return Failure(type(error).__name__, error.message, remedy, error.exit_code)


def _tell(shop: Workshop, report: TableReport, raised: Exception | None) -> None:
    status = report.status or report.would
    shop.emitter.bind(table=report.table).emit(
        MaintenanceTable(
            status=str(status),
            seconds=report.seconds,
            findings=report.findings,
            actions=report.actions,
            remarks=report.remarks,
            held_by=report.held_by,
            error_type=report.error.type if report.error else None,
            error=f"{report.error.message} {report.error.remedy}" if report.error else None,
            stack=stack_text(raised) if raised else None,
        )
    )

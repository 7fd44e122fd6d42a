"""What the tables of one run of maintenance share."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ingestion_runtime.endpoints.factory import EndpointFactory
from ingestion_runtime.endpoints.raw import RawZone
from ingestion_runtime.events.event import Emitter
from ingestion_runtime.model.batch import TableKey
from ingestion_runtime.model.errors import InterruptedRunError
from ingestion_runtime.model.spec import Configuration, TableSpec
from ingestion_runtime.model.state import StateStore
from ingestion_runtime.model.target import TargetTable
from ingestion_runtime.model.upkeep import TargetUpkeep
from ingestion_runtime.publishing.grip import Grip
from ingestion_runtime.staging import Staging
from ingestion_runtime.state.leases import LeaseKeeper, Patience
from ingestion_runtime.tools.failpoints import Failpoints
from ingestion_runtime.tools.files import Files
from ingestion_runtime.tools.spark import SparkTool, TableSession


@dataclass(frozen=True, slots=True)
class Workshop:
    """The collaborators of one run of maintenance."""

    configuration: Configuration
    run_id: str
    factory: EndpointFactory
    tool: SparkTool
    files: Files
    staging: Staging
    store: StateStore
    keeper: LeaseKeeper
    emitter: Emitter
    failpoints: Failpoints
    interrupted: threading.Event
    clock: Callable[[], datetime]

    @property
    def owner(self) -> str:
        """Whose tables may be worked on: what the receipts of this configuration's runs say."""
        return self.configuration.runtime.job_name

    def check(self) -> None:
        """Raise InterruptedRunError once the run was asked to stop."""
        if self.interrupted.is_set():
            raise InterruptedRunError(
                "Maintenance was interrupted.", remedy="What was done stands. Run it again for the rest."
            )

    def hold(self, key: TableKey) -> Grip:
        """Take the lease on a table, which is waited for as long as configured; raises LeaseHeldError."""
        seconds = self.configuration.runtime.maintenance.wait_seconds
        return Grip(self.keeper, key, Patience(seconds, self.interrupted.wait, for_all=True))

    def lay_out(self, table: TableSpec, session: TableSession) -> "Piece":
        """Return a table as it is worked on; nothing is connected yet."""
        endpoints = self.factory.build_endpoints(table, session)
        return Piece(table, endpoints.target, endpoints.raw, self._upkeep(table, session))

    def _upkeep(self, table: TableSpec, session: TableSession) -> TargetUpkeep:
        return self.factory.build_upkeep(table, session, self.failpoints, lambda: self.clock().timestamp())


@dataclass(frozen=True, slots=True)
class Piece:
    """One table as it is worked on: its target, its place in raw, and what keeps the target in shape."""

    table: TableSpec
    target: TargetTable
    raw: RawZone
    upkeep: TargetUpkeep

    @property
    def key(self) -> TableKey:
        """The name under which state and leases know it."""
        return self.target.key

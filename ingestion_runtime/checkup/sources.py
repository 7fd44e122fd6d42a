"""The source databases: reachable, protected, of the same time, showing what has to be seen, and granted."""

import ipaddress
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from ingestion_runtime.checkup.findings import Findings
from ingestion_runtime.checkup.runner import PATIENCE, Check
from ingestion_runtime.endpoints.jdbc.arrow_reader import ArrowReader
from ingestion_runtime.endpoints.jdbc.catalogue import Catalogue
from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialects import dialect_for
from ingestion_runtime.endpoints.jdbc.source import JdbcSource
from ingestion_runtime.endpoints.jdbc.sql import selection
from ingestion_runtime.model.connection import ConnectionSpec
from ingestion_runtime.model.errors import IngestionError
from ingestion_runtime.model.horizon import Horizon, HorizonPolicy
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.tools.files import LocalFiles
from ingestion_runtime.tools.parquet_writer import ParquetSettings

#: Clocks further apart than this are worth a look: load dates, freshness and the lag are told by both.
MOST_SKEW = 2.0
#: A round trip longer than this makes many small tables slow.
SLOW_TRIP = 0.2
_TRIPS = 3
_MICROS = 1_000_000
_A_TABLE = 0.1  # seconds more for each table that is looked at
_NAMED = 5
_SHOWN = 3
_STUCK = 3600  # seconds: a run tells it as horizon_stuck


class SourceCheckup:
    """Looks at one connection: first whether it can be reached, then at all that it serves."""

    def __init__(self, connection: ConnectionSpec, clock: Callable[[], float] = time.time) -> None:
        self._spec = connection
        # Ten seconds are a check's whole time, and a driver that waits is not to be stopped.
        patient = min(connection.connect_timeout_seconds, int(PATIENCE) - 2)
        self._database = Database(replace(connection, connect_timeout_seconds=patient), dialect_for(connection.dialect))
        self._catalogue = Catalogue(self._database)
        self._clock = clock
        self.reached = False

    @property
    def name(self) -> str:
        """The connection's name."""
        return self._spec.name

    def first(self) -> Check:
        """Return the check whether the source can be reached at all."""
        return Check(f"source {self.name}", self._reach)

    def rest(self, tables: Sequence[TableSpec]) -> tuple[Check, ...]:
        """Return what is looked at in a source that was reached; nothing in another."""
        if not self.reached:
            return ()
        checks = [Check(f"clock {self.name}", self._look_at_clock)]
        if tables:
            checks += [
                Check(f"transactions {self.name}", lambda findings: self._look_at_transactions(findings, tables)),
                Check(
                    f"tables {self.name}", lambda findings: self._look_at_tables(findings, tables), _A_TABLE * len(tables)
                ),
            ]
        return tuple(checks)

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def _reach(self, findings: Findings) -> None:
        begun = time.monotonic()
        with self._database.connect() as connection:
            opened = time.monotonic() - begun
            facts = self._database.dialect.describe_server(connection)
        trips = []
        for _ in range(_TRIPS):
            begun = time.monotonic()
            self._database.check()
            trips.append(time.monotonic() - begun)
        trip = min(trips)
        self.reached = True
        place = self._database.dialect.place(self._spec)
        told = f"{facts.version} at {place}: opened in {_millis(opened)}, asked in {_millis(trip)}"
        if trip > SLOW_TRIP:
            findings.yellow(told, "Run nearer to the source: each table asks some ten times.")
        else:
            findings.green(told)
        self._tell_protection(findings, facts.protocol)
        if facts.standby:
            findings.yellow(
                "it is a standby: it does not show the transactions of its primary",
                "Read the primary, or cover incremental tables by a lag (horizon).",
            )

    def _tell_protection(self, findings: Findings, protocol: str | None) -> None:
        mode = self._spec.tls.mode
        if protocol is None:
            return
        proof = {"verify-full": "its name and certificate are verified", "verify-ca": "its certificate is verified"}
        if protocol:
            findings.green(f"encrypted by {protocol} (tls.mode {mode}): {proof.get(mode, 'who answers is not proved')}")
        elif _is_local(self._spec.host):
            findings.green(f"not encrypted (tls.mode {mode}), on this machine")
        else:
            findings.yellow(
                f"not encrypted (tls.mode {mode}): password and rows can be read on the way",
                "Set tls.mode to verify-full with tls.ca, once the server offers TLS.",
            )

    def _look_at_clock(self, findings: Findings) -> None:
        with self._database.connect() as connection:
            before = self._clock()
            facts = self._database.dialect.describe_server(connection)
            after = self._clock()
        if facts.protocol is None:
            findings.green("the clock of this machine")
            return
        there = facts.now / _MICROS
        ahead = there - after if there > after else min(0.0, there - before)
        if abs(ahead) > MOST_SKEW:
            way = "ahead of" if ahead > 0 else "behind"
            findings.yellow(
                f"{abs(ahead):,.1f} s {way} this machine", "Let both be set by NTP: load dates and freshness go by them."
            )
        else:
            findings.green(f"within {max(0.1, abs(ahead)):.1f} s of this machine")

    def _look_at_transactions(self, findings: Findings, tables: Sequence[TableSpec]) -> None:
        incremental = [table for table in tables if table.incremental_column is not None and table.mode != "full"]
        if not incremental:
            findings.green("no incremental table needs to see them")
            return
        with self._database.connect() as connection:
            look = self._database.dialect.horizon(connection)
        if look is None:
            findings.green("writers take turns: nothing has to be seen")
            return
        for policy in (HorizonPolicy.LAG, HorizonPolicy.OFF):
            waived = [table.name for table in incremental if table.horizon is policy]
            if waived:
                findings.yellow(
                    f"horizon '{policy}' for {_listed(waived)}: rows of open transactions may be missed",
                    "Use horizon 'strict' where the source shows its transactions.",
                )
        strict = [table for table in incremental if table.horizon is HorizonPolicy.STRICT]
        if look.blind and strict:
            findings.red(
                f"{look.blind}; {_listed([table.name for table in strict])} cannot be read safely",
                look.grant or "Set horizon 'lag' with a lag above the longest transaction.",
            )
        elif strict:
            _tell_horizon(findings, look)
        for table in strict:
            self._tell_fitness(findings, table)

    def _tell_fitness(self, findings: Findings, table: TableSpec) -> None:
        """Tell what of a single table keeps its cursor from being compared with the start of transactions."""
        try:
            clock = self._described(table).clock()
            raw = None if table.query_sql is not None else self._catalogue.describe(table)
        except IngestionError:
            return  # told by the check of the tables
        if raw is not None and raw.elsewhere:
            findings.red(
                f"{table.name} is {raw.elsewhere}: the transactions that write it are not shown",
                "Read it where it is written.",
            )
        if clock is not None and not clock.zoned and table.cursor_timezone is None:
            findings.red(
                f"{table.name}: {table.incremental_column!r} has no time zone",
                "Set cursor_timezone to the zone whose wall clock it shows, such as UTC or Europe/Berlin.",
            )

    def _look_at_tables(self, findings: Findings, tables: Sequence[TableSpec]) -> None:
        errors: dict[str, list[tuple[TableSpec, IngestionError]]] = {}
        for table in tables:
            try:
                self._read_nothing(table)
            except IngestionError as error:
                # Many tables have one and the same trouble: some of them are shown, the others named.
                alike = errors.setdefault(error.remedy, [])
                alike.append((table, error))
                if len(alike) <= _SHOWN:
                    findings.error(error)
        for remedy, alike in errors.items():
            if len(alike) > _SHOWN:
                names = _listed([table.name for table, _ in alike[_SHOWN:]])
                findings.red(f"the same of {names}", remedy, alike[0][1].exit_code)
        good = len(tables) - sum(map(len, errors.values()))
        if good:
            findings.green(f"{good} of {len(tables)} are there and may be read")

    def _read_nothing(self, table: TableSpec) -> None:
        """Describe the table as a run does, and select its columns of no row: rights, names and filters are all checked."""
        described = self._described(table)
        described.describe()
        self._database.rows(selection(self._database.dialect, table, described.read_full().columns, "1 = 0"))

    def _described(self, table: TableSpec) -> JdbcSource:
        if table.query_sql is None:
            self._catalogue.add(table)
        # Never asked to read: the lightest reader there is.
        reader = ArrowReader(ParquetSettings("none"), LocalFiles(), lambda _: None)
        return JdbcSource(table, self._database, reader, self._catalogue)


def _tell_horizon(findings: Findings, look: Horizon) -> None:
    behind = 0.0 if look.oldest is None else (look.now - look.oldest) / _MICROS
    if look.prepared:
        findings.yellow(f"nothing new would be read: {look.reason}", "Commit or roll back what was prepared.")
    elif behind > _STUCK:
        findings.yellow(f"new rows wait: {look.reason}", "Find out whose it is, and let it end.")
    else:
        findings.green("open transactions can be seen" + (f"; {look.holder}" if look.holder else ""))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _millis(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"


def _is_local(host: str | None) -> bool:
    try:
        return host in (None, "localhost") or ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False

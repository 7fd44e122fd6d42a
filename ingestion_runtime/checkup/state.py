"""The state database: can it be read, is its schema one of ours, and does a living run hold any of the tables."""

from pathlib import Path

from ingestion_runtime.checkup.findings import Findings
from ingestion_runtime.checkup.runner import Check
from ingestion_runtime.model.batch import TableKey
from ingestion_runtime.model.spec import Configuration
from ingestion_runtime.state.inspection import StateFacts, inspect_state

_LISTED = 5


def state_check(configuration: Configuration, keys: frozenset[TableKey]) -> Check:
    """Return the check of the configuration's state; ``keys`` are the tables that were selected."""
    path = Path(configuration.runtime.state_database)
    return Check("state database", lambda findings: _look(findings, path, keys))


def _look(findings: Findings, path: Path, keys: frozenset[TableKey]) -> None:
    facts = inspect_state(path)
    if facts is None or facts.version == 0:
        findings.green(f"{path} is not there yet: the first run makes it")
        return
    if facts.version > facts.known:
        findings.red(
            f"{path} has schema version {facts.version}, this program knows {facts.known}",
            "Run the newer program that wrote it, or restore the backup made before the upgrade.",
        )
        return
    if facts.version < facts.known:
        findings.yellow(
            f"{path} has schema version {facts.version} of {facts.known}: the next run migrates it",
            "Keep a copy of it first: an older program cannot read it afterwards.",
        )
    else:
        findings.green(f"{path}, schema version {facts.version}")
    _tell_leases(findings, facts, keys)


def _tell_leases(findings: Findings, facts: StateFacts, keys: frozenset[TableKey]) -> None:
    by_holder: dict[tuple[str, int, str], list[str]] = {}
    for key, lease in facts.at_work.items():
        if key in keys:
            holder = lease.holder
            by_holder.setdefault((holder.run_id, holder.pid, holder.host), []).append(f"{key.schema}.{key.table}")
    for (run, pid, host), names in by_holder.items():
        findings.red(
            f"run {run} (process {pid} on {host}) holds {_listed(names)}",
            "Wait for that run to end, or stop it; these tables would end with exit code 4.",
            exit_code=4,
        )
    left = [f"{key.schema}.{key.table}" for key in facts.abandoned if key in keys]
    if left:
        findings.yellow(
            f"a run that died left the leases of {_listed(left)}", "Nothing to do: the next run takes them over and goes on."
        )
    if not by_holder and not left:
        findings.green("no lease is held")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(sorted(names)[:_LISTED]) + more

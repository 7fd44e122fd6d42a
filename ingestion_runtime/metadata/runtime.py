"""Taking snapshots ahead of a run, and the schema check that strategies make against snapshot and target."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa

from ingestion_runtime.metadata.cache import MetadataCacheManager
from ingestion_runtime.metadata.difference import Difference, as_published, compare, follow
from ingestion_runtime.metadata.drift import Verdict, judge
from ingestion_runtime.metadata.precision import PrecisionGuardrails
from ingestion_runtime.metadata.privacy import forget_excluded, set_apart
from ingestion_runtime.model.endpoint import MetadataCapableEndpoint
from ingestion_runtime.model.errors import IngestionError, TerminalError, TransientError
from ingestion_runtime.model.policy import ChangeKind, OnChange
from ingestion_runtime.model.schema import ColumnChange, TableSnapshot
from ingestion_runtime.model.spec import MetadataSpec, SinkFormat, TableSpec


class SchemaDriftPolicy:
    """Judges how the live columns of a table differ from what was accepted before, by the table's own policy."""

    def judge(self, difference: Difference, table: TableSpec, *, published: bool, replaces: bool) -> Verdict:
        """Return what passes; raises TerminalError for the rest. See ``drift.judge``."""
        return judge(difference, table, published=published, replaces=replaces)


@dataclass(frozen=True, slots=True)
class MetadataAccess:
    """What strategies see of the metadata. ``repository`` is None where metadata is switched off."""

    repository: MetadataCacheManager | None
    drift: SchemaDriftPolicy = field(default_factory=SchemaDriftPolicy)
    guardrails: PrecisionGuardrails = field(default_factory=PrecisionGuardrails)

    def check(
        self, source_id: str, table: TableSpec, live: TableSnapshot, published: pa.Schema | None, *, replaces: bool
    ) -> Verdict:
        """Judge a table's live columns, and let the snapshot follow what the policy accepts.

        Compared with the target's columns where there is a target (its types decide), else with the snapshot, which also
        tells renames apart. A missing column that may be missing stays in the snapshot, so that it keeps arriving as
        NULL. Without either anything passes, unless the policy asks for a snapshot. Raises TerminalError for what the
        policy forbids.
        """
        known = self.repository.load(source_id, table.schema, table.table) if self.repository else None
        known, apart = forget_excluded(table, known), set_apart(table, published)
        if known is None and table.policy.require_snapshot:
            raise _no_snapshot(table)
        now = follow(known, live)
        before = known if apart.compared is None else as_published(known, apart.compared, now)
        if before is None:
            return Verdict()
        difference = compare(before, now)
        verdict = self.drift.judge(difference, table, published=published is not None, replaces=replaces)
        if self.repository is not None and known is not None and compare(known, now):
            self.repository.save(source_id, _remember(known, now, verdict, table))
        return replace(verdict, shape=replace(verdict.shape, hidden=apart.hidden)) if apart.hidden else verdict


def build_metadata_access(spec: MetadataSpec, cache: MetadataCacheManager) -> MetadataAccess:
    """Return repository, drift policy and precision guardrails of a run; with ``enabled`` false it knows no snapshot."""
    return MetadataAccess(cache if spec.enabled else None)


def collect_metadata(
    endpoints: Iterable[tuple[str, TableSpec, MetadataCapableEndpoint]],
    cache: MetadataCacheManager,
    tell: Callable[[TableSpec, tuple[ColumnChange, ...]], None] = lambda *_: None,
) -> Mapping[str, IngestionError]:
    """Describe the tables whose snapshot is absent or stale, and save what each table's policy accepts.

    ``endpoints`` are (source id, table, endpoint). A snapshot is what was last accepted: where the live description
    differs from it in a way that the policy forbids, the old one stays, so that a vanished column is not forgotten when
    the snapshot ages. ``tell`` is given the accepted changes that a comparison with the target will not show. Returns the
    errors by table name (``schema.table``); they do not stop the other tables. Raises ConfigError at once (credentials).
    """
    failures: dict[str, IngestionError] = {}
    for source_id, table, endpoint in endpoints:
        try:
            changes = _collect(source_id, table, endpoint, cache)
        except (TerminalError, TransientError) as error:
            failures[table.name] = error
        else:
            if changes:
                tell(table, changes)
    return failures


def _collect(
    source_id: str, table: TableSpec, endpoint: MetadataCapableEndpoint, cache: MetadataCacheManager
) -> tuple[ColumnChange, ...]:
    known = forget_excluded(table, cache.load(source_id, table.schema, table.table))
    if known is not None and cache.is_fresh(known):
        return ()
    # Named as the configuration names it: a source may fold case, and the check looks for the configured name.
    live = follow(known, replace(endpoint.describe(), schema=table.schema, table=table.table))
    if known is None:
        cache.save(source_id, live)
        return ()
    difference = compare(known, live)
    verdict = judge(difference, table, published=False, replaces=False)
    if difference.swapped or difference.remade:
        return ()  # judged by the target, if there is one; until then it must be known which column was which
    cache.save(source_id, replace(_remember(known, live, verdict, table), taken_at=live.taken_at))
    shown_later = table.sink is SinkFormat.ICEBERG
    return tuple(c for c in verdict.changes if not shown_later or c.change == ChangeKind.NULLABILITY)


def _remember(known: TableSnapshot, live: TableSnapshot, verdict: Verdict, table: TableSpec) -> TableSnapshot:
    """Return the accepted columns: those that are read, with the missing ones that may be missing.

    A column that is not read stays unknown, so that it is new again on the day on which the policy lets it in. The age is
    that of the last full description.
    """
    columns = [column for column in live.columns if column.name not in verdict.shape.skipped]
    if table.policy.renamed is OnChange.IGNORE:
        columns = [replace(column, former=()) for column in columns]
    there = {column.name for column in live.columns} | {former for column in columns for former in column.former}
    # Whoever bears its identity from now on is another column.
    gone = [replace(column, gone=True, identity=None) for column in known.columns if column.name not in there]
    return replace(live, columns=(*columns, *gone), taken_at=known.taken_at)


def _no_snapshot(table: TableSpec) -> TerminalError:
    return TerminalError(
        f"There is no metadata snapshot of {table.name}, and require_snapshot asks for one.",
        remedy="Switch metadata.enabled on and run again with the source reachable, or set require_snapshot to false.",
        table=table.name,
    )

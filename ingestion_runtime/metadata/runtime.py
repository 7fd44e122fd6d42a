"""Taking snapshots ahead of a run, and the schema check that strategies make against them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa

from ingestion_runtime.metadata.cache import MetadataCacheManager
from ingestion_runtime.metadata.drift import SchemaDifference, compare_schema, compare_snapshots, judge
from ingestion_runtime.model.endpoint import MetadataCapableEndpoint
from ingestion_runtime.model.errors import IngestionError, TerminalError, TransientError
from ingestion_runtime.model.schema import ColumnSnapshot, TableSnapshot
from ingestion_runtime.model.spec import MetadataSpec, SchemaPolicy, TableSpec

# A live schema knows landed types only; the source's own words come back with the next snapshot.
_UNKNOWN_NATIVE_TYPE = "unknown"


@dataclass(frozen=True, slots=True)
class SchemaCheck:
    """A check that passed: what differs, and the columns that have to be added as NULL."""

    difference: SchemaDifference
    missing: tuple[pa.Field, ...] = ()


@dataclass(frozen=True, slots=True)
class MetadataAccess:
    """What strategies see of the metadata. ``repository`` is None where metadata is switched off."""

    repository: MetadataCacheManager | None
    policy: SchemaPolicy

    def check(self, source_id: str, table: TableSpec, live: pa.Schema) -> SchemaCheck:
        """Compare a table's live schema with its snapshot, and let the snapshot follow what the policy accepts.

        A missing column that may be missing stays in the snapshot, so that it keeps arriving as NULL. Without a
        snapshot anything passes, unless ``require_snapshot``. Raises TerminalError for what the policy forbids.
        """
        known = self.repository.load(source_id, table.schema, table.table) if self.repository else None
        if self.repository is None or known is None:
            if self.policy.require_snapshot:
                raise _no_snapshot(table)
            return SchemaCheck(SchemaDifference())
        difference = compare_schema(known, live)
        verdict = judge(difference, self.policy, table)
        if difference.added or difference.retyped:
            self.repository.save(source_id, _follow(known, difference))
        return SchemaCheck(difference, verdict.missing_allowed)


def build_metadata_access(spec: MetadataSpec, cache: MetadataCacheManager) -> MetadataAccess:
    """Return the schema check for a run; with ``enabled`` false it knows no snapshot."""
    return MetadataAccess(cache if spec.enabled else None, spec.policy)


def collect_metadata(
    endpoints: Iterable[tuple[str, TableSpec, MetadataCapableEndpoint]],
    cache: MetadataCacheManager,
    policy: SchemaPolicy,
) -> Mapping[str, IngestionError]:
    """Describe the tables whose snapshot is absent or stale, and save what the policy accepts.

    ``endpoints`` are (source id, table, endpoint). A snapshot is what was last accepted: where the live description
    differs from it in a way that ``policy`` forbids, the old one stays, so that a vanished column is not forgotten when
    the snapshot ages. Returns the errors by table name (``schema.table``); they do not stop the other tables. Raises
    ConfigError at once (credentials).
    """
    failures: dict[str, IngestionError] = {}
    for source_id, table, endpoint in endpoints:
        try:
            _collect(source_id, table, endpoint, cache, policy)
        except (TerminalError, TransientError) as error:
            failures[table.name] = error
    return failures


def _collect(
    source_id: str,
    table: TableSpec,
    endpoint: MetadataCapableEndpoint,
    cache: MetadataCacheManager,
    policy: SchemaPolicy,
) -> None:
    known = cache.load(source_id, table.schema, table.table)
    if known is not None and cache.is_fresh(known):
        return
    # Named as the configuration names it: a source may fold case, and the check looks for the configured name.
    live = replace(endpoint.describe(), schema=table.schema, table=table.table)
    if known is not None:
        missing = judge(compare_snapshots(known, live), policy, table).missing_allowed
        kept = {field.name for field in missing}
        live = replace(live, columns=(*live.columns, *(c for c in known.columns if c.name in kept)))
    cache.save(source_id, live)


def _follow(known: TableSnapshot, difference: SchemaDifference) -> TableSnapshot:
    retyped = {change.name: change.after for change in difference.retyped}
    columns = [
        replace(c, landed_type=retyped[c.name], native_type=_UNKNOWN_NATIVE_TYPE) if c.name in retyped else c
        for c in known.columns
    ]
    columns += [ColumnSnapshot(c.name, _UNKNOWN_NATIVE_TYPE, c.type, nullable=True) for c in difference.added]
    return replace(known, columns=tuple(columns))


def _no_snapshot(table: TableSpec) -> TerminalError:
    return TerminalError(
        f"There is no metadata snapshot of {table.name}, and require_snapshot asks for one.",
        remedy="Switch metadata.enabled on and run again with the source reachable, or set require_snapshot to false.",
        table=table.name,
    )

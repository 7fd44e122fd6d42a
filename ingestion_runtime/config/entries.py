"""The section ``tables`` of the file with the defaults of connections and configuration: tables, and patterns for tables."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ingestion_runtime.config.issues import IssueLog, Location
from ingestion_runtime.config.known import DIALECTS
from ingestion_runtime.config.layers import Effective, Layer, LayeredLog, loaded_whole, with_defaults
from ingestion_runtime.config.models.tables import DefaultsFile, SharedTableFile, TableFile
from ingestion_runtime.config.names import is_pattern
from ingestion_runtime.config.parsing import keys_of, parse_part
from ingestion_runtime.config.policies import build_policy
from ingestion_runtime.config.privacy import Standing
from ingestion_runtime.config.tables import TableContext, build_table
from ingestion_runtime.config.unique import Placed, check_unique
from ingestion_runtime.model.horizon import HorizonPolicy
from ingestion_runtime.model.policy import SchemaPolicy
from ingestion_runtime.model.spec import MetadataSpec, RuntimeSpec, TablePattern, TableSpec, Unfit

# Not filled into tables: a table's policy is built on that of its connection, and this on the configuration's, so that a
# fine key below decides against a coarse one above.
_BUILT_IN_LAYERS = "schema_policy"


@dataclass(frozen=True, slots=True)
class Entries:
    """What stands in ``tables``: tables, and patterns that stand for tables."""

    tables: tuple[TableSpec, ...] = ()
    patterns: tuple[TablePattern, ...] = ()


def load_entries(
    raw: dict[str, object], runtime: RuntimeSpec | None, metadata: MetadataSpec | None, log: IssueLog, base: Path
) -> Entries:
    """Return tables and patterns of the file, each with its defaults; problems are recorded where they stand.

    Files that hold secrets are found from the directory ``base``.
    """
    values = raw.get("tables")
    if values is None and not log.clean(("tables",)):
        return Entries()
    if not isinstance(values, list) or not values:
        log.add(("tables",), "must be a list of at least one table")
        return Entries()
    reader = _Reader(raw, runtime, metadata, log, base)
    tables: dict[int, TableSpec] = {}
    patterns: list[TablePattern] = []
    for index, value in enumerate(values):
        entry = reader.read(value, index, len(tables))
        if isinstance(entry, TablePattern):
            patterns.append(entry)
        elif entry is not None:
            tables[index] = entry
    catalog = runtime.catalog if runtime and log.clean(("runtime", "intermediate")) else None
    placed = [Placed(("tables", index), table) for index, table in tables.items()]
    named = [p for p in placed if log.clean((*p.at, "schema")) and log.clean((*p.at, "table"))]
    check_unique(named, catalog, log)
    return Entries(tuple(tables.values()), tuple(patterns))


def dialects_of(connections: object) -> dict[str, str | None]:
    """Connection names with their dialects, also of connections in which something else is wrong."""
    if not isinstance(connections, dict):
        return {}
    found: dict[str, str | None] = {}
    for name, value in connections.items():
        dialect = value.get("dialect") if isinstance(value, dict) else None
        found[name] = dialect if isinstance(dialect, str) and dialect in DIALECTS else None
    return found


class _Reader:
    """Reads entries: what they share, and one after the other."""

    def __init__(
        self,
        raw: dict[str, object],
        runtime: RuntimeSpec | None,
        metadata: MetadataSpec | None,
        log: IssueLog,
        base: Path,
    ) -> None:
        self._log = log
        self._base = base
        connections = raw.get("connections")
        named = connections if isinstance(connections, dict) else {}
        policy = metadata.policy if metadata else SchemaPolicy()
        self._context = TableContext(dialects_of(connections), _has_catalog(raw.get("runtime")), log, _horizons(named))
        if runtime is not None:
            self._context = replace(self._context, reconciliation=runtime.reconciliation)
        if metadata is not None:
            self._context = replace(self._context, guardrails=metadata.guardrails)
        if runtime is not None:
            self._context = replace(self._context, maintenance=runtime.maintenance.tables)
        self._common, self._policy = self._layer(DefaultsFile, raw.get("defaults"), ("defaults",), policy)
        self._of_connections: dict[str, tuple[Layer, SchemaPolicy]] = {
            name: self._layer(SharedTableFile, value.get("defaults"), ("connections", name, "defaults"), self._policy)
            for name, value in named.items()
            if isinstance(value, dict)
        }

    def read(self, value: object, index: int, place: int) -> TableSpec | TablePattern | None:
        """Return what the entry is, None where nothing of it can be used; ``place`` tables stand before it."""
        at: Location = ("tables", index)
        own = value if isinstance(value, dict) else {}
        layer, policy = self._of_connections.get(self._connection_of(own), (None, self._policy))
        layers = (self._common,) if layer is None else (layer, self._common)
        whole = with_defaults(own, at, layers) if isinstance(value, dict) else Effective({}, {})
        log = LayeredLog(self._log, at, whole.origins) if whole.origins else self._log
        file = parse_part(TableFile, whole.values if isinstance(value, dict) else value, at, log)
        if file is None:
            return None
        context = replace(self._context, log=log, policy=policy, standing=Standing(self._base, whole.is_inherited))
        table = build_table(file, at, context)
        return _pattern(file, table, whole, context, index, place) if is_pattern(file) else table

    def _layer(
        self, kind: type[SharedTableFile], raw: object, at: Location, base: SchemaPolicy
    ) -> tuple[Layer, SchemaPolicy]:
        if raw is None:
            return Layer(at, {}), base
        file = parse_part(kind, raw, at, self._log)
        known = set(keys_of(kind)) - {_BUILT_IN_LAYERS}
        values = {key: value for key, value in raw.items() if key in known} if isinstance(raw, dict) else {}
        policy = base if file is None else build_policy(file.schema_policy, base, (*at, "schema_policy"), self._log)
        return Layer(at, values), policy

    def _connection_of(self, own: Mapping[str, object]) -> str:
        """Return the name of the connection whose defaults a table has."""
        names = list(self._context.dialects)
        named = own.get("connection") or self._common.values.get("connection") or (names[0] if len(names) == 1 else "")
        return named if isinstance(named, str) else ""


def _pattern(
    file: TableFile, like: TableSpec, whole: Effective, context: TableContext, index: int, place: int
) -> TablePattern:
    otherwise = None
    if file.unfit == "full":
        at: Location = ("tables", index)
        loaded = parse_part(TableFile, loaded_whole(whole.values), at, context.log)
        otherwise = None if loaded is None else build_table(loaded, at, context)
    return TablePattern(
        entry=index,
        place=place,
        like=like,
        otherwise=otherwise,
        exclude=tuple(file.exclude),
        views=file.views,
        allow_empty=file.allow_empty,
        unfit=Unfit(file.unfit),
    )


def _horizons(connections: Mapping[str, object]) -> dict[str, str]:
    """Connection names with their horizon policies, where they name one that exists."""
    named = {name: value.get("horizon") for name, value in connections.items() if isinstance(value, dict)}
    return {name: policy for name, policy in named.items() if isinstance(policy, str) and policy in set(HorizonPolicy)}


def _has_catalog(raw: object) -> bool:
    """Whether a catalog is given, right or wrong; assumed where the whole section cannot be read."""
    return not isinstance(raw, dict) or raw.get("intermediate") is not None

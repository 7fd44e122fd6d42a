"""Both sides of a loaded table, opened for a comparison as the program opens them; without Spark."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from ingestion_runtime.endpoints.factory import EndpointFactory
from ingestion_runtime.endpoints.resolving import open_configuration
from ingestion_runtime.model.comparison import Basis, ComparableSource, ComparedColumn, ComparedRows, SourceView, Stand
from ingestion_runtime.model.spec import Engine
from ingestion_runtime.tools.files import LocalFiles
from tests.lake import Lake
from tests.targets import tool_of


@dataclass(frozen=True)
class Sides:
    """One view of the source and one of the target, over the same columns."""

    stand: Stand
    basis: Basis
    source: SourceView
    target: ComparedRows

    def differing(self) -> set[str]:
        """The names in the target of columns whose checksums differ."""
        there, here = self.source.rows.column_checksums(), self.target.column_checksums()
        return {name for name in there if there[name] != here[name]}

    def differing_keys(self) -> list[tuple[str | None, ...]]:
        """The keys, as the source or the target spells them, of rows that only one side has so, in order."""
        there = {row.key_hash: row for row in self.source.rows.hashes(list(self.source.rows.buckets(1)))}
        here = {row.key_hash: row for row in self.target.hashes(list(self.target.buckets(1)))}
        names = [name for name in there.keys() | here.keys() if there.get(name) != here.get(name)]
        return sorted(((there.get(name) or here[name]).key for name in names), key=str)


@contextmanager
def both_sides(lake: Lake, table: str, leave: Sequence[str] = ()) -> Iterator[Sides]:
    """Open both sides of a table, over the columns that both have but for those in ``leave``."""
    configuration = open_configuration(lake.path)
    assert configuration.runtime.catalog is not None
    tool = tool_of(configuration.runtime.catalog, lake.root, None)
    spec = next(spec for spec in configuration.tables if spec.name == table)
    with closing(EndpointFactory(configuration, tool, LocalFiles(), read_only=True)) as factory:
        session = tool.table_session()
        source = factory.build_endpoints(spec, session).source.comparable()
        target = factory.build_rows(spec, session, Engine.ARROW)
        stand = target.stand()
        assert stand is not None
        basis = basis_of(source, stand, spec.primary_keys, leave)
        with source.view(basis, stand.receipt) as view:
            left_out = view.left_out_keys() if basis.keys else None
            with target.view(stand, basis, left_out, (view.scope.unsettled,) if view.scope.unsettled else ()) as rows:
                yield Sides(stand, basis, view, rows)


def basis_of(source: ComparableSource, stand: Stand, keys: Sequence[str], leave: Sequence[str] = ()) -> Basis:
    """Return the columns that both sides have, spelled by their types in the target."""
    own = source.columns().names
    columns = {
        field.name: ComparedColumn(field.name, field.name, field.type)
        for field in stand.columns
        if field.name in own and field.name not in leave
    }
    return Basis(tuple(columns[key] for key in keys), tuple(columns.values()))

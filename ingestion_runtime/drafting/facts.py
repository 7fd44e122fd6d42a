"""What is known of the tables of a database before anything is decided: catalog, design, and a bounded look at rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ingestion_runtime.drafting.sampling import Sample, take_sample
from ingestion_runtime.endpoints.jdbc.columns import SourceColumn, check_names
from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.design import TableDesign
from ingestion_runtime.endpoints.jdbc.dialect import RawTable
from ingestion_runtime.model.errors import ConfigError, IngestionError, TerminalError, TransientError
from ingestion_runtime.model.horizon import Horizon
from ingestion_runtime.model.schema import ListedTable
from ingestion_runtime.model.spec import TableSpec

_AT_ONCE = 200  # tables described by one query

_Described = tuple[Mapping[str, RawTable], Mapping[str, TableDesign]]


@dataclass(frozen=True, slots=True)
class TableFacts:
    """One table, as its server describes it. ``large`` tables are those of which only a part was looked at."""

    listed: ListedTable
    raw: RawTable
    columns: tuple[SourceColumn, ...]
    design: TableDesign
    sample: Sample

    @property
    def name(self) -> str:
        """``schema.table``"""
        return f"{self.listed.schema}.{self.listed.table}"

    @property
    def rows(self) -> int | None:
        """The number of rows: counted where that is cheap, else the catalog's guess; None: more than were looked at."""
        if self.sample.whole:
            return self.sample.rows
        guess = self.raw.estimated_rows or self.listed.estimated_rows
        return None if guess is None else max(guess, self.sample.rows)

    @property
    def large(self) -> bool:
        """Whether there are more rows than were looked at."""
        return not self.sample.whole

    def column(self, name: str) -> SourceColumn:
        """Return a column that is there."""
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A table that cannot be ingested as it is, and why."""

    listed: ListedTable
    reason: str


def gather(database: Database, tables: Sequence[ListedTable]) -> Iterator[TableFacts | Unreadable]:
    """Yield what is known of each table, in order.

    Some queries of the catalog for many tables at once, and a bounded look at the rows of each. What concerns one table
    makes it ``Unreadable``; credentials and an unreachable server are raised.
    """
    for start in range(0, len(tables), _AT_ONCE):
        part = tables[start : start + _AT_ONCE]
        specs = [_plain_spec(listed, database) for listed in part]
        try:
            described = _describe(database, specs)
        except TerminalError:
            # One of them cannot even be described (a virtual table whose module is not there): the others can.
            described = None
        for listed, spec in zip(part, specs, strict=True):
            yield _look(database, listed, spec, described)


def look_at_transactions(database: Database) -> Horizon | None:
    """Return the safe horizon of the source; None where it needs none."""
    with database.connect() as connection:
        return database.dialect.horizon(connection)


def _describe(database: Database, specs: Sequence[TableSpec]) -> _Described:
    with database.connect() as connection:
        raws = database.dialect.describe_tables(connection, specs)
        return raws, database.dialect.describe_designs(connection, specs)


def _look(database: Database, listed: ListedTable, spec: TableSpec, described: _Described | None) -> TableFacts | Unreadable:
    try:
        raws, designs = described or _describe(database, [spec])
        raw = raws.get(spec.name)
        if raw is None:
            return Unreadable(listed, "it went away while the database was looked at")
        columns = tuple(database.dialect.column(column) for column in raw.columns)
        check_names(columns, spec.name)
        design = designs.get(spec.name, TableDesign())
        sample = take_sample(database, spec, raw, columns)
    except (ConfigError, TransientError):
        raise
    except IngestionError as error:
        return Unreadable(listed, str(error))
    return TableFacts(listed, raw, columns, design, sample)


def _plain_spec(listed: ListedTable, database: Database) -> TableSpec:
    return TableSpec(listed.schema, listed.table, "full", database.spec.name)

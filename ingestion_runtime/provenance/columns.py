"""The columns of a chain of batches: under which names each batch had them, and what they are called and hold by now.

A table follows its source: columns are renamed, added and widened between batches. Raw keeps each batch as it landed, by the
names of its day. Imported only where raw is read: pyiceberg costs 1.2 s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyiceberg.schema import Schema
from pyiceberg.types import IcebergType, NestedField

from ingestion_runtime.endpoints.iceberg.growth import holds, iceberg_types, written_columns
from ingestion_runtime.metadata.arrow_types import parse_arrow_type
from ingestion_runtime.model.batch import WriteMode
from ingestion_runtime.model.columns import CURSOR_RANK, DELETED_AT, INGEST_PREFIX, is_ingest_column
from ingestion_runtime.model.endpoint import INGEST_TYPES
from ingestion_runtime.provenance.chain import Link
from ingestion_runtime.tools.nearby import NearFiles

_MARK = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, slots=True)
class LinkColumns:
    """The columns as one batch has them.

    ``schema`` are all columns of the table by now, in its order and in its types, each under the name that it has in the
    batch's files, or under one that these do not have. ``kept`` are those that the table had and the batch did not bring
    although it could have changed rows: these kept their values (policy ``dropped: ignore``).
    """

    schema: Schema
    kept: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChainColumns:
    """The columns of a chain: ``schema`` is that of the table by now, ``links`` are those of each batch by its id.
    ``renamed`` are those that the table, which was set back, has under a name of before: that name by the present one."""

    schema: Schema
    links: Mapping[str, LinkColumns]
    renamed: Mapping[str, str]

    @property
    def data(self) -> pa.Schema:
        """The columns that hold a row's own values, in the types in which they land."""
        return pa.schema([field for field in written_columns(self.schema) if not is_ingest_column(field.name)])

    @property
    def marks(self) -> bool:
        """Whether the table has a column that marks deleted rows."""
        return DELETED_AT in self.schema.column_names


def chain_columns(
    links: Sequence[Link], schema: Schema | None, near: NearFiles, *, marks: bool, since: Sequence[Link] = ()
) -> ChainColumns:
    """Return the columns of these batches, which are in the order of publishing, and of their table (None: it is gone).
    ``near`` lends files, where some have to be asked. ``since`` are batches that the table has had and, set back, no longer
    has.

    A column of the table keeps its type unless what landed does not fit into it. ``marks``: rows are marked as deleted.
    """
    tale = _Tale()
    days = [tale.follow(link) for link in links]
    renamed = _renamed_since(schema, since) if schema else {}
    if schema is not None:
        former = {before: name for name, before in renamed.items()}
        schema = Schema(*(_field(f.field_id, former.get(f.name, f.name), f.field_type) for f in schema.fields))
        tale.rename(_strayed(links, schema, tale.kinds, near))
    fields = [_merged(field, tale.kinds) for field in schema.fields] if schema else []
    known = {field.name for field in fields}
    wanted = {**tale.kinds, **({} if schema else iceberg_types(pa.schema(list(INGEST_TYPES.items()))))}
    if marks:
        wanted.setdefault(DELETED_AT, iceberg_types(pa.schema([(DELETED_AT, _MARK)]))[DELETED_AT])
    # The mark comes last, where the table gets it.
    added = sorted((name for name in wanted if name not in known), key=lambda name: name == DELETED_AT)
    last = max((field.field_id for field in fields), default=0)
    fields += [_field(last + place, name, wanted[name]) for place, name in enumerate(added, start=1)]
    told = {link.batch_id: tale.tell(link, day, fields) for link, day in zip(links, days, strict=True)}
    return ChainColumns(Schema(*fields), told, renamed)


@dataclass(frozen=True, slots=True)
class _Day:
    """A batch's day: the columns (their numbers) that its files hold, by their names, and all that the table had."""

    names: Mapping[int, str]
    standing: frozenset[int]


class _Tale:
    """Follows columns through batches as the table does: see ``plan_growth``."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._kinds: dict[int, IcebergType] = {}

    @property
    def kinds(self) -> dict[str, IcebergType]:
        """The columns by their present names, in the order in which they came."""
        return {name: self._kinds[number] for name, number in sorted(self._numbers.items(), key=lambda item: item[1])}

    def follow(self, link: Link) -> _Day:
        """Take the next batch: what it renamed, added and widened."""
        fields = [field for field in link.raw.manifest.fields if field.name != CURSOR_RANK]
        for field in fields:
            if field.former in self._numbers and field.name not in self._numbers:
                self._numbers[field.name] = self._numbers.pop(field.former)
        kinds = iceberg_types(pa.schema([(field.name, parse_arrow_type(field.type)) for field in fields]))
        for name, kind in kinds.items():
            number = self._numbers.setdefault(name, len(self._kinds))
            before = self._kinds.get(number)
            self._kinds[number] = kind if before is None or holds(kind, before) else before
        return _Day({self._numbers[name]: name for name in kinds}, frozenset(self._kinds))

    def rename(self, names: Mapping[str, str]) -> None:
        """Give columns the names that they bear by now: the name now by the last one that a batch knew."""
        for former, name in names.items():
            self._numbers[name] = self._numbers.pop(former)

    def tell(self, link: Link, day: _Day, fields: Sequence[NestedField]) -> LinkColumns:
        """Return what a batch had, once all are taken."""
        numbers = [self._numbers.get(field.name, -1) for field in fields]
        named = [
            # A name that no file has: the column came later, or was gone, or another one bore its name.
            _field(field.field_id, day.names.get(number, f"{INGEST_PREFIX}absent_{place}"), field.field_type)
            for place, (number, field) in enumerate(zip(numbers, fields, strict=True))
        ]
        merges = link.write is WriteMode.MERGE and not link.is_start and link.raw.manifest.rows > 0
        kept = [
            field.name
            for number, field in zip(numbers, fields, strict=True)
            if number in day.standing and number not in day.names and not is_ingest_column(field.name)
        ]
        return LinkColumns(Schema(*named), tuple(kept) if merges else ())


def _renamed_since(schema: Schema, since: Sequence[Link]) -> dict[str, str]:
    """Return the columns that batches have renamed since the table was as it is: the name there by the present one."""
    names = {name: name for name in schema.column_names}
    for field in (field for link in since for field in link.raw.manifest.fields):
        if field.former in names and field.name not in names:
            names[field.name] = names.pop(field.former)
    return {name: before for name, before in names.items() if name != before}


def _strayed(links: Sequence[Link], schema: Schema, kinds: Mapping[str, IcebergType], near: NearFiles) -> dict[str, str]:
    """Return the columns that the table has renamed for a batch that was then refused: their name now by the former one.

    No batch in raw tells of it. The files do: their columns have the ids of the table's.
    """
    unknown = {field.field_id: field for field in schema.fields if field.name not in kinds}
    strayed = [name for name in kinds if name not in schema.column_names and not is_ingest_column(name)]
    found: dict[str, str] = {}
    for link in reversed(links) if unknown and strayed else ():
        for name, number in _ids(link, near).items():
            field = unknown.get(number)
            if name in strayed and name not in found and field is not None and holds(field.field_type, kinds[name]):
                found[name] = unknown.pop(number).name
    return found


def _ids(link: Link, near: NearFiles) -> dict[str, int]:
    """Return the field ids that a batch's files have, by name; none where there is no file to be read."""
    import pyarrow.parquet as pq

    for file in link.raw.manifest.files[:1]:
        try:
            with near.lend([link.path(file)]) as (path,):
                columns = pq.read_schema(path)
        except (OSError, pa.ArrowInvalid):
            return {}
        ids = {column.name: (column.metadata or {}).get(b"PARQUET:field_id") for column in columns}
        return {name: int(number) for name, number in ids.items() if number is not None}
    return {}


def _merged(field: NestedField, kinds: Mapping[str, IcebergType]) -> NestedField:
    landed = kinds.get(field.name)
    return field if landed is None or holds(field.field_type, landed) else _field(field.field_id, field.name, landed)


def _field(number: int, name: str, kind: IcebergType) -> NestedField:
    return NestedField(field_id=number, name=name, field_type=kind, required=False)

"""An Iceberg catalog through Spark's JVM, for tables that pyiceberg cannot reach: those on HDFS.

It is a catalog of pyiceberg's all the same, so heads, guards, growth and publishes are the same code for all places:
requirements are judged in Python on the very metadata that the commit replaces, updates are handed to Iceberg's Java
library in the spelling of its REST protocol, and its compare-and-set decides. Imported where metadata is read or written.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.metadata import TableMetadata, TableMetadataUtil
from pyiceberg.table.update import AssertCreate, TableRequirement, TableUpdate
from pyiceberg.typedef import EMPTY_DICT, Identifier, Properties

from ingestion_runtime.model.errors import IngestionError, TerminalError, TransientError
from ingestion_runtime.tools.hdfs import storage_fault

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_ERRORS: dict[str, type[Exception]] = {
    "CommitFailedException": CommitFailedException,
    "NoSuchTableException": NoSuchTableError,
    "AlreadyExistsException": TableAlreadyExistsError,
}
_DATABASE = frozenset({"UncheckedSQLException", "UncheckedInterruptedException"})


class JvmCatalog(MetastoreCatalog, NoopCatalog):
    """What the runtime needs of a catalog; all else is refused by NoopCatalog. Safe to use from several threads.

    Beside pyiceberg's own errors it raises what ``storage_fault`` names, and TransientError when the catalog's database
    does not answer.
    """

    def __init__(
        self, name: str, properties: Callable[[], Mapping[str, str]], session: Callable[[], "SparkSession"]
    ) -> None:
        super().__init__(name)
        self._settings = properties
        self._session = session
        self._lock = threading.Lock()
        self._java: Any = None

    def location(self, identifier: Identifier) -> str | None:
        """Return where the table's metadata lies now, None when there is no such table."""
        try:
            with _translated():
                return str(self._operations(identifier).current().metadataFileLocation())
        except NoSuchTableError:
            return None

    def load_table(self, identifier: str | Identifier) -> Table:
        """Return the table as it is now; raises NoSuchTableError."""
        name = self.identifier_to_tuple(identifier)
        with _translated():
            current = self._operations(name).current()
            return self._table(name, self._parse(current), str(current.metadataFileLocation()))

    def create_namespace(self, namespace: str | Identifier, properties: Properties = EMPTY_DICT) -> None:
        """Create a namespace; raises NamespaceAlreadyExistsError."""
        try:
            with _translated():
                jvm = self._jvm()
                java = jvm.org.apache.iceberg.catalog.Namespace.of(self._array(self.identifier_to_tuple(namespace)))
                self._catalog().createNamespace(java, dict(properties))
        except TableAlreadyExistsError as error:
            raise NamespaceAlreadyExistsError(str(error)) from error

    def commit_table(
        self, table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        """Judge the requirements on the metadata as it is now, and replace exactly that by one commit, tried once."""
        if any(isinstance(requirement, AssertCreate) for requirement in requirements):
            return self._create(table, requirements, updates)
        name = table.name()
        with _translated():
            iceberg = self._jvm().org.apache.iceberg
            operations = self._operations(name)
            base = operations.current()
            found = self._parse(base)
            for requirement in requirements:
                requirement.validate(found)
            if not updates:
                return _answer(found, str(base.metadataFileLocation()))
            changed = iceberg.TableMetadata.buildFrom(base)
            for update in updates:
                iceberg.MetadataUpdateParser.fromJson(update.model_dump_json()).applyTo(changed)
            operations.commit(base, changed.build())
            after = self._parse(operations.refresh())
            here = str(operations.current().metadataFileLocation())
        return _answer(after, location_after(after, str(base.metadataFileLocation()), here))

    def close(self) -> None:
        """Close the connections of the Java catalog, if it has any."""
        with self._lock:
            java, self._java = self._java, None
        with suppress(TerminalError):  # the JVM has been stopped, and the connections with it
            if java is not None and self._session():
                java.close()

    def _create(
        self, table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        name = table.name()
        wanted = self._update_and_stage_table(None, name, requirements, updates).metadata
        with _translated():
            iceberg = self._jvm().org.apache.iceberg
            schema = iceberg.SchemaParser.fromJson(wanted.schema().model_dump_json())
            spec = iceberg.PartitionSpecParser.fromJson(schema, wanted.spec().model_dump_json())
            builder = self._catalog().buildTable(self._identifier(name), schema)
            current = builder.withPartitionSpec(spec).withProperties(dict(wanted.properties)).create().operations().current()
            # The Java library has given the table a UUID of its own, and pyiceberg compares what it staged with the answer.
            table.metadata = self._parse(current)
            return _answer(table.metadata, str(current.metadataFileLocation()))

    def _resolve_table_location(self, location: str | None, database_name: str, table_name: str) -> str:
        # The Java catalog chooses; what is staged in Python only carries schema, partitions and properties.
        return location or f"hdfs:///{database_name}/{table_name}"

    def _table(self, name: Identifier, metadata: TableMetadata, location: str) -> Table:
        return Table(name, metadata, location, self._load_file_io(location=location), self)

    def _parse(self, java: Any) -> TableMetadata:
        text = self._jvm().org.apache.iceberg.TableMetadataParser.toJson(java)
        return TableMetadataUtil.parse_raw(str(text))

    def _operations(self, name: Identifier) -> Any:
        return self._catalog().loadTable(self._identifier(name)).operations()

    def _identifier(self, name: Identifier) -> Any:
        return self._jvm().org.apache.iceberg.catalog.TableIdentifier.of(self._array(name))

    def _array(self, names: Identifier) -> Any:
        gateway = self._context()._gateway
        array = gateway.new_array(gateway.jvm.java.lang.String, len(names))
        for place, name in enumerate(names):
            array[place] = name
        return array

    def _catalog(self) -> Any:
        with self._lock:
            if self._java is None:
                settings = self._context()._jsc.hadoopConfiguration()
                build = self._jvm().org.apache.iceberg.CatalogUtil.buildIcebergCatalog
                self._java = build(self.name, dict(self._settings()), settings)
            return self._java

    def _context(self) -> Any:
        return self._session().sparkContext

    def _jvm(self) -> Any:
        return self._context()._gateway.jvm


def _answer(metadata: TableMetadata, location: str) -> CommitTableResponse:
    return CommitTableResponse.model_validate({"metadata": metadata, "metadata-location": location})


def location_after(metadata: TableMetadata, base: str, here: str) -> str:
    """Return the location that followed ``base``: someone else may have committed before we looked where we are."""
    history = [*(entry.metadata_file for entry in metadata.metadata_log), here]
    return history[history.index(base) + 1] if base in history[:-1] else here


@contextmanager
def _translated() -> Iterator[None]:
    from py4j.protocol import Py4JJavaError

    try:
        yield
    except Py4JJavaError as error:
        raise _name(error) or error from error


def _name(error: Any) -> Exception | None:
    kind, text = str(error.java_exception.getClass().getSimpleName()), str(error.java_exception.getMessage())
    if kind in _ERRORS:
        return _ERRORS[kind](text)
    fault: IngestionError | None = storage_fault(error)
    if fault is None and kind in _DATABASE:
        fault = TransientError(f"The Iceberg catalog's database failed: {text}.", remedy="Run again when it answers.")
    return fault

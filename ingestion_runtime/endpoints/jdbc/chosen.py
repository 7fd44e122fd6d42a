"""The reader of a table: that of the engine which the table gets."""

from dataclasses import dataclass

from ingestion_runtime.endpoints.engine import EngineSwitch
from ingestion_runtime.endpoints.jdbc.database import Snapshot
from ingestion_runtime.endpoints.jdbc.extract import JdbcExtract, Reader
from ingestion_runtime.model.endpoint import Reading
from ingestion_runtime.model.spec import Engine


@dataclass(frozen=True, slots=True)
class ChosenReader:
    """Reads with the engine that the switch chooses when something is to be read. Implements ``Reader``."""

    switch: EngineSwitch
    spark: Reader
    arrow: Reader

    @property
    def judges(self) -> bool:
        """Whether the reader itself looks at every value."""
        return self._reader.judges

    @property
    def testifies(self) -> bool:
        """Whether the reader itself asks the witness of a read that joins no view."""
        return self._reader.testifies

    def prepare(self) -> None:
        """Start what takes time to start."""
        self._reader.prepare()

    def read(self, extract: JdbcExtract, snapshot: Snapshot, condition: str | None, directory: str) -> None:
        """Write the rows of a condition into a directory; see ``Reader.read``."""
        self._reader.read(extract, snapshot, condition, directory)

    def foresee(self, extract: JdbcExtract, snapshot: Snapshot, condition: str | None) -> Reading:
        """Return how the rows of a condition would be read; see ``Reader.foresee``."""
        return self._reader.foresee(extract, snapshot, condition)

    def discard(self, directory: str) -> None:
        """Remove what a failed read left in its directory."""
        self._reader.discard(directory)

    @property
    def _reader(self) -> Reader:
        return self.spark if self.switch.engine is Engine.SPARK else self.arrow

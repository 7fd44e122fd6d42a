"""The keys of a table, through the engine that the table gets."""

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from ingestion_runtime.endpoints.engine import EngineChoice, EngineSwitch
from ingestion_runtime.model.endpoint import IngestColumns
from ingestion_runtime.model.errors import OutgrownError
from ingestion_runtime.model.keys import KeysMissed, TargetKeys
from ingestion_runtime.model.spec import Engine
from ingestion_runtime.model.target import TargetKeyReader

_Answer = TypeVar("_Answer")


class ChosenKeys:
    """Asks the engine that the switch chooses, and Spark for what only Spark can read or hold. Implements the protocol."""

    def __init__(self, switch: EngineSwitch, spark: TargetKeyReader, local: TargetKeyReader) -> None:
        self._switch = switch
        self._spark = spark
        self._local = local
        self._unfit = False

    def compare(self, snapshot: str | None, staged: Sequence[str]) -> TargetKeys:
        """Return the keys at a snapshot united with those of staged files, by bucket; see ``TargetKeyReader``."""
        return self._ask(lambda keys: keys.compare(snapshot, staged))

    def write_missing(
        self,
        snapshot: str | None,
        staged: Sequence[str],
        moved: str,
        buckets: Collection[str],
        columns: IngestColumns,
        to: str,
    ) -> KeysMissed:
        """Write the keys that are not among the moved ones as tombstones; see ``TargetKeyReader``."""
        return self._ask(lambda keys: keys.write_missing(snapshot, staged, moved, buckets, columns, to))

    def _ask(self, question: Callable[[TargetKeyReader], _Answer]) -> _Answer:
        if self._unfit or self._switch.engine is Engine.SPARK:
            return question(self._spark)
        from ingestion_runtime.endpoints.iceberg.snapshot_files import UnfitSnapshot

        try:
            return question(self._local)
        except OutgrownError as outgrown:
            if self._switch.insists:
                raise
            reason = outgrown.message.rstrip(".")
        except UnfitSnapshot as unfit:
            reason = unfit.reason
        self._switch.step("keys", EngineChoice(Engine.SPARK, reason))
        self._unfit = True
        return question(self._spark)

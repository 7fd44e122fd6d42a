"""How a table is brought up to date. A new mode is a class with ``execute`` and an entry in STRATEGY_REGISTRY."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

from ingestion_runtime.strategies.append import AppendStrategy
from ingestion_runtime.strategies.backfill import BackfillStrategy
from ingestion_runtime.strategies.context import ExecutionContext, Intent, Outcome
from ingestion_runtime.strategies.full import FullRefreshStrategy
from ingestion_runtime.strategies.scd1 import Scd1Strategy
from ingestion_runtime.strategies.window import WindowStrategy


class Strategy(Protocol):
    """One mode. Stateless: everything about a table comes with the context."""

    def execute(self, context: ExecutionContext) -> Outcome:
        """Bring the table up to date; raises an IngestionError, with nothing of the failed batch visible."""
        ...

    def intend(self, context: ExecutionContext) -> Intent:
        """Say what ``execute`` would do now if no batch were open. The source is asked, and nothing is changed.

        Nothing but the samples kept of a cursor that is no clock. Raises what planning raises.
        """
        ...


#: By the mode of a table; "backfill" is asked for by the command of that name, "window" by ``--start-date``.
STRATEGY_REGISTRY: Final[Mapping[str, Strategy]] = MappingProxyType(
    {
        "full": FullRefreshStrategy(),
        "scd1": Scd1Strategy(),
        "append": AppendStrategy(),
        "backfill": BackfillStrategy(),
        "window": WindowStrategy(),
    }
)

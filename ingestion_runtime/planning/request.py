"""What a planner is asked."""

from dataclasses import dataclass
from datetime import date

from ingestion_runtime.model.cursor import Fingerprint, ReRead, Watermark
from ingestion_runtime.model.endpoint import Capabilities
from ingestion_runtime.model.spec import SlicingPolicy, TableSpec


@dataclass(frozen=True, slots=True)
class PlannerRequest:
    """One incremental table in one run, with every bound already frozen.

    ``lower`` (exclusive) is where the last batch ended, ``upper`` (inclusive) how far this one goes; an ``upper`` of
    None says that nothing lies above ``lower``. ``first`` is the smallest cursor present above ``lower``, None where it
    is not known: cuts are made where the rows are. ``reread`` is read before the windows. ``fingerprint`` describes the
    re-read set and goes into the plan as it is, for the receipt.
    """

    table: TableSpec
    capabilities: Capabilities
    policy: SlicingPolicy
    load_date: date
    lower: Watermark
    upper: Watermark | None
    first: Watermark | None = None
    reread: ReRead | None = None
    fingerprint: Fingerprint | None = None

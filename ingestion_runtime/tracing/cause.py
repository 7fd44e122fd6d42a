"""Why a key is in the target or is not: the codes that programs go by, and the answer that people read."""

from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """Why a key is in the target as the source has it, or is not."""

    PRESENT = "present"
    OVERWRITTEN = "overwritten"
    LOST_IN_BATCH = "lost_in_batch"
    NOT_AT_SOURCE = "not_at_source"
    FILTERED_OUT = "filtered_out"
    NOT_READ_YET = "not_read_yet"
    RUN_FAILED = "run_failed"
    HELD_BY_HORIZON = "held_by_horizon"
    BEYOND_NOW = "beyond_now"
    LATE_BEYOND_LAG = "late_beyond_lag"
    CHANGE_WITHOUT_CURSOR = "change_without_cursor"
    COLUMN_NOT_FILLED = "column_not_filled"
    SETTINGS_CHANGED = "settings_changed"
    NULL_CURSOR_IGNORED = "null_cursor_ignored"
    NULL_KEY_QUARANTINED = "null_key_quarantined"
    NULL_KEY_REFUSED = "null_key_refused"
    BELOW_INITIAL_WATERMARK = "below_initial_watermark"
    DELETED_AT_SOURCE = "deleted_at_source"
    MARKED_AS_DELETED = "marked_as_deleted"
    DELETES_IGNORED = "deletes_ignored"
    DELETE_NOT_READ_YET = "delete_not_read_yet"
    BATCH_NOT_PUBLISHED = "batch_not_published"
    BATCH_REFUSED = "batch_refused"
    BATCH_ABANDONED = "batch_abandoned"
    LANDED_NOT_PUBLISHED = "landed_not_published"
    REMOVED_BY_ANOTHER_WRITER = "removed_by_another_writer"
    CHANGED_BY_ANOTHER_WRITER = "changed_by_another_writer"
    ROLLED_BACK = "rolled_back"
    TABLE_GONE = "table_gone"
    NEVER_LOADED = "never_loaded"
    CANNOT_LAND = "cannot_land"
    SOURCE_UNREACHABLE = "source_unreachable"
    SOURCE_NOT_READABLE = "source_not_readable"
    TARGET_NOT_READABLE = "target_not_readable"
    TABLE_NOT_CONFIGURED = "table_not_configured"
    KEY_OF_ANOTHER_TYPE = "key_of_another_type"
    MASKED_COLUMN = "masked_column"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``in_target``: readers see a row of the key (None: the target could not be looked at); ``equals_source``: it is what
    the source has (None: nobody can say). ``sentence`` says why, ``remedy`` what can be done (empty: nothing has to be)."""

    cause: Cause
    in_target: bool | None
    equals_source: bool | None
    sentence: str
    remedy: str = ""

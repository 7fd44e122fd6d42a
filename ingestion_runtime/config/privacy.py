"""From ``exclude_columns`` and ``mask`` of the file to Privacy, with the checks against what else a table says."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ingestion_runtime.config.issues import IssueLog, Location
from ingestion_runtime.config.models.tables import MaskFile, TableFile
from ingestion_runtime.config.names import is_pattern
from ingestion_runtime.config.secrets import HOW_TO, SecretReference
from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.model.privacy import Exclusion, Mask, MaskMethod, Privacy, Salt

_NEEDED = {MaskMethod.HASH: "salt", MaskMethod.TRUNCATE: "length", MaskMethod.NULL: ""}


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a table stands: secrets are found from ``base``; ``inherited`` tells whether a value is one of its defaults."""

    base: Path
    inherited: Callable[[Location], bool]


def build_privacy(file: TableFile, at: Location, standing: Standing, log: IssueLog) -> Privacy:
    """Return what a table keeps out of the lake; problems are recorded.

    What a table says for itself must meet a column of it. What defaults say for all of them, or a pattern for its tables,
    need not.
    """
    for index, name in enumerate(file.exclude_columns):
        _check_name(name, (*at, "exclude_columns", index), log)
    own = not is_pattern(file)
    required = own and not standing.inherited((*at, "exclude_columns"))
    exclusions = tuple(Exclusion(name, required) for name in file.exclude_columns)
    masks = tuple(
        _build_mask(name, mask, (*at, "mask", name), own, standing, log)
        for name, mask in file.mask.items()
        if _check_name(name, (*at, "mask"), log)
    )
    if file.engine == "spark" and any(mask.method is MaskMethod.HASH for mask in masks):
        log.add(
            (*at, "engine"), "columns are masked by hash, and Spark would show the salt in its plans and logs; use 'arrow'"
        )
    found = Privacy(exclusions, masks)
    _check_others(file, found, at, standing, log)
    return found


def _check_name(name: str, at: Location, log: IssueLog) -> bool:
    sound = name.isprintable() and bool(name.strip())
    if not sound:
        log.add(at, "must name columns, without control characters")
    return sound


def _build_mask(name: str, file: MaskFile, at: Location, own: bool, standing: Standing, log: IssueLog) -> Mask:
    method = MaskMethod(file.method)
    needed = _NEEDED[method]
    for key in ("salt", "length") if log.clean((*at, "method")) else ():
        given = getattr(file, key) is not None
        # A default for another method is left out where the table chose its own.
        if given and key != needed and not standing.inherited((*at, key)):
            log.add((*at, key), f"has no meaning for the method '{method}'; leave it out")
        elif key == needed and not given and log.clean((*at, key)):
            log.add((*at, key), f"the method '{method}' needs it" + (_WHY_SALT if key == "salt" else ""))
    salt = None if file.salt is None or method is not MaskMethod.HASH else _salt(file.salt, (*at, "salt"), standing, log)
    length = file.length if method is MaskMethod.TRUNCATE else None
    return Mask(name, method, length, salt, required=own and not standing.inherited(at))


_WHY_SALT = ": without one, whoever guesses a value can tell it by its hash"


def _salt(text: str, at: Location, standing: Standing, log: IssueLog) -> Salt | None:
    try:
        return Salt(SecretReference.parse(text, standing.base))
    except ConfigError:
        log.add(at, f"must be a reference, never the salt itself: {HOW_TO}")
        return None


def _check_others(file: TableFile, privacy: Privacy, at: Location, standing: Standing, log: IssueLog) -> None:
    """Record columns that are kept out and are needed: what tells rows apart must be read as it stands."""
    for role, name in _needed(file):
        key = "exclude_columns" if privacy.excludes(name) else "mask" if privacy.mask_of(name) else ""
        if key:
            log.add((*at, key), f"meets a column of {role}, which needs its values; take it out of one of them")
    for name in file.columns:
        if privacy.excludes(name) or privacy.mask_of(name):
            log.add((*at, "columns"), "wishes a type for a column that is excluded or masked; leave it out")
    names = [name.casefold() for name in file.mask]
    for name in file.mask:
        place: Location = (*at, "mask", name)
        if names.count(name.casefold()) > 1:
            log.add(place, "this column is named twice (letter case does not count)")
        if privacy.excludes(name) and not standing.inherited(place) and not standing.inherited((*at, "exclude_columns")):
            log.add(place, "this column is excluded too; keep one of them")


def _needed(file: TableFile) -> Iterator[tuple[str, str]]:
    for name in file.primary_keys:
        yield "primary_keys", name
    if file.incremental_column:
        yield "incremental_column", file.incremental_column
    if file.partition_read is not None:
        yield "partition_read", file.partition_read.column
    for part in file.intermediate.partition:
        yield "intermediate.partition", part.column
    if file.intermediate.merge_filter is not None and (file.exclude_columns or file.mask):
        from ingestion_runtime.config.sql_guard import columns_of  # a quarter of a second, for files with SQL only

        for name in columns_of(file.intermediate.merge_filter, "spark"):
            yield "intermediate.merge_filter", name

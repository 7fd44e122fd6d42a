"""Names of tables, and patterns for them: which have a place in the lake, and which match."""

import re
from fnmatch import translate

from ingestion_runtime.config.issues import IssueLog, Location
from ingestion_runtime.config.known import DIALECTS
from ingestion_runtime.config.models.tables import TableFile

_GLOB, _GLOB_STARTS = set("*?[]"), set("*?[")
_UNSAFE = set("/\\=:*?[]{}%#")
_LONGEST = 200


def is_pattern(file: TableFile) -> bool:
    """Whether an entry stands for the tables that it matches, and not for one."""
    return is_glob(file.schema_name) or is_glob(file.table)


def is_glob(name: str) -> bool:
    """Whether a name is a pattern for names."""
    return not _GLOB_STARTS.isdisjoint(name)


def name_problem(name: str) -> str:
    """Return why a schema or table of this name has no place in the lake; nothing where it has one."""
    unsafe = any(character in _UNSAFE or not character.isprintable() for character in name)
    if unsafe or name[0] in "._" or name != name.strip() or len(name.encode()) > _LONGEST:
        signs = " ".join(sorted(_UNSAFE))
        return f"becomes a folder name: no {signs} or control characters, no leading '.' or '_', no blanks around"
    return ""


def check_names(file: TableFile, at: Location, log: IssueLog) -> None:
    """Record what is wrong with the names of an entry that stands for one table."""
    for key, name in (("schema", file.schema_name), ("table", file.table)):
        if log.clean((*at, key)) and (problem := name_problem(name)):
            log.add((*at, key), problem)
    for key in ("exclude", "views", "allow_empty", "unfit"):
        if key in file.model_fields_set:
            log.add((*at, key), "belongs to a pattern, with *, ? or [..] in schema or table; leave it out")


def check_pattern(file: TableFile, at: Location, dialect: str | None, log: IssueLog) -> None:
    """Record what is wrong with an entry that stands for several tables."""
    for key, name in (("schema", file.schema_name), ("table", file.table)):
        unsafe = any(sign in _UNSAFE - _GLOB or not sign.isprintable() for sign in name)
        if log.clean((*at, key)) and (unsafe or name != name.strip() or len(name.encode()) > _LONGEST):
            log.add((*at, key), "must be a pattern for names, without control characters and signs that no name may have")
    if dialect is not None and not DIALECTS[dialect].server and is_glob(file.schema_name):
        log.add((*at, "schema"), f"must be a name of your choice: a {dialect} file knows no schemas")
    for index, name in enumerate(file.exclude):
        if not name.isprintable() or name != name.strip():
            log.add((*at, "exclude", index), "must be a pattern for schema.table, without control characters")
    if file.query_sql is not None:
        log.add((*at, "query_sql"), "is read in place of one table; give that one an entry of its own")
    if file.unfit != "refuse" and file.mode == "full" and not file.primary_keys and log.clean((*at, "mode")):
        log.add((*at, "unfit"), "has no meaning for mode 'full' without 'primary_keys': every table fits; leave it out")


class NamePattern:
    """A pattern for names: ``*`` any signs, ``?`` one, ``[abc]`` and ``[a-z]`` one of these, ``[!a]`` one but these."""

    def __init__(self, pattern: str, *, ignores_case: bool) -> None:
        self._matches = re.compile(translate(pattern), re.IGNORECASE if ignores_case else 0).match

    def matches(self, name: str) -> bool:
        """Whether all of a name is matched."""
        return self._matches(name) is not None

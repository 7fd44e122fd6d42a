"""What the names of columns and tables tell. A name is a hint: what is made of it says so."""

import re
from enum import StrEnum


class Role(StrEnum):
    """What a column's name says about the times that it holds."""

    CHANGE = "change"  # moves with every change of the row
    PART = "part"  # moves with some changes of it
    CREATION = "creation"  # says when the row came
    NONE = "none"


_BREAK = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PARTS = re.compile(r"[\W_]+")
_CHANGE = (
    r"updated?|updates?|updt?|lastupd|modified|modify|modification|modif|mod|lastmod|changed?|chg|edited|revised|touched"
    r"|mtime|sysmodstamp|systemmodstamp|aenderung|geaendert"
)
_CREATION = (
    r"created?|creation|crt|inserted?|insertion|added|registered|registration|recorded|received|occurred|happened|logged"
    r"|posted|captured|emitted|ingested|ctime|angelegt"
)
_BEFORE = r"(?:last|latest|date|time|ts|dt|datetime|timestamp|row|record|rec|entry|db|sys|system|tm)*"
_AFTER = (
    r"(?:at|on|date|dat|time|datetime|timestamp|tstamp|stamp|ts|dt|tm|utc|gmt|tz|ms|msec|millis|sec|secs|seconds|s|epoch|unix"
    r"|when|day)*"
)
_CHANGED_AT = re.compile(f"{_BEFORE}(?:{_CHANGE}){_AFTER}")
_CREATED_AT = re.compile(f"{_BEFORE}(?:{_CREATION}){_AFTER}")
_CHANGE_WORD = re.compile(_CHANGE)
_UTC = frozenset({"utc", "gmt", "zulu"})
_GROWS_ONLY = re.compile(
    r"logs?|events?|audits?|audittrail|history|hist|journals?|trail|changelog|activity|activities|clicks|hits|pageviews"
    r"|metrics|measurements?|readings|samples|ticks|telemetry"
)
_LONGEST = 80  # of a name that is looked at: the patterns above can be matched in many ways
_DAYS = ("date", "day", "time", "at", "on", "datetime", "timestamp")


def words(name: str) -> tuple[str, ...]:
    """Return the words of a name in lower case: ``LastUpdate_ts`` is last, update, ts."""
    return tuple(part.lower() for part in _PARTS.split(_BREAK.sub("_", name)) if part)


def role_of(column: str, table: str) -> Role:
    """Return what the name of a column of this table says; the table's own name in front of it says nothing."""
    parts = words(column)
    joined = "".join(parts)
    if len(joined) > _LONGEST:
        return Role.NONE
    spelled = (joined, _without_owner(joined, table))
    if any(map(_CHANGED_AT.fullmatch, spelled)):
        return Role.CHANGE
    if any(map(_CREATED_AT.fullmatch, spelled)):
        return Role.CREATION
    # password_changed_at, price_updated: the rest of the row changes without it.
    return Role.PART if any(_CHANGE_WORD.fullmatch(part) for part in parts) else Role.NONE


def names_its_day(column: str, table: str) -> bool:
    """Return whether the name says on which day the thing itself took place: the order's ``order_date``."""
    joined = "".join(words(column))
    return any(joined == single + word for single in _singular(table) for word in _DAYS) or _is_creation(column, table)


def names_utc(column: str) -> bool:
    """Return whether the name says that its clock shows UTC."""
    return bool(_UTC & set(words(column)))


def only_grows(table: str) -> bool:
    """Return whether the table is called like one to which rows are only ever added."""
    return any(map(_GROWS_ONLY.fullmatch, words(table)))


def _is_creation(column: str, table: str) -> bool:
    return role_of(column, table) is Role.CREATION


def _without_owner(joined: str, table: str) -> str:
    for single in _singular(table):
        if joined.startswith(single) and len(joined) > len(single):
            return joined[len(single) :]
    return joined


def _singular(table: str) -> tuple[str, ...]:
    """Return what rows of the table may be called, longest first."""
    joined = "".join(words(table))
    found = {joined}
    if joined.endswith("ies"):
        found.add(joined[:-3] + "y")
    if joined.endswith("es"):
        found.add(joined[:-2])
    if joined.endswith("s"):
        found.add(joined[:-1])
    return tuple(sorted(filter(None, found), key=len, reverse=True))

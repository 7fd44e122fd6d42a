"""From the blocks ``schema_policy``, ``precision_guardrails`` and ``columns`` of the file to what every table carries."""

import re
from dataclasses import replace

from ingestion_runtime.config.issues import IssueLog, Location
from ingestion_runtime.config.models.metadata import ColumnFile, GuardrailsFile, SchemaPolicyFile
from ingestion_runtime.model.policy import ChangeKind, ColumnWish, Guardrail, Guardrails, OnChange, SchemaPolicy

_COARSE = {
    "allow_new_columns": (ChangeKind.ADDED,),
    "allow_missing_columns": (ChangeKind.DROPPED,),
    "allow_type_changes": (ChangeKind.NARROWED, ChangeKind.WIDENED, ChangeKind.RETYPED),
}
_DECIMAL = re.compile(r"decimal\(\s*(\d{1,2})\s*,\s*(\d{1,2})\s*\)", re.ASCII)
_PLAIN = {"string": "string", "int": "int32", "long": "int64", "float": "float", "double": "double"}
_MAX_DIGITS = 38


def build_policy(file: SchemaPolicyFile | None, base: SchemaPolicy, at: Location, log: IssueLog) -> SchemaPolicy:
    """Return ``base`` with what the block says; problems are recorded.

    The ``allow_*`` keys are the coarse form: true lets their changes evolve, false refuses them. A key of its own decides
    for its change and may say how it is let pass (``ignore``), but not the contrary of the coarse one.
    """
    if file is None:
        return base
    answers: dict[str, OnChange] = {}
    for key, kinds in _COARSE.items():
        allowed: bool | None = getattr(file, key)
        for kind in kinds if allowed is not None else ():
            fine: str | None = getattr(file, kind.value)
            if fine is not None and (fine == OnChange.FAIL) is bool(allowed):
                log.add((*at, kind.value), f"contradicts '{key}', which is {'true' if allowed else 'false'}; leave one out")
            answers[kind.value] = OnChange.EVOLVE if allowed else OnChange.FAIL
    for kind in ChangeKind:
        chosen: str | None = getattr(file, kind.value)
        if chosen is not None:
            answers[kind.value] = OnChange(chosen)
    required = base.require_snapshot if file.require_snapshot is None else file.require_snapshot
    return replace(base, require_snapshot=required, **answers)


def build_guardrails(file: GuardrailsFile, at: Location, log: IssueLog) -> Guardrails:
    """Return what holds for columns without a wish of their own; problems are recorded."""
    unbounded = None if file.unbounded is None else _type(file.unbounded, (*at, "unbounded"), log)
    if unbounded is not None and not unbounded.startswith(("decimal", "string")):
        log.add((*at, "unbounded"), "must be decimal(p,s), or string")
    return Guardrails(Guardrail(file.policy), None if unbounded == "string" else unbounded)


def build_wishes(
    columns: dict[str, ColumnFile], cursor: str | None, base: Guardrails, at: Location, log: IssueLog
) -> Guardrails:
    """Return ``base`` with the wishes of a table's columns; problems are recorded."""
    wishes = []
    for name, file in columns.items():
        place: Location = (*at, name)
        if not name.isprintable() or not name.strip():
            log.add(at, "must name columns, without control characters")
            continue
        if name == cursor:
            log.add(place, "is the incremental column, which lands as the source has it")
        wished = _type(file.type, (*place, "type"), log)
        if wished is not None:
            wishes.append(ColumnWish(name, wished, Guardrail(file.guardrail) if file.guardrail else base.policy))
    return replace(base, wishes=tuple(wishes))


def _type(text: str, at: Location, log: IssueLog) -> str | None:
    found = _DECIMAL.fullmatch(text)
    if found and 1 <= int(found[1]) <= _MAX_DIGITS and int(found[2]) <= int(found[1]):
        return f"decimal128({int(found[1])}, {int(found[2])})"
    if text not in _PLAIN:
        log.add(at, f"must be decimal(p,s) with p up to {_MAX_DIGITS} and s up to p, or one of {', '.join(_PLAIN)}")
    return _PLAIN.get(text)

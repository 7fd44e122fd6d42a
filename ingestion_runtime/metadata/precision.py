"""Precision guardrails: the type in which a number lands, judged by a profile and never by hope.

What arrives is what stood in the source, or its text, or it is refused. Once a target exists its type decides, so that a
column does not change its type from night to night with the values that happen to be there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from ingestion_runtime.metadata.arrow_types import parse_arrow_type
from ingestion_runtime.metadata.drift import lake_type, vital_columns
from ingestion_runtime.metadata.promotion import promotes
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.policy import ColumnWish, Guardrail
from ingestion_runtime.model.schema import ColumnProfile, ColumnSnapshot, TableSnapshot
from ingestion_runtime.model.spec import TableSpec

Profile = Callable[[Mapping[str, pa.DataType]], tuple[ColumnProfile, ...]]


@dataclass(frozen=True, slots=True)
class Finding:
    """A column that does not land as it was wished or declared, and why."""

    column: str
    wished: str
    landed: str
    policy: Guardrail
    reason: str


@dataclass(frozen=True, slots=True)
class Landing:
    """The columns that land in another type than the source's own mapping says, and what there is to tell of them."""

    fields: tuple[pa.Field, ...] = ()
    findings: tuple[Finding, ...] = ()


class PrecisionGuardrails:
    """Judges the columns whose values may not fit the type in which they should land."""

    def judge(self, table: TableSpec, live: TableSnapshot, published: pa.Schema | None, profile: Profile) -> Landing:
        """Return how columns land that the guardrails concern.

        ``published`` are the target's columns, None where there is no target whose types bind. ``profile`` is asked at
        most once, and only of columns that have no column in the target yet. Raises TerminalError where the policy is
        ``fail`` and a profile does not confirm a type.
        """
        wanted: dict[str, _Wanted] = {}
        fields: list[pa.Field] = []
        findings: list[Finding] = []
        for column in live.columns:
            wish = _wish(table, column)
            stands = published.field(column.name).type if published is not None and column.name in published.names else None
            if stands is None:
                if (asked := _to_profile(table, column, wish)) is not None:
                    wanted[column.name] = asked
            else:
                kept = _bound(column, wish, stands)
                fields += [pa.field(column.name, kept)] if kept is not None else []
                findings += _kept_finding(column, wish, kept or stands)
        judged = _judge_profiles(table, wanted, profile) if wanted else Landing()
        return Landing((*fields, *judged.fields), (*findings, *judged.findings))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The type to ask a profile about; ``own``: it is the one that the source's mapping gives anyway."""

    kind: pa.DataType
    policy: Guardrail
    own: bool


def _wish(table: TableSpec, column: ColumnSnapshot) -> ColumnWish | None:
    for wish in table.guardrails.wishes:
        if wish.column == column.name:
            return wish
    unbounded = table.guardrails.unbounded
    if unbounded is not None and column.number and column.landed_type == "string":
        return ColumnWish(column.name, unbounded, table.guardrails.policy)
    return None


def _to_profile(table: TableSpec, column: ColumnSnapshot, wish: ColumnWish | None) -> _Wanted | None:
    own = parse_arrow_type(column.landed_type)
    if wish is not None:
        return _Wanted(parse_arrow_type(wish.type), wish.guardrail, own == parse_arrow_type(wish.type))
    # Refused anyway, with the numbers, by the check that goes with the read: no scan ahead for that.
    guarded = table.guardrails.policy is not Guardrail.FAIL and column.name not in vital_columns(table)
    return _Wanted(own, table.guardrails.policy, own=True) if guarded and _is_number(own) else None


def _bound(column: ColumnSnapshot, wish: ColumnWish | None, stands: pa.DataType) -> pa.DataType | None:
    """Return the type in which a column lands whose target column is of the type ``stands``; None: its own."""
    wished = parse_arrow_type(wish.type) if wish else None
    if wished is not None and promotes(stands, wished):
        return wished
    # A number that no decimal is declared for: the target was made by a wish, or by a declaration that is gone.
    number = column.number and column.landed_type == "string" and _is_number(stands)
    guarded_text = stands == pa.string() and _is_number(parse_arrow_type(column.landed_type)) and wish is not None
    return stands if wished == stands or number or guarded_text else None


def _kept_finding(column: ColumnSnapshot, wish: ColumnWish | None, landed: pa.DataType) -> tuple[Finding, ...]:
    if wish is None or wish.type == str(landed):
        return ()
    reason = "the target's column is of another type, which decides; --reload makes it anew"
    return (Finding(column.name, lake_type(wish.type), lake_type(str(landed)), wish.guardrail, reason),)


def _judge_profiles(table: TableSpec, wanted: Mapping[str, _Wanted], profile: Profile) -> Landing:
    fields: list[pa.Field] = []
    findings: list[Finding] = []
    refused: list[ColumnProfile] = []
    found = {item.column: item for item in profile({name: item.kind for name, item in wanted.items()})}
    for name, asked in wanted.items():
        told = found.get(name)
        if told is None or not told.unfit:
            fields += [] if asked.own else [pa.field(name, asked.kind)]
        elif asked.policy is Guardrail.FAIL:
            refused.append(told)
        else:
            fields.append(pa.field(name, pa.string()))
            findings.append(Finding(name, lake_type(str(asked.kind)), "string", asked.policy, describe_profile(told)))
    if refused:
        raise _refusal(table, refused)
    return Landing(tuple(fields), tuple(findings))


def describe_profile(profile: ColumnProfile) -> str:
    """Return a profile as one sentence for people."""
    words = [f"{profile.unfit:,} of {profile.rows - profile.nulls:,} values are {profile.reason}"]
    words += [f"{profile.nans:,} NaN"] if profile.nans else []
    words += [f"{profile.infinities:,} infinite"] if profile.infinities else []
    if profile.whole is not None and profile.fraction is not None:
        words.append(f"digits in use: {profile.whole} before and {profile.fraction} after the point")
    if profile.low is not None:
        words.append(f"from {profile.low} to {profile.high}")
    return ", ".join(words)


def _refusal(table: TableSpec, refused: list[ColumnProfile]) -> TerminalError:
    listed = "; ".join(
        f"column {item.column!r} ({item.native_type}) should land as {lake_type(item.asked)}: {describe_profile(item)}"
        for item in refused
    )
    return TerminalError(
        f"Table {table.name} holds numbers that do not fit: {listed}.",
        remedy="Wish another type in the table's columns, or let the column land as text: the guardrail 'warn' or 'text'.",
        table=table.name,
        profiles=tuple(refused),
    )


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_decimal(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind))

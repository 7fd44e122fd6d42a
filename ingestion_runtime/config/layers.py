"""What a table says together with the defaults of its connection and of the whole configuration.

What stands nearer to the table wins. Objects are merged key by key, lists and single values replaced, and ``null`` takes
a default back. A default is used where it has a meaning and left out elsewhere: a cursor's for a table that has none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ingestion_runtime.config.issues import IssueLog, Location, pointer_of

Values = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Layer:
    """Defaults as they stand in the file, and where they stand."""

    at: Location
    values: Values


@dataclass(frozen=True, slots=True)
class Effective:
    """A table with its defaults. ``origins`` says where values stand that are not the table's own."""

    values: dict[str, object]
    origins: Mapping[Location, Location]

    def is_inherited(self, location: Location) -> bool:
        """Whether the value at ``location`` is not the table's own."""
        return any(location[:length] in self.origins for length in range(len(location) + 1))


class LayeredLog(IssueLog):
    """Records the problems of one table where the wrong value stands: in the table, or in defaults."""

    def __init__(self, log: IssueLog, at: Location, origins: Mapping[Location, Location]) -> None:
        super().__init__()
        self._log = log
        self._at = at
        self._origins = origins

    def add(self, location: Location, message: str, found_by: str = "") -> None:
        """Record a problem where its value stands."""
        place = self._origin(location)
        self._log.add(place, message, found_by or ("" if place == location else pointer_of(self._at)))

    def clean(self, location: Location) -> bool:
        """Whether nothing was recorded of the value at ``location``, wherever it or a part of it stands."""
        parts = [origin for path, origin in self._origins.items() if path[: len(location)] == location]
        return all(self._log.clean(place) for place in (self._origin(location), *parts))

    def _origin(self, location: Location) -> Location:
        for length in range(len(location), len(self._at), -1):
            if (origin := self._origins.get(location[:length])) is not None:
                return origin + location[length:]
        return location


def with_defaults(own: Values, at: Location, layers: Sequence[Layer]) -> Effective:
    """Return the table at ``at`` with what it does not say itself filled in, from the nearest layer to the farthest."""
    values, origins = dict(own), dict[Location, Location]()
    for layer in layers:
        _fill(values, layer.values, at, layer.at, origins)
    _drop_taken_back(values, layers)
    for key, has_meaning in _MEANINGS:
        if (*at, key) in origins and not has_meaning(values):
            del values[key]
    _prune_intermediate(values, at, origins)
    return Effective(values, origins)


def loaded_whole(values: Values) -> dict[str, object]:
    """Return the values of a table that is loaded whole in place of its own mode, without what then has no meaning."""
    kept: dict[str, object] = {**values, "mode": "full"}
    for key in ("primary_keys", "unfit"):
        kept.pop(key, None)
    for key, has_meaning in _MEANINGS:
        if not has_meaning(kept):
            kept.pop(key, None)
    inner = kept.get("intermediate")
    if isinstance(inner, dict):
        kept["intermediate"] = {key: value for key, value in inner.items() if key != "merge_filter"}
    return kept


def _fill(
    values: dict[str, object], defaults: Values, at: Location, origin: Location, origins: dict[Location, Location]
) -> None:
    for key, default in defaults.items():
        if key not in values:
            values[key] = default
            origins[(*at, key)] = (*origin, key)
        elif isinstance(own := values[key], dict) and isinstance(default, dict):
            values[key] = own = dict(own)
            _fill(own, default, (*at, key), (*origin, key), origins)


def _drop_taken_back(values: dict[str, object], layers: Sequence[Layer]) -> None:
    for key in [key for key, value in values.items() if value is None]:
        if any(layer.values.get(key) is not None for layer in layers):
            del values[key]


def _prune_intermediate(values: dict[str, object], at: Location, origins: Mapping[Location, Location]) -> None:
    """Leave defaults for a table in Iceberg out where it is none, or is not merged into."""
    inner = values.get("intermediate")
    if not isinstance(inner, dict):
        return
    inherited = (*at, "intermediate") in origins
    iceberg = values.get("sink", "iceberg") == "iceberg"
    unused = set() if iceberg else {"partition", "spec_mode"}
    if not iceberg or values.get("mode") != "scd1":
        unused.add("merge_filter")
    values["intermediate"] = {
        key: value
        for key, value in inner.items()
        if key not in unused or not (inherited or (*at, "intermediate", key) in origins)
    }


def _is_incremental(values: Values) -> bool:
    return values.get("mode") != "full"


def _is_merged(values: Values) -> bool:
    return values.get("mode") == "scd1"


def _is_clock(values: Values) -> bool:
    return _is_incremental(values) and values.get("incr_col_type") not in ("int", "text")


# In this order: what a later one asks about, an earlier one may have left out.
_MEANINGS: tuple[tuple[str, Callable[[Values], bool]], ...] = (
    ("primary_keys", lambda values: values.get("mode") != "append"),
    ("incremental_column", _is_incremental),
    ("incr_col_type", _is_incremental),
    ("initial_watermark", _is_incremental),
    ("null_cursor", _is_incremental),
    ("horizon", _is_incremental),
    ("lag_seconds", _is_clock),
    ("lag", lambda values: _is_incremental(values) and values.get("incr_col_type") == "int"),
    ("cursor_timezone", lambda values: values.get("incr_col_type") in ("timestamp", "date")),
    ("deletes", _is_merged),
    ("max_delete_fraction", lambda values: values.get("deletes", "ignore") != "ignore"),
)

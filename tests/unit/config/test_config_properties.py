"""Whatever the file holds: a configuration or a ConfigError, and never a secret in a message."""

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestion_runtime.config import load_configuration
from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.model.spec import Configuration

REPOSITORY = Path(__file__).parents[3]
EXAMPLES = [json.loads((REPOSITORY / "conf" / name).read_text()) for name in ("demo.json", "postgresql.example.json")]
WORDS = [
    "",
    ".",
    "scd1",
    "full",
    "timestamp",
    "text",
    "postgresql",
    "sqlite",
    "iceberg",
    "parquet",
    "a = 1",
    "(",
    "~",
    "$",
]
WORDS += [
    "${env:X}",
    "${file:x}",
    "file:///",
    "hdfs://x/",
    "webhdfs://a:1/b",
    "{schema}.{table}",
    "\0",
    "é",
    "1",
    "bucket:4",
]
KEYS = [
    "connections",
    "runtime",
    "tables",
    "metadata",
    "intermediate",
    "schema",
    "table",
    "mode",
    "password",
    "tls",
    "url",
]
KEYS += [
    "source_filter",
    "query_sql",
    "partition",
    "merge_filter",
    "spark",
    "conf",
    "jdbc_properties",
    "initial_watermark",
]
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.sampled_from(WORDS), st.text(max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
CANARY = "hunter2canary"


def _containers(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    own = [value] if isinstance(value, (dict, list)) and value else []
    return own + [found for item in inner for found in _containers(item)]


def _places(container: Any) -> list[Any]:
    return list(container) if isinstance(container, dict) else list(range(len(container)))


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A valid configuration with up to four places changed, removed or added."""
    content = copy.deepcopy(draw(st.sampled_from(EXAMPLES)))
    for _ in range(draw(st.integers(1, 4))):
        container = draw(st.sampled_from(_containers(content) or [content]))
        places = _places(container)
        action = draw(st.sampled_from(["change", "remove", "add"]))
        if action == "change" and places:
            container[draw(st.sampled_from(places))] = draw(VALUES)
        elif action == "remove" and places:
            del container[draw(st.sampled_from(places))]
        elif isinstance(container, dict):
            container[draw(st.sampled_from(KEYS) | st.text(max_size=8))] = draw(VALUES)
        else:
            container.append(draw(VALUES))
    return content


def _load(text: str) -> Configuration | ConfigError:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "run.json"
        path.write_bytes(text.encode())
        try:
            return load_configuration(path)
        except ConfigError as error:
            return error


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated())
def test_any_change_gives_a_configuration_or_a_configuration_error(content: dict[str, Any]) -> None:
    """Never another exception; an error lists at least one problem and can be printed."""
    result = _load(json.dumps(content))
    if isinstance(result, ConfigError):
        assert result.values["issues"]
        assert str(result).encode()


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_text_gives_a_configuration_error(text: str) -> None:
    """Also text that is no JSON at all."""
    assert isinstance(_load(text.encode(errors="replace").decode()), ConfigError)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated(), st.data())
def test_a_secret_in_the_wrong_place_is_never_repeated(content: dict[str, Any], data: st.DataObject) -> None:
    """Whatever value of the file is a secret by mistake, no message shows it."""
    for _ in range(data.draw(st.integers(1, 4))):
        container = data.draw(st.sampled_from(_containers(content) or [content]))
        if places := _places(container):
            prefix = data.draw(st.sampled_from(["", "jdbc:postgresql://u:", "${env:", "a = '", "a = ", "SELECT ", "file:"]))
            container[data.draw(st.sampled_from(places))] = f"{prefix}{CANARY}"
    result = _load(json.dumps(content))
    if isinstance(result, ConfigError):
        assert CANARY not in str(result)
        assert CANARY not in repr(result.values)
        assert result.__cause__ is None

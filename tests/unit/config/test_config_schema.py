"""The published JSON Schema."""

import json
from pathlib import Path
from typing import Any

from ingestion_runtime.config.schema import configuration_schema, schema_text, write_schema

REPOSITORY = Path(__file__).parents[3]
PUBLISHED = REPOSITORY / "docs" / "reference" / "configuration.schema.json"
REFERENCE = REPOSITORY / "docs" / "reference" / "configuration.md"


def test_the_published_schema_is_the_one_that_the_models_give(tmp_path: Path) -> None:
    """After a change of the models: python -m ingestion_runtime.config.schema."""
    assert PUBLISHED.read_text(encoding="utf-8") == schema_text()
    write_schema(tmp_path / "schema.json")
    assert json.loads((tmp_path / "schema.json").read_text()) == configuration_schema()


def _objects(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [schema, *schema["$defs"].values()]


def test_the_schema_refuses_unknown_keys_everywhere() -> None:
    """An editor shows a misspelt key while it is typed."""
    assert all(part["additionalProperties"] is False for part in _objects(configuration_schema()))


def test_the_schema_uses_the_keys_of_the_file() -> None:
    """Not the names inside the program."""
    schema = configuration_schema()
    assert set(schema["required"]) == {"connections", "runtime", "tables"}
    assert "$schema" in schema["properties"]
    assert {"schema", "table"} == set(schema["$defs"]["TableFile"]["required"])
    assert "partitionColumn" in schema["$defs"]["PartitionReadFile"]["properties"]


def test_every_key_is_in_the_reference() -> None:
    """docs/reference/configuration.md names each key that a file may hold."""
    text = REFERENCE.read_text(encoding="utf-8")
    keys = {key for part in _objects(configuration_schema()) for key in part["properties"]}
    assert [
        key for key in sorted(keys) if f"`{key}`" not in text and f".{key}`" not in text and f"`{key}." not in text
    ] == []

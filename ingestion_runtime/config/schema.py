"""The JSON Schema of configuration files, published under docs/reference for editors."""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from ingestion_runtime.config.models import ConfigurationFile

PUBLISHED = Path("docs/reference/configuration.schema.json")


def configuration_schema() -> dict[str, Any]:
    """Return the JSON Schema of a configuration file.

    It knows keys, types, choices and bounds. Loading checks more: names, paths, SQL, and what belongs together.
    """
    schema = ConfigurationFile.model_json_schema(by_alias=True)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema}


def schema_text() -> str:
    """Return the schema as it stands in the published file."""
    return json.dumps(configuration_schema(), indent=2, sort_keys=True) + "\n"


def write_schema(path: Path = PUBLISHED) -> None:
    """Write the schema to ``path``."""
    path.write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    write_schema(*(Path(argument) for argument in sys.argv[1:2]))

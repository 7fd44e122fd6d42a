"""The JSON Schema of configuration files, published under docs/reference for editors."""

import ast
import inspect
import itertools
import json
import pkgutil
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from ingestion_runtime.config import models
from ingestion_runtime.config.models.configuration import ConfigurationFile

PUBLISHED = Path("docs/reference/configuration.schema.json")


def configuration_schema() -> dict[str, Any]:
    """Return the JSON Schema of a configuration file.

    It knows keys, types, choices and bounds. Loading checks more: names, paths, SQL, and what belongs together.
    """
    schema = ConfigurationFile.model_json_schema(by_alias=True)
    objects = {**schema["$defs"], ConfigurationFile.__name__: schema}
    modules = tuple(import_module(f"{models.__name__}.{found.name}") for found in pkgutil.iter_modules(models.__path__))
    texts = {(owner, name): text for module in modules for owner, name, text in _field_texts(module)}
    kinds = {name: kind for module in modules for name, kind in vars(module).items()}
    for owner, described in objects.items():
        kind: type[BaseModel] = kinds[owner]
        for name, field in kind.model_fields.items():
            text = next((texts[base.__name__, name] for base in kind.__mro__ if (base.__name__, name) in texts), None)
            if text is not None:
                described["properties"][field.alias or name]["description"] = text
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema}


def _field_texts(module: ModuleType) -> Iterator[tuple[str, str, str]]:
    """Yield class, field and text for every field of a module's models with a string right under it."""
    for kind in ast.parse(inspect.getsource(module)).body:
        if not isinstance(kind, ast.ClassDef):
            continue
        for field, below in itertools.pairwise(kind.body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    yield kind.name, name, inspect.cleandoc(text)


def schema_text() -> str:
    """Return the schema as it stands in the published file."""
    return json.dumps(configuration_schema(), indent=2, sort_keys=True) + "\n"


def write_schema(path: Path = PUBLISHED) -> None:
    """Write the schema to ``path``."""
    path.write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    write_schema(*(Path(argument) for argument in sys.argv[1:2]))

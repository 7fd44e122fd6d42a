"""Builds small configuration files and reads their problems."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingestion_runtime.config import ConfigIssue, load_configuration
from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.model.spec import Configuration

Edit = Callable[[dict[str, Any]], object]

SMALL: dict[str, Any] = {
    "connections": {
        "sales": {
            "dialect": "postgresql",
            "host": "db.example.com",
            "database": "sales",
            "user": "reader",
            "password": "${env:SALES_PASSWORD}",
        },
    },
    "runtime": {
        "raw_root": "data/raw",
        "final_root": "data/final",
        "timezone": "UTC",
        "intermediate": {"database": "data/catalog.db", "warehouse": "data/warehouse"},
    },
    "metadata": {},
    "tables": [
        {
            "schema": "public",
            "table": "orders",
            "mode": "scd1",
            "primary_keys": ["order_id"],
            "incremental_column": "updated_at",
            "incr_col_type": "timestamp",
        },
        {"schema": "public", "table": "products", "mode": "full"},
    ],
}


class Desk:
    """Writes an edited copy of a small, valid configuration and loads it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "run.json"

    def load(self, edit: Edit | None = None) -> Configuration:
        content = copy.deepcopy(SMALL)
        if edit is not None:
            edit(content)
        self.path.write_text(json.dumps(content), encoding="utf-8")
        return load_configuration(self.path)

    def refuse(self, edit: Edit) -> dict[str, str]:
        """Return the messages by pointer; several at one pointer are joined by a line break."""
        with pytest.raises(ConfigError) as caught:
            self.load(edit)
        return messages(caught.value)

    def refuse_text(self, text: str | bytes) -> ConfigError:
        self.path.write_bytes(text.encode() if isinstance(text, str) else text)
        with pytest.raises(ConfigError) as caught:
            load_configuration(self.path)
        return caught.value


def messages(error: ConfigError) -> dict[str, str]:
    found: dict[str, str] = {}
    issues = error.values["issues"]
    assert isinstance(issues, tuple)
    for issue in issues:
        assert isinstance(issue, ConfigIssue)
        assert f"\n  {issue}" in str(error)
        found[issue.pointer] = "\n".join(filter(None, (found.get(issue.pointer), issue.message)))
    return found


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)

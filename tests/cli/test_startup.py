"""Starting costs what the command needs: which libraries a process has imported by the time it ends.

Modules and not seconds: a busy machine changes those by half.
"""

import json
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.cli.conftest import TABLES
from tests.lake import PROJECT, Lake
from tests.servers.postgresql import PostgresDatabase

# Whatever happens, the process says at its end what it has imported, and whether garbage is collected.
PROBE = """
import atexit, gc, json, pathlib, runpy, sys
found, program, *sys.argv[1:] = sys.argv[1:]
atexit.register(lambda: pathlib.Path(found).write_text(json.dumps([gc.isenabled(), sorted(sys.modules)])))
sys.argv[0] = program
runpy.run_path(program, run_name="__main__")
"""
OURS = {"ingestion-runtime", "setuptools"}  # setuptools: how an editable installation is found
CONFIGURATION = {"pydantic", "pydantic_core", "annotated-types", "typing_extensions", "typing-inspection"}
STATE = {"sqlalchemy", "greenlet", "psutil"}
TABLE_OF_RESULTS = {"rich", "pygments", "markdown-it-py"}
POSTGRESQL = {"psycopg", "psycopg-binary"}


class Imported:
    """What one process had imported, and how it ended."""

    def __init__(self, folder: Path, arguments: list[str], program: str = "ingestion.py") -> None:
        found = folder / "imported.json"
        command = [sys.executable, "-c", PROBE, str(found), str(PROJECT / program), *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        self.code = ended.returncode
        self.output = ended.stdout + ended.stderr
        self.collects_garbage, modules = json.loads(found.read_text())
        self.modules = set(modules)

    @property
    def distributions(self) -> set[str]:
        """The installed distributions of which anything was imported, without our own."""
        owners = packages_distributions()
        named = {name.partition(".")[0] for name in self.modules}
        return {owner.lower() for name in named for owner in owners.get(name, ())} - OURS


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["validate", "--help"],
        ["init", "--help"],
        ["doctor", "--help"],
        ["explain", "--help"],
        ["status", "--help"],
        ["retry", "--help"],
        ["backfill", "--help"],
        ["airflow-dag", "--help"],
        ["--no-such-option"],
        [],
    ],
    ids=lambda arguments: " ".join(arguments) or "nothing",
)
def test_help_version_and_usage_errors_import_click_alone(tmp_path: Path, arguments: list[str]) -> None:
    imported = Imported(tmp_path, arguments)
    assert "sage" in imported.output or "version" in imported.output
    assert imported.distributions == {"click"}
    rooms = {name for name in imported.modules if name.startswith("ingestion_runtime")}
    commands = {name for name in rooms if name.startswith("ingestion_runtime.commands")}
    assert rooms - commands <= {
        "ingestion_runtime",
        "ingestion_runtime.cli",
        "ingestion_runtime.model",
        "ingestion_runtime.model.errors",
    }


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["--engine", "abacus"], []], ids=" ".join)
def test_help_and_usage_errors_of_comparing_import_click_alone(tmp_path: Path, arguments: list[str]) -> None:
    imported = Imported(tmp_path, arguments, "recon.py")
    assert "sage" in imported.output or "version" in imported.output
    assert imported.distributions == {"click"}


def test_validating_imports_what_reads_the_file_and_no_database(shop: Lake, tmp_path: Path) -> None:
    imported = Imported(tmp_path, ["validate", "--config", str(shop.path)])
    assert imported.code == 0, imported.output
    assert imported.distributions <= {"click", *CONFIGURATION}
    assert "pydantic" in imported.distributions


def test_a_status_imports_what_reads_the_state_and_no_engine(shop: Lake, tmp_path: Path) -> None:
    """It is asked every few minutes by who watches over the tables."""
    imported = Imported(tmp_path, ["status", "--config", str(shop.path), "--output", "json"])
    assert imported.code == 0, imported.output
    assert imported.distributions <= {"click", *CONFIGURATION, *STATE}


def test_a_run_with_nothing_to_do_imports_no_engine(shop: Lake, tmp_path: Path) -> None:
    """Neither engine, nor what reads table metadata and rows, nor what judges SQL: the state and the source say it all."""
    shop.run(None)
    imported = Imported(tmp_path, ["--config", str(shop.path), "--load-date", "2026-07-01"])
    assert imported.code == 0, imported.output
    assert imported.output.count("unchanged") + imported.output.count("skipped") == len(TABLES)
    assert imported.distributions <= {"click", "pyarrow", *CONFIGURATION, *STATE, *TABLE_OF_RESULTS}
    assert imported.collects_garbage  # off while importing: 0.1 s; a run may last for hours
    # Their first import costs more than asking a table.
    assert not {"pyarrow.parquet", "pyarrow.compute", "pyarrow.dataset", "pyarrow.fs"} & imported.modules
    # Nor what only comparing and maintaining need: a dataclass costs 0.5 ms.
    other = {"model.comparison", "model.upkeep", "endpoints.jdbc.comparing", "reconciliation"}
    assert not {f"ingestion_runtime.{name}" for name in other} & imported.modules


def test_a_run_with_nothing_to_do_on_postgresql_adds_its_driver_only(postgres: PostgresDatabase, tmp_path: Path) -> None:
    postgres.psql(
        "CREATE TABLE orders (id int PRIMARY KEY, updated_at timestamptz);"
        "INSERT INTO orders VALUES (1, '2024-05-01 00:00+00')"
    )
    lake = Lake(tmp_path, postgres.configured(), [{**TABLES[1], "schema": "public"}])
    lake.run(None)
    imported = Imported(tmp_path, ["--config", str(lake.path), "--load-date", "2026-07-01"])
    assert imported.code == 0, imported.output
    assert "unchanged" in imported.output
    assert imported.distributions <= {"click", "pyarrow", *CONFIGURATION, *STATE, *TABLE_OF_RESULTS, *POSTGRESQL}
    # Connections are opened by the driver itself: a dialect of SQLAlchemy would import every driver it knows of.
    assert "sqlalchemy.dialects.postgresql" not in imported.modules
    assert "ingestion_runtime.endpoints.jdbc.dialects.mysql" not in imported.modules

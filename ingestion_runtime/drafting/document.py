"""The configuration file that comes of a draft: plain JSON in a fixed order, only what differs from the defaults."""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingestion_runtime.config import load_configuration
from ingestion_runtime.config.issues import ConfigIssue, IssueLog
from ingestion_runtime.config.models.tables import TableFile
from ingestion_runtime.config.names import name_problem
from ingestion_runtime.config.parsing import parse_part
from ingestion_runtime.config.tables import TableContext, build_table
from ingestion_runtime.drafting.tables import TableDraft
from ingestion_runtime.model.errors import ConfigError

_SCHEMA = Path("docs", "reference", "configuration.schema.json")
_ENTRY = (
    "schema",
    "table",
    "mode",
    "primary_keys",
    "incremental_column",
    "incr_col_type",
    "cursor_timezone",
    "lag_seconds",
    "partition_read",
    "intermediate",
    "columns",
)


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around the tables: the connection as the file spells it, and where everything is kept."""

    connection_name: str
    connection: Mapping[str, Any]
    dialect: str
    job_name: str
    root: str
    timezone: str


def entry_of(draft: TableDraft, schema: str, table: str) -> dict[str, Any]:
    """Return a table's entry with its keys in the order of every entry."""
    values = {"schema": schema, "table": table, **draft.settings}
    return {key: values[key] for key in _ENTRY if key in values}


def problems_of(entry: Mapping[str, Any], frame: Frame) -> tuple[ConfigIssue, ...]:
    """Return what a configuration would be told about this entry."""
    log = IssueLog()
    for key in ("schema", "table"):
        # Before anything else: a name with * or ? in it would be taken for a pattern.
        if problem := name_problem(str(entry[key])):
            log.add((key,), problem)
    file = parse_part(TableFile, dict(entry), (), log) if not log.issues else None
    if file is not None:
        context = TableContext({frame.connection_name: frame.dialect}, has_catalog=True, log=log)
        build_table(file, (), context)
        # As an Iceberg name is namespace.table.
        for key in ("schema", "table"):
            if "." in str(entry[key]):
                log.add((key,), "may not hold a '.' here: an Iceberg name is namespace.table")
    return log.issues


def build_document(frame: Frame, entries: Sequence[Mapping[str, Any]], folder: Path) -> dict[str, Any]:
    """Return the whole configuration; ``folder`` is where its file will lie."""
    root = frame.root.rstrip("/")
    schema = _schema_reference(folder)
    return {
        **({"$schema": schema} if schema else {}),
        "connections": {frame.connection_name: dict(frame.connection)},
        "runtime": {
            "job_name": frame.job_name,
            "raw_root": f"{root}/raw",
            "final_root": f"{root}/final",
            "timezone": frame.timezone,
            "intermediate": {"database": f"{root}/catalog.db", "warehouse": f"{root}/warehouse"},
        },
        "tables": [dict(entry) for entry in entries],
    }


def document_text(document: Mapping[str, Any]) -> str:
    """Return the document as it stands in the file: equal drafts give equal texts."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raise ConfigError where writing ``path`` would overwrite a file unasked, or cannot be done."""
    if path.is_dir():
        raise ConfigError(f"{path} is a directory.", remedy="Let --to name a file.", path=str(path))
    if os.path.lexists(path) and not force:
        raise ConfigError(
            f"{path} is there already.", remedy="Name another file with --to, or overwrite it with --force.", path=str(path)
        )


def write_document(document: Mapping[str, Any], path: Path, *, force: bool) -> None:
    """Write the configuration, whole or not at all, after it has been loaded as every command loads it.

    Raises ConfigError where it would overwrite a file unasked or cannot be written.
    """
    refuse_existing(path, force=force)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=".init-", suffix=".json", encoding="utf-8", delete=False
        ) as file:
            temporary = Path(file.name)
            file.write(document_text(document))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        load_configuration(temporary)
        temporary.chmod(0o644)
        _put(temporary, path, force=force)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _put(temporary: Path, path: Path, *, force: bool) -> None:
    if force:
        temporary.replace(path)
        return
    try:
        path.hardlink_to(temporary)  # in one step, and never over a file that came meanwhile
    except FileExistsError:
        refuse_existing(path, force=False)
    except PermissionError:  # a file system without links
        refuse_existing(path, force=False)
        temporary.replace(path)


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{path} cannot be written: {error.strerror}.", remedy="Let --to name a file that you may write.", path=str(path)
    )


def _schema_reference(folder: Path) -> str | None:
    """Return where editors find the schema; None where this program was installed without its documentation."""
    project = Path(__file__).resolve().parents[2]
    schema = project / _SCHEMA
    if not schema.is_file():
        return None
    near = folder.resolve().is_relative_to(project)
    return os.path.relpath(schema, folder.resolve()) if near else schema.as_uri()

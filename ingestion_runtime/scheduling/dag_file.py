"""The file in which Airflow finds a DAG."""

import contextlib
import os
import tempfile
from importlib import resources
from pathlib import Path

from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.model.orchestration import LoadDateFrom
from ingestion_runtime.scheduling.airflow import Dag

# What every file of ours begins with; no other file is written over.
MARK = '"""An ingestion as an Airflow DAG, written by `ingestion airflow-dag`.'
_TEMPLATE = "airflow_dag.py.jinja"
# The moments of Airflow's run, in the order in which they are asked: a run that was triggered may lack all but the last.
_MOMENTS = {
    LoadDateFrom.LOGICAL_DATE: ("logical_date", "run_after"),
    LoadDateFrom.INTERVAL_START: ("data_interval_start", "logical_date", "run_after"),
    LoadDateFrom.INTERVAL_END: ("data_interval_end", "logical_date", "run_after"),
    LoadDateFrom.TODAY: (),
}


def dag_text(dag: Dag) -> str:
    """Return the file's content: Python for Airflow 3. The same DAG gives the same text."""
    from jinja2 import Environment, StrictUndefined

    # Python and no HTML: every value goes through repr.
    environment = Environment(  # noqa: S701
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["literal"] = repr
    template = resources.files("ingestion_runtime.scheduling").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(template).render(mark=MARK, dag=dag, moments=_MOMENTS[dag.load_date_from])


def write_dag(target: Path, text: str) -> bool:
    """Write the file as a whole and return whether it changed: Airflow may read it at any moment.

    Raises ConfigError where it cannot be written, and for an existing file that ``ingestion airflow-dag`` did not write.
    """
    if target.suffix != ".py":
        raise ConfigError(f"{target} would not be read by Airflow.", remedy="Give it a name that ends with .py.")
    try:
        path = target.resolve()
        before = path.read_bytes() if path.exists() else None
        if before == text.encode():
            return False
        if before is not None and not before.startswith(MARK.encode()):
            raise ConfigError(
                f"{target} exists and was not written by this command.", remedy="Remove it first, or choose another name."
            )
        _replace(path, text)
    except OSError as error:
        raise ConfigError(
            f"{target} cannot be written: {error.strerror}.", remedy="Name a file in a folder that exists and is writable."
        ) from None
    return True


def _replace(path: Path, text: str) -> None:
    # Not .py: Airflow must not take it for a DAG file.
    with tempfile.NamedTemporaryFile("wb", dir=path.parent, prefix=".dag-", suffix=".tmp", delete=False) as stream:
        try:
            stream.write(text.encode())
            stream.flush()
            os.fchmod(stream.fileno(), 0o644)  # Airflow may be another user
            Path(stream.name).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(stream.name).unlink()
            raise

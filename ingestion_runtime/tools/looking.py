"""An execution tool that executes nothing: whoever needs an engine to look at something is told so."""

import os
from pathlib import Path
from typing import NoReturn

from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.spec import RuntimeSpec
from ingestion_runtime.tools.spark import SparkTool


class EngineNeededError(TerminalError):
    """Something can only be looked at with Spark."""


def looking_tool(runtime: RuntimeSpec) -> SparkTool:
    """Return a tool whose sessions raise EngineNeededError."""
    return SparkTool.from_config(runtime, _refuse, _refuse, Path(os.devnull))


def _refuse() -> NoReturn:
    raise EngineNeededError(
        "This can only be looked at with Spark, which is not started for looking.",
        remedy="Run the table, and see.",
    )

"""A trace for people, on stderr. Every name and value is shown as it is, whatever it holds."""

from rich.console import Console
from rich.text import Text

from ingestion_runtime.tracing.stages import stages
from ingestion_runtime.tracing.trace import Trace

_FILE_WIDTH = 160  # where no terminal says how wide it is


def print_trace(trace: Trace) -> None:
    """Print the sentence, what can be done, and below it the trace."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        console = Console(stderr=True, highlight=False, width=_FILE_WIDTH)
    verdict = trace.verdict
    style = "bold green" if verdict.in_target and verdict.equals_source else "bold"
    _say(console, Text(verdict.sentence, style))
    if verdict.remedy:
        _say(console, Text(verdict.remedy))
    console.print()
    for stage in stages(trace):
        for place, line in enumerate(stage.lines):
            _say(console, Text.assemble((f"  {stage.name if place == 0 else '':<8}", "dim"), line))
    _say(console, Text.assemble(("  cause   ", "dim"), verdict.cause.value))


def _say(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=True)

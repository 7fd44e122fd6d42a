"""A trace for people, on stderr. Every name and value is shown as it is, whatever it holds."""

from rich.text import Text

from ingestion_runtime.telling import open_console, say
from ingestion_runtime.tracing.stages import stages
from ingestion_runtime.tracing.trace import Trace


def print_trace(trace: Trace) -> None:
    """Print the sentence, what can be done, and below it the trace."""
    console = open_console()
    verdict = trace.verdict
    style = "bold green" if verdict.in_target and verdict.equals_source else "bold"
    say(console, Text(verdict.sentence, style))
    if verdict.remedy:
        say(console, Text(verdict.remedy))
    console.print()
    for stage in stages(trace):
        for place, line in enumerate(stage.lines):
            say(console, Text.assemble((f"  {stage.name if place == 0 else '':<8}", "dim"), line))
    say(console, Text.assemble(("  cause   ", "dim"), verdict.cause.value))

"""Findings for their readers: a line each for people, values for programs."""

from collections.abc import Sequence
from typing import Any

from ingestion_runtime.checkup.findings import Finding, Grade, exit_code
from ingestion_runtime.telling import open_console, say, visible

_MARKS = {Grade.GREEN: "ok", Grade.YELLOW: "look", Grade.RED: "FAIL"}
_STYLES = {Grade.GREEN: "green", Grade.YELLOW: "yellow", Grade.RED: "bold red"}


def findings_document(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings as JSON values."""
    return {
        "version": 1,
        "exit_code": exit_code(findings),
        "checks": [
            {
                "check": finding.check,
                "grade": finding.grade.value,
                "message": finding.message,
                "remedy": finding.remedy,
                "exit_code": finding.exit_code,
            }
            for finding in findings
        ],
    }


def print_findings(findings: Sequence[Finding]) -> None:
    """Print a line for each finding on stderr, and how many there are of each grade."""
    from rich.text import Text

    console = open_console()
    width = max((len(finding.check) for finding in findings), default=0)
    for finding in findings:
        line = Text()
        line.append(f"{_MARKS[finding.grade]:<4} ", style=_STYLES[finding.grade])
        line.append(f"{visible(finding.check):<{width}}  ", style="bold")
        line.append(visible(finding.message))
        if finding.remedy:
            line.append(f"  -> {visible(finding.remedy)}", style="italic")
        say(console, line)
    counts = {grade: sum(finding.grade is grade for finding in findings) for grade in Grade}
    summary = ", ".join(f"{counts[grade]} {grade}" for grade in Grade)
    say(console, f"{summary}; exit code {exit_code(findings)}")

"""Proofs for people, on stderr. Every name, key and message is shown as it is, on one line, whatever it holds."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from ingestion_runtime.provenance.findings import Finding, Kind, ProofStatus, RowExample, TableProof
from ingestion_runtime.telling import counted, open_console, say, visible

_STYLES: Final = {
    ProofStatus.PROVEN: "green",
    ProofStatus.PARTLY: "yellow",
    ProofStatus.BROKEN: "bold red",
    ProofStatus.NO_DATA: "cyan",
    ProofStatus.ERROR: "bold red",
}
_WORDS: Final = {ProofStatus.NO_DATA: "no data"}
_LONGEST_VALUE: Final = 60
# Of a table with hundreds of damaged files the first tell enough; --output json has them all.
_MOST_FINDINGS: Final = 20


def print_proofs(proofs: Sequence[TableProof]) -> None:
    """Print a line for each table, what was found under it, and a line for all of them."""
    console = open_console()
    width = max((len(visible(proof.table)) for proof in proofs), default=0)
    for proof in proofs:
        _print_proof(console, proof, width)
    counts = [(status, sum(proof.status is status for proof in proofs)) for status in ProofStatus]
    told = ", ".join(f"{count} {_word(status)}" for status, count in counts if count)
    say(console, Text(f"{counted(len(proofs), 'table')}: {told or 'none'}. Nothing was changed, no source was asked."))


def _print_proof(console: Console, proof: TableProof, width: int) -> None:
    line = Text.assemble((f"{visible(proof.table):<{width}}", "bold"), "  ")
    line.append(f"{_word(proof.status):<7}", _STYLES[proof.status])
    line.append(f"  {', '.join(_facts(proof))}")
    say(console, line)
    for finding in proof.findings[:_MOST_FINDINGS]:
        style = "bold red" if finding.breaks else "yellow"
        say(console, Text.assemble((f"  {finding.kind.value:<19} ", style), visible(finding.message)))
        for words in _details(finding):
            say(console, Text(f"  {'':<19}   {visible(words)}", "dim"))
    if len(proof.findings) > _MOST_FINDINGS:
        say(console, Text(f"  and {len(proof.findings) - _MOST_FINDINGS} more: --output json has them all", "dim"))
    for hindrance in proof.unseen:
        say(console, Text.assemble(("  not looked at       ", "yellow"), visible(hindrance.reason)))
    if proof.error is not None:
        say(
            console,
            Text.assemble(("  stopped by          ", "bold red"), f"{proof.error.type} {visible(proof.error.message)}"),
        )


def _facts(proof: TableProof) -> Iterator[str]:
    if proof.status is ProofStatus.ERROR:
        return
    if proof.status is ProofStatus.NO_DATA:
        yield "nothing was published so far"
        return
    if proof.rows is not None:
        yield counted(proof.rows, "row")
    yield counted(proof.batches, "batch", "batches")
    yield f"{counted(proof.files, 'raw file')} ({_size(proof.bytes)})"
    if proof.watermark is not None:
        yield f"up to {visible(proof.watermark)}"
    yield f"{proof.seconds:.1f} s"


def _details(finding: Finding) -> Iterator[str]:
    if finding.covers is not None:
        yield f"slice {finding.slice} holds: {finding.covers}"
    if finding.file is not None and finding.file not in finding.message:
        yield finding.file
    for example in finding.examples:
        yield _example(example, finding)
    if finding.rows is not None and finding.examples and finding.rows > len(finding.examples):
        yield f"and {finding.rows - len(finding.examples):,} more"


def _example(example: RowExample, finding: Finding) -> str:
    key = ", ".join(f"{name} = {_value(value)}" for name, value in example.key.items())
    columns = f"  differs in {', '.join(example.columns)}" if example.columns else ""
    claims = ""
    if finding.kind in (Kind.ROWS_ADDED, Kind.ROWS_CHANGED) and (example.run or example.slice):
        claims = f"  (says: run {example.run or 'none'}, slice {example.slice or 'none'})"
    return f"{key}{columns}{claims}"


def _value(value: str | None) -> str:
    if value is None:
        return "NULL"
    return value if len(value) <= _LONGEST_VALUE else f"{value[:_LONGEST_VALUE]}... ({len(value):,} characters)"


def _size(count: int) -> str:
    size, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:  # noqa: PLR2004 - of each unit as many make the next
            break
        size, unit = size / 1024, larger
    return f"{count:,} bytes" if unit == "bytes" else f"{size:,.1f} {unit}"


def _word(status: ProofStatus) -> str:
    return _WORDS.get(status, status.value)

"""How people are told things: figures in words, foreign texts on one line, sentences whole."""

import pytest
from rich.table import Table
from rich.text import Text

from ingestion_runtime.telling import counted, open_console, say, visible


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (counted(1, "file"), "1 file"),
        (counted(0, "file"), "0 files"),
        (counted(2_000, "file"), "2,000 files"),
        (counted(1, "batch", "batches"), "1 batch"),
        (counted(3, "batch", "batches"), "3 batches"),
    ],
)
def test_things_are_counted_in_words(told: str, expected: str) -> None:
    assert told == expected


def test_a_foreign_text_is_one_line_and_moves_no_cursor() -> None:
    assert visible("a\n b\t\x1b[31mred\x07 [bold] ü\u202e") == "a b \ufffd[31mred\ufffd [bold] ü\ufffd"


def test_a_sentence_is_one_line_in_a_file_however_long(capsys: pytest.CaptureFixture[str]) -> None:
    """As it was given: no emoji is made of a name; markup is what a plain string alone may hold."""
    console = open_console()
    say(console, Text("[red] a:x:b " + "word " * 100 + "end"))
    say(console, "[bold]bold[/] :x: " + "word " * 100 + "end")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == ["[red] a:x:b " + "word " * 100 + "end", "bold :x: " + "word " * 100 + "end"]


def test_a_table_in_a_file_is_as_wide_as_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(box=None, show_header=False)
    table.add_row("x" * 70, "y" * 70)
    open_console().print(table)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.split() == ["x" * 70, "y" * 70]

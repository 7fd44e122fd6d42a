"""Shell completion: in a real bash as a user has it, and by click's own protocol for the other shells."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestion_runtime.cli import cli
from tests.cli.conftest import Call
from tests.cli.test_startup import Imported
from tests.lake import Lake

PROGRAM = Path(sys.executable).with_name("ingestion")
TABLE_OPTIONS = {"--only-tables", "--reload", "--allow-shrink", "--table"}


@pytest.fixture
def script(call: Call, tmp_path: Path) -> Path:
    """The script that bash reads."""
    path = tmp_path / "completion.bash"
    path.write_text(call("completion", "bash").stdout)
    return path


def completions(script: Path, line: str) -> list[str]:
    """Ask bash's own function what the last word of a line could become; bash takes words apart at ``=`` and ``:``."""
    words = [word for word in re.split(r"(=)| ", line) if word]
    words += [""] if line.endswith(" ") else []
    quoted = " ".join(f"'{word}'" for word in words)
    asked = f"source {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _ingestion_completion {PROGRAM}"
    shown = f'{asked}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    command = ["bash", "--norc", "-c", shown]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.stderr == ""
    return ended.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ingestion stat", ["status"]),
        ("ingestion status --only", ["--only-tables"]),
        ("ingestion status --output ", ["table", "json"]),
        ("ingestion status --config {conf} --only-tables ", ["shop.customers", "shop.orders"]),
        ("ingestion status --config {conf} --only-tables SHOP.O", ["shop.orders"]),
        ("ingestion status --config={conf} --only-tables=shop.c", ["shop.customers"]),
        ("ingestion --config {conf} --reload shop.orders,", ["shop.orders,shop.customers"]),
        ("ingestion --config {conf} --only-tables shop.orders,shop.c", ["shop.orders,shop.customers"]),
        ("ingestion --config {conf} --only-tables shop.orders,shop.o", []),
        ("ingestion backfill --config {conf} --table shop.", ["shop.customers", "shop.orders"]),
        ("ingestion status --config {missing} --only-tables ", []),
        ("ingestion status --only-tables ", []),
    ],
)
def test_bash_completes_commands_options_and_tables(script: Path, shop: Lake, line: str, expected: list[str]) -> None:
    """Lists piece by piece, letter case aside; without a file nothing, and never an error."""
    assert completions(script, line.format(conf=shop.path, missing=shop.root / "missing.json")) == expected


def test_the_configuration_may_stand_behind_the_list(
    call: Call, shop: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The whole line is looked at; ``~`` and variables in its path are those of the shell."""
    monkeypatch.setenv("HOME", str(shop.root))
    monkeypatch.setenv("PLACE", str(shop.root))
    for config in (f"--config {shop.path}", f"--config={shop.path}", "--config ~/conf.json", "--config $PLACE/conf.json"):
        monkeypatch.setenv("COMP_WORDS", f"ingestion status --only-tables shop.o {config}")
        monkeypatch.setenv("COMP_CWORD", "3")
        assert call_completion("bash") == ["plain,shop.orders"]


def call_completion(shell: str) -> list[str]:
    """Run the program as a shell's script does; the environment says what is completed."""
    environment = {**os.environ, "_INGESTION_COMPLETE": f"{shell}_complete"}
    ended = subprocess.run([PROGRAM], env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout.split("\n")[:-1]


@pytest.mark.parametrize(
    ("shell", "expected"),
    [("zsh", ["plain", "--only-tables=shop.orders", "_"]), ("fish", ["plain,--only-tables=shop.orders"])],
)
def test_other_shells_replace_the_whole_word(
    shop: Lake, monkeypatch: pytest.MonkeyPatch, shell: str, expected: list[str]
) -> None:
    """So what completes the value of --option=value begins with the option."""
    words = f"ingestion status --config {shop.path} --only-tables=shop.o"
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", "4" if shell == "zsh" else "--only-tables=shop.o")
    assert call_completion(shell) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"tables": 5}',
        '{"tables": [5, {"schema": 1, "table": []}, {"schema": "s"}]}',
        "[" * 100_000,
        "\udcff",
    ],
    ids=range(7),
)
def test_a_broken_file_completes_nothing_and_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """The shell is no place for messages."""
    conf = tmp_path / "conf.json"
    conf.write_bytes(text.encode(errors="surrogateescape"))
    monkeypatch.setenv("COMP_WORDS", f"ingestion status --config {conf} --only-tables s")
    monkeypatch.setenv("COMP_CWORD", "5")
    assert call_completion("bash") in ([], [""])


def test_patterns_and_names_that_a_shell_would_take_apart_are_not_offered(
    shop: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name with a blank would become two words, and a pattern is no table."""
    names = ["*", "a b", "c'd", "e$f", "g;h", "schön", "i.j"]
    shop.document["tables"] = [{"schema": "shop", "table": name, "mode": "full"} for name in names]
    shop.save()
    monkeypatch.setenv("COMP_WORDS", f"ingestion status --config {shop.path} --only-tables shop")
    monkeypatch.setenv("COMP_CWORD", "5")
    assert call_completion("bash") == ["plain,shop.schön", "plain,shop.i.j"]


def test_completing_imports_click_alone(shop: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked at every press of the key."""
    monkeypatch.setenv("COMP_WORDS", f"ingestion status --config {shop.path} --only-tables shop.o")
    monkeypatch.setenv("COMP_CWORD", "5")
    monkeypatch.setenv("_INGESTION_COMPLETE", "bash_complete")
    imported = Imported(tmp_path, [])
    assert "shop.orders" in imported.output
    assert imported.distributions == {"click"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts_are_printed_and_sound(call: Call, shell: str) -> None:
    """Where the shell is installed, it reads its script without a complaint."""
    result = call("completion", shell)
    assert (result.exit_code, "_INGESTION_COMPLETE" in result.stdout) == (0, True)
    if shutil.which(shell) is not None:
        flag = "--no-execute" if shell == "fish" else "-n"
        ended = subprocess.run([shell, flag], input=result.stdout, capture_output=True, text=True, check=False, timeout=60)
        assert (ended.returncode, ended.stderr) == (0, "")


def test_another_shell_is_refused(call: Call) -> None:
    """With the choices."""
    result = call("completion", "tcsh")
    assert result.exit_code == 2
    assert "'bash', 'zsh', 'fish'" in result.stderr


def test_every_option_that_names_tables_completes_them() -> None:
    """Whichever command with a configuration it belongs to."""
    commands = [command for command in (cli, *cli.commands.values()) if any(p.name == "config_path" for p in command.params)]
    found = [(command.name, option) for command in commands for option in command.params]
    named = [(name, option) for name, option in found if TABLE_OPTIONS & set(option.opts)]
    assert len(named) > len(TABLE_OPTIONS)
    assert [(name, option.name) for name, option in named if option._custom_shell_complete is None] == []


class Terminal:
    """An interactive bash on a terminal of its own."""

    def __init__(self, folder: Path) -> None:
        self._screen, side = pty.openpty()
        path = f"{PROGRAM.parent}:{os.environ['PATH']}"
        environment = {"PATH": path, "HOME": str(folder), "TERM": "dumb", "PS1": "> ", "INPUTRC": "/dev/null"}
        command = ["bash", "--norc", "--noprofile", "-i"]
        self._bash = subprocess.Popen(
            command, stdin=side, stdout=side, stderr=side, env=environment, cwd=folder, start_new_session=True
        )
        os.close(side)

    def type(self, text: str, awaited: str) -> str:
        """Type something and return what is on the screen once ``awaited`` is."""
        os.write(self._screen, text.encode())
        shown, deadline = "", time.monotonic() + 30
        while awaited not in shown:
            assert time.monotonic() < deadline, shown
            if select.select([self._screen], [], [], 0.1)[0]:
                shown += os.read(self._screen, 65_536).decode()
        return shown

    def close(self) -> None:
        self._bash.kill()
        self._bash.wait()
        os.close(self._screen)


@pytest.fixture
def terminal(shop: Lake) -> Iterator[Terminal]:
    opened = Terminal(shop.root)
    yield opened
    opened.close()


def test_a_user_at_a_terminal_presses_tab(terminal: Terminal, script: Path) -> None:
    """The table's name is finished, behind the one that stands there, and what is left can be run."""
    terminal.type(f"source {script}; echo re''ady\n", "ready")
    terminal.type("ingestion sta\t", "status ")
    line = terminal.type("--config conf.json --only-tables shop.orders,SHOP.C\t", "shop.customers")
    assert "shop.orders,shop.customers" in line
    assert "never ran" in terminal.type("\n", "never ran")

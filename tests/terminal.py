"""A real terminal: a shell in tmux, which shows what a person would see."""

import os
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

_PROMPT = "tty> "
_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.05


class Terminal:
    """A terminal of so many columns and lines, with a shell that waits for commands; gone at the end of the block."""

    def __init__(self, width: int = 120, height: int = 40) -> None:
        self._size = ("-x", str(width), "-y", str(height))
        self._folder = tempfile.TemporaryDirectory(prefix="tmux-")

    def __enter__(self) -> "Terminal":
        # pytest's readline leaves the size of another terminal in the environment.
        shell = f"env -u COLUMNS -u LINES PS1={shlex.quote(_PROMPT)} LANG=C.UTF-8 COLORTERM=truecolor sh"
        self._tmux("-f", os.devnull, "new-session", "-d", *self._size, shell)
        self.wait_for(_PROMPT.strip())
        return self

    def __exit__(self, *_: object) -> None:
        self._tmux("kill-server")
        self._folder.cleanup()

    def type(self, command: Sequence[str] | str) -> None:
        """Type a command and press Enter."""
        text = command if isinstance(command, str) else shlex.join(command)
        self._tmux("send-keys", "-l", text)
        self._tmux("send-keys", "Enter")

    def press(self, key: str) -> None:
        """Press a key by its name: ``C-c``."""
        self._tmux("send-keys", key)

    def resize(self, width: int, height: int) -> None:
        """Give the terminal another size."""
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def lines(self) -> list[str]:
        """Return what is on the screen, without colours."""
        return [line.rstrip() for line in self._tmux("capture-pane", "-p").splitlines()]

    def coloured(self) -> str:
        """Return what is on the screen, with the codes of its colours."""
        return self._tmux("capture-pane", "-p", "-e")

    def wait_for(self, text: str) -> list[str]:
        """Return what is on the screen as soon as a text is on it; fail with what is there when it does not come."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        pause = threading.Event()
        while True:
            lines = self.lines()
            if any(text in line for line in lines):
                return lines
            assert time.monotonic() < deadline, f"{text!r} did not come; the terminal shows:\n" + "\n".join(lines)
            pause.wait(_LOOK_SECONDS)

    @property
    def is_clean(self) -> bool:
        """Whether the ordinary screen is shown, with a cursor."""
        return self._tmux("display-message", "-p", "#{alternate_on}#{cursor_flag}").strip() == "01"

    @property
    def program(self) -> psutil.Process:
        """The program that the shell runs."""
        shell = psutil.Process(int(self._tmux("display-message", "-p", "#{pane_pid}")))
        return shell.children()[0]

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-u", "-S", str(Path(self._folder.name, "socket")), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8").stdout

"""A real browser without a network: what it makes of a page, what it complains of, and how the page looks."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_CONSOLE = re.compile(r"CONSOLE[^\]]*\] (.*)")
_FLAGS = (
    "--headless",
    "--no-sandbox",  # it refuses root otherwise
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # no name is one, no address either
    "--enable-logging=stderr",
)


@dataclass(frozen=True)
class Opened:
    """A page as the browser has it after its scripts have run, what its console says (errors, refusals), and what the page
    asked a network for."""

    dom: str
    console: tuple[str, ...]
    requests: tuple[str, ...]


def open_page(path: Path) -> Opened:
    """Open a file."""
    with TemporaryDirectory() as scratch:
        log = Path(scratch, "net.json")
        ended = _browse(path, "--dump-dom", "--virtual-time-budget=2000", f"--log-net-log={log}")
        events = json.loads(log.read_text())["events"]
    asked = [event["params"] for event in events if "initiator" in event.get("params", {})]
    # What the browser asks for by itself (is there a newer one?) has no origin.
    requests = tuple(params["url"] for params in asked if params["initiator"] != "not an origin")
    return Opened(ended.stdout, tuple(_CONSOLE.findall(ended.stderr)), requests)


def take_picture(path: Path, to: Path, width: int, height: int, *, dark: bool = False) -> None:
    """Save how a file looks, as PNG of so many points, drawn a quarter finer."""
    flags = ("--blink-settings=preferredColorScheme=0",) if dark else ("--blink-settings=preferredColorScheme=1",)
    size = f"--window-size={width},{height}"
    _browse(path, f"--screenshot={to}", size, "--hide-scrollbars", "--force-device-scale-factor=1.25", *flags)


def _browse(path: Path, *flags: str) -> "subprocess.CompletedProcess[str]":
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    assert program is not None, "there is no chromium: apt-get install chromium"
    with TemporaryDirectory() as profile:
        return subprocess.run(
            [program, *_FLAGS, f"--user-data-dir={profile}", *flags, path.resolve().as_uri()],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )


class Dom(HTMLParser):
    """The parts of a page that tests ask for: texts by id, rows of tables, every tag and what it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: dict[str, list[list[str]]] = {}
        self.texts: dict[str, str] = {}
        self._open: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag in ("meta", "link", "input", "br", "img"):
            return
        self._open.append((tag, found.get("id")))
        table = self._table()
        if tag == "tr" and table and any(name == "tbody" for name, _ in self._open):
            self.rows.setdefault(table, []).append([])
        if tag == "td" and table and self.rows.get(table):
            self.rows[table][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        for _, name in self._open:
            if name:
                self.texts[name] = self.texts.get(name, "") + data
        table = self._table()
        if table and any(tag == "td" for tag, _ in self._open):
            self.rows[table][-1][-1] += data

    def _table(self) -> str | None:
        return next((name for tag, name in self._open if tag == "table" and name), None)

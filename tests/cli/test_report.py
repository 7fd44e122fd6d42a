"""The report of a real run, as a real browser without a network shows it."""

import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.browser import Dom, Opened, open_page
from tests.lake import PROJECT, Ended, Lake

HOSTILE = "<script>alert(1)</script></script><img src='http://127.0.0.1:9/x'>[red]"
GONE = "gone <script>alert('1')"  # what a configuration lets pass for a name
ROWS = 30_000


def build_source(path: Path) -> None:
    """Tables of every kind: whole ones, one that is read in slices, an empty one, and two with rows that cannot land."""
    with closing(sqlite3.connect(path)) as source:
        source.executescript(f"""
            CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT, updated_at DATETIME NOT NULL);
            INSERT INTO orders WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
                SELECT i, 'order ' || i, datetime('2024-01-01', '+' || i || ' minutes') FROM n;
            CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT);
            INSERT INTO customers VALUES (1, 'Ada'), (2, 'Grace');
            CREATE TABLE spares (id INTEGER PRIMARY KEY);
            CREATE TABLE "prices" (id INTEGER PRIMARY KEY, "price {HOSTILE}" DECIMAL(10, 2));
            INSERT INTO prices VALUES (1, 1.5), (2, '{HOSTILE.replace("'", "''")}');
        """)
        source.commit()


@dataclass(frozen=True)
class Seen:
    """A run, its report as the browser shows it, and what the browser's console said."""

    lake: Lake
    report: Path
    page: Opened
    dom: Dom

    @property
    def figures(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.dom.texts["figures"])
        return found

    def last(self, event: str) -> dict[str, dict[str, Any]]:
        """The last event of a kind of each table."""
        return {line["table"]: line for line in self.lake.events() if line["event"] == event}


def progress(*arguments: object) -> Ended:
    """Run the program that shows how runs go."""
    command = [sys.executable, str(PROJECT / "progress_cli.py"), *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """One run of five tables, of which two fail, and its report."""
    root = tmp_path_factory.mktemp("report")
    build_source(root / "shop.db")
    tables: list[dict[str, Any]] = [
        {"schema": "shop", "table": name, "mode": "full", "primary_keys": ["id"]}
        for name in ("customers", "spares", "prices", GONE)
    ]
    cursor = {"incremental_column": "updated_at", "incr_col_type": "timestamp"}
    tables.insert(1, {"schema": "shop", "table": "orders", "mode": "scd1", "primary_keys": ["id"], **cursor})
    lake = Lake(root, {"dialect": "sqlite", "database": "shop.db"}, tables)
    lake.document["runtime"]["scd1_slicing"] = {"max_count": 100, "target_rows_per_slice": ROWS // 3, "max_partitions": 3}
    lake.save()
    ended = lake.call("--load-date", "2026-07-01", "--output", "json")
    assert ended.code == 1, ended.stderr
    report = root / "out" / "report.html"
    made = progress("report", "--log-file", root / "logs", "--to", report)
    assert made.code == 0, made.stderr
    page = open_page(report)
    return Seen(lake, report, page, Dom(page.dom))


def test_the_figures_of_the_page_are_those_of_the_event_log(seen: Seen) -> None:
    """Rows, slices, seconds, states and watermarks of every table; each counted here from the lines themselves."""
    ends = {**seen.last("table_done"), **seen.last("table_failed")}
    starts = seen.last("table_start")
    engines = seen.last("engine_chosen")
    staged = [line for line in seen.lake.events() if line["event"] == "slice_staged"]
    figures = seen.figures
    assert [table["table"] for table in figures["tables"]] == [
        f"shop.{name}" for name in ("customers", "orders", "spares", "prices", GONE)
    ]
    for table in figures["tables"]:
        name, end = table["table"], ends[table["table"]]
        assert table["mode"] == starts[name]["mode"]
        assert table["engine"] == engines.get(name, {}).get("engine", "")
        assert table["seconds"] == end["seconds"]
        assert table["state"] == end.get("status", "failed")
        for key in ("rows_read", "rows_written", "rows_deleted", "watermark"):
            assert table[key] == end.get(key, None if key == "watermark" else 0), (name, key)
        assert table["bytes"] == sum(line["bytes"] for line in staged if line["table"] == name)
        assert table["slices"] == sum(line["table"] == name for line in staged)
        failure = {key: end.get(key) for key in ("stack_hash", "exit_code")} | {"type": end.get("error_type")}
        assert table["failure"] == (failure if end["event"] == "table_failed" else None)
    (done,) = [line for line in seen.lake.events() if line["event"] == "run_done"]
    assert figures["exit_code"] == done["exit_code"] == 1
    assert figures["seconds"] == pytest.approx(done["seconds"], abs=0.5)
    assert {state: number for state, number in figures["counts"].items() if number} == {"done": 3, "failed": 2}
    assert figures["rows_read"] == sum(end.get("rows_read", 0) for end in ends.values()) == ROWS + 2
    rates = figures["throughput"]["rows_per_second"]
    assert sum(rates) * figures["throughput"]["bin_seconds"] == pytest.approx(ROWS + 2, rel=0.01)


def test_people_see_the_same_figures(seen: Seen) -> None:
    """The cells of the table, as the browser has them, spell what the figures say."""
    rows = seen.dom.rows["tables"]
    assert len(rows) == len(seen.figures["tables"]) == 5
    for row, table in zip(rows, seen.figures["tables"], strict=True):
        cells = [cell.strip() for cell in row]
        assert cells[:4] == [table["table"], table["mode"], table["state"], table["engine"]]
        counts = ("rows_read", "rows_written", "rows_deleted", "slices")
        assert [int(cell.replace(",", "")) for cell in cells[4:8]] == [table[key] for key in counts]
        assert cells[11] == (table["watermark"] or "").removesuffix(".000000")
    assert rows[1][4] == f"{ROWS:,}"
    assert "2 failed of 5 tables" in seen.page.dom


def test_the_phases_of_a_batch_come_from_what_was_measured(seen: Seen) -> None:
    """Reading, writing, auditing, landing and committing in their order, and within the time of the table."""
    published = seen.last("batch_published")
    assert set(published) == {"shop.customers", "shop.orders", "shop.spares"}
    orders = next(table for table in seen.figures["tables"] if table["table"] == "shop.orders")
    steps = {name: seconds for name, _, seconds in orders["timeline"]}
    order = [name for name, _, _ in orders["timeline"]]
    assert order == [name for name in ("prepare", "read", "write", "audit", "land", "commit", "record") if name in order]
    assert {"read", "write", "commit"} <= set(order)
    for name in ("write", "land", "commit"):
        assert steps.get(name, 0.0) == pytest.approx(published["shop.orders"][f"{name}_seconds"], abs=0.002)
    assert sum(steps.values()) <= orders["seconds"] + 0.05
    assert published["shop.orders"]["rows"] == ROWS


def test_nothing_acts_and_nothing_is_asked_for(seen: Seen) -> None:
    """Names, columns and values that are markup stand there as text: no dialog, no request, no refusal by the policy."""
    assert seen.page.console == ()
    assert seen.page.requests == ()
    assert not [tag for tag, _ in seen.dom.tags if tag in ("img", "link", "iframe")]
    assert [tag for tag, _ in seen.dom.tags].count("script") == 2
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in seen.page.dom  # from a column's name
    assert "shop.gone &lt;script&gt;" in seen.page.dom


def test_the_browser_would_have_told(seen: Seen, tmp_path: Path) -> None:
    """The same page with a picture from elsewhere and a script of somebody: refused by the policy, and told; without the
    policy the picture is asked for, and told."""
    text = seen.report.read_text()
    foreign = "<img src='http://127.0.0.1:9/x'><script>document.title = 'taken over'</script></body>"
    bad = tmp_path / "bad.html"
    bad.write_text(text.replace("</body>", foreign))
    told = open_page(bad)
    assert len([line for line in told.console if "Content Security Policy" in line]) == 2
    assert "taken over" not in told.dom.partition("</title>")[0]
    assert told.requests == ()
    bad.write_text(re.sub(r"<meta http-equiv[^>]*>", "", text).replace("</body>", foreign))
    told = open_page(bad)
    assert "taken over" in told.dom.partition("</title>")[0]
    assert "http://127.0.0.1:9/x" in told.requests


def test_tables_are_sorted_and_found(seen: Seen, tmp_path: Path) -> None:
    """By a click on a head, numbers from the largest, names from the first, again for the other way; and by words."""
    clicks = """<script>
        const head = (at) => document.querySelectorAll("#tables th button")[at];
        const names = () => [...document.querySelectorAll("#tables tbody tr")].filter((row) => !row.hidden)
            .map((row) => row.cells[0].textContent.replace("shop.", "")).join(" ");
        const told = [];
        for (const at of [4, 4, 0, 0]) { head(at).click(); told.push(names()); }
        const find = document.getElementById("find");
        find.value = "FAILED gone";
        find.dispatchEvent(new Event("input"));
        told.push(names());
        document.body.innerHTML = '<p id="told"></p>';
        document.getElementById("told").textContent = told.join("|");
    </script></body>"""
    page = tmp_path / "clicked.html"
    page.write_text(re.sub(r"<meta http-equiv[^>]*>", "", seen.report.read_text()).replace("</body>", clicks))
    sorted_by = Dom(open_page(page).dom).texts["told"].split("|")
    assert sorted_by[0].split()[:2] == ["orders", "customers"]
    assert sorted_by[1].split()[-2:] == ["customers", "orders"]
    assert sorted_by[2] == f"customers {GONE} orders prices spares"
    assert sorted_by[3] == f"spares prices orders {GONE} customers"
    assert sorted_by[4] == GONE


def test_results_name_the_engine_of_each_table(seen: Seen) -> None:
    """Null where a table failed before anything chose one, or has nothing to do; in the log the run names its tables."""
    again = seen.lake.call("--load-date", "2026-07-01", "--only-tables", f"shop.orders,shop.{GONE}", "--output", "json")
    assert {table["table"]: table["engine"] for table in again.document["tables"]} == {
        "shop.orders": None,
        f"shop.{GONE}": None,
    }
    first, second = [line for line in seen.lake.events() if line["event"] == "run_start"]
    assert second["tables_named"] == ["shop.orders", f"shop.{GONE}"]
    assert first["tables"] == len(first["tables_named"]) == 5
    assert first["pid"] != second["pid"]


def test_what_cannot_be_reported_is_told(seen: Seen, tmp_path: Path) -> None:
    """No such run, no log, a place that cannot be written: exit 2 with the reason, and no file."""
    to = tmp_path / "r.html"
    for log, run, place in (
        (seen.lake.root / "logs", "nobody", to),
        (tmp_path / "missing", None, to),
        (seen.lake.root / "logs", None, tmp_path),
    ):
        ended = progress("report", "--log-file", log, *(("--run", run) if run else ()), "--to", place)
        assert ended.code == 2
        assert ended.stderr
        assert "Traceback" not in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_was_killed_is_told_from_one_that_goes_on(shop: Lake, tmp_path: Path) -> None:
    """Its process was on this machine and is no more; what it had done is reported, and where it stood."""
    killed = shop.call("--load-date", "2026-07-01", failpoints="before-publish@shop.orders=kill")
    assert killed.code == -9
    made = progress("report", "--log-file", shop.root / "logs", "--to", tmp_path / "r.html", "--output", "json")
    assert made.code == 0, made.stderr
    assert made.document["report"] == str(tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert '<div class="verdict bad"><strong>Died: ' in page
    assert "Run it again: it goes on where this one stopped." in page
    figures = json.loads(Dom(page).texts["figures"])
    assert figures["ended"] is None
    assert figures["exit_code"] is None
    orders = next(table for table in figures["tables"] if table["table"] == "shop.orders")
    assert orders["state"] == "running"
    assert (orders["rows_read"], orders["rows_written"]) == (3, 0)

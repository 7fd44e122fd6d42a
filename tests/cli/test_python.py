"""``ingestion_runtime.run``: the way in for Python programs."""

import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

import ingestion_runtime
from ingestion_runtime import ConfigError, TerminalError, TransientError
from tests.faults.gaps import Hold, until
from tests.lake import PROJECT, Lake

DAY = date(2026, 7, 1)


def test_importing_the_package_imports_nothing_else() -> None:
    """A scheduler parses many files in which it stands."""
    script = "import sys; before = set(sys.modules)\nimport ingestion_runtime\nprint(*(set(sys.modules) - before))"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    found = {name for name in ended.stdout.split() if name.partition(".")[0] not in sys.stdlib_module_names}
    assert found == {"ingestion_runtime"}
    assert not {"logging", "json", "pathlib"} & set(ended.stdout.split())


def test_what_is_offered_is_there_and_typed() -> None:
    """Every name of __all__, and the marker by which type checkers believe the package."""
    assert [name for name in ingestion_runtime.__all__ if not hasattr(ingestion_runtime, name)] == []
    assert (Path(ingestion_runtime.__file__).with_name("py.typed")).exists()
    with pytest.raises(AttributeError, match="no attribute 'rum'"):
        _ = ingestion_runtime.rum


def test_a_run_returns_its_result_and_prints_nothing(shop: Lake, capfd: pytest.CaptureFixture[str]) -> None:
    """By path or by a configuration that was loaded, again and again in one process."""
    first = ingestion_runtime.run(shop.path, load_date=DAY)
    again = ingestion_runtime.run(str(shop.path), load_date="2026-07-01")
    third = ingestion_runtime.run(ingestion_runtime.load_configuration(shop.path), load_date=DAY)
    assert [table.status.value for table in first.tables] == ["done", "done"]
    assert {tuple(table.status.value for table in run.tables) for run in (again, third)} == {("skipped", "unchanged")}
    assert (first.exit_code, first.load_date, first.tables[1].rows_read) == (0, DAY, 3)
    assert len({first.run_id, again.run_id, third.run_id}) == 3
    assert capfd.readouterr() == ("", "")


def test_tables_are_chosen_as_on_the_command_line(shop: Lake) -> None:
    """By a list or a text, letter case aside; reloads among them, or all of them."""
    run = ingestion_runtime.run
    assert [table.table for table in run(shop.path, only_tables=["SHOP.orders"]).tables] == ["shop.orders"]
    assert [table.table for table in run(shop.path, only_tables="shop.orders, shop.customers").tables] == [
        "shop.customers",
        "shop.orders",
    ]
    assert [table.rows_read for table in run(shop.path, reload="*").tables] == [2, 3]
    assert [table.rows_read for table in run(shop.path, reload=["shop.orders"]).tables] == [0, 3]
    assert run(shop.path, only_tables="shop.orders", start_date="2024-05-02").tables[0].rows_read == 1


def test_a_failed_table_is_in_the_result(shop: Lake, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is raised and nothing printed: the others went on."""
    with closing(sqlite3.connect(shop.root / "shop.db")) as connection:
        connection.execute("DROP TABLE orders")
    result = ingestion_runtime.run(shop.path)
    assert (result.exit_code, [table.status.value for table in result.tables]) == (1, ["done", "failed"])
    failure = result.tables[1].failure
    assert failure is not None
    assert "has no table 'shop.orders'" in failure.message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"only_tables": "shop.oders"}, "only_tables names shop.oders"),
        ({"only_tables": []}, "only_tables names nothing"),
        ({"reload": ["shop.oders"]}, "reload names shop.oders"),
        ({"only_tables": "shop.orders", "reload": "shop.customers"}, "reload names shop.customers"),
        ({"load_date": "yesterday"}, "'yesterday' is not a date"),
        ({"load_date": datetime(2026, 7, 1, tzinfo=UTC)}, "is not a date"),
        ({"wm_lag_seconds": -1}, "wm_lag_seconds -1"),
        ({"heartbeat_seconds": 1.5}, "heartbeat_seconds 1.5"),
        ({"end_date": "2024-05-02"}, "end_date needs start_date"),
        ({"start_date": "2024-05-02", "reload": "*"}, "reload reads everything anew"),
        ({"start_date": "soon"}, "soon"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_touched(shop: Lake, arguments: dict[str, Any], words: str) -> None:
    """ConfigError, with what is wrong."""
    with pytest.raises(ConfigError, match=re.escape(words)):
        ingestion_runtime.run(shop.path, **arguments)
    assert sorted(path.name for path in shop.root.iterdir()) == ["conf.json", "shop.db"]


def newer_state(shop: Lake) -> None:
    ingestion_runtime.run(shop.path)
    with closing(sqlite3.connect(shop.root / "state.db")) as connection:
        connection.execute("INSERT INTO ingestion_schema_version VALUES (99, 'tomorrow')")
        connection.commit()


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (lambda shop: shop.path.unlink(), ConfigError, "does not exist"),
        (lambda shop: shop.path.write_text("{"), ConfigError, "not JSON at line 1"),
        (lambda shop: (shop.root / "shop.db").unlink(), ConfigError, "unable to open"),
        (newer_state, TerminalError, "schema version 99"),
        (lambda shop: (shop.root / "state.db").mkdir(), TransientError, "unable to open"),
    ],
    ids=["no file", "broken", "no source", "newer state", "no state"],
)
def test_what_keeps_a_run_from_beginning_is_raised(
    shop: Lake, spoil: Callable[[Lake], Any], kind: type[Exception], words: str
) -> None:
    """As documented; never SystemExit."""
    spoil(shop)
    with pytest.raises(kind, match=words):
        ingestion_runtime.run(shop.path)


def test_several_threads_run_different_tables_at_once(shop: Lake) -> None:
    """Each gets the result of its own; a table that another run holds is refused to it alone."""
    names = ["shop.customers", "shop.orders"]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda name: ingestion_runtime.run(shop.path, only_tables=[name]), names))
    assert [(result.exit_code, result.tables[0].table) for result in results] == [(0, name) for name in names]
    assert [len(shop.rows(name)) for name in names] == [2, 3]


def test_the_signal_handlers_of_the_program_are_its_own_again(shop: Lake, tmp_path: Path, monkeypatch: Any) -> None:
    """A signal in the meantime stops the run in order, and the result says what was not finished."""
    heard: list[int] = []
    before = {number: signal.signal(number, lambda n, _: heard.append(n)) for number in (signal.SIGTERM, signal.SIGINT)}
    ours = {number: signal.getsignal(number) for number in before}
    hold, main = Hold(tmp_path, "after-plan", "shop.orders"), threading.main_thread()
    monkeypatch.setenv("INGESTION_FAILPOINTS", hold.failpoint)

    def interrupt() -> None:
        until(lambda: hold.reached, "the run at work")
        signal.pthread_kill(main.ident or 0, signal.SIGTERM)
        until(lambda: signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "the signal heard")
        hold.let_go()

    helper = threading.Thread(target=interrupt)
    try:
        helper.start()
        result = ingestion_runtime.run(shop.path, only_tables="shop.orders")
        helper.join()
        assert (result.exit_code, result.tables[0].status.value) == (143, "interrupted")
        assert {number: signal.getsignal(number) for number in before} == ours
        assert heard == []
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    monkeypatch.delenv("INGESTION_FAILPOINTS")
    assert ingestion_runtime.run(shop.path, only_tables="shop.orders").tables[0].status.value == "done"


def test_the_examples_of_the_documentation_run(shop: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python example of the page, in its order, on a real configuration."""
    page = (PROJECT / "docs" / "reference" / "python.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) >= 2
    monkeypatch.chdir(shop.root)
    shop.path.rename(shop.root / "sales.json")
    for example in examples:
        exec(compile(example, "python.md", "exec"), {})  # noqa: S102 - our own page
    assert len(shop.rows("shop.orders")) == 3

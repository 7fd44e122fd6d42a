"""DAG files: what they consist of. That Airflow takes and runs them is shown in tests/airflow."""

import ast
import contextlib
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.scheduling.airflow import Dag, design_dag
from ingestion_runtime.scheduling.dag_file import dag_text, write_dag

HOSTILE = ("o'rders", 'say "hi"', "naïve ☃", "a b", "x;rm -rf", "<script>", "$(id)", "`id`", "tab 🦆")


def designed(desk: Any, edit: Any = None, **options: str) -> Dag:
    configuration = desk.load(edit)
    return design_dag(configuration, configuration.tables, **options)


def constants(text: str) -> dict[str, Any]:
    """The values that the file gives to its names in capitals."""
    found = {}
    for line in ast.parse(text).body:
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
            found[line.targets[0].id] = ast.literal_eval(line.value)
    return found


def keywords(text: str, function: str) -> dict[str, Any]:
    """The literal keyword arguments of the first call of a function."""
    call = next(
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function
    )
    found = {}
    for item in call.keywords:
        with contextlib.suppress(ValueError):  # an expression
            found[item.arg or ""] = ast.literal_eval(item.value)
    return found


def with_tables(*names: str, **more: str) -> Any:
    def edit(c: dict[str, Any]) -> None:
        c["tables"] = [{"schema": "public", "table": name, "mode": "full", **more} for name in names]

    return edit


def test_a_task_per_table_and_a_pool_of_so_many_as_run_at_a_time(desk: Any) -> None:
    """The names of tables are those of tasks, where they may be."""
    dag = designed(desk, lambda c: c["runtime"].update(max_parallel_tables=2, job_name="sales"))

    assert [task.task_id for task in dag.tasks] == ["public.orders", "public.products"]
    assert [task.arguments for task in dag.tasks] == [
        ("--only-tables", "public.orders"),
        ("--only-tables", "public.products"),
    ]
    assert dag.pool is not None
    assert (dag.pool.name, dag.pool.slots) == ("sales", 2)
    assert dag.pool.command == "airflow pools set sales 2 'tables at a time of sales'"
    assert {task.slots for task in dag.tasks} == {1}


def test_a_task_per_group_has_the_tables_of_a_connection(desk: Any) -> None:
    """It works on several at a time, and takes so many slots, never more than there are."""

    def edit(c: dict[str, Any]) -> None:
        c["connections"]["crm"] = c["connections"]["sales"]
        c["tables"] = [
            {"schema": "public", "table": f"t{number}", "mode": "full", "connection": "crm" if number == 1 else "sales"}
            for number in range(7)
        ]

    dag = designed(desk, edit, per="group")

    assert [(task.task_id, len(task.tables), task.slots) for task in dag.tasks] == [("crm", 1, 1), ("sales", 6, 4)]
    assert dag.tasks[0].arguments == ("--only-tables", "public.t1")


def test_a_task_per_run_names_no_table_and_needs_no_pool(desk: Any) -> None:
    """Tables that a pattern finds later are in it; a pool that is asked for is taken as a whole."""
    alone = designed(desk, per="run")
    assert [(task.task_id, task.arguments, task.slots) for task in alone.tasks] == [("ingest", (), 1)]
    assert alone.pool is None

    pooled = designed(desk, per="run", pool="shared")
    assert pooled.pool is not None
    assert [task.slots for task in pooled.tasks] == [2]


def test_options_win_over_the_configuration(desk: Any) -> None:
    """Each of them."""
    section = {
        "schedule": {"cron": "15 2 * * *", "timezone": "Europe/Berlin"},
        "airflow": {"dag_id": "configured", "per": "run", "pool": "wide", "load_date_from": "today"},
    }
    configured = designed(desk, lambda c: c.update(orchestration=section))
    assert configured.pool is not None
    assert (configured.dag_id, configured.per, configured.pool.name) == ("configured", "run", "wide")
    assert (configured.cron, configured.timezone, configured.load_date_from) == ("15 2 * * *", "Europe/Berlin", "today")

    options = {
        "dag_id": "other",
        "per": "table",
        "pool": "p",
        "schedule": "none",
        "load_date_from": "interval-start",
        "queue": "q",
    }
    chosen = designed(desk, lambda c: c.update(orchestration=section), **options)
    assert chosen.pool is not None
    assert (chosen.dag_id, chosen.per, chosen.pool.name) == ("other", "table", "p")
    assert (chosen.cron, chosen.load_date_from, chosen.queue) == (None, "interval-start", "q")
    assert (configured.queue, keywords(dag_text(chosen), "IngestionOperator")["queue"]) == (None, "q")
    assert "queue" not in keywords(dag_text(configured), "IngestionOperator")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dag_id": "a b"}, "--dag-id 'a b'"),
        ({"pool": ""}, "--pool ''"),
        ({"queue": "a,b"}, "--queue 'a,b'"),
        ({"schedule": "0 0 * *"}, "--schedule must be five fields"),
        ({"schedule": ""}, "--schedule must be five fields"),
    ],
)
def test_wrong_options_are_refused(desk: Any, options: dict[str, str], words: str) -> None:
    """By their names."""
    with pytest.raises(ConfigError, match=re.escape(words)):
        designed(desk, **options)


def test_a_table_that_no_option_can_name_has_no_task_of_its_own(desk: Any) -> None:
    """--only-tables is separated by commas; a task for the whole run does not need it."""
    with pytest.raises(ConfigError, match="--per run"):
        designed(desk, with_tables("a,b", "c"))
    assert designed(desk, with_tables("a,b", "c"), per="run").tasks[0].tables == ("public.a,b", "public.c")


def test_whatever_tables_are_called_the_file_is_python_and_ids_are_such_as_airflow_takes(desk: Any) -> None:
    """Names that come out alike get different ids; the names themselves are shown, and given to the command."""
    names = (*HOSTILE, "a_b")
    dag = designed(desk, with_tables(*names))
    text = dag_text(dag)

    tasks = constants(text)["TASKS"]

    assert [name for _, name, _, _ in tasks] == [f"public.{name}" for name in names]
    assert [arguments for _, _, arguments, _ in tasks] == [["--only-tables", f"public.{name}"] for name in names]
    ids = [task_id for task_id, _, _, _ in tasks]
    assert len(set(ids)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,250}", task_id) for task_id in ids)
    assert ids[-1] == "public.a_b"


def test_a_very_long_name_gets_an_id_that_is_short_enough(desk: Any) -> None:
    """Two that begin alike stay apart."""
    dag = designed(desk, with_tables("x" * 199 + "1", "x" * 199 + "2"))
    assert len({task.task_id for task in dag.tasks}) == 2
    assert all(len(task.name) > 200 for task in dag.tasks)
    assert all(len(task.task_id) <= 250 for task in dag.tasks)


def test_the_file_says_when_and_how_often(desk: Any) -> None:
    """The schedule in its zone, retries, the pool, and nobody is told who is not named."""
    section = {
        "schedule": {"cron": "15 2 * * 1-5", "timezone": "Europe/Berlin"},
        "retries": {"count": 5, "delay_seconds": 60, "retry_exit_codes": [3]},
    }
    text = dag_text(designed(desk, lambda c: c.update(orchestration=section)))

    dag = keywords(text, "DAG")
    assert (dag["schedule"], dag["catchup"], dag["max_active_runs"], dag["max_active_tasks"]) == (
        "15 2 * * 1-5",
        False,
        1,
        4,
    )
    assert "tz='Europe/Berlin'" in text
    assert constants(text)["RETRY_EXIT_CODES"] == (3,)
    task = keywords(text, "IngestionOperator")
    assert (task["retries"], task["pool"]) == (5, "run")
    assert "timedelta(seconds=60)" in text
    assert "SmtpNotifier" not in text


def test_alerts_become_notifiers(desk: Any) -> None:
    """One for each event that is asked for."""
    alerts = {"email": ["a@example.com", "b@example.com"], "on": ["failure", "retry"]}
    text = dag_text(designed(desk, lambda c: c.update(orchestration={"alerts": alerts})))

    assert keywords(text, "SmtpNotifier") == {"to": ["a@example.com", "b@example.com"]}
    assert re.findall(r"on_(\w+)_callback", text) == ["failure", "retry"]


@pytest.mark.parametrize(
    ("source", "moments"),
    [
        ("logical-date", ("logical_date", "run_after")),
        ("interval-start", ("data_interval_start", "logical_date", "run_after")),
        ("interval-end", ("data_interval_end", "logical_date", "run_after")),
        ("today", None),
    ],
)
def test_the_load_date_follows_the_moment_that_is_asked_for(desk: Any, source: str, moments: tuple[str, ...] | None) -> None:
    """A run that was triggered by hand has no logical date; today is the command's own default."""
    text = dag_text(designed(desk, load_date_from=source))
    assert constants(text).get("LOAD_DATE_FROM") == moments
    assert ("--load-date" in text) is (moments is not None)


def test_no_secret_gets_into_the_file(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor its reference: workers find it in their environment."""
    monkeypatch.setenv("SALES_PASSWORD", "Tr0ub4dor&3")
    dag = designed(desk)
    assert dag.secrets == ("${env:SALES_PASSWORD}",)
    assert "Tr0ub4dor" not in dag_text(dag)
    assert "SALES_PASSWORD" not in dag_text(dag)


def test_the_same_configuration_gives_the_same_file(desk: Any, tmp_path: Path) -> None:
    """It is not even touched: Airflow would parse it anew, and version control would show it."""
    target = tmp_path / "sales.py"
    assert write_dag(target, dag_text(designed(desk)))
    before = target.stat()

    assert not write_dag(target, dag_text(designed(desk)))

    after = target.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert stat.S_IMODE(before.st_mode) == 0o644
    assert [path.name for path in tmp_path.glob("*dag-*")] == []
    assert target.read_bytes().endswith(b")\n")


def test_a_changed_configuration_replaces_the_file_and_a_link_stays_one(desk: Any, tmp_path: Path) -> None:
    """The DAGs folder may link to a checkout."""
    real, link = tmp_path / "real.py", tmp_path / "link.py"
    link.symlink_to(real)
    write_dag(link, dag_text(designed(desk)))

    assert write_dag(link, dag_text(designed(desk, per="run")))

    assert link.is_symlink()
    assert "'ingest'" in real.read_text()


@pytest.mark.parametrize("content", ["", "import airflow\n", '"""An ingestion as an Airflow DAG."""\n'])
def test_a_file_of_somebody_else_is_not_written_over(desk: Any, tmp_path: Path, content: str) -> None:
    """It may have taken somebody a day."""
    target = tmp_path / "mine.py"
    target.write_text(content)

    with pytest.raises(ConfigError, match="was not written by this command"):
        write_dag(target, dag_text(designed(desk)))

    assert target.read_text() == content


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("nowhere/x.py", "No such file"),
        ("file/x.py", "Not a directory"),
        ("folder.py", "Is a directory"),
        ("x.txt", "ends with .py"),
        ("x" * 300 + ".py", "File name too long"),
    ],
)
def test_a_place_that_cannot_be_written_is_told(desk: Any, tmp_path: Path, place: str, words: str) -> None:
    """With the reason; nothing is left behind."""
    (tmp_path / "file").touch()
    (tmp_path / "folder.py").mkdir()
    text = dag_text(designed(desk))
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(ConfigError, match=words):
        write_dag(tmp_path / place, text)

    assert sorted(tmp_path.rglob("*")) == before

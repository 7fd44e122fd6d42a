"""What the command line accepts and refuses, before anything is connected or written."""

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import Result

from ingestion_runtime.commands.common import parse_load_date, pick_tables, select_by, select_tables
from ingestion_runtime.config import load_configuration
from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.model.spec import TableSpec
from tests.cli.conftest import Call
from tests.lake import PROJECT, Lake

OPTIONS = (
    "--config",
    "--only-tables",
    "--load-date",
    "--reload",
    "--wm-lag-seconds",
    "--heartbeat-seconds",
    "--maintenance-mode",
    "--dump-orchestration-plan",
    "--output",
)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(result: Result) -> str:
    """Return what a refused call said: exit 2, on stderr, with nothing on stdout."""
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr


# Asking


@pytest.mark.parametrize("spelling", ["--help", "-h"])
def test_help_names_every_option_and_the_validate_command(call: Call, spelling: str) -> None:
    """Somebody who types --help finds every option and the command; nothing else is needed to begin."""
    result = call(spelling)
    assert result.exit_code == 0
    assert [option for option in (*OPTIONS, "validate") if option not in result.stdout] == []


def test_the_scripts_are_thin() -> None:
    """ingestion.py, progress_cli.py and recon.py hold no logic that a test would have to reach through a process."""
    for script in ("ingestion.py", "progress_cli.py", "recon.py"):
        statements = [line for line in (PROJECT / script).read_text().splitlines() if line.strip()]
        assert len(statements) <= 15, script


# Refusing


@pytest.mark.parametrize("arguments", [[], ["validate"]])
def test_a_missing_config_is_a_usage_error(call: Call, arguments: list[str]) -> None:
    """Exit 2, and the message names the option."""
    assert "Missing option '--config'" in refused(call(*arguments))


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--only-tables", "shop.orders,shop.oders", "shop.oders"),
        ("--only-tables", "orders", "orders"),
        ("--only-tables", " , ", "nothing"),
        ("--reload", "shop.oders", "shop.oders"),
    ],
)
def test_an_unknown_table_is_refused_with_the_choices(call: Call, shop: Lake, option: str, value: str, named: str) -> None:
    """Exit 2; the message names the option, what was not found, and every table to choose from; nothing is touched."""
    before = files(shop.root)
    message = refused(call("--config", shop.path, option, value))
    assert f"{option} names {named}" in message
    assert "Choose from: shop.customers, shop.orders." in message
    assert files(shop.root) == before


def test_a_table_that_was_not_selected_cannot_be_reloaded(call: Call, shop: Lake) -> None:
    """--reload is among the tables of this run: a typing error in --only-tables must not reload silently nothing."""
    message = refused(call("--config", shop.path, "--only-tables", "shop.orders", "--reload", "shop.customers"))
    assert "--reload names shop.customers" in message


@pytest.mark.parametrize("value", ["2026-02-30", "yesterday", "01.07.2026", ""])
def test_a_bad_load_date_is_refused_with_the_right_form(call: Call, shop: Lake, value: str) -> None:
    """Exit 2; nothing is touched."""
    before = files(shop.root)
    message = refused(call("--config", shop.path, "--load-date", value))
    assert f"--load-date {value!r} is not a date" in message
    assert "YYYY-MM-DD" in message
    assert files(shop.root) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["--wm-lag-seconds", "-1"],
        ["--heartbeat-seconds", "soon"],
        ["--output", "yaml"],
        ["--only-table", "shop.orders"],
        ["run"],
    ],
)
def test_a_wrong_value_or_option_is_a_usage_error(call: Call, shop: Lake, arguments: list[str]) -> None:
    """Exit 2, naming what was wrong; nothing is touched."""
    before = files(shop.root)
    assert arguments[0] in refused(call("--config", shop.path, *arguments))
    assert files(shop.root) == before


def test_config_belongs_behind_the_command(call: Call, shop: Lake) -> None:
    """``ingestion --config F validate`` could be read as a run; it is refused with the right spelling."""
    assert "validate --config FILE" in refused(call("--config", shop.path, "validate"))


# Selecting


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (None, ["shop.customers", "shop.orders"]),
        ("shop.orders", ["shop.orders"]),
        (" SHOP.Orders ,shop.CUSTOMERS,", ["shop.customers", "shop.orders"]),
        ("shop.orders,shop.orders", ["shop.orders"]),
    ],
)
def test_selected_names_are_trimmed_and_their_case_does_not_count(shop: Lake, only: str | None, expected: list[str]) -> None:
    """The tables come in the order of the configuration, each once."""
    assert [table.name for table in select_tables(load_configuration(shop.path), only)] == expected


def test_a_table_whose_name_holds_commas_can_be_chosen_among_others() -> None:
    """The longest name that there is counts."""
    tables = tuple(TableSpec("shop", name, "full", "source") for name in ("a", "a,b", "c, d", "b"))
    for names, expected in (
        ("shop.a,b", ["a,b"]),
        (" SHOP.C, D ,shop.a", ["a", "c, d"]),
        ("shop.a,shop.b", ["a", "b"]),
        ("shop.c, d,shop.a,b", ["a,b", "c, d"]),
    ):
        assert [table.table for table in pick_tables(tables, names, "--only-tables")] == expected
    with pytest.raises(ConfigError, match="--only-tables names x, which"):
        pick_tables(tables, "shop.a,b,x", "--only-tables")


def test_an_unknown_name_beside_a_trimmed_one_is_refused_alone(call: Call, shop: Lake) -> None:
    """What was recognised is not in the complaint."""
    message = refused(call("--config", shop.path, "--only-tables", " SHOP.Orders ,x.y"))
    assert "--only-tables names x.y, which" in message


@pytest.mark.parametrize(
    ("names", "expected"),
    [(None, []), (" * ", ["shop.customers", "shop.orders"]), ("Shop.Orders", ["shop.orders"])],
)
def test_reload_takes_names_or_a_star(shop: Lake, names: str | None, expected: list[str]) -> None:
    """Without the option nothing is reloaded; with a star every selected table is."""
    tables = load_configuration(shop.path).tables
    assert [table.name for table in select_by(tables, names, "--reload")] == expected


def test_a_load_date_is_an_iso_day_or_today_in_the_configured_zone() -> None:
    """Left out, it is the day in the zone of the configuration: at any time one of these two is on another day than UTC."""
    assert parse_load_date(" 2026-07-01 ", "UTC") == date(2026, 7, 1)
    for zone in ("Pacific/Kiritimati", "Etc/GMT+12"):
        before = datetime.now(ZoneInfo(zone)).date()
        assert before <= parse_load_date(None, zone) <= datetime.now(ZoneInfo(zone)).date()
    with pytest.raises(ConfigError):
        parse_load_date("2026-7-1", "UTC")


# Configurations


def broken(shop: Lake) -> None:
    """Put four mistakes into four places."""
    document: Any = shop.document
    document["connections"]["source"]["pasword"] = "x"
    document["runtime"]["timezone"] = "Mars/Olympus"
    document["tables"][0]["mode"] = "ful"
    del document["tables"][1]["primary_keys"]
    shop.save()


POINTERS = ["/connections/source/pasword", "/runtime/timezone", "/tables/0/mode", "/tables/1/primary_keys"]


@pytest.mark.parametrize("command", [["--config"], ["validate", "--config"]])
def test_every_error_of_a_configuration_is_told_at_once(call: Call, shop: Lake, command: list[str]) -> None:
    """Each on a line of its own with its JSON pointer; exit 2, no traceback, nothing written."""
    broken(shop)
    before = files(shop.root)
    lines = refused(call(*command, shop.path)).splitlines()
    told = [line.split(":")[0].strip() for line in lines if line.startswith("  ")]
    assert told == POINTERS
    assert "did you mean 'full'?" in next(line for line in lines if POINTERS[2] in line)
    assert files(shop.root) == before


def test_a_literal_password_is_refused_and_never_repeated(call: Call, shop: Lake) -> None:
    """The message says how a reference is written; the password itself appears nowhere, in either output."""
    server = {"dialect": "postgresql", "host": "localhost", "database": "shop", "user": "reader"}
    shop.document["connections"]["source"] = {**server, "password": "Tr0ub4dor&3"}
    shop.save()
    for arguments in (["--config"], ["validate", "--output", "json", "--config"], ["--output", "json", "--config"]):
        result = call(*arguments, shop.path)
        assert result.exit_code == 2
        assert "${env:NAME}" in result.output
        assert "Tr0ub4dor" not in result.stdout + result.stderr


def test_validate_says_that_a_configuration_is_valid(call: Call, shop: Lake) -> None:
    """One line on stderr with the number of tables; exit 0; a source that does not exist is no matter."""
    (shop.root / "shop.db").unlink()
    before = files(shop.root)
    result = call("validate", "--config", shop.path)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{shop.path}: valid, 2 tables.\n"
    assert files(shop.root) == before


def test_validate_tells_programs_the_same(call: Call, shop: Lake) -> None:
    """One JSON document on stdout: valid with no issues, or not valid with every pointer and message."""
    good = call("validate", "--config", shop.path, "--output", "json")
    assert (good.exit_code, good.stderr) == (0, "")
    assert json.loads(good.stdout) == {"version": 1, "valid": True, "tables": 2, "patterns": 0, "issues": []}
    broken(shop)
    bad = call("validate", "--config", shop.path, "--output", "json")
    assert (bad.exit_code, bad.stderr) == (2, "")
    document = json.loads(bad.stdout)
    assert (document["version"], document["valid"]) == (1, False)
    assert [issue["pointer"] for issue in document["issues"]] == POINTERS
    assert all(issue["message"] for issue in document["issues"])


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "does not exist"), (b"{", "not JSON at line 1"), (b"[]", "one JSON object"), (b"\xff\xfe", "not UTF-8")],
)
def test_a_file_that_is_no_configuration_is_told_to_people_and_programs(
    call: Call, tmp_path: Path, content: bytes | None, words: str
) -> None:
    """Exit 2 with the reason, also in the JSON document, where there is no place to point at."""
    path = tmp_path / "conf.json"
    if content is not None:
        path.write_bytes(content)
    assert words in refused(call("--config", path))
    document = json.loads(call("validate", "--config", path, "--output", "json").stdout)
    assert document["valid"] is False
    assert [words in issue["message"] for issue in document["issues"]] == [True]


def test_a_directory_in_place_of_the_configuration_is_refused(call: Call, tmp_path: Path) -> None:
    """Exit 2 with the reason."""
    assert "cannot be read" in refused(call("--config", tmp_path))

"""What ``ingestion init`` accepts and refuses, and what it leaves alone."""

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result

from ingestion_runtime.commands.init import DIALECTS, TLS_MODES
from ingestion_runtime.config import known, load_configuration
from ingestion_runtime.config.models.connections import TlsFile
from tests.cli.conftest import Call
from tests.servers.ports import HOST, free_port
from tests.servers.postgresql import PASSWORD_VARIABLE, PostgresDatabase


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small SQLite database."""
    path = tmp_path / "my shop.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE orders (id INTEGER PRIMARY KEY); CREATE VIEW latest AS SELECT 1 AS one;")
    return path


def refused(result: Result, code: int = 2) -> str:
    """Return what a refused call said: on stderr, with nothing on stdout and no traceback."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr


def test_the_command_knows_every_dialect_and_mode_of_tls() -> None:
    """They stand in the command itself, because what knows them costs --help too much."""
    assert set(DIALECTS) == set(known.DIALECTS)
    assert set(TLS_MODES) == set(TlsFile.model_fields["mode"].annotation.__args__)


def test_the_file_is_complete_minimal_and_can_be_moved_with_its_folder(call: Call, source: Path, tmp_path: Path) -> None:
    """Relative paths start at the file, whatever the working directory; nothing that is a default is written."""
    previous = Path.cwd()
    os.chdir(tmp_path)
    try:
        result = call("init", "--dialect", "sqlite", "--database", source.name, "--to", "conf/shop.json")
    finally:
        os.chdir(previous)
    assert result.exit_code == 0, result.stderr
    document = json.loads((tmp_path / "conf" / "shop.json").read_text())
    assert document.pop("$schema").endswith("docs/reference/configuration.schema.json")
    assert document == {
        "connections": {"my_shop": {"dialect": "sqlite", "database": "../my shop.db"}},
        "runtime": {
            "job_name": "shop",
            "raw_root": "shop-lake/raw",
            "final_root": "shop-lake/final",
            "timezone": "UTC",
            "intermediate": {"database": "shop-lake/catalog.db", "warehouse": "shop-lake/warehouse"},
        },
        "tables": [{"schema": "my_shop", "table": "orders", "mode": "full", "primary_keys": ["id"]}],
    }
    assert load_configuration(tmp_path / "conf" / "shop.json").runtime.staging.root == str(
        tmp_path / "conf/shop-lake/staging"
    )
    assert not (tmp_path / "conf" / "shop-lake").exists()
    assert [path.name for path in (tmp_path / "conf").iterdir()] == ["shop.json"]


def test_people_get_a_table_with_the_reasons_and_what_was_left_out(call: Call, source: Path, tmp_path: Path) -> None:
    result = call(
        "init", "--dialect", "sqlite", "--database", source, "--to", tmp_path / "x.json", "--warehouse-root", "/lake"
    )
    assert (result.exit_code, result.stdout) == (0, "")
    assert "my_shop.orders" in result.stderr
    assert "no column moves with every change" in result.stderr
    assert "my_shop.latest: a view" in result.stderr
    assert f"ingestion doctor --config {tmp_path / 'x.json'}" in result.stderr
    assert json.loads((tmp_path / "x.json").read_text())["runtime"]["raw_root"] == "/lake/raw"


def test_a_file_that_is_there_is_not_overwritten_unasked(call: Call, source: Path, tmp_path: Path) -> None:
    """Also no link, and before the database is asked anything."""
    target = tmp_path / "x.json"
    target.write_text("mine")
    (tmp_path / "link.json").symlink_to(tmp_path / "nowhere")
    for path in (target, tmp_path / "link.json"):
        message = refused(call("init", "--dialect", "sqlite", "--database", tmp_path / "none.db", "--to", path))
        assert "is there already" in message
        assert "--force" in message
    assert target.read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()
    assert call("init", "--dialect", "sqlite", "--database", source, "--to", target, "--force").exit_code == 0
    assert json.loads(target.read_text())["tables"]


def test_a_password_is_never_taken_from_the_command_line(call: Call, tmp_path: Path) -> None:
    """Nor repeated in what is said about it."""
    place = ["--dialect", "postgresql", "--host", HOST, "--user", "me", "--database", "d", "--to", tmp_path / "x.json"]
    for arguments in (["--password", "Tr0ub4dor&3"], ["--password=Tr0ub4dor&3"], ["--password"]):
        message = refused(call("init", *place, *arguments))
        assert "--password-env" in message
        assert "Tr0ub4dor" not in message
    assert "both given" in refused(call("init", *place, "--password-env", "A", "--password-file", "b"))
    assert "password" in refused(call("init", *place, "--password-env", "not a name"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dialect", "sqlite", "--database", "none.db"], "unable to open database file"),
        (["--dialect", "sqlite", "--database", "."], "is a directory"),
        (["--dialect", "sqlite", "--database", "my shop.db", "--host", "h"], "--host: a sqlite connection has no 'host'"),
        (["--dialect", "postgresql", "--database", "d"], "--host: a postgresql connection needs 'host'"),
        (["--dialect", "oracle", "--database", "d"], "is not one of"),
        (["--dialect", "sqlite", "--database", "my shop.db", "--only-tables", "oders"], "Did you mean 'orders'?"),
        (["--dialect", "sqlite", "--database", "my shop.db", "--only-tables", "latest"], "no table that this user may read"),
        (["--dialect", "sqlite", "--database", "my shop.db", "--only-tables", " , "], "names nothing"),
        (["--dialect", "sqlite", "--database", "my shop.db", "--name", "9"], "no name for a connection"),
        (["--dialect", "sqlite", "--database", "my shop.db", "--timezone", "Mars"], "/runtime/timezone"),
        (
            ["--dialect", "sqlite", "--database", "my shop.db", "--cursor-timezone", "Mars"],
            "--cursor-timezone must be an IANA",
        ),
        (["--dialect", "sqlite", "--database", "my shop.db", "--schema", "a/b"], "becomes a folder name"),
        (
            ["--dialect", "postgresql", "--host", "h", "--user", "u", "--database", "d", "--tls-mode", "verify-full"],
            "--tls-ca",
        ),
    ],
)
def test_bad_input_is_one_message_and_writes_nothing(
    call: Call, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in refused(call("init", *arguments, "--to", "out.json"))
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_a_target_that_cannot_be_written_is_told(call: Call, source: Path, tmp_path: Path) -> None:
    """A directory, and a file where a directory should be."""
    (tmp_path / "file").write_text("")
    for target, words in ((tmp_path, "is a directory"), (tmp_path / "file" / "x.json", "cannot be written")):
        assert words in refused(call("init", "--dialect", "sqlite", "--database", source, "--to", target))


def test_a_server_that_refuses_or_is_not_there_has_the_exit_code_of_a_run(
    call: Call, postgres: PostgresDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "wrong battery")
    place = ["--dialect", "postgresql", "--host", postgres.host, "--database", postgres.database, "--user", postgres.user]
    target = ["--password-env", PASSWORD_VARIABLE, "--to", tmp_path / "x.json"]
    wrong = refused(call("init", *place, "--port", postgres.port, *target))
    assert "password authentication failed" in wrong
    assert "wrong battery" not in wrong
    refused(call("init", *place, "--port", free_port(), *target), code=3)
    monkeypatch.setenv(PASSWORD_VARIABLE, postgres.password)
    assert "no table that this user may read" in refused(call("init", *place, "--port", postgres.port, *target))
    missing = refused(call("init", *place, "--port", postgres.port, *target, "--schema", "publik"))
    assert "shows no table in the schema publik" in missing
    assert list(tmp_path.iterdir()) == []


def test_programs_get_one_document_also_of_a_failure(call: Call, source: Path, tmp_path: Path) -> None:
    options = ["--dialect", "sqlite", "--to", tmp_path / "x.json", "--output", "json"]
    good = json.loads(call("init", *options, "--database", source).stdout)
    assert (good["version"], good["exit_code"], good["path"]) == (1, 0, str(tmp_path / "x.json"))
    assert good["tables"][0]["primary_keys"] == ["id"]
    bad = json.loads(call("init", *options, "--database", tmp_path / "none.db", "--force").stdout)
    assert (bad["exit_code"], bad["error"]["type"]) == (2, "ConfigError")

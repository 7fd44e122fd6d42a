"""Connections and their secrets."""

import json
from pathlib import Path
from typing import Any

import pytest

from ingestion_runtime.config import SecretReference
from ingestion_runtime.model.errors import ConfigError

CANARY = "hunter2-canary"


def change(**values: object) -> Any:
    return lambda c: c["connections"]["sales"].update(values)


@pytest.mark.parametrize(
    "text", [CANARY, "${env:NOT A NAME}", "${vault:x}", "$SALES_PASSWORD", "", " ${env:A}", "${env:A}x"]
)
def test_a_literal_password_is_refused_and_not_repeated(desk: Any, text: str) -> None:
    """The message says how to write a reference."""
    found = desk.refuse(change(password=text))
    assert set(found) == {"/connections/sales/password"}
    assert "${env:NAME}" in found["/connections/sales/password"]
    assert "${file:PATH}" in found["/connections/sales/password"]
    assert CANARY not in str(found)


@pytest.mark.parametrize("key", ["url", "jdbc_url", "uri", "dsn", "URL"])
def test_a_url_is_refused_with_the_fields_to_use(desk: Any, key: str) -> None:
    """A URL would carry the password with it."""
    found = desk.refuse(change(**{key: f"jdbc:postgresql://u:{CANARY}@h/db"}))
    assert "fields (dialect, host, port" in found[f"/connections/sales/{key}"]
    assert CANARY not in str(found)


def test_a_secret_is_read_from_the_environment_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Late: a value that is set after loading counts; unset and empty are errors that name the variable."""
    secret = SecretReference.parse("${env:SALES_PASSWORD}", Path("/conf"))
    monkeypatch.delenv("SALES_PASSWORD", raising=False)
    with pytest.raises(ConfigError, match="SALES_PASSWORD") as caught:
        secret.resolve()
    assert caught.value.exit_code == 2
    monkeypatch.setenv("SALES_PASSWORD", "")
    with pytest.raises(ConfigError, match="is empty"):
        secret.resolve()
    monkeypatch.setenv("SALES_PASSWORD", CANARY)
    assert secret.resolve() == CANARY


@pytest.mark.parametrize(
    ("content", "value"), [("pass word\n", "pass word"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a"), (" a ", " a ")]
)
def test_a_secret_is_read_from_a_file_without_its_last_line_break(tmp_path: Path, content: str, value: str) -> None:
    """The path is relative to the configuration file; everything else in the file counts."""
    (tmp_path / "secret.txt").write_bytes(content.encode())
    assert SecretReference.parse("${file:secret.txt}", tmp_path).resolve() == value


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * 70_000, None])
def test_a_file_without_a_usable_secret_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    """Missing, empty, not text, or far too long."""
    if content is not None:
        (tmp_path / "secret.txt").write_bytes(content)
    with pytest.raises(ConfigError, match=r"secret\.txt"):
        SecretReference.parse("${file:secret.txt}", tmp_path).resolve()


def test_a_secret_never_shows_its_value(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """str, repr and the repr of everything around it show the reference only."""
    monkeypatch.setenv("SALES_PASSWORD", CANARY)
    configuration = desk.load()
    secret = configuration.connection("sales").password
    assert secret is not None
    assert secret.resolve() == CANARY
    shown = f"{secret} {secret!r} {configuration!r}"
    assert CANARY not in shown
    assert "${env:SALES_PASSWORD}" in shown


@pytest.mark.parametrize("dialect", ["mysql", "mariadb", "singlestore"])
def test_the_mysql_family_has_one_port_and_one_driver(desk: Any, dialect: str) -> None:
    """3306 where left out, and the properties of the MariaDB driver."""

    def edit(c: dict[str, Any]) -> None:
        c["connections"]["sales"].update(dialect=dialect, jdbc_properties={"socketTimeout": "60000"})
        c["connections"]["sales"].pop("port", None)

    connection = desk.load(edit).connection("sales")
    assert (connection.dialect, connection.port) == (dialect, 3306)
    assert connection.jdbc_properties == (("socketTimeout", "60000"),)


@pytest.mark.parametrize("key", ["sessionVariables", "initSql", "sslMode", "tinyInt1isBit", "allowLocalInfile", "keyStore"])
def test_what_decides_how_values_are_read_is_no_property_of_mariadb(desk: Any, key: str) -> None:
    """Nor what runs statements, opens files or weakens TLS."""
    found = desk.refuse(change(dialect="mariadb", jdbc_properties={key: CANARY}))
    assert "Allowed are: " in found[f"/connections/sales/jdbc_properties/{key}"]


def test_mariadb_has_no_client_certificate(desk: Any) -> None:
    """Its JDBC driver reads key stores only; said before anything connects."""
    found = desk.refuse(change(dialect="mariadb", tls={"mode": "require", "cert": "c.pem", "key": "k.pem"}))
    assert set(found) == {"/connections/sales/tls/cert"}


def test_a_misspelt_dialect_gets_a_suggestion(desk: Any) -> None:
    """The closest one that exists."""
    assert "did you mean 'postgresql'?" in desk.refuse(change(dialect="postgres"))["/connections/sales/dialect"]


@pytest.mark.parametrize("key", ["host", "user", "database", "dialect"])
def test_postgresql_needs_host_user_and_database(desk: Any, key: str) -> None:
    """Each missing one is named."""
    assert set(desk.refuse(lambda c: c["connections"]["sales"].pop(key))) == {f"/connections/sales/{key}"}


def test_sqlite_has_no_server_keys(desk: Any) -> None:
    """host, port, user, password and TLS belong to a server."""
    full = {"dialect": "sqlite", "port": 1, "tls": {}}
    found = desk.refuse(change(**full))
    assert set(found) == {f"/connections/sales/{key}" for key in ("host", "port", "user", "password", "tls")}


@pytest.mark.parametrize("database", [":memory:", "sqlite:///x.db", "http://x/y.db"])
def test_sqlite_needs_a_file(desk: Any, database: str) -> None:
    """A database in memory would be empty at every connection."""

    def edit(c: dict[str, Any]) -> None:
        c["connections"]["sales"] = {"dialect": "sqlite", "database": database}

    assert set(desk.refuse(edit)) == {"/connections/sales/database"}


@pytest.mark.parametrize("host", ["db:5432", "user@db", "jdbc:postgresql://db", "a b", "db/x", "db?x", "a,b"])
def test_a_host_is_a_host_and_nothing_else(desk: Any, host: str) -> None:
    """Ports, users and URLs have keys of their own."""
    assert set(desk.refuse(change(host=host))) == {"/connections/sales/host"}


@pytest.mark.parametrize("host", ["db", "db.example.com", "10.0.0.1", "::1", "fe80::1"])
def test_names_and_addresses_are_hosts(desk: Any, host: str) -> None:
    """Names, IPv4 and IPv6."""
    assert desk.load(change(host=host)).connection("sales").host == host


@pytest.mark.parametrize(
    ("tls", "pointer"),
    [
        ({"mode": "verify-full"}, "/tls/ca"),
        ({"mode": "verify-ca"}, "/tls/ca"),
        ({"mode": "verify"}, "/tls/mode"),
        ({"cert": "c.pem"}, "/tls"),
        ({"ca": "~/ca.pem"}, "/tls/ca"),
        ({"certificate": "c.pem"}, "/tls/certificate"),
    ],
)
def test_incomplete_tls_is_refused(desk: Any, tls: object, pointer: str) -> None:
    """A connection that shall be verified needs something to verify against."""
    assert set(desk.refuse(change(tls=tls))) == {f"/connections/sales{pointer}"}


def test_tls_paths_are_absolute(desk: Any) -> None:
    """They start at the configuration file."""
    tls = desk.load(change(tls={"mode": "verify-full", "ca": "ca.pem"})).connection("sales").tls
    assert tls.ca == desk.directory / "ca.pem"


@pytest.mark.parametrize("key", ["options", "sslpassword", "password", "socketFactory", "loggerFile", "sslmode"])
def test_jdbc_properties_come_from_an_allow_list(desk: Any, key: str) -> None:
    """Anything else could run code, leak, or change what is read; the message names what is allowed."""
    found = desk.refuse(change(jdbc_properties={key: CANARY}))
    message = found[f"/connections/sales/jdbc_properties/{key}"]
    assert "ApplicationName" in message
    assert "tcpKeepAlive" in message
    assert CANARY not in message


@pytest.mark.parametrize(
    "properties",
    [
        {"socketTimeout": "soon"},
        {"tcpKeepAlive": "yes"},
        {"ApplicationName": "a&b=c"},
        {"socketTimeout": 5},
        {"a b": "1"},
    ],
)
def test_jdbc_property_values_are_checked(desk: Any, properties: object) -> None:
    """A number is a number, a switch a switch, a text holds nothing that ends it."""
    (pointer,) = desk.refuse(change(jdbc_properties=properties))
    assert pointer.startswith("/connections/sales/jdbc_properties")


def test_sqlite_has_its_own_properties(desk: Any) -> None:
    """The allow list belongs to the dialect."""

    def edit(name: str) -> Any:
        sqlite = {"dialect": "sqlite", "database": "x.db", "jdbc_properties": {name: "1000"}}
        return lambda c: c["connections"].update(sales=sqlite)

    assert desk.load(edit("busy_timeout")).connection("sales").jdbc_properties == (("busy_timeout", "1000"),)
    assert "Allowed are: busy_timeout, cache_size" in str(desk.refuse(edit("socketTimeout")))


def test_a_connection_name_that_could_be_a_url_is_not_repeated(desk: Any) -> None:
    """The name is refused by number."""
    name = f"jdbc:postgresql://u:{CANARY}@h/db"
    error = desk.refuse_text(json.dumps({"connections": {name: {}}, "runtime": {}, "tables": [{"connection": name}]}))
    assert "the name of connection number 1" in str(error)
    assert CANARY not in str(error)


def test_several_connections_have_to_be_named(desk: Any) -> None:
    """A table says which; a name that does not exist gets a suggestion."""
    other = {"dialect": "sqlite", "database": "shop.db"}

    def edit(c: dict[str, Any]) -> None:
        c["connections"]["shop"] = other
        c["tables"][0]["connection"] = "slaes"

    found = desk.refuse(edit)
    assert found["/tables/0/connection"] == "there is no connection of this name; did you mean 'sales'?"
    assert "several connections" in found["/tables/1/connection"]


def test_a_broken_connection_is_still_known_to_its_tables(desk: Any) -> None:
    """One mistake, one message."""
    assert set(desk.refuse(change(port=0))) == {"/connections/sales/port"}

"""``ingestion init`` on real databases: what it chooses, why, and that what it writes can be run as it is."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ingestion_runtime.api import run
from ingestion_runtime.cli import cli
from ingestion_runtime.config import load_configuration
from tests.servers.mariadb import MariaDatabase
from tests.servers.postgresql import PASSWORD_VARIABLE, PostgresDatabase


@dataclass(frozen=True)
class Drafted:
    """What a call of the command wrote and said."""

    document: Mapping[str, Any]
    configuration: Mapping[str, Any]
    path: Path

    def entry(self, table: str) -> Mapping[str, Any]:
        """The table's entry in the file, by its name without the schema."""
        (entry,) = [entry for entry in self.configuration["tables"] if entry["table"] == table]
        return entry

    def said(self, table: str) -> Mapping[str, Any]:
        """What was said of the table."""
        (said,) = [said for said in self.document["tables"] if said["table"].partition(".")[2] == table]
        return said

    def reasons(self, table: str) -> str:
        """All that was said of the table, as one text."""
        said = self.said(table)
        rejected = [f"{one['column']} {one['reason']}" for one in said["rejected"]]
        return "; ".join([*said["reasons"], *said["cursor_reasons"], said["key_reason"], *rejected])

    @property
    def left_out(self) -> dict[str, str]:
        """Why tables are not in the file, by name."""
        return {one["table"]: one["reason"] for one in self.document["left_out"]}


Draft = Callable[..., Drafted]


def ends(drafted: Drafted) -> set[str]:
    """Run the configuration as it was written; return how its tables ended."""
    return {table.status.value for table in run(drafted.path, load_date="2026-07-01").tables}


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    """Call the command and load what it wrote."""

    def call(*arguments: str) -> Drafted:
        path = tmp_path / "drafted.json"
        result = CliRunner().invoke(cli, ["init", *arguments, "--to", str(path), "--force", "--output", "json"])
        assert result.exit_code == 0, result.stderr
        load_configuration(path)
        return Drafted(json.loads(result.stdout), json.loads(path.read_text()), path)

    return call


def in_postgres(database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch, user: str | None = None) -> list[str]:
    """Return the options that name a database."""
    monkeypatch.setenv(PASSWORD_VARIABLE, database.password)
    place = [
        "--dialect",
        "postgresql",
        "--host",
        database.host,
        "--port",
        str(database.port),
        "--database",
        database.database,
    ]
    return [*place, "--user", user or database.user, "--password-env", PASSWORD_VARIABLE, "--schema", "public"]


KEPT = """
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.last_update = now(); RETURN NEW; END $$;
CREATE FUNCTION touch_some() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN IF NEW.name <> OLD.name THEN NEW.last_update = now(); END IF; RETURN NEW; END $$;
CREATE TABLE actor (id serial PRIMARY KEY, name text, last_update timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON actor (last_update);
CREATE TRIGGER last_updated BEFORE UPDATE ON actor FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TABLE film (id serial PRIMARY KEY, name text, last_update timestamptz NOT NULL DEFAULT now());
CREATE TRIGGER last_updated BEFORE UPDATE ON film FOR EACH ROW EXECUTE FUNCTION touch_some();
CREATE TABLE store (id serial PRIMARY KEY, name text, last_update timestamptz NOT NULL DEFAULT now());
CREATE TRIGGER last_updated BEFORE UPDATE OF name ON store FOR EACH ROW EXECUTE FUNCTION touch();
INSERT INTO actor (name) VALUES ('Ada'); INSERT INTO film (name) VALUES ('x'); INSERT INTO store (name) VALUES ('y');
"""


def test_a_column_that_a_trigger_keeps_is_taken_without_a_lag(
    draft: Draft, postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database makes sure of it. A trigger with a condition does not: then the name is all there is, and a lag covers
    what an application writes by its own clock."""
    postgres.psql(KEPT)
    drafted = draft(*in_postgres(postgres, monkeypatch))
    assert drafted.entry("actor") == {
        "schema": "public",
        "table": "actor",
        "mode": "scd1",
        "primary_keys": ["id"],
        "incremental_column": "last_update",
        "incr_col_type": "timestamp",
    }
    assert "kept by trigger last_updated" in drafted.reasons("actor")
    assert "indexed" in drafted.said("actor")["cursor_reasons"]
    for table in ("film", "store"):
        assert drafted.entry(table)["lag_seconds"] == 600
        assert "nothing in the database makes sure of it" in drafted.reasons(table)
    assert any("deletes" in remark for remark in drafted.document["remarks"])


CLOCKS = """
CREATE TABLE plain (id int PRIMARY KEY, updated_at timestamp NOT NULL);
CREATE TABLE named (id int PRIMARY KEY, updated_at_utc timestamp NOT NULL);
CREATE FUNCTION utc() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN NEW.changed := now() AT TIME ZONE 'utc'; RETURN NEW; END $$;
CREATE TABLE kept (id int PRIMARY KEY, changed timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'));
CREATE TRIGGER kept BEFORE UPDATE ON kept FOR EACH ROW EXECUTE FUNCTION utc();
CREATE TABLE mixed (id int PRIMARY KEY, changed timestamp NOT NULL DEFAULT now());
CREATE TRIGGER mixed BEFORE UPDATE ON mixed FOR EACH ROW EXECUTE FUNCTION utc();
"""


def test_the_zone_of_a_clock_without_one_is_never_guessed(
    draft: Draft, postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong zone would pass over rows. It is known where the name or everything that sets the column says UTC, or the
    operator says so; then the lag covers the hour that the clock shows twice."""
    postgres.psql(CLOCKS)
    place = in_postgres(postgres, monkeypatch)
    drafted = draft(*place)
    assert drafted.entry("named")["cursor_timezone"] == drafted.entry("kept")["cursor_timezone"] == "UTC"
    for table in ("plain", "mixed"):
        assert drafted.entry(table)["mode"] == "full"
        assert "--cursor-timezone" in drafted.reasons(table)
    told = draft(*place, "--cursor-timezone", "Europe/Berlin")
    assert {entry["cursor_timezone"] for entry in told.configuration["tables"]} == {"Europe/Berlin"}
    assert {entry["lag_seconds"] for entry in told.configuration["tables"]} == {3600}


UNFIT = """
CREATE TABLE parts (id int PRIMARY KEY, password_changed_at timestamptz NOT NULL);
CREATE TABLE empty (id int PRIMARY KEY, updated_at timestamptz);
INSERT INTO empty SELECT i, CASE WHEN i > 70 THEN now() - interval '1 day' END FROM generate_series(1, 100) i;
CREATE TABLE few (id int PRIMARY KEY, updated_at timestamptz);
INSERT INTO few SELECT i, CASE WHEN i > 10 THEN now() - interval '1 day' END FROM generate_series(1, 100) i;
CREATE TABLE future (id int PRIMARY KEY, updated_at timestamptz NOT NULL);
INSERT INTO future VALUES (1, now()), (2, '9999-12-31 00:00+00');
CREATE TABLE words (id int PRIMARY KEY, updated_at text NOT NULL);
INSERT INTO words VALUES (1, 'yesterday');
CREATE TABLE arrived (id serial PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE seconds (id int PRIMARY KEY, updated bigint NOT NULL);
INSERT INTO seconds VALUES (1, 1700000000);
CREATE TABLE millis (id int PRIMARY KEY, updated bigint NOT NULL);
INSERT INTO millis VALUES (1, 1700000000000);
CREATE TABLE versions (id int PRIMARY KEY, updated int NOT NULL);
INSERT INTO versions VALUES (1, 17);
"""


def test_a_column_that_would_lose_rows_is_not_taken_and_the_reason_is_told(
    draft: Draft, postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.psql(UNFIT)
    drafted = draft(*in_postgres(postgres, monkeypatch))
    for table, words in {
        "parts": "a part of the row only",
        "empty": "NULL in 70% of the rows",
        "future": "1 values in the future",
        "words": "which the source does not order as time",
        "arrived": "only says when a row came",
        "versions": "no number of seconds or milliseconds",
    }.items():
        assert drafted.entry(table)["mode"] == "full", table
        assert words in drafted.reasons(table), drafted.reasons(table)
    assert drafted.entry("seconds")["incr_col_type"] == "epoch_seconds"
    assert drafted.entry("millis")["incr_col_type"] == "epoch_millis"
    assert drafted.entry("few")["mode"] == "scd1"
    assert "10.0% NULL" in drafted.reasons("few")


KEYS = """
CREATE TABLE unique_key (code text NOT NULL UNIQUE, number int NOT NULL UNIQUE, updated_at timestamptz NOT NULL);
CREATE TABLE nullable_key (code text UNIQUE, updated_at timestamptz NOT NULL);
CREATE TABLE partial_key (code text NOT NULL, gone boolean, updated_at timestamptz NOT NULL);
CREATE UNIQUE INDEX ON partial_key (code) WHERE NOT gone;
CREATE TABLE late_key (code text NOT NULL UNIQUE DEFERRABLE, updated_at timestamptz NOT NULL);
CREATE TABLE float_key (weight float8 PRIMARY KEY, updated_at timestamptz NOT NULL);
CREATE TABLE two (a int, b int, updated_at timestamptz NOT NULL, PRIMARY KEY (b, a));
"""


def test_a_key_is_the_catalogs_or_a_unique_index_that_cannot_be_null(
    draft: Draft, postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers before texts; indexes over a part of the rows, or checked late, tell no rows apart."""
    postgres.psql(KEYS)
    drafted = draft(*in_postgres(postgres, monkeypatch))
    assert drafted.entry("unique_key")["primary_keys"] == ["number"]
    assert "unique index unique_key_number_key" in drafted.reasons("unique_key")
    assert drafted.entry("two")["primary_keys"] == ["b", "a"]
    for table in ("nullable_key", "partial_key", "late_key"):
        assert drafted.entry(table) == {"schema": "public", "table": table, "mode": "full"}
        assert "no primary key" in drafted.reasons(table)
    assert "floating point" in drafted.reasons("float_key")


GROWING = """
CREATE TABLE audit_log (id bigserial PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(), what text);
INSERT INTO audit_log (created_at, what) SELECT now() - i * interval '1 minute', 'x' FROM generate_series(1, 120000) i;
CREATE TABLE small_log (id bigserial PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE bookings (id bigserial PRIMARY KEY, booking_date date NOT NULL);
"""


def test_a_large_table_that_only_grows_is_read_by_when_rows_came(
    draft: Draft, postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name says that nothing is changed in it. A small one is read whole, which is right whatever happens to it."""
    postgres.psql(GROWING)
    drafted = draft(*in_postgres(postgres, monkeypatch))
    assert drafted.entry("audit_log")["incremental_column"] == "created_at"
    assert drafted.said("audit_log")["rows"] == 120_000
    assert "only added" in drafted.reasons("audit_log")
    assert drafted.entry("small_log")["mode"] == drafted.entry("bookings")["mode"] == "full"


def test_without_sight_of_open_transactions_every_table_is_read_whole(
    draft: Draft, postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An incremental table would be refused by the first run; what the administrator has to grant is told."""
    postgres.psql(KEPT)
    role = f"short_{postgres.database}"
    postgres.psql(f"CREATE ROLE {role} LOGIN PASSWORD '{postgres.password}'", superuser=True)
    try:
        postgres.psql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        drafted = draft(*in_postgres(postgres, monkeypatch, role))
    finally:
        postgres.psql(f"DROP OWNED BY {role}; DROP ROLE {role}", superuser=True)
    assert {entry["mode"] for entry in drafted.configuration["tables"]} == {"full"}
    assert any("GRANT pg_read_all_stats" in remark for remark in drafted.document["remarks"])


HOSTILE = """
CREATE TABLE "[red]bold[/]" (id int PRIMARY KEY, "na;me" text);
CREATE TABLE "<script>alert(1)</script>" (id int PRIMARY KEY);
CREATE TABLE "we*ird" (id int PRIMARY KEY);
CREATE TABLE "dotted.name" (id int PRIMARY KEY);
CREATE TABLE "new
line" (id int PRIMARY KEY);
CREATE TABLE "quo""te" (id int PRIMARY KEY, "up""dated_at" timestamptz, "updated_at" timestamptz NOT NULL);
CREATE TABLE "Übersicht" (id int PRIMARY KEY, "geändert" int);
CREATE TABLE "Same" (id int PRIMARY KEY);
CREATE TABLE "same" (id int PRIMARY KEY);
CREATE TABLE cases (id int PRIMARY KEY, "ID" int);
CREATE TABLE nothing ();
CREATE VIEW looked_at AS SELECT 1 AS one;
CREATE TABLE parted (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE parted_2024 PARTITION OF parted FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
INSERT INTO "quo""te" VALUES (1, now(), now()); INSERT INTO "Übersicht" VALUES (1, 2);
INSERT INTO parted VALUES (1, '2024-05-01');
"""


def test_names_that_have_no_place_in_the_lake_are_left_out_with_the_reason(
    draft: Draft, postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the names hold, the file is valid, and nothing of a database is lost without a word."""
    postgres.psql(HOSTILE)
    drafted = draft(*in_postgres(postgres, monkeypatch))
    kept = {entry["table"] for entry in drafted.configuration["tables"]}
    assert kept == {'quo"te', "Übersicht", "Same", "parted"}
    assert drafted.entry('quo"te')["incremental_column"] == "updated_at"
    left = {name.partition(".")[2]: reason for name, reason in drafted.left_out.items()}
    assert set(left) == {
        "[red]bold[/]",
        "<script>alert(1)</script>",
        "we*ird",
        "dotted.name",
        "new\nline",
        "same",
        "cases",
        "nothing",
        "looked_at",
    }
    assert "a view" in left["looked_at"]
    assert "letter case" in left["same"]
    assert "letter case" in left["cases"]
    assert ends(drafted) == {"done"}


SAKILA = """
CREATE TABLE country (country_id SMALLINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, country VARCHAR(50) NOT NULL,
  last_update TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, KEY (last_update));
CREATE TABLE staff (staff_id INT PRIMARY KEY,
  last_update DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6));
CREATE TABLE stamped (id INT PRIMARY KEY, changed TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6));
CREATE TRIGGER stamped_update BEFORE UPDATE ON stamped FOR EACH ROW SET NEW.changed = NOW(6);
CREATE TABLE zero_dates (id INT PRIMARY KEY, born DATE NOT NULL, updated_at TIMESTAMP NOT NULL);
CREATE TABLE prefix_key (code VARCHAR(50) NOT NULL, UNIQUE KEY (code(10)));
INSERT INTO country (country) VALUES ('Nauru');
SET sql_mode = '';
INSERT INTO zero_dates VALUES (1, '0000-00-00', NOW());
"""


def test_mariadb_keeps_a_column_by_on_update(draft: Draft, mariadb: MariaDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """A TIMESTAMP has a zone; a DATETIME shows whichever its session had. Zero dates are no days and do not land."""
    mariadb.client(SAKILA)
    monkeypatch.setenv("MARIA_PASSWORD", mariadb.password)
    place = ["--dialect", "mariadb", "--host", mariadb.host, "--port", str(mariadb.port), "--user", mariadb.user]
    drafted = draft(*place, "--database", mariadb.database, "--password-env", "MARIA_PASSWORD")
    country = drafted.entry("country")
    assert (country["mode"], country["incremental_column"], country["primary_keys"]) == (
        "scd1",
        "last_update",
        ["country_id"],
    )
    assert not {"lag_seconds", "cursor_timezone"} & set(country)
    assert "kept by ON UPDATE current_timestamp()" in drafted.reasons("country")
    assert drafted.entry("staff")["mode"] == "full"
    assert "has no time zone" in drafted.reasons("staff")
    assert "kept by trigger stamped_update" in drafted.reasons("stamped")
    assert "born: 1 values are" in drafted.left_out[f"{mariadb.database}.zero_dates"]
    assert "primary_keys" not in drafted.entry("prefix_key")
    assert {entry["schema"] for entry in drafted.configuration["tables"]} == {mariadb.database}


LOOSE = """
CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT, updated_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TRIGGER notes_touch AFTER UPDATE ON notes BEGIN
  UPDATE notes SET updated_at = CURRENT_TIMESTAMP WHERE id = NEW.id; END;
CREATE TABLE watched (id INTEGER PRIMARY KEY, updated_at TEXT NOT NULL);
CREATE TRIGGER watched_log AFTER UPDATE ON watched BEGIN
  UPDATE notes SET updated_at = CURRENT_TIMESTAMP WHERE id = NEW.id; END;
CREATE TABLE spelled (id INTEGER PRIMARY KEY, updated_at TEXT NOT NULL, day DATE);
CREATE TABLE blobs (id INTEGER PRIMARY KEY, body TEXT);
CREATE TABLE nullkey (code TEXT PRIMARY KEY, body TEXT);
CREATE VIRTUAL TABLE found USING fts5(body);
INSERT INTO notes (body) VALUES ('a'), ('b');
INSERT INTO watched VALUES (1, '2024-05-01 10:00:00');
INSERT INTO spelled VALUES (1, '01.05.2024', '1/5/2024');
INSERT INTO blobs VALUES (1, x'ff00');
INSERT INTO nullkey VALUES (NULL, 'a'), ('b', 'b');
"""


def test_sqlite_holds_whatever_it_was_given_and_only_what_fits_is_taken(draft: Draft, tmp_path: Path) -> None:
    """Text may hold times, a date may be none, a column of text may hold bytes, and a key may be NULL."""
    with closing(sqlite3.connect(tmp_path / "loose.db")) as database:
        database.executescript(LOOSE)
    drafted = draft("--dialect", "sqlite", "--database", str(tmp_path / "loose.db"))
    notes = drafted.entry("notes")
    assert (notes["schema"], notes["mode"], notes["incr_col_type"]) == ("loose", "scd1", "timestamp")
    assert "kept by trigger notes_touch" in drafted.reasons("notes")
    assert "cursor_timezone" not in notes  # writers take turns: no zone is needed
    assert "nothing in the database makes sure of it" in drafted.reasons("watched")
    assert drafted.entry("spelled")["columns"] == {"day": {"type": "string"}}
    assert "not spelled" in drafted.reasons("spelled") or "does not order" in drafted.reasons("spelled")
    assert "primary_keys" not in drafted.entry("nullkey")
    assert "NULL in 1 rows" in drafted.reasons("nullkey")
    assert "loose.blobs" in drafted.left_out
    assert ends(drafted) == {"done"}
    assert ends(drafted) == {"unchanged", "skipped"}


def test_equal_databases_give_equal_files(draft: Draft, tmp_path: Path) -> None:
    """A draft can be compared with the one of last month."""
    with closing(sqlite3.connect(tmp_path / "loose.db")) as database:
        database.executescript(LOOSE)
    options = ["--dialect", "sqlite", "--database", str(tmp_path / "loose.db")]
    first = draft(*options).path.read_bytes()
    assert draft(*options).path.read_bytes() == first


def test_a_part_of_a_database_is_named_by_globs(
    draft: Draft, postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.psql(
        "CREATE TABLE a_one (id int); CREATE TABLE a_two (id int); CREATE TABLE b (id int); CREATE SCHEMA other;"
        "CREATE TABLE other.a_three (id int);"
    )
    place = in_postgres(postgres, monkeypatch)
    assert {e["table"] for e in draft(*place, "--only-tables", "A_*").configuration["tables"]} == {"a_one", "a_two"}
    both = draft(*place, "--schema", "other", "--only-tables", "other.*, public.b")
    assert {(e["schema"], e["table"]) for e in both.configuration["tables"]} == {("other", "a_three"), ("public", "b")}


LARGE = """
CREATE TABLE calls (id bigserial PRIMARY KEY, call_date date NOT NULL, note text);
INSERT INTO calls (call_date) SELECT date '2022-01-01' + i FROM generate_series(0, 730) i;
CREATE INDEX ON calls (call_date);
CREATE TABLE parted (id bigint, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE parted_all PARTITION OF parted DEFAULT;
INSERT INTO parted SELECT i, date '2024-01-01' FROM generate_series(1, 900) i;
CREATE TABLE event_log (id bigserial PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now());
INSERT INTO event_log SELECT i, now() - interval '1 day' FROM generate_series(1, 700) i;
CREATE TABLE old_log (id bigserial PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now());
INSERT INTO old_log SELECT i, now() - interval '1 day' FROM generate_series(1, 700) i;
DELETE FROM old_log WHERE id < 10;
CREATE TABLE click_log (created_at timestamptz NOT NULL DEFAULT now(), page text);
INSERT INTO click_log SELECT now() - interval '1 day', 'x' FROM generate_series(1, 700);
CREATE TABLE gap_log (created_at timestamptz DEFAULT now());
INSERT INTO gap_log SELECT now() - interval '1 day' FROM generate_series(1, 700);
CREATE TABLE restored (id bigserial PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now());
INSERT INTO restored SELECT i, now() - interval '1 day' FROM generate_series(1, 700) i;
CREATE TABLE later (id int PRIMARY KEY, updated_at timestamptz);
INSERT INTO later SELECT i, now() - interval '1 day' FROM generate_series(1, 900) i;
INSERT INTO later VALUES (1000, '9999-12-31');
CREATE INDEX ON later (updated_at);
CREATE TABLE sparse (id int PRIMARY KEY, updated_at timestamptz);
INSERT INTO sparse
  SELECT i, CASE WHEN i > 500 OR i % 30 > 0 THEN now() - interval '1 day' END FROM generate_series(1, 900) i;
ANALYZE;
SELECT pg_stat_force_next_flush();
"""


@pytest.fixture
def large(postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch) -> PostgresDatabase:
    """A database whose tables count as large: what is large is made small, for millions of rows take minutes to make."""
    monkeypatch.setattr("ingestion_runtime.drafting.sampling.BOUND", 300)
    monkeypatch.setattr("ingestion_runtime.drafting.tables.SMALL_ROWS", 500)
    monkeypatch.setattr("ingestion_runtime.drafting.tables.WIDE_ROWS", 500)
    monkeypatch.setattr("ingestion_runtime.drafting.months.PARTITIONED_ROWS", 500)
    monkeypatch.setattr("ingestion_runtime.drafting.months._ROWS_A_MONTH", 10)
    postgres.psql(LARGE)
    return postgres


def test_of_a_large_table_the_first_rows_and_the_catalog_tell(
    draft: Draft, large: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are the catalog's guess, NULLs are those of the statistics, and the newest value is asked of the index."""
    drafted = draft(*in_postgres(large, monkeypatch))
    assert (drafted.said("sparse")["rows"], drafted.said("sparse")["rows_estimated"]) == (900, True)
    assert drafted.entry("sparse")["mode"] == "scd1"
    assert "1.8% NULL" in drafted.reasons("sparse")
    assert "updated_at holds values in the future" in drafted.reasons("later")
    assert any("first rows" in remark for remark in drafted.document["remarks"])


def test_a_large_table_is_partitioned_read_in_parts_or_by_arrival_where_that_is_clearly_good(
    draft: Draft, large: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By arrival only what is called so, and of which the statistics do not say that rows change: that none did so far is no
    reason, for all tables of a restored database look like that."""
    drafted = draft(*in_postgres(large, monkeypatch))
    month = {"partition": [{"column": "call_date", "transform": "month"}]}
    assert drafted.entry("calls")["intermediate"] == month
    assert "in each of 25" in drafted.reasons("calls")
    assert drafted.entry("parted")["partition_read"] == {"partitionColumn": "id", "numPartitions": 4}
    assert drafted.entry("event_log")["incremental_column"] == "created_at"
    assert "of 700 none was changed" in drafted.reasons("event_log")
    assert drafted.entry("click_log") == {
        "schema": "public",
        "table": "click_log",
        "mode": "append",
        "incremental_column": "created_at",
        "incr_col_type": "timestamp",
    }
    for table in ("old_log", "restored", "gap_log"):
        assert drafted.entry(table)["mode"] == "full"
        assert "only says when a row came" in drafted.reasons(table)
    assert "intermediate" not in drafted.entry("sparse")
    assert ends(drafted) == {"done"}
    assert ends(drafted) == {"unchanged", "skipped"}


def test_singlestore_shows_no_transactions_so_every_table_is_read_whole(
    draft: Draft, mariadb: MariaDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spoken to over the wire that it shares with MariaDB."""
    mariadb.client("CREATE TABLE stamped (id INT PRIMARY KEY, updated_at TIMESTAMP NOT NULL)")
    monkeypatch.setenv("MARIA_PASSWORD", mariadb.password)
    place = ["--dialect", "singlestore", "--host", mariadb.host, "--port", str(mariadb.port), "--user", mariadb.user]
    drafted = draft(*place, "--database", mariadb.database, "--password-env", "MARIA_PASSWORD")
    assert drafted.entry("stamped") == {
        "schema": mariadb.database,
        "table": "stamped",
        "mode": "full",
        "primary_keys": ["id"],
    }
    assert "does not show its open transactions" in drafted.reasons("stamped")

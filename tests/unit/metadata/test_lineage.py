"""OpenLineage events: names, states, facets, and where they go."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from openlineage.client.serde import Serde

from ingestion_runtime.config.secrets import SecretReference
from ingestion_runtime.metadata.datasets import output_table, source_dataset
from ingestion_runtime.metadata.lineage import LineageWriter, run_uuid
from ingestion_runtime.model.batch import TableKey
from ingestion_runtime.model.connection import ConnectionSpec
from ingestion_runtime.model.errors import ConfigError, TransientError
from ingestion_runtime.model.metrics import OpenLineageSpec, TableRun
from ingestion_runtime.model.spec import (
    CatalogSpec,
    Configuration,
    MetadataSpec,
    RuntimeSpec,
    SinkFormat,
    StagingSpec,
    TableSpec,
)
from tests.servers.http import HttpServer
from tests.servers.ports import free_port

KEY = TableKey("lake", "shop", "orders")
ORDERS = TableSpec("public", "orders", "scd1", "crm")
CRM = ConnectionSpec("crm", "postgresql", "sales", host="db.example.com", port=5432, user="reader")
AT = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)
BEGUN = TableRun("run-1", "nightly", "public.orders", KEY, "crm", "scd1", date(2026, 3, 1), AT)
DONE = replace(BEGUN, ended=AT.replace(hour=3), status="done", rows_read=10, rows_written=7, batch_id="b1", engine="arrow")
METADATA = {
    "location": "file:///lake/shop/orders-7f",
    "current-schema-id": 1,
    "schemas": [
        {"schema-id": 0, "fields": []},
        {
            "schema-id": 1,
            "fields": [
                {"id": 1, "name": "id", "required": True, "type": "long"},
                {"id": 2, "name": "tags", "required": False, "type": {"type": "list", "element": "string"}},
            ],
        },
    ],
}


def runtime(catalog: CatalogSpec | None = None, **settings: Any) -> RuntimeSpec:
    return RuntimeSpec(
        job_name="nightly",
        raw_root="/data/raw",
        final_root=settings.pop("final_root", "/data/final"),
        timezone="UTC",
        catalog=catalog or CatalogSpec("lake", "/data/catalog.db", "/lake"),
        staging=StagingSpec("/data/staging"),
        state_database="/data/state.db",
        **settings,
    )


def configuration(table: TableSpec = ORDERS) -> Configuration:
    return Configuration(Path("/conf.json"), (CRM,), runtime(), MetadataSpec(), (table,))


def writer(spec: OpenLineageSpec, table: TableSpec = ORDERS, location: str | None = None) -> LineageWriter:
    return LineageWriter(spec, configuration(table), (table,), lambda _: location)


def event(run: TableRun, table: TableSpec = ORDERS, location: str | None = None) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(Serde.to_json(writer(OpenLineageSpec(file="/x"), table, location).event(run)))
    return parsed


class TestNames:
    @pytest.mark.parametrize(
        ("connection", "namespace", "name"),
        [
            (CRM, "postgres://db.example.com:5432", "sales.public.orders"),
            (replace(CRM, dialect="mysql", port=3306), "mysql://db.example.com:3306", "public.orders"),
            (replace(CRM, dialect="mariadb", port=3307), "mysql://db.example.com:3307", "public.orders"),
            (replace(CRM, dialect="singlestore", port=3306), "mysql://db.example.com:3306", "public.orders"),
            (ConnectionSpec("s", "sqlite", "/data/shop.db"), "sqlite:///data/shop.db", "orders"),
        ],
        ids=["postgresql", "mysql", "mariadb", "singlestore", "sqlite"],
    )
    def test_a_source_table_is_named_by_where_its_database_answers(
        self, connection: ConnectionSpec, namespace: str, name: str
    ) -> None:
        """As the naming specification has it; never with a user."""
        found = source_dataset(ORDERS, connection)
        assert (found.namespace, found.name) == (namespace, name)

    def test_an_iceberg_table_is_named_by_where_it_lies(self, tmp_path: Path) -> None:
        """What its metadata says, with its columns; the catalog's name is an alias."""
        path = tmp_path / "metadata" / "00001.metadata.json"
        path.parent.mkdir()
        path.write_text(json.dumps(METADATA))
        found = output_table(ORDERS, KEY, runtime(), f"file://{path}")
        assert (found.dataset.namespace, found.dataset.name) == ("file", "/lake/shop/orders-7f")
        assert found.alias is not None
        assert (found.alias.namespace, found.alias.name) == ("file:/lake", "shop.orders")
        assert [(column.name, column.type) for column in found.columns] == [("id", "long"), ("tags", "list")]

    @pytest.mark.parametrize(
        ("location", "name"),
        [
            (None, "/lake/shop/orders"),
            ("/elsewhere/orders/metadata/00001.metadata.json", "/elsewhere/orders"),
        ],
    )
    def test_a_table_that_cannot_be_looked_up_is_named_all_the_same(self, location: str | None, name: str) -> None:
        """Before its first publish: by where it will lie."""
        found = output_table(ORDERS, KEY, runtime(), location)
        assert (found.dataset.namespace, found.dataset.name, found.columns) == ("file", name, ())

    def test_a_table_on_hdfs_has_its_name_node_for_a_namespace(self) -> None:
        """And no columns: a JVM is not started to look them up."""
        catalog = CatalogSpec("lake", None, "hdfs://nn:8020/lake")
        found = output_table(ORDERS, KEY, runtime(catalog), "hdfs://nn:8020/lake/shop/orders/metadata/v1.metadata.json")
        assert (found.dataset.namespace, found.dataset.name) == ("hdfs://nn:8020", "/lake/shop/orders")
        assert found.alias is not None
        assert (found.alias.namespace, found.alias.name) == ("hdfs://nn:8020/lake", "shop.orders")

    def test_a_catalog_in_postgresql_names_its_tables(self) -> None:
        """By the database that it lies in."""
        found = output_table(ORDERS, KEY, runtime(CatalogSpec("lake", None, "/lake", connection=CRM)), None)
        assert found.alias is not None
        assert (found.alias.namespace, found.alias.name) == ("postgres://db.example.com:5432", "sales.shop.orders")

    def test_a_parquet_table_is_its_directory(self, tmp_path: Path) -> None:
        """With the columns of its files."""
        folder = tmp_path / "public" / "orders"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"id": pa.array([1], pa.int64())}), folder / "part-00000.parquet")
        table = replace(ORDERS, mode="full", sink=SinkFormat.PARQUET)
        found = output_table(table, KEY, runtime(final_root=str(tmp_path)), None)
        assert (found.dataset.namespace, found.dataset.name) == ("file", str(folder))
        assert [(column.name, column.type) for column in found.columns] == [("id", "int64")]
        assert found.alias is None

    def test_what_is_only_landed_is_named_by_its_place_in_raw(self) -> None:
        """Where a full refresh is not finalized there is no table."""
        found = output_table(replace(ORDERS, mode="full"), KEY, runtime(finalize_full_refresh=False), None)
        assert found.dataset.name == "/data/raw/public/orders"


class TestEvents:
    @pytest.mark.parametrize(
        ("run", "state"),
        [
            (BEGUN, "START"),
            (DONE, "COMPLETE"),
            (replace(DONE, status="unchanged"), "COMPLETE"),
            (replace(DONE, status="skipped"), "COMPLETE"),
            (replace(DONE, status="failed", error_type="TerminalError", message="gone"), "FAIL"),
            (replace(DONE, status="interrupted", error_type="InterruptedRunError", message="stopped"), "ABORT"),
        ],
    )
    def test_a_runs_beginning_and_end_have_one_id(self, run: TableRun, state: str) -> None:
        """Made of job, run and table, so that anybody can tell which run it was."""
        told = event(run)
        assert (told["eventType"], told["job"]["namespace"]) == (state, "ingestion")
        assert told["job"]["name"] == "nightly.public.orders"
        assert told["run"]["runId"] == run_uuid("nightly", "run-1", "public.orders")
        parent = told["run"]["facets"]["parent"]
        assert parent["run"]["runId"] == run_uuid("nightly", "run-1") != told["run"]["runId"]
        assert parent["job"] == {"namespace": "ingestion", "name": "nightly", "facets": {}}
        assert told["eventTime"] == (run.ended or run.started).isoformat()

    def test_the_end_tells_rows_and_columns(self, tmp_path: Path) -> None:
        """Rows read and written, the output's schema, where both ends are, and our own names as tags."""
        path = tmp_path / "m.json"
        path.write_text(json.dumps(METADATA))
        told = event(DONE, location=str(path))
        ((read,), (written,)) = told["inputs"], told["outputs"]
        assert read["inputFacets"]["inputStatistics"]["rowCount"] == 10
        assert written["outputFacets"]["outputStatistics"]["rowCount"] == 7
        fields = written["facets"]["schema"]["fields"]
        assert [(f["name"], f["type"], f["ordinal_position"]) for f in fields] == [("id", "long", 1), ("tags", "list", 2)]
        assert read["facets"]["dataSource"]["uri"] == "postgres://db.example.com:5432"
        assert written["facets"]["symlinks"]["identifiers"][0]["type"] == "TABLE"
        tags = {tag["key"]: tag["value"] for tag in told["run"]["facets"]["tags"]["tags"]}
        assert tags == {"run_id": "run-1", "load_date": "2026-03-01", "batch_id": "b1", "engine": "arrow"}

    def test_the_beginning_claims_no_rows(self) -> None:
        """Nothing has happened yet."""
        told = event(BEGUN)
        assert "inputStatistics" not in told["inputs"][0]["inputFacets"]
        assert "outputStatistics" not in told["outputs"][0]["outputFacets"]

    def test_a_failure_has_its_message(self) -> None:
        """Type and text, as in the result."""
        told = event(replace(DONE, status="failed", error_type="TerminalError", message="no such column"))
        assert told["run"]["facets"]["errorMessage"]["message"] == "TerminalError: no such column"

    def test_a_query_names_itself_in_place_of_a_table(self) -> None:
        """Which tables it reads is its own matter."""
        told = event(DONE, replace(ORDERS, query_sql="SELECT * FROM a JOIN b USING (id)"))
        assert told["inputs"] == []
        assert told["job"]["facets"]["sql"]["query"] == "SELECT * FROM a JOIN b USING (id)"


class TestDelivery:
    def test_a_file_gets_a_line_an_event(self, tmp_path: Path) -> None:
        """Appended; its folder is made."""
        to = writer(OpenLineageSpec(file=str(tmp_path / "new" / "events.jsonl")))
        to.write(BEGUN)
        to.write(DONE)
        lines = (tmp_path / "new" / "events.jsonl").read_text().splitlines()
        assert [json.loads(line)["eventType"] for line in lines] == ["START", "COMPLETE"]

    def test_a_file_that_cannot_be_written_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "new").write_text("a file where the folder should be")
        with pytest.raises(TransientError, match=r"events.jsonl cannot be written"):
            writer(OpenLineageSpec(file=str(tmp_path / "new" / "events.jsonl"))).write(BEGUN)

    def test_a_server_gets_the_event_with_the_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """At its endpoint, below whatever path the URL has."""
        monkeypatch.setenv("LINEAGE_KEY", "key-canary")
        with HttpServer(201) as server:
            key = SecretReference("env", "LINEAGE_KEY", Path())
            writer(OpenLineageSpec(url=f"{server.url}/base", api_key=key)).write(DONE)
            (request,) = server.wait_for(1)
        assert request.path == "/base/api/v1/lineage"
        assert request.headers["Authorization"] == "Bearer key-canary"
        assert request.document == event(DONE)

    def test_the_clients_own_settings_in_the_environment_are_not_followed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing goes where the configuration does not say, and nothing of the environment goes anywhere."""
        monkeypatch.setenv("OPENLINEAGE_URL", "http://127.0.0.1:1")
        monkeypatch.setenv("OPENLINEAGE__FACETS__ENVIRONMENT_VARIABLES", '["HOME"]')
        with HttpServer() as server:
            writer(OpenLineageSpec(url=server.url)).write(DONE)
            (request,) = server.wait_for(1)
        assert "environmentVariables" not in request.document["run"]["facets"]

    @pytest.mark.parametrize("status", [401, 500])
    def test_a_server_that_refuses_is_told_with_its_answer(self, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without the key."""
        monkeypatch.setenv("LINEAGE_KEY", "key-canary")
        key = SecretReference("env", "LINEAGE_KEY", Path())
        with HttpServer(status) as server:
            to = writer(OpenLineageSpec(url=server.url, api_key=key))
            with pytest.raises(TransientError, match=f"did not take an event.*{status}") as caught:
                to.write(DONE)
        assert "canary" not in str(caught.value)

    def test_a_server_that_hangs_is_given_up(self) -> None:
        """After its time limit, without another try: the others wait."""
        with HttpServer(hangs=True) as server:
            with pytest.raises(TransientError, match="did not take an event"):
                writer(OpenLineageSpec(url=server.url, timeout_seconds=1)).write(DONE)
            assert len(server.requests) == 1

    def test_a_server_that_is_not_there_is_told(self) -> None:
        with pytest.raises(TransientError, match="did not take an event: ConnectionError"):
            writer(OpenLineageSpec(url=f"http://127.0.0.1:{free_port()}")).write(DONE)

    def test_a_key_that_cannot_be_read_is_told_as_the_reference(self) -> None:
        with pytest.raises(ConfigError, match=r"\$\{env:NO_SUCH_KEY\}"):
            writer(OpenLineageSpec(url="http://127.0.0.1:1", api_key=SecretReference("env", "NO_SUCH_KEY", Path()))).write(
                DONE
            )

"""What dlt does: connectorx reads, the filesystem destination writes Iceberg tables with a SQLite catalog.

``dlt_load.py JOB``, with the Python of the bench's own environment. ``write`` is "replace", or incremental by the cursor:
"append" or "upsert" (which compares with every row that is there, so that a first load is better an append).
"""

import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote


def configure(place: Path) -> None:
    """Tell dlt by its environment where its things are. Telemetry would ask the network."""
    catalog = {
        "type": "sql",
        "uri": f"sqlite:///{place / 'catalog.db'}?timeout=30",
        "warehouse": (place / "warehouse").as_uri(),
    }
    os.environ |= {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "ERROR",
        "DESTINATION__FILESYSTEM__BUCKET_URL": (place / "warehouse").as_uri(),
        "ICEBERG_CATALOG__ICEBERG_CATALOG_NAME": "lake",
        "ICEBERG_CATALOG__ICEBERG_CATALOG_TYPE": "sql",
        "ICEBERG_CATALOG__ICEBERG_CATALOG_CONFIG": json.dumps(catalog),
        "EXTRACT__WORKERS": "4",
        "LOAD__WORKERS": "4",
    }


def urls(at: dict[str, Any]) -> tuple[str, str]:
    """Return the address for SQLAlchemy, which reflects, and the one for connectorx, which reads."""
    if at["dialect"] == "sqlite":
        return f"sqlite:///{at['database']}", f"sqlite://{at['database']}"
    to = f"{at['user']}:{quote(at['password'])}@{at['host']}:{at['port']}/{at['database']}"
    if at["dialect"] == "mariadb":
        return f"mysql+pymysql://{to}", f"mysql://{to}"
    return f"postgresql+psycopg2://{to}", f"postgresql://{to}"


def resources(job: dict[str, Any]) -> Any:
    """Return dlt's source with every table as the job wants it."""
    import dlt
    from dlt.sources.sql_database import sql_database

    reflected, read = urls(job["source"])
    options: dict[str, Any] = {"conn": read}
    if job["partitions"] > 1:
        first = job["tables"][0]
        options |= {"partition_on": first["keys"][0], "partition_num": job["partitions"]}
    source = sql_database(
        reflected,
        table_names=[table["name"] for table in job["tables"]],
        backend="connectorx",
        backend_kwargs=options,
        reflection_level="full_with_precision",
    )
    for table in job["tables"]:
        resource = source.resources[table["name"]]
        if job["write"] == "replace":
            resource.apply_hints(write_disposition="replace", table_format="iceberg")
        else:
            upsert = {"disposition": "merge", "strategy": "upsert"}
            resource.apply_hints(
                primary_key=table["keys"],
                incremental=dlt.sources.incremental(table["cursor"]),
                write_disposition=upsert if job["write"] == "upsert" else "append",
                table_format="iceberg",
            )
        resource.parallelize()
    return source


def main() -> None:
    """Do the job."""
    job = json.loads(Path(sys.argv[1]).read_text())
    place = Path(job["place"])
    configure(place)
    import dlt

    pipeline = dlt.pipeline(
        pipeline_name="bench", pipelines_dir=str(place / "pipelines"), destination="filesystem", dataset_name="public"
    )
    pipeline.run(resources(job))


if __name__ == "__main__":
    main()

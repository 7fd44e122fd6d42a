"""The Spark of this machine: with its Java, the jars of its cache, and the class data beside them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ingestion_runtime.model.spec import RuntimeSpec
from ingestion_runtime.tools.class_data import class_data_options
from ingestion_runtime.tools.jars import JarCache, default_cache_directory
from ingestion_runtime.tools.java import require_java
from ingestion_runtime.tools.spark import SparkTool
from ingestion_runtime.tools.spark_jvm import Settings, no_class_data

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def own_spark(
    runtime: RuntimeSpec,
    log_file: Path,
    environment: Mapping[str, str],
    catalog: Callable[[], Settings],
    *,
    adopted: "SparkSession | None" = None,
    submitted: bool = False,
    archives: bool = True,
) -> SparkTool:
    """Return a tool that starts Spark when it is needed; see ``SparkTool.from_config``.

    Without ``archives`` no class data is used, and so none is written for the next start.
    """
    cache = default_cache_directory()
    return SparkTool.from_config(
        runtime,
        require_java,
        JarCache(cache).ensure,
        log_file,
        catalog=catalog,
        class_data=class_data_options(cache, environment) if archives else no_class_data,
        adopted=adopted,
        submitted=submitted,
    )

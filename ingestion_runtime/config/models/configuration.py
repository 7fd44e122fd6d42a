"""The configuration file as a whole."""

from typing import Annotated

from pydantic import ConfigDict, Field

from ingestion_runtime.config.models.connections import ConnectionFile
from ingestion_runtime.config.models.metadata import MetadataFile
from ingestion_runtime.config.models.orchestration import OrchestrationFile
from ingestion_runtime.config.models.parts import FilePart
from ingestion_runtime.config.models.runtime import RuntimeFile
from ingestion_runtime.config.models.tables import DefaultsFile, TableFile


class ConfigurationFile(FilePart):
    """A configuration of the ingestion runtime."""

    # Its parts are validated one by one; as a whole it is only described.
    model_config = ConfigDict(defer_build=True)

    json_schema: str | None = Field(default=None, alias="$schema")
    """For editors; not read."""
    connections: Annotated[dict[str, ConnectionFile], Field(min_length=1)]
    """Source databases by name."""
    runtime: RuntimeFile
    metadata: MetadataFile = Field(default_factory=MetadataFile)
    defaults: DefaultsFile | None = None
    """What tables say where neither they nor their connection say anything else."""
    orchestration: OrchestrationFile = Field(default_factory=OrchestrationFile)
    tables: Annotated[list[TableFile], Field(min_length=1)]

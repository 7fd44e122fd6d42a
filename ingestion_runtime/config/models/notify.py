"""Who is told of runs."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ingestion_runtime.config.models.parts import FilePart, Text

NoticeWord = Literal["start", "failure", "recovery", "stall", "digest", "end"]


class NotifyTargetFile(FilePart):
    """One place that is told how runs go."""

    placeholders: ClassVar[Mapping[str, object]] = {"to": "log"}

    to: Literal["log", "command", "webhook", "email"]
    """log: the event log; command: a program; webhook: an HTTP address, or any service that apprise knows; email."""
    on: Annotated[list[NoticeWord], Field(min_length=1)] | None = None
    """Of what it is told; of everything where left out."""
    command: Annotated[list[Text], Field(min_length=1)] | None = None
    """Program and arguments, without a shell; gets the message as JSON on its standard input."""
    url: Text | None = None
    """Address of a webhook or mail server, with its secrets. A reference: ${env:NAME} or ${file:PATH}."""
    min_interval_seconds: Annotated[int, Field(ge=0, le=86_400)] = 60
    """Between two messages of one kind; what comes sooner is gathered into the next."""
    timeout_seconds: Annotated[int, Field(ge=1, le=600)] = 10
    """How long one delivery may take."""


class NotifyFile(FilePart):
    """Who is told how runs go."""

    placeholders: ClassVar[Mapping[str, object]] = {"targets": [{"to": "log"}]}

    targets: Annotated[list[NotifyTargetFile], Field(min_length=1)]
    stall_seconds: Annotated[int, Field(ge=0, le=604_800)] = 1800
    """A table without progress for so long is told; 0: never."""
    wait_seconds: Annotated[float, Field(ge=0, le=60)] = 2
    """How long the end of a run waits for messages that are under way."""


class OpenLineageFile(FilePart):
    """Where OpenLineage events of every table go: to a file or to a server."""

    namespace: Text = "ingestion"
    """Namespace of the jobs."""
    file: Text | None = None
    """Path of a file, to which events are appended as JSON lines; or name a url."""
    url: Text | None = None
    """http(s)://host:port of a server; or name a file."""
    endpoint: Text = "api/v1/lineage"
    """Path below the url."""
    api_key: Text | None = None
    """A reference: ${env:NAME} or ${file:PATH}; sent as a bearer token."""
    timeout_seconds: Annotated[int, Field(ge=1, le=600)] = 5
    """How long the server may take to answer."""
    wait_seconds: Annotated[float, Field(ge=0, le=60)] = 2
    """How long the end of a run waits for events that are under way."""


class MetadataGatewayFile(FilePart):
    """What is recorded of every table in every run."""

    ingestion_metrics: bool = False
    """Whether ingestion_volume records are kept in the state database: rows, bytes, batch, watermark."""
    ingestion_runtime: bool = False
    """Whether ingestion_runtime records are: times, status, engine, error."""
    openlineage: OpenLineageFile | None = None

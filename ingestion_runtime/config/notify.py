"""From ``runtime.notify`` and ``runtime.metadata_gateway`` of the file to NotifySpec and GatewaySpec."""

from pathlib import Path
from urllib.parse import urlsplit

from ingestion_runtime.config.issues import IssueLog, Location
from ingestion_runtime.config.models.notify import MetadataGatewayFile, NotifyFile, NotifyTargetFile, OpenLineageFile
from ingestion_runtime.config.paths import PathResolver
from ingestion_runtime.config.secrets import HOW_TO, SecretReference
from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.model.metrics import GatewaySpec, OpenLineageSpec
from ingestion_runtime.model.notify import Medium, NoticeKind, NotifySpec, NotifyTarget

# What a target of each kind has; the others are refused.
_ADDRESS = {Medium.LOG: None, Medium.COMMAND: "command", Medium.WEBHOOK: "url", Medium.EMAIL: "url"}


def build_notify(file: NotifyFile | None, at: Location, base: Path, log: IssueLog) -> NotifySpec:
    """Return who is told; problems are recorded. Nothing is connected and no secret is read."""
    if file is None:
        return NotifySpec()
    targets = tuple(
        _build_target(target, number, (*at, "targets", number), base, log) for number, target in enumerate(file.targets)
    )
    return NotifySpec(targets, file.stall_seconds, file.wait_seconds)


def _build_target(file: NotifyTargetFile, number: int, at: Location, base: Path, log: IssueLog) -> NotifyTarget:
    medium = Medium(file.to)
    if log.clean((*at, "to")):
        _check_address(file, medium, at, log)
    return NotifyTarget(
        name=f"notify.targets[{number}] ({medium})",
        medium=medium,
        on=frozenset(NoticeKind if file.on is None else map(NoticeKind, file.on)),
        min_interval_seconds=file.min_interval_seconds,
        timeout_seconds=file.timeout_seconds,
        command=_command(file.command, (*at, "command"), base, log),
        url=_reference(file.url, (*at, "url"), "the address", base, log),
    )


def _check_address(file: NotifyTargetFile, medium: Medium, at: Location, log: IssueLog) -> None:
    needed = _ADDRESS[medium]
    for key in ("command", "url"):
        given = getattr(file, key) is not None
        if given and key != needed:
            log.add((*at, key), f"a target of the kind '{medium}' has no '{key}'; leave it out")
        elif key == needed and not given and log.clean((*at, key)):
            log.add((*at, key), f"a target of the kind '{medium}' needs '{key}'")


def _command(words: list[str] | None, at: Location, base: Path, log: IssueLog) -> tuple[str, ...]:
    """Return the argument list; a program that is named by a relative path lies below the configuration's directory."""
    if words is None:
        return ()
    if any("\0" in word for word in words):
        log.add(at, "may not hold control characters")
    program = str(base / words[0]) if "/" in words[0] else words[0]
    return (program, *words[1:])


def build_gateway(file: MetadataGatewayFile, at: Location, paths: PathResolver, log: IssueLog) -> GatewaySpec:
    """Return what is recorded; problems are recorded."""
    lineage = None if file.openlineage is None else _build_lineage(file.openlineage, (*at, "openlineage"), paths, log)
    return GatewaySpec(file.ingestion_metrics, file.ingestion_runtime, lineage)


def _build_lineage(file: OpenLineageFile, at: Location, paths: PathResolver, log: IssueLog) -> OpenLineageSpec:
    if (file.file is None) == (file.url is None) and log.clean((*at, "file")) and log.clean((*at, "url")):
        surplus = "; both are given, leave one out" if file.file else ""
        log.add(at, f"needs either 'file' (a path) or 'url' (a server){surplus}")
    if file.url is not None:
        _check_url(file.url, (*at, "url"), log)
    elif file.api_key is not None and log.clean((*at, "url")):
        log.add((*at, "api_key"), "a file needs no key; leave it out")
    return OpenLineageSpec(
        namespace=file.namespace,
        file=None if file.file is None else paths.resolve(file.file, (*at, "file")),
        url=file.url,
        endpoint=file.endpoint,
        api_key=_reference(file.api_key, (*at, "api_key"), "the key", paths.base, log),
        timeout_seconds=file.timeout_seconds,
        wait_seconds=file.wait_seconds,
    )


def _check_url(url: str, at: Location, log: IssueLog) -> None:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or not url.isprintable() or " " in url:
        log.add(at, "must look like http://host:port or https://host")
    elif "@" in parts.netloc or parts.query or parts.fragment:
        log.add(at, "may hold neither a user, a password, nor anything after '?' or '#'; the key goes into api_key")


def _reference(text: str | None, at: Location, what: str, base: Path, log: IssueLog) -> SecretReference | None:
    if text is None:
        return None
    try:
        return SecretReference.parse(text, base)
    except ConfigError:
        log.add(at, f"must be a reference, never {what} itself: {HOW_TO}")
        return None

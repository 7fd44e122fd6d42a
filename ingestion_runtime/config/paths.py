"""Paths and URLs of a configuration. Relative ones start at the configuration file: cron has no useful directory."""

import os.path
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ingestion_runtime.config.issues import IssueLog, Location

SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):")
UNSAFE = set("*?[]{}#%")
OUTBOX_SCHEMES = frozenset({"webhdfs"})
HTTP_PORT = 9870


class PathResolver:
    """Makes paths absolute and records those that cannot be used."""

    def __init__(self, base: Path, log: IssueLog) -> None:
        self._base = os.path.abspath(base)  # noqa: PTH100  (Path.resolve would follow links)
        self._log = log

    @property
    def base(self) -> Path:
        """The directory from which relative paths start."""
        return Path(self._base)

    def resolve(self, text: str, at: Location, *, local_because: str = "") -> str:
        """Return the absolute local path, or an empty string after recording why there is none.

        ``local_because`` tells those who wrote hdfs:// why it cannot be there.
        """
        if not self._log.clean(at):
            return ""
        problem, path = self._interpret(text, local_because)
        if problem:
            self._log.add(at, problem)
            return ""
        return path

    def resolve_place(self, text: str, at: Location) -> str:
        """Like ``resolve``, and an hdfs://host:port/path URL is accepted; returned is its plain form."""
        if not text.lower().startswith("hdfs:") or not self._log.clean(at):
            return self.resolve(text, at)
        problem = _problem_of_url(text, "hdfs://host:port/path", port=False) or _problem_of_path(urlsplit(text).path)
        if problem:
            self._log.add(at, problem)
            return ""
        parts = urlsplit(text)
        return f"hdfs://{parts.netloc}{_below_root(parts.path)}"

    def beside(self, root: str, name: str, at: Location) -> str:
        """Return a local path beside a root; a root on HDFS has no such neighbour, so the path must be given."""
        if is_hdfs(root):
            self._log.add(at, "must be given: it lies on a local disk, and raw_root, beside which it would be, is on HDFS")
            return ""
        return neighbour(root, name)

    def resolve_outbox(self, text: str, at: Location) -> str:
        """Like ``resolve``, and a ``webhdfs://host:port/path`` URL is returned as it is."""
        found = SCHEME.match(text)
        if found is None or found["scheme"].lower() == "file":
            return self.resolve(text, at)
        scheme = found["scheme"].lower()
        if scheme == "hdfs":
            self._log.add(at, f"hdfs:// cannot be written from Python; use webhdfs://host:port/path (port {HTTP_PORT})")
        elif scheme not in OUTBOX_SCHEMES:
            self._log.add(at, "must be a path or webhdfs://host:port/path")
        elif problem := _problem_of_url(text, "webhdfs://host:port/path", port=True):
            self._log.add(at, problem)
        return text

    def _interpret(self, text: str, local_because: str) -> tuple[str, str]:
        if text.startswith("~"):
            return "'~' is not expanded; write the whole path, or one relative to this file", ""
        if "$" in text:
            return "variables are not expanded in paths; write the path itself", ""
        found = SCHEME.match(text)
        if found:
            problem, text = _path_of_url(found["scheme"].lower(), text, local_because)
            if problem:
                return problem, ""
        if not text.strip():
            return "must not be empty", ""
        path = os.path.normpath(os.path.join(self._base, text))  # noqa: PTH118
        return _problem_of_path(path), path


def is_hdfs(path: str) -> bool:
    """Whether a resolved path lies on HDFS."""
    return path.startswith("hdfs://")


def neighbour(root: str, name: str) -> str:
    """Return the path ``name`` beside a resolved root, wherever that lies; empty when there is no root."""
    if is_hdfs(root):
        parts = urlsplit(root)
        return f"hdfs://{parts.netloc}{_below_root(f'{parts.path}/../{name}')}"
    return os.path.normpath(os.path.join(root, "..", name)) if root else ""  # noqa: PTH118


def _below_root(path: str) -> str:
    return "/" + os.path.normpath(path).lstrip("/")


def _problem_of_path(path: str) -> str:
    if any(character in UNSAFE or not character.isprintable() for character in path):
        return f"the path, made absolute, may hold neither control characters nor any of {' '.join(sorted(UNSAFE))}"
    return ""


def check_apart(roots: dict[Location, str], log: IssueLog) -> None:
    """Record directories that are equal or lie one inside the other: their contents would be mixed up."""
    places = [(at, path) for at, path in roots.items() if path]
    for at, path in places:
        for other_at, other in places:
            if at != other_at and (path == other or path.startswith(other.rstrip("/") + "/")):
                name = ".".join(str(step) for step in other_at)
                log.add(at, f"must not be {name} or lie inside it; give each root a directory of its own")


def _path_of_url(scheme: str, text: str, local_because: str) -> tuple[str, str]:
    if scheme == "hdfs":
        return f"must be a local path{f': {local_because}' if local_because else ''}", ""
    if scheme != "file":
        return f"'{scheme}:' locations are not supported yet; write a local path, or hdfs:// for raw, staging, warehouse", ""
    try:
        parts = urlsplit(text)
    except ValueError:
        return "is not a usable file: URL; write file:///path", ""
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/") or parts.query or parts.fragment:
        return "is not a usable file: URL; write file:///path", ""
    return "", unquote(parts.path)


def _problem_of_url(text: str, form: str, *, port: bool) -> str:
    try:
        parts = urlsplit(text)
        complete = bool(parts.hostname and (parts.port or not port) and parts.path.strip("/") and "//" not in parts.path)
    except ValueError:
        complete = False
    if not complete or not text.isprintable():
        return f"must look like {form}"
    if "@" in parts.netloc or parts.query or parts.fragment:
        return "may hold neither a user, a password, nor anything after '?' or '#'"
    return ""

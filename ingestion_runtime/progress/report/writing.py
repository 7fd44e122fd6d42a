"""The page of a run as HTML, and as a file."""

import base64
import hashlib
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.progress.health import is_gone
from ingestion_runtime.progress.report import words
from ingestion_runtime.progress.report.axis import LEFT, RIGHT, WIDTH
from ingestion_runtime.progress.report.page import build_page
from ingestion_runtime.progress.view import RunView

_HERE: Final = Path(__file__).parent


def write_report(run: RunView, path: Path, made: datetime | None = None) -> None:
    """Write the report of a run into a file, all of it or nothing; folders on the way are made.

    Raises ConfigError where that is not possible.
    """
    if path.is_dir() or not path.name:
        raise ConfigError(f"{path} is a folder.", remedy="Name the file that the report is to be written to.")
    text = render_report(run, made, gone=is_gone(run))
    # Beside its place, so that it gets there by a rename: whoever has the old one open keeps it whole.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise ConfigError(
            f"The report cannot be written to {path}: {error.strerror or error}.",
            remedy="Name a file in a folder that you may write to, with --to.",
        ) from error


def render_report(run: RunView, made: datetime | None = None, *, gone: bool = False) -> str:
    """Return the report of a run as one HTML document that asks for nothing else.

    ``made`` is when that is, now if not given; ``gone`` says that the run's process is known to have died.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    style, script = (_HERE.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    # Nothing but these two may act: what a name or a message may hold cannot, even if it came to stand there unescaped.
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    return environment.get_template("page.html").render(
        page=build_page(run, made or datetime.now(UTC), gone=gone),
        policy=policy,
        # Both are ours.
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        words=words,
        width=WIDTH,
        left=LEFT,
        right=RIGHT,
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"

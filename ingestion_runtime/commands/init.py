"""``ingestion init``: a first configuration, from what a database says of itself."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ingestion_runtime.commands.common import finish, output_option, print_json
from ingestion_runtime.model.errors import ConfigError

if TYPE_CHECKING:
    from ingestion_runtime.drafting.document import Frame
    from ingestion_runtime.model.connection import ConnectionSpec

#: The dialects of the configuration; validation knows them too, and imports more than --help may cost.
DIALECTS = ("postgresql", "mysql", "mariadb", "singlestore", "sqlite")
TLS_MODES = ("disable", "prefer", "require", "verify-ca", "verify-full")
_UNFIT = re.compile(r"[^A-Za-z0-9_-]+", re.ASCII)


def _refuse_password(_context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise click.UsageError(
            "--password is not accepted: a password on a command line can be read by everybody on this machine."
            " Name a variable with --password-env, or a file with --password-file."
        )


@click.command(short_help="Write a first configuration for a database, with the reasons.")
@click.option("--dialect", type=click.Choice(DIALECTS), required=True, help="Which database it is.")
@click.option("--host", metavar="HOST", help="Host name or address; not for sqlite.")
@click.option("--port", metavar="N", type=click.IntRange(1, 65_535), help="Port, where it is not the usual one.")
@click.option("--user", metavar="USER", help="Who logs in; not for sqlite.")
@click.option("--password-env", metavar="NAME", help="The environment variable that holds the password.")
@click.option("--password-file", metavar="PATH", help="The file that holds only the password.")
@click.option("--password", hidden=True, expose_value=False, is_flag=False, flag_value="", callback=_refuse_password)
@click.option(
    "--database", metavar="NAME|PATH", required=True, help="Name of the database; for sqlite the path of its file."
)
@click.option("--tls-mode", type=click.Choice(TLS_MODES), help="How the connection is protected (default: prefer).")
@click.option("--tls-ca", metavar="PATH", help="The certificate authority, for verify-ca and verify-full.")
@click.option("--name", metavar="NAME", help="What to call the connection (default: after the database).")
@click.option(
    "--schema",
    "schemas",
    metavar="NAME",
    multiple=True,
    help="Only this schema; may be given several times. For sqlite the name under which its tables appear.",
)
@click.option(
    "--only-tables", metavar="LIST", help="Only these: table or schema.table, separated by commas; * and ? allowed."
)
@click.option("--to", "target", metavar="FILE", type=click.Path(path_type=Path), required=True, help="The file to write.")
@click.option(
    "--warehouse-root", metavar="DIR", help="Where everything is kept that is ingested (default: beside the file)."
)
@click.option(
    "--timezone", metavar="ZONE", default="UTC", show_default=True, help="The zone in which load dates are counted."
)
@click.option("--cursor-timezone", metavar="ZONE", help="The zone that clocks without a zone show in this database.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
@output_option
def init(output: str, **options: Any) -> None:
    """Read the catalog of a database, look at some rows of each table, and write a configuration that can be run.

    What was chosen for each table, and why, is printed. No table is scanned whole, nothing is written but the file, and the
    file holds no secret.
    """
    finish(lambda: _init(_Options(**options), output), output)


@dataclass(frozen=True, slots=True)
class _Options:
    """What the command line says."""

    dialect: str
    host: str | None
    port: int | None
    user: str | None
    password_env: str | None
    password_file: str | None
    database: str
    tls_mode: str | None
    tls_ca: str | None
    name: str | None
    schemas: tuple[str, ...]
    only_tables: str | None
    target: Path
    warehouse_root: str | None
    timezone: str
    cursor_timezone: str | None
    force: bool

    @property
    def folder(self) -> Path:
        """The directory of the file: where its relative paths start."""
        return Path(os.path.abspath(self.target.parent))  # noqa: PTH100  (Path.resolve would follow links)


def _init(options: _Options, output: str) -> int:
    from ingestion_runtime.drafting.document import build_document, refuse_existing, write_document
    from ingestion_runtime.drafting.draft import Selection, draft_tables
    from ingestion_runtime.drafting.report import draft_document, print_draft
    from ingestion_runtime.endpoints.jdbc.database import Database
    from ingestion_runtime.endpoints.jdbc.dialects import dialect_for

    refuse_existing(options.target, force=options.force)
    frame = _frame(options)
    spec = _connection(frame, options)
    _check_zone(options.cursor_timezone)
    database = Database(spec, dialect_for(spec.dialect))
    names = tuple(name.strip() for name in (options.only_tables or "").split(",") if name.strip())
    if options.only_tables is not None and not names:
        raise ConfigError("--only-tables names nothing.", remedy="Write table or schema.table, separated by commas.")
    try:
        draft = draft_tables(database, frame, Selection(_schemas(options, frame), names), options.cursor_timezone)
    finally:
        database.close()
    if not draft.entries:
        _refuse_empty(draft.left_out)
    write_document(build_document(frame, draft.entries, options.folder), options.target, force=options.force)
    if output == "json":
        print_json({"version": 1, "exit_code": 0, "path": str(options.target), **draft_document(draft)})
    else:
        print_draft(draft)
        tables = "1 table" if len(draft.entries) == 1 else f"{len(draft.entries)} tables"
        click.echo(f"{options.target}: written, {tables}. Next: ingestion doctor --config {options.target}", err=True)
    return 0


def _refuse_empty(left_out: Any) -> NoReturn:
    from ingestion_runtime.drafting.report import visible

    listed = "".join(f"\n  {visible(f'{out.name}: {out.reason}')}" for out in left_out)
    raise ConfigError(f"None of the tables can be ingested as it is:{listed}", remedy="\nNothing was written.")


def _frame(options: _Options) -> "Frame":
    from ingestion_runtime.drafting.document import Frame

    server = options.dialect != "sqlite"
    base = options.database if server else Path(options.database).stem
    found = _UNFIT.sub("_", base).strip("_-") or "source"
    name = options.name or (found if found[0].isalpha() else f"db_{found}")[:63]
    connection: dict[str, Any] = {
        "dialect": options.dialect,
        "host": options.host,
        "port": options.port,
        "database": options.database if server else _relative(options.database, options.folder),
        "user": options.user,
        "password": _password(options),
        "tls": _tls(options),
    }
    stem = _UNFIT.sub("-", options.target.stem).strip("-_") or "ingestion"
    root = f"{stem}-lake" if options.warehouse_root is None else _relative(options.warehouse_root, options.folder)
    given = {key: value for key, value in connection.items() if value is not None}
    return Frame(name, given, options.dialect, stem[:100], root, options.timezone)


def _password(options: _Options) -> str | None:
    if options.password_env is not None and options.password_file is not None:
        raise ConfigError("--password-env and --password-file are both given.", remedy="Leave one of them out.")
    if options.password_env is not None:
        return f"${{env:{options.password_env}}}"
    if options.password_file is not None:
        return f"${{file:{_relative(options.password_file, options.folder)}}}"
    return None


def _tls(options: _Options) -> dict[str, str] | None:
    given = {"mode": options.tls_mode, "ca": options.tls_ca and _relative(options.tls_ca, options.folder)}
    return {key: value for key, value in given.items() if value} or None


def _relative(text: str, folder: Path) -> str:
    """Return a path as the file may hold it: what was given from the working directory starts at the file's own."""
    return text if Path(text).is_absolute() else os.path.relpath(text, folder)


def _connection(frame: "Frame", options: _Options) -> "ConnectionSpec":
    """Return the connection, checked as a configuration is; raises ConfigError that names options in place of keys."""
    from ingestion_runtime.config.connections import build_connection, is_connection_name
    from ingestion_runtime.config.issues import IssueLog
    from ingestion_runtime.config.models.connections import ConnectionFile
    from ingestion_runtime.config.parsing import parse_part
    from ingestion_runtime.config.paths import PathResolver

    if not is_connection_name(frame.connection_name):
        raise ConfigError(
            "--name is no name for a connection.", remedy="Use a letter, then letters, digits, '_' and '-', 63 at most."
        )
    log = IssueLog()
    file = parse_part(ConnectionFile, dict(frame.connection), (), log)
    spec = (
        None if file is None else build_connection(frame.connection_name, file, (), PathResolver(options.folder, log), log)
    )
    if log.issues or spec is None:
        lines = "".join(f"\n  --{issue.pointer.lstrip('/').replace('/', '-')}: {issue.message}" for issue in log.issues)
        raise ConfigError(f"The connection cannot be made:{lines}", remedy="\nNothing was written.")
    return spec


def _check_zone(name: str | None) -> None:
    from ingestion_runtime.config.issues import IssueLog
    from ingestion_runtime.config.runtime import check_timezone

    if name is not None:
        log = IssueLog()
        check_timezone(name, (), log)
        for issue in log.issues:
            raise ConfigError(f"--cursor-timezone {issue.message}.", remedy="Nothing was written.")


def _schemas(options: _Options, frame: "Frame") -> tuple[str, ...]:
    """Return which schemas are asked for; MySQL's are databases, and an SQLite file has none but a name for it."""
    if options.schemas or options.dialect == "postgresql":
        return options.schemas
    return (frame.connection_name,) if options.dialect == "sqlite" else (options.database,)

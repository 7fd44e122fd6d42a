"""``--dump-orchestration-plan``: what a scheduler has to know of a run, as one JSON object."""

import json
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from ingestion_runtime.model.options import RunOptions
    from ingestion_runtime.model.spec import Configuration, TableSpec

# The configuration goes into the command by its absolute path.
_NOT_CARRIED = frozenset({"config_path", "dump_orchestration_plan"})


def given_options(context: click.Context) -> tuple[str, ...]:
    """Return the options of this call as arguments, spelt out, without the configuration and what asks for the plan."""
    arguments: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if not given or name in _NOT_CARRIED or not isinstance(parameter, click.Option):
            continue
        value = context.params[name]
        if parameter.is_flag:
            arguments += parameter.opts[:1] if value else parameter.secondary_opts[:1]
        else:
            for one in value if parameter.multiple else (value,):
                arguments += [parameter.opts[0], str(one)]
    return tuple(arguments)


def print_plan(
    configuration: "Configuration", tables: "tuple[TableSpec, ...]", request: "RunOptions", options: tuple[str, ...]
) -> int:
    """Print the plan of a run of these tables with these options, and return the exit code."""
    from ingestion_runtime.scheduling.plan import plan_document

    document = plan_document(configuration, tables, request.run_id, options)
    click.echo(json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False))
    return 0
